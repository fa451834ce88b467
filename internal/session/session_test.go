package session_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/session/sessiontest"
	"github.com/restante-im/restante/internal/wire"
)

// recorder is a Handler that keeps what it is told.
type recorder struct {
	mu     sync.Mutex
	opened []wire.Hello
	got    []wire.Packet
	closed []error
	pause  time.Duration
	fail   error
	notify chan struct{}
}

func newRecorder() *recorder { return &recorder{notify: make(chan struct{}, 1000)} }

func (r *recorder) Greet(l *session.Link) { l.SendHello(wire.Hello{MinPoW: 0.5, Confirms: true}) }

func (r *recorder) Opened(_ *session.Link, h wire.Hello) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened = append(r.opened, h)
	r.notify <- struct{}{}
	return r.fail
}

func (r *recorder) Received(_ *session.Link, p wire.Packet, _ int) (time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, p)
	r.notify <- struct{}{}
	return r.pause, r.fail
}

func (r *recorder) Closed(_ *session.Link, reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = append(r.closed, reason)
}

func dialect(t *testing.T, i int) *wire.Dialect {
	t.Helper()
	return wire.Dialects()[i]
}

const limit = 1 << 20

// run starts a session over one end of a pipe and returns the other end, and the result of Run.
func run(t *testing.T, d *wire.Dialect, r *recorder) (*session.Session, *sessiontest.End, chan error) {
	t.Helper()
	near, far := sessiontest.Pipe(16)
	s := session.New(session.Peer{Conn: 1}, r, func() int { return limit })
	result := make(chan error, 1)
	go func() { result <- s.Run(d, near) }()
	return s, far, result
}

func sayHello(t *testing.T, d *wire.Dialect, far *sessiontest.End, h wire.Hello) {
	t.Helper()
	if err := far.WritePacket(d.EncodeHello(h)); err != nil {
		t.Fatal(err)
	}
}

func TestHelloGoesBothWaysAndPacketsFollow(t *testing.T) {
	for i, d := range wire.Dialects() {
		t.Run(d.String(), func(t *testing.T) {
			r := newRecorder()
			s, far, result := run(t, dialect(t, i), r)
			code, payload, err := far.ReadPacket()
			if err != nil {
				t.Fatal(err)
			}
			if h, err := d.DecodeHello(code, payload); err != nil || h.MinPoW != 0.5 || !h.Confirms {
				t.Errorf("it said %+v, %v", h, err)
			}
			sayHello(t, d, far, wire.Hello{MinPoW: 0.25})
			<-r.notify
			e := envelope.New(1700000010, 10, envelope.Topic{1}, []byte("data"), 1)
			f := d.EnvelopesFrame([]*envelope.Envelope{e})
			if err := far.WritePacket(f.Code, f.Payload); err != nil {
				t.Fatal(err)
			}
			<-r.notify
			ready, sent := make(chan []byte, 1), make(chan struct{})
			s.Links()[0].SendEnvelopes([]*envelope.Envelope{e}, len(f.Payload), func(p []byte) { ready <- p }, func() { close(sent) })
			code, payload, err = far.ReadPacket()
			if err != nil || code != f.Code || string(payload) != string(f.Payload) {
				t.Errorf("it sent packet %d, %x, %v", code, payload, err)
			}
			select {
			case got := <-ready: // it must have been told by the time that the packet is read
				if string(got) != string(f.Payload) {
					t.Errorf("reported as ready: %x", got)
				}
			default:
				t.Error("the packet was written before its sender was told")
			}
			<-sent
			bye := errors.New("enough")
			s.Close(bye)
			s.Close(errors.New("a later reason"))
			if err := <-result; !errors.Is(err, bye) {
				t.Errorf("Run returned %v", err)
			}
			if r.opened[0].MinPoW != 0.25 || r.got[0].(wire.Envelopes).List[0].Hash() != e.Hash() {
				t.Errorf("handler saw %+v, %+v", r.opened, r.got)
			}
			if len(r.closed) != 1 || len(s.Links()) != 0 {
				t.Errorf("closed %d times, %d links left", len(r.closed), len(s.Links()))
			}
		})
	}
}

func TestASilentPeerIsCutAfterTheHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, _, result := run(t, wire.Dialects()[0], newRecorder())
		err := <-result
		if err == nil || !strings.Contains(err.Error(), "hello") || time.Since(start) != session.HandshakeTimeout {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestWhatEndsAConnection(t *testing.T) {
	d := wire.Dialects()[0]
	tests := []struct {
		name string
		act  func(r *recorder, far *sessiontest.End)
		want string
	}{
		{"garbage", func(_ *recorder, far *sessiontest.End) { _ = far.WritePacket(1, []byte{0xff}) }, "cannot be read"},
		{"oversize", func(_ *recorder, far *sessiontest.End) { _ = far.WritePacket(1, make([]byte, limit+1)) }, "cannot be read"},
		{"the other side leaves", func(_ *recorder, far *sessiontest.End) { far.Close(nil) }, "closed"},
		{"the handler refuses", func(r *recorder, far *sessiontest.End) {
			r.mu.Lock()
			r.fail = errors.New("not you")
			r.mu.Unlock()
			_ = far.WritePacket(1, []byte{0xc0})
		}, "not you"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecorder()
			_, far, result := run(t, d, r)
			sayHello(t, d, far, wire.Hello{})
			<-r.notify
			tt.act(r, far)
			if err := <-result; err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ended with %v, want %q", err, tt.want)
			}
		})
	}
}

func TestPauseDelaysTheNextRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r := wire.Dialects()[0], newRecorder()
		r.pause = 700 * time.Millisecond
		s, far, result := run(t, d, r)
		sayHello(t, d, far, wire.Hello{})
		<-r.notify
		start := time.Now()
		for range 3 {
			_ = far.WritePacket(1, []byte{0xc0})
		}
		for range 3 {
			<-r.notify
		}
		if got := time.Since(start); got != 2*r.pause {
			t.Errorf("three packets took %v", got)
		}
		s.Close(nil)
		<-result
	})
}

func TestWhoDoesNotReadIsCut(t *testing.T) {
	d, r := wire.Dialects()[0], newRecorder()
	s, far, result := run(t, d, r)
	sayHello(t, d, far, wire.Hello{})
	<-r.notify
	list := []*envelope.Envelope{envelope.New(1700000010, 10, envelope.Topic{1}, make([]byte, 256<<10), 1)}
	for range 100 {
		if links := s.Links(); len(links) > 0 {
			links[0].SendEnvelopes(list, 256<<10, nil, nil)
		}
	}
	if err := <-result; err == nil || !strings.Contains(err.Error(), "does not read") {
		t.Errorf("ended with %v", err)
	}
}

func TestHistoryWaitsBehindGossip(t *testing.T) {
	d, r := wire.Dialects()[0], newRecorder()
	near, far := sessiontest.Pipe(0)
	s := session.New(session.Peer{Conn: 1}, r, func() int { return limit })
	result := make(chan error, 1)
	go func() { result <- s.Run(d, near) }()
	sayHello(t, d, far, wire.Hello{})
	<-r.notify // the writer is held up by its hello, which nobody has read yet
	link := s.Links()[0]
	done := make(chan error, 2)
	link.SendHistory(wire.Frame{Code: 127, Payload: []byte{1}}, func(err error) { done <- err })
	link.Send(wire.Frame{Code: 2, Payload: []byte{2}})
	link.Send(wire.Frame{Code: 3, Payload: []byte{3}})
	var order []uint64
	for range 4 {
		code, _, err := far.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, code)
	}
	if order[1] != 2 || order[2] != 3 || order[3] != 127 {
		t.Errorf("order %v", order)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	link.SendHistory(wire.Frame{Code: 127}, func(err error) { done <- err })
	s.Close(errors.New("bye"))
	if err := <-done; err == nil {
		t.Error("a packet that never left was reported as sent")
	}
	<-result
}

func TestUnaskedAnswersAreDroppedUnread(t *testing.T) {
	d, r := wire.Dialects()[0], newRecorder()
	s, far, result := run(t, d, r)
	sayHello(t, d, far, wire.Hello{})
	<-r.notify
	_ = far.WritePacket(127, []byte{0xff}) // not even readable
	_ = far.WritePacket(2, []byte{0x80})   // a harmless packet: what came before it has been read by then
	<-r.notify
	release := s.Trust()
	e := envelope.New(1700000010, 10, envelope.Topic{1}, []byte("data"), 1)
	f, err := d.Encode(wire.Direct{List: []*envelope.Envelope{e}})
	if err != nil {
		t.Fatal(err)
	}
	_ = far.WritePacket(f[0].Code, f[0].Payload)
	<-r.notify
	release()
	release()
	if s.Trusted() {
		t.Error("trust outlives its release")
	}
	s.Close(nil)
	<-result
	if _, ok := r.got[1].(wire.Direct); !ok || len(r.got) != 2 {
		t.Errorf("handler got %+v", r.got)
	}
}

func TestTwoDialectsShareOneConnection(t *testing.T) {
	r := newRecorder()
	s := session.New(session.Peer{Conn: 1}, r, func() int { return limit })
	result := make(chan error, 2)
	var ends []*sessiontest.End
	for _, d := range wire.Dialects() {
		near, far := sessiontest.Pipe(16)
		ends = append(ends, far)
		go func() { result <- s.Run(d, near) }()
		sayHello(t, d, far, wire.Hello{})
		<-r.notify
	}
	if err := s.Run(wire.Dialects()[0], ends[0]); err == nil {
		t.Error("the same dialect ran twice")
	}
	ends[0].Close(nil)
	for range ends {
		<-result
	}
	<-ends[1].Closed()
	if len(r.closed) != 2 {
		t.Errorf("%d links were closed", len(r.closed))
	}
}
