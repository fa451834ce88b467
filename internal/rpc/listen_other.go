//go:build !unix

package rpc

import (
	"net"
	"runtime"

	"github.com/restante-im/restante/internal/fault"
)

// Listen is not supported on this system yet: a local socket cannot be kept to
// one user here in the same way.
func Listen(string) (net.Listener, error) {
	return nil, fault.Errorf("rpc: listen", fault.Unavailable,
		"the command socket is not supported on %s yet: run the node on Linux, macOS or BSD, or in WSL", runtime.GOOS)
}
