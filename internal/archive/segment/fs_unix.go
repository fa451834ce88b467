//go:build unix

package segment

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func syncDir(d *os.File) error { return d.Sync() }

func free(dir string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil // the types differ between systems
}

func lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return f, nil
}
