// Package session runs one connection with a peer: the handshake of each dialect that both sides speak, a read loop that
// never waits for anything but the peer, and one writer. A dialect that runs on a connection is a Link; several links
// of one connection share its writer, its identity and its end.
//
// Start with New, then call Run once for each dialect, on a goroutine of its own; Run returns when the connection ends.
// What arrives goes to a Handler. A Session and its Links are safe for concurrent use.
package session

import (
	"errors"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/wire"
)

// HandshakeTimeout is how long a peer may take to send its first packet.
const HandshakeTimeout = 10 * time.Second

// Transport moves the packets of one dialect over a connection. ReadPacket and WritePacket may run at the same time,
// each on one goroutine.
type Transport interface {
	// ReadPacket waits for the next packet. The caller owns the payload.
	ReadPacket() (code uint64, payload []byte, err error)
	// WritePacket returns when the packet has been handed to the network.
	WritePacket(code uint64, payload []byte) error
	// Close ends the whole connection, all its dialects included. The reason is for the log, and as far as the
	// network can say it, for the peer. ReadPacket and WritePacket return soon after.
	Close(reason error)
}

// Handler is told what happens on links. Its methods are called from the links' own goroutines and must not wait for
// the peer.
type Handler interface {
	// Greet is called first on a new link. It must queue our hello with Link.SendHello, and may queue more behind it.
	Greet(l *Link)
	// Opened is told what the peer said first. It is called once, before Received.
	Opened(l *Link, hello wire.Hello) error
	// Received takes a packet of so many bytes and returns how long to wait before the next one is read. An error
	// ends the connection and is its reason.
	Received(l *Link, p wire.Packet, size int) (pause time.Duration, err error)
	// Closed is called once for each link for which Greet was called, as the last call.
	Closed(l *Link, reason error)
}

// Peer is what is known of the other side of a connection.
type Peer struct {
	Conn    uint64   // the connection; never used again for another
	ID      [32]byte // the node's identity
	Source  string   // the address prefix that limits count; "" is exempt
	Client  string   // what the node calls itself
	Inbound bool     // it dialled us
	Trusted bool     // configured as trusted by the operator
	Mail1   bool     // mail/1 runs on the connection too
}

// Session is one connection.
type Session struct {
	peer    Peer
	handler Handler
	max     func() int
	writer  writer

	mu     sync.Mutex
	links  []*Link
	trust  int // open requests, or marks by the user
	closed error
	done   chan struct{}
}

// Link is one dialect on a connection.
type Link struct {
	session   *Session
	dialect   *wire.Dialect
	transport Transport
	awaits    bool
}

// New makes a session. max returns the largest packet that is read, in bytes.
func New(peer Peer, handler Handler, max func() int) *Session {
	s := &Session{peer: peer, handler: handler, max: max, done: make(chan struct{})}
	s.writer.init(s)
	return s
}

// Peer returns who is on the other side.
func (s *Session) Peer() Peer { return s.peer }

// Links returns the links that have not ended.
func (s *Session) Links() []*Link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Link(nil), s.links...)
}

// Trust makes packets for our own eyes (answers to requests) welcome from this peer until the returned function is
// called. Calls add up.
func (s *Session) Trust() (release func()) {
	s.mu.Lock()
	s.trust++
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.trust--
		s.mu.Unlock()
	})
}

// Trusted reports whether somebody trusts this peer now.
func (s *Session) Trusted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trust > 0 || s.peer.Trusted
}

// Close ends the connection with a reason. Only the first reason counts.
func (s *Session) Close(reason error) {
	if reason == nil {
		reason = fault.E("session", fault.Closed, nil, "the connection was closed")
	}
	s.mu.Lock()
	first := s.closed == nil
	if first {
		s.closed = reason
		close(s.done)
	}
	links := append([]*Link(nil), s.links...)
	s.mu.Unlock()
	if first {
		for _, l := range links {
			l.transport.Close(reason)
		}
	}
}

// Reason returns why the connection ended, or nil while it lives.
func (s *Session) Reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Session returns the connection that the link is part of.
func (l *Link) Session() *Session { return l.session }

// Dialect returns the dialect that the link speaks.
func (l *Link) Dialect() *wire.Dialect { return l.dialect }

// AwaitsAnswers reports, from Opened on, whether the peer may wait for confirmations of the envelopes that it sends.
func (l *Link) AwaitsAnswers() bool { return l.awaits }

// Run speaks a dialect on the connection until it ends, and returns why. One call for each dialect.
func (s *Session) Run(d *wire.Dialect, t Transport) error {
	l := &Link{session: s, dialect: d, transport: t}
	if err := s.add(l); err != nil {
		return err
	}
	s.handler.Greet(l)
	err := l.read()
	s.Close(err)
	s.handler.Closed(l, s.Reason())
	s.remove(l)
	return s.Reason()
}

func (s *Session) add(l *Link) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return s.closed
	}
	for _, other := range s.links {
		if other.dialect == l.dialect {
			return fault.Errorf("session", fault.Exists, "%s runs already on this connection", l.dialect)
		}
	}
	s.links = append(s.links, l)
	s.writer.start()
	return nil
}

func (s *Session) remove(l *Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.links {
		if other == l {
			s.links = append(s.links[:i], s.links[i+1:]...)
			return
		}
	}
}

// read shakes hands and then takes packets until the connection ends.
func (l *Link) read() error {
	s := l.session
	if err := l.handshake(); err != nil {
		return err
	}
	for {
		code, payload, err := l.transport.ReadPacket()
		if err != nil {
			return err
		}
		if l.dialect.NeedsTrust(code) && !s.Trusted() {
			continue // nobody asked for it
		}
		packet, err := l.dialect.Decode(code, payload, s.max())
		if err != nil {
			return fault.E("session", fault.Invalid, err, "the peer sent what cannot be read: "+err.Error())
		}
		pause, err := s.handler.Received(l, packet, len(payload))
		if err != nil {
			return err
		}
		if pause > 0 && !l.wait(pause) {
			return s.Reason()
		}
	}
}

// wait lets time pass; it reports false if the connection ended meanwhile.
func (l *Link) wait(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.session.done:
		return false
	}
}

var errHandshake = errors.New("the peer did not say hello in time")

func (l *Link) handshake() error {
	s := l.session
	late := time.AfterFunc(HandshakeTimeout, func() {
		s.Close(fault.E("session", fault.Timeout, errHandshake, "the peer did not say hello within "+HandshakeTimeout.String()))
	})
	code, payload, err := l.transport.ReadPacket()
	if !late.Stop() {
		return s.Reason()
	}
	if err != nil {
		return err
	}
	hello, err := l.dialect.DecodeHello(code, payload)
	if err != nil {
		return fault.E("session", fault.Invalid, err, "the peer's hello cannot be read: "+err.Error())
	}
	l.awaits = l.dialect.AwaitsAnswers(payload)
	return s.handler.Opened(l, hello)
}
