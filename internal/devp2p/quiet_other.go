//go:build !linux

package devp2p

import "net"

// quiet is for Linux only; elsewhere each arrival wakes us.
type quiet struct{}

func newQuiet(net.Conn) quiet { return quiet{} }

func (*quiet) begin() {}

func (*quiet) read(c net.Conn, p []byte) (int, error) { return c.Read(p) }
