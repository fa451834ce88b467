// Package sessiontest joins two ends of a connection in memory, for tests of what runs on session.Transport.
package sessiontest

import (
	"errors"
	"sync"
)

type packet struct {
	code    uint64
	payload []byte
}

// End is one end of a pipe; it implements session.Transport.
type End struct {
	in, out chan packet
	closed  chan struct{}
	once    *sync.Once
	reason  *error
}

// Pipe returns the two ends of a connection that holds so many packets in each direction before a writer waits.
func Pipe(buffer int) (a, b *End) {
	ab, ba := make(chan packet, buffer), make(chan packet, buffer)
	closed, once, reason := make(chan struct{}), new(sync.Once), new(error)
	return &End{in: ba, out: ab, closed: closed, once: once, reason: reason},
		&End{in: ab, out: ba, closed: closed, once: once, reason: reason}
}

var errClosed = errors.New("the pipe is closed")

// ReadPacket waits for the next packet.
func (e *End) ReadPacket() (uint64, []byte, error) {
	select {
	case p := <-e.in:
		return p.code, p.payload, nil
	case <-e.closed:
		return 0, nil, errClosed
	}
}

// WritePacket waits until the other end can hold the packet.
func (e *End) WritePacket(code uint64, payload []byte) error {
	select {
	case e.out <- packet{code, payload}:
		return nil
	case <-e.closed:
		return errClosed
	}
}

// Close ends the connection for both sides.
func (e *End) Close(reason error) {
	e.once.Do(func() {
		*e.reason = reason
		close(e.closed)
	})
}

// Closed is closed when the connection has ended.
func (e *End) Closed() <-chan struct{} { return e.closed }

// Reason returns why the connection was closed, after Closed.
func (e *End) Reason() error { return *e.reason }
