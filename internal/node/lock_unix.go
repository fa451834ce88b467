//go:build unix

package node

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/restante-im/restante/internal/fault"
)

// lock keeps a second node out of the data directory until unlock is called or the process ends, however it ends.
func lock(path, dir string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.E("start", fault.Unavailable, err, fmt.Sprintf("the data directory %s cannot be written to: check its permissions, or choose another with --data-dir", dir))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fault.E("start", fault.Exists, nil, fmt.Sprintf("another instance is running with the data directory %s", dir))
		}
		return nil, fault.E("start", fault.Unavailable, err, fmt.Sprintf("the data directory %s cannot be locked", dir))
	}
	return func() { f.Close() }, nil
}
