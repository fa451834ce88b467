package devp2p

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/ethereum/go-ethereum/p2p"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const (
	maxClientName = 96              // runes of a peer's name that are kept
	endGrace      = 2 * time.Second // from telling a peer goodbye to closing the socket under it
	frameSlack    = 64 << 10        // room for headers in the check of frames
	frameFactor   = 4               // read buffers have up to this many times a frame's size free
)

// ConnID numbers the connections of one Server, from 1. It is never used twice.
type ConnID uint64

// link is one TCP connection, from accept or dial to its end.
type link struct {
	id      ConnID
	srv     *Server
	fd      net.Conn
	inbound bool
	prefix  string
	remote  string     // address, for Peers when asked
	local   netip.Addr // our side's address
	opened  time.Time
	timer   *time.Timer // ends the handshake
	rest    rest        // between reads
	quiet   quiet

	static, trusted atomic.Bool
	eager           atomic.Bool                 // read at once, never by the clock
	in, out         atomic.Uint64               // bytes on the wire
	proven          atomic.Pointer[nodeaddr.ID] // who shook hands, before admission

	admission sync.Once
	decided   chan struct{} // closed after admission
	done      chan struct{} // closed after the last protocol returned

	// Written under srv.mu; read freely by the protocols after decided.
	peer      *p2p.Peer
	node      nodeaddr.ID
	key       nodeaddr.Key
	client    string
	protocols []string
	admitted  bool
	refusal   error
	since     time.Time

	// Under srv.mu.
	why      error // our reason for ending it, the first counts
	endText  string
	finished bool
	lived    time.Duration
}

// end tells the peer why and closes the connection, by force if it does not close soon. It does not wait.
func (l *link) end(why error) {
	l.srv.mu.Lock()
	if l.why == nil && !ended(why) { // that it is over is no reason
		l.why = why
	}
	peer := l.peer
	l.srv.mu.Unlock()
	if peer == nil {
		l.fd.Close()
		return
	}
	timer := time.AfterFunc(endGrace, func() { l.fd.Close() })
	peer.Disconnect(discReason(why))
	go func() {
		<-l.done
		timer.Stop()
	}()
}

// Conn is one protocol on one connection.
type Conn struct {
	link  *link
	proto string
	rw    p2p.MsgReadWriter
}

// ID returns the connection's number, the same for all protocols on it.
func (c *Conn) ID() ConnID { return c.link.id }

// Node returns the remote node's id, proven by the handshake.
func (c *Conn) Node() nodeaddr.ID { return c.link.node }

// PublicKey returns the remote node's key.
func (c *Conn) PublicKey() nodeaddr.Key { return c.link.key }

// Prefix returns the source prefix by which the remote is limited (nodeaddr.Prefix), "" for exempt. A connection that was
// dialled by name through a proxy has the host name.
func (c *Conn) Prefix() string { return c.link.prefix }

// Inbound reports whether the remote dialled us.
func (c *Conn) Inbound() bool { return c.link.inbound }

// Static reports whether the remote is a static peer now.
func (c *Conn) Static() bool { return c.link.static.Load() }

// Trusted reports whether the remote is trusted now.
func (c *Conn) Trusted() bool { return c.link.trusted.Load() }

// Client returns the name that the remote's program gave itself: printable, at most 96 characters, not to be believed.
func (c *Conn) Client() string { return c.link.client }

// Protocol returns name and version of the protocol, such as "name/6".
func (c *Conn) Protocol() string { return c.proto }

// Runs reports whether a protocol, named like "shh/6", runs on this connection.
func (c *Conn) Runs(label string) bool { return slices.Contains(c.link.protocols, label) }

// ReadPacket returns the next packet. The payload is the caller's own. A packet above the packet limit gives an error of
// kind Limit and its payload is dropped unread; after any error the connection is to be left. At the end of the connection
// the error is io.EOF. One caller at a time.
func (c *Conn) ReadPacket() (code uint64, payload []byte, err error) {
	msg, err := c.rw.ReadMsg()
	if err != nil {
		return 0, nil, err
	}
	if limit := c.link.srv.maxPacket.Load(); int64(msg.Size) > limit {
		c.link.srv.stats.oversize.Add(1)
		return 0, nil, fault.Errorf("devp2p: read packet", fault.Limit, "a packet of %d bytes came, more than the %d that are allowed", msg.Size, limit)
	}
	payload, err = take(msg)
	return msg.Code, payload, err
}

