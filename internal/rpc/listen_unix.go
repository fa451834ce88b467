//go:build unix

package rpc

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// probeTimeout bounds how long an instance may take to accept a connection; the
// kernel does it for a live one.
const probeTimeout = 2 * time.Second

// Listen opens the command socket at path for this user alone (mode 0600), and
// makes its folder (0700) if need be. A socket left by a process that is gone is
// replaced. Kinds of error: Exists if another instance answers there, or if path
// is no socket; Invalid if the path is too long; Denied or Unavailable as the
// system says. Closing the listener removes the socket.
func Listen(path string) (net.Listener, error) {
	const op = "rpc: listen"
	if len(path) > MaxSocketPath {
		return nil, fault.Errorf(op, fault.Invalid,
			"the path of the command socket has %d bytes, but the system takes at most %d: choose a shorter data directory or socket path (%s)",
			len(path), MaxSocketPath, path)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, systemFault(op, err, "cannot make the folder "+dir+" for the command socket")
	}
	// Two instances that start at the same time take turns from here on.
	unlock := lockFolder(dir)
	defer unlock()
	if err := vacant(op, path); err != nil {
		return nil, err
	}
	return open(op, dir, path)
}

// open makes the socket in a private folder first: a socket is born with the
// permissions that the umask leaves, and nobody may reach it before they are cut.
func open(op, dir, path string) (net.Listener, error) {
	private, err := os.MkdirTemp(dir, ".r") // mode 0700
	if err != nil {
		return nil, systemFault(op, err, "cannot write to the folder "+dir+" of the command socket")
	}
	defer os.RemoveAll(private)
	born := filepath.Join(private, "s")
	if len(born) > MaxSocketPath {
		return nil, fault.Errorf(op, fault.Invalid, "the folder of the command socket has a path of %d bytes, which is too long: choose a shorter data directory (%s)", len(dir), dir)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: born, Net: "unix"})
	if err != nil {
		return nil, systemFault(op, err, "cannot open the command socket "+path)
	}
	l.SetUnlinkOnClose(false) // it would remove the name that it was born with
	if err = os.Chmod(born, 0o600); err == nil {
		err = os.Rename(born, path)
	}
	var made fs.FileInfo
	if err == nil {
		made, err = os.Lstat(path)
	}
	if err != nil {
		l.Close()
		return nil, systemFault(op, err, "cannot open the command socket "+path)
	}
	return &socket{UnixListener: l, path: path, made: made}, nil
}

// vacant returns nil if nothing that lives is at path.
func vacant(op, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return systemFault(op, err, "cannot look at the command socket "+path)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fault.Errorf(op, fault.Exists, "%s exists and is no socket: move it away or choose another socket path", path)
	}
	c, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		c.Close()
		return fault.Errorf(op, fault.Exists,
			"another instance is running with data directory %s: stop it first, or give this one a data directory of its own", filepath.Dir(path))
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil // left over: nobody listens
	}
	return fault.E(op, fault.Exists, err, "something is at the command socket "+path+" and cannot be asked what it is: stop it or remove the file")
}

// lockFolder waits until no other process holds the folder's lock. File systems
// without locks lose only the protection of simultaneous starts.
func lockFolder(dir string) (unlock func()) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	return func() { f.Close() }
}

func systemFault(op string, err error, text string) error {
	kind := fault.Unavailable
	if errors.Is(err, fs.ErrPermission) {
		kind = fault.Denied
		text += ": the permission is missing"
	}
	return fault.E(op, kind, err, text)
}

// socket removes its file when it is closed, if the file is still its own.
type socket struct {
	*net.UnixListener
	path string
	made fs.FileInfo
	once sync.Once // later on the name may be another instance's
}

func (s *socket) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.made) {
			os.Remove(s.path)
		}
	})
	return s.UnixListener.Close()
}
