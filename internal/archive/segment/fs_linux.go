package segment

import (
	"os"
	"syscall"
)

// syncData leaves out what no reader needs, as the time of the last write.
func syncData(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			if failed = syscall.Fdatasync(int(fd)); failed != syscall.EINTR {
				return
			}
		}
	})
	return errorOf(err, os.NewSyscallError("fdatasync", failed))
}