// take returns the payload without a copy where it can: p2p has copied it for this message alone and hands it out in a
// bytes.Reader, which writes all of it in one piece.
func take(msg p2p.Msg) ([]byte, error) {
	if r, ok := msg.Payload.(*bytes.Reader); ok && r.Len() == int(msg.Size) {
		var k keeper
		if _, err := r.WriteTo(&k); err != nil {
			return nil, err
		}
		return k, nil
	}
	payload := make([]byte, msg.Size)
	_, err := io.ReadFull(msg.Payload, payload)
	return payload, err
}

type keeper []byte

func (k *keeper) Write(p []byte) (int, error) {
	*k = p
	return len(p), nil
}

// WritePacket sends a packet and returns when the system has taken it; payload may then be used again. A remote that does
// not read makes it wait, up to 20 s. Safe for concurrent use.
func (c *Conn) WritePacket(code uint64, payload []byte) error {
	return c.rw.WriteMsg(p2p.Msg{Code: code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)})
}

// Close ends the connection with all its protocols and does not wait for it. The remote is told the devp2p reason that is
// nearest to the kind of reason: Invalid, Limit and others "subprotocol error", Busy "too many peers", Denied "useless
// peer", Timeout "read timeout", Closed "quitting", nil "requested"; Unavailable says nothing. The first reason counts, and
// its text is kept for events and Peers. An error that Run returns is treated in the same way.
func (c *Conn) Close(reason error) { c.link.end(reason) }

// runner makes the Run that p2p calls.
func (s *Server) runner(proto Protocol) func(*p2p.Peer, p2p.MsgReadWriter) error {
	return func(peer *p2p.Peer, rw p2p.MsgReadWriter) error {
		addr, ok := peer.RemoteAddr().(hidden)
		if !ok {
			return p2p.DiscProtocolError // no connection of ours
		}
		l := addr.link
		l.admission.Do(func() { s.admit(l, peer) })
		if !l.admitted {
			return discReason(l.refusal)
		}
		err := s.guard(&Conn{link: l, proto: proto.label(), rw: rw}, proto)
		s.mu.Lock()
		if l.why == nil && err != nil && !ended(err) {
			l.why = err
		}
		s.mu.Unlock()
		return discReason(err)
	}
}

// guard runs a protocol and turns a panic into an error.
func (s *Server) guard(c *Conn, proto Protocol) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.stats.panics.Add(1)
			s.cfg.Log.Error("protocol panicked; its connection ends", "conn", c.ID(), "protocol", c.proto, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			s.event(Event{Kind: Panicked, Conn: c.ID(), Node: c.Node(), Inbound: c.Inbound(), Text: panicText(c.proto)})
			err = errPanic
		}
	}()
	return proto.Run(c)
}

func panicText(proto string) string {
	return "a defect of this node: the protocol " + proto + " panicked"
}

func (p Protocol) label() string { return p.Name + "/" + strconv.FormatUint(uint64(p.Version), 10) }

// hidden is the only address of a connection that go-ethereum sees: its number. So none of its texts gives addresses away.
type hidden struct{ link *link }

func (hidden) Network() string { return "tcp" }

const hiddenPrefix = "connection "

func (h hidden) String() string { return hiddenPrefix + strconv.FormatUint(uint64(h.link.id), 10) }

// tracked is the connection as go-ethereum sees it: without addresses, counted, and without room for frames far above the
// packet limit. RLPx reads with all free room of its buffer, which is little more than the frame it waits for.
type tracked struct {
	net.Conn
	link *link
}

func (t tracked) Read(p []byte) (int, error) {
	if int64(len(p)) > t.link.srv.maxPacket.Load()*frameFactor+frameSlack {
		t.link.srv.stats.oversize.Add(1)
		return 0, errFrame
	}
	now := t.link.srv.cfg.Now
	if wait := t.link.rest.wait(now()); wait > 0 && !t.link.eager.Load() {
		t.link.quiet.begin()
		time.Sleep(wait)
	}
	n, err := t.link.quiet.read(t.Conn, p)
	t.link.rest.read(now(), n < len(p))
	t.link.in.Add(uint64(n))
	t.link.srv.stats.bytesIn.Add(uint64(n))
	return n, hide(err)
}

func (t tracked) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	t.link.out.Add(uint64(n))
	t.link.srv.stats.bytesOut.Add(uint64(n))
	return n, hide(err)
}

func (t tracked) RemoteAddr() net.Addr { return hidden{t.link} }
func (t tracked) LocalAddr() net.Addr  { return hidden{t.link} }

func hide(err error) error {
	if err == nil {
		return nil
	}
	return stripAddr(err)
}

// cleanName makes a peer's name for itself fit for a log line.
func cleanName(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxClientName {
			break
		}
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
