package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const writeTimeout = 10 * time.Second

var errTooLarge = errors.New("request too large")

// link is what a client is connected by: a local socket, or a WebSocket.
type link interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// conn is one client's connection as the JSON codec sees it. It bounds the size
// of a request, ends on the first failed write, and ends calls under way when
// the client is gone.
type conn struct {
	nc     link
	id     string // unique; calls find their connection by it
	ctx    context.Context
	cancel context.CancelFunc

	size     sizer // used by Read only
	writing  sync.Mutex
	draining atomic.Bool
}

func newConn(ctx context.Context, nc link, id string) *conn {
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

	batch bool    // the present value is an array of requests
	named bool    // the last string was "method", in a request
	value bool    // what comes now is the method's name
	word  [8]byte // how the present string begins
	long  int     // bytes of it so far
}

// feed reports whether the values in p, with what came before, stay below
// MaxRequest. A method "rpc.x" becomes "rpc_x", as the library wants it.
func (s *sizer) feed(p []byte) bool {
	for i, b := range p {
		s.size++
		switch {
		case s.escaping:
			s.escaping = false
			s.long++
		case s.quoted:
			if s.quoted = b != '"'; !s.quoted {
				s.named = !s.value && s.depth == s.level() && s.is("method")
				s.value = false
			} else if s.value && b == '.' && s.is("rpc") {
				p[i] = '_'
			}
			s.escaping = b == '\\'
			s.add(b)
		case b == '"':
			s.quoted, s.long = true, 0
		case b == '{' || b == '[':
			if s.depth++; s.depth == 1 {
				s.batch = b == '['
			}
			s.named, s.value = false, false
		case b == '}' || b == ']':
			s.depth--
		case b == ':':
			s.value = s.named
		case b == ',':
			s.named, s.value = false, false
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

// level is the depth of a request's own fields.
func (s *sizer) level() int {
	if s.batch {
		return 2
	}
	return 1
}

func (s *sizer) add(b byte) {
	if s.long < len(s.word) {
		s.word[s.long] = b
	}
	s.long++
}

// is reports whether the present string is text so far.
func (s *sizer) is(text string) bool {
	return s.long == len(text) && string(s.word[:s.long]) == text
}
