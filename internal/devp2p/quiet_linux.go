package devp2p

import (
	"io"
	"net"
	"os"
	"syscall"
)

// quietBytes is how much has to come before the system wakes us for a connection that we read by the clock.
const quietBytes = 64 << 10

// quiet reads a connection without being woken for each segment that arrives between reads. The zero quiet reads as usual.
type quiet struct {
	raw syscall.RawConn
	on  bool
}

func newQuiet(c net.Conn) quiet {
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return quiet{raw: raw}
		}
	}
	return quiet{}
}

// begin makes small arrivals silent, until a read finds nothing.
func (q *quiet) begin() {
	if q.raw != nil && !q.on {
		q.raw.Control(func(fd uintptr) { q.on = wakeAt(fd, quietBytes) })
	}
}

func wakeAt(fd uintptr, bytes int) bool {
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, bytes) == nil
}

func (q *quiet) read(c net.Conn, p []byte) (n int, err error) {
	if !q.on || len(p) == 0 {
		return c.Read(p)
	}
	var failed error
	err = q.raw.Read(func(fd uintptr) (done bool) {
		for {
			n, failed = syscall.Read(int(fd), p)
			switch {
			case failed == syscall.EINTR:
			case failed == syscall.EAGAIN && q.on:
				// Read once more: what has come meanwhile wakes nobody.
				q.on = false
				wakeAt(fd, 1)
			default:
				return failed != syscall.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, os.NewSyscallError("read", failed)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
