package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const writeTimeout = 10 * time.Second

var errTooLarge = errors.New("request too large")

// conn is one client's connection as the JSON codec sees it. It bounds the size
// of a request, ends on the first failed write, and ends calls under way when
// the client is gone.
type conn struct {
	nc     net.Conn
	id     string // unique; calls find their connection by it
	ctx    context.Context
	cancel context.CancelFunc

	size     sizer // used by Read only
	writing  sync.Mutex
	draining atomic.Bool
}

func newConn(ctx context.Context, nc net.Conn, id string) *conn {
	c := &conn{nc: nc, id: id}
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// RemoteAddr makes the id known to calls, as the transport's remote address.
func (c *conn) RemoteAddr() string { return c.id }

func (c *conn) SetWriteDeadline(t time.Time) error { return c.nc.SetWriteDeadline(t) }

func (c *conn) Close() error {
	c.cancel()
	return c.nc.Close()
}

// Read reads what the client sends. At the end of the input calls under way go
// on if the client still listens (it may have closed one direction only).
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.nc.Read(p)
	if n > 0 && !c.size.feed(p[:n]) {
		c.refuse(fmt.Sprintf("the request is larger than %d bytes", MaxRequest))
		return 0, errTooLarge
	}
	switch {
	case err == nil:
		return n, nil
	case c.draining.Load():
		return n, io.EOF
	case !errors.Is(err, io.EOF) || !c.listens():
		c.cancel()
	}
	return n, err
}

// Write sends one answer or notification whole. After a failure the stream
// cannot be used any more.
func (c *conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n, err := c.nc.Write(p)
	if err != nil {
		c.Close()
	}
	return n, err
}

// listens reports whether the other side still reads: an empty write fails when
// it has closed the socket. Where a system does not tell, the answer is yes.
func (c *conn) listens() bool {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.nc.Write(nil)
	return err == nil
}

// drain ends the input, so that the server answers what it has and closes.
func (c *conn) drain() {
	c.draining.Store(true)
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// refuse answers no request in particular.
func (c *conn) refuse(text string) {
	c.SetWriteDeadline(time.Now().Add(writeTimeout))
	fmt.Fprintf(c, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":%q}}`+"\n", text)
}

// sizer follows a stream of JSON values and knows the size of the present one.
// It need not understand JSON beyond strings and brackets: the decoder checks.
type sizer struct {
	size, depth      int
	quoted, escaping bool
}

// feed reports whether the values in p, with what came before, stay below
// MaxRequest.
func (s *sizer) feed(p []byte) bool {
	for _, b := range p {
		s.size++
		switch {
		case s.escaping:
			s.escaping = false
		case s.quoted:
			s.escaping, s.quoted = b == '\\', b != '"'
		case b == '"':
			s.quoted = true
		case b == '{' || b == '[':
			s.depth++
		case b == '}' || b == ']':
			s.depth--
		}
		if s.depth <= 0 && !s.quoted && (b == '}' || b == ']' || b <= ' ') {
			*s = sizer{}
		}
		if s.size > MaxRequest {
			return false
		}
	}
	return true
}
