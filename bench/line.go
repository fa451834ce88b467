package main

import (
	"io"
	"net"
	"sync"
)

// line is a TCP line to an address that can be cut: while it is, connections are refused.
type line struct {
	from, to string

	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
}

func newLine(to string) (*line, error) {
	l := &line{from: "127.0.0.1:0", to: to}
	return l, l.mend()
}

// mend lets connections through, always on the same port.
func (l *line) mend() error {
	listener, err := net.Listen("tcp", l.from)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.from, l.listener = listener.Addr().String(), listener
	l.mu.Unlock()
	go func() {
		for {
			here, err := listener.Accept()
			if err != nil {
				return
			}
			l.join(here)
		}
	}()
	return nil
}

func (l *line) join(here net.Conn) {
	there, err := net.Dial("tcp", l.to)
	if err != nil {
		here.Close()
		return
	}
	l.mu.Lock()
	l.conns = append(l.conns, here, there)
	l.mu.Unlock()
	for _, pair := range [][2]net.Conn{{here, there}, {there, here}} {
		go func() {
			io.Copy(pair[0], pair[1])
			pair[0].Close()
		}()
	}
}

// cut breaks all connections and refuses new ones.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listener.Close()
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}
