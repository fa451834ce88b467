package mailnet

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/session"
)

// Bounds of a mail/1 connection, besides those that the protocol has.
const (
	mail1Budget = 64 << 20         // bytes of one answer
	mail1Bad    = 16               // requests that break the rules, before the connection ends
	mail1Joins  = 8                // tokens that a connection may try
	mail1Stall  = 30 * time.Second // without credit, the rest of an answer is given up
	mail1Look   = 10 * time.Second // between looks at what we announce and at who stalls
)

// mail1Config is what a mail/1 connection is made of.
type mail1Config struct {
	Server Server // nil when this node is no mail server
	Name   string // of the mail server, for people
	// Join makes a node a member for a token; nil when nobody can join. It may be slow.
	Join func(token string, node [32]byte) (Membership, error)
	// Member reports whether a node is a member, for announcements; nil for not known.
	Member func(node [32]byte) bool
	Now    func() time.Time // the clock
	Log    *slog.Logger     // nil for none
}

// mail1Conn is both sides of mail/1 on one connection. Its reader waits for nothing but packets: requests go to the mail
// server, which returns at once, and what is to be written to the writer. There, control goes first and is bounded by
// session.MaxQueued; answers wait one by one, a window of the mail server each, and take turns.
type mail1Conn struct {
	cfg  mail1Config
	peer session.Peer
	net  session.Transport

	wake    chan struct{} // something to write
	over    chan struct{} // closed with reason
	hello   chan struct{} // closed when theirs has come
	joiners sync.WaitGroup

	// Of the reader only.
	bad, joins int

	mu       sync.Mutex
	reason   error // why the connection ended
	control  []mail1Frame
	waiting  int // bytes of control
	answers  map[uint64]*mail1Answer
	turns    []*mail1Answer // those with packets to write, the next one first
	asks     map[uint64]*mail1Ask
	lastID   uint64
	theirs   mail1.Hello
	greeting bool // theirs has come
	joined   bool // the peer has become a member on this connection
	ours     mail1.Hello
}

// mail1Frame is one packet to write.
type mail1Frame struct {
	code    uint64
	payload []byte
	done    func(error) // called once, without the lock; may be nil
	last    bool        // of an answer; needs no credit
}

func newMail1Conn(cfg mail1Config, peer session.Peer, t session.Transport) *mail1Conn {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &mail1Conn{
		cfg: cfg, peer: peer, net: t,
		wake: make(chan struct{}, 1), over: make(chan struct{}), hello: make(chan struct{}),
		answers: map[uint64]*mail1Answer{}, asks: map[uint64]*mail1Ask{},
	}
}

// run speaks until the connection ends, and returns why. When it returns nothing of the connection runs any more, all
// our requests have ended, and theirs are cancelled.
func (c *mail1Conn) run() error {
	c.greet()
	late := time.AfterFunc(session.HandshakeTimeout, func() {
		select {
		case <-c.hello:
		default:
			c.close(fault.E("mail/1", fault.Timeout, nil, "the peer did not say hello within "+session.HandshakeTimeout.String()))
		}
	})
	defer late.Stop()
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	err := c.read()
	c.close(err)
	<-written
	c.joiners.Wait()
	c.end()
	c.cfg.Log.Debug("mail/1 ended", "conn", c.peer.Conn, "reason", c.ended())
	return c.ended()
}

// close ends the connection. Only the first reason counts.
func (c *mail1Conn) close(reason error) {
	c.mu.Lock()
	first := c.reason == nil
	if first {
		c.reason = reason
		close(c.over)
	}
	c.mu.Unlock()
	if first {
		c.net.Close(reason)
	}
}

// ended returns why the connection ended, nil while it lives.
func (c *mail1Conn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// end cleans up after reader and writer.
func (c *mail1Conn) end() {
	c.mu.Lock()
	answers, asks := c.answers, c.asks
	c.answers, c.asks, c.turns, c.control = nil, nil, nil, nil
	reason := c.reason
	c.mu.Unlock()
	for _, a := range answers {
		a.takeBack(reason)
	}
	for _, a := range asks {
		a.take(mail1Part{err: errGone(reason)})
	}
}

// greeted waits for the peer's hello.
func (c *mail1Conn) greeted(ctx context.Context) error {
	select {
	case <-c.hello:
		return nil
	case <-c.over:
		return errGone(c.ended())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// says returns the peer's hello; the zero Hello before it came.
func (c *mail1Conn) says() mail1.Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.theirs
}

// serves reports whether the peer has said that it is a mail server.
func (c *mail1Conn) serves() bool { return c.says().Flags&mail1.Serves != 0 }

func (c *mail1Conn) read() error {
	for {
		code, payload, err := c.net.ReadPacket()
		if err != nil {
			return err
		}
		if c.unasked(code) {
			continue
		}
		p, err := mail1.Decode(code, payload)
		if err == nil {
			err = c.handle(p, len(payload))
		}
		if err != nil {
			return err
		}
	}
}

// unasked reports whether a packet is of an answer while nothing was asked: it crossed a cancel, and is not worth reading.
func (c *mail1Conn) unasked(code uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.greeting && len(c.asks) == 0 && (code == mail1.CodeError || code >= mail1.CodeEnvelopes)
}

func (c *mail1Conn) handle(p mail1.Packet, size int) error {
	if h, ok := p.(mail1.Hello); ok {
		c.mu.Lock()
		first := !c.greeting
		c.theirs, c.greeting = h, true
		c.mu.Unlock()
		if first {
			close(c.hello)
		}
		return nil
	}
	select {
	case <-c.hello:
	default:
		return breach("the peer's first packet was not a hello")
	}
	switch p := p.(type) {
	case mail1.Page, mail1.Hashes, mail1.Fetch, mail1.Held, mail1.Join, mail1.Bad, mail1.Cancel, mail1.Credit:
		return c.serve(p)
	case mail1.Error, mail1.Envelopes, mail1.HashList, mail1.HeldList, mail1.Joined, mail1.End:
		return c.answered(p, size)
	}
	return nil
}

// breach is the reason to end a connection with a peer that breaks the protocol.
func breach(text string) error { return fault.E("mail/1", fault.Invalid, nil, text) }

// push queues a control packet.
func (c *mail1Conn) push(p mail1.Packet) {
	c.mu.Lock()
	c.pushLocked(p)
	c.mu.Unlock()
}

// pushLocked queues a control packet. Who does not read what we send is cut.
func (c *mail1Conn) pushLocked(p mail1.Packet) {
	if c.reason != nil {
		return
	}
	code, payload := mail1.Encode(p)
	if c.waiting > 0 && c.waiting+len(payload) > session.MaxQueued {
		reason := fault.Errorf("mail/1", fault.Limit, "the peer does not read: %d bytes wait for it", c.waiting)
		go c.close(reason) // it calls the transport, and needs the lock
		return
	}
	c.control = append(c.control, mail1Frame{code: code, payload: payload})
	c.waiting += len(payload)
	c.rouse()
}

// rouse wakes the writer.
func (c *mail1Conn) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *mail1Conn) write() {
	look := time.NewTicker(mail1Look)
	defer look.Stop()
	for {
		f, ok := c.next()
		if !ok {
			select {
			case <-c.wake:
			case <-look.C:
				c.look()
			case <-c.over:
				return
			}
			continue
		}
		err := c.ended()
		if err == nil {
			err = c.net.WritePacket(f.code, f.payload)
		}
		if f.done != nil {
			f.done(err)
		}
		if err != nil {
			c.close(err)
			return
		}
		select {
		case <-look.C:
			c.look()
		default:
		}
	}
}

// next takes the packet to write next, if there is one: control, or one of the first answer that may send.
func (c *mail1Conn) next() (mail1Frame, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.control) > 0 {
		f := c.control[0]
		c.control[0] = mail1Frame{}
		c.control = c.control[1:]
		c.waiting -= len(f.payload)
		return f, true
	}
	for i, a := range c.turns {
		f := a.queue[0]
		if !f.last && a.credit <= 0 {
			continue
		}
		a.queue[0] = mail1Frame{}
		a.queue = a.queue[1:]
		a.moved = c.cfg.Now()
		if f.last {
			delete(c.answers, a.id)
		} else {
			a.credit -= int64(len(f.payload))
		}
		c.turns = slices.Delete(c.turns, i, i+1)
		if len(a.queue) > 0 {
			c.turns = append(c.turns, a)
		}
		return f, true
	}
	return mail1Frame{}, false
}

// look does what is due now and then: it says hello again if that has changed, and gives up answers without credit.
func (c *mail1Conn) look() {
	c.greet()
	var stalled []*mail1Answer
	c.mu.Lock()
	for _, a := range c.turns {
		if a.credit <= 0 && c.cfg.Now().Sub(a.moved) >= mail1Stall {
			stalled = append(stalled, a)
		}
	}
	c.mu.Unlock()
	for _, a := range stalled {
		a.fail(fault.Errorf("mail/1", fault.Timeout, "no credit came for %v: ask again from where the answer stopped", mail1Stall), 0)
	}
}

// greet says hello, if it differs from what we said before in more than what changes with every envelope.
func (c *mail1Conn) greet() {
	h := c.announce()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.joined {
		h.Flags |= mail1.Member
	}
	said := c.ours
	said.Next = h.Next
	if h != said {
		c.ours = h
		c.pushLocked(h)
	}
}

// announce makes our hello.
func (c *mail1Conn) announce() mail1.Hello {
	if c.cfg.Server == nil {
		return mail1.Hello{Version: mail1.Version}
	}
	a := c.cfg.Server.Announce()
	h := mail1.Hello{
		Version: mail1.Version, Flags: mail1.Serves, Epoch: a.Epoch, Next: a.Next, Oldest: unix(a.Oldest), Closing: unix(a.Closing),
		Keep: uint64(a.Keep / time.Second), Age: uint64(a.Age / time.Second),
		MaxTopics: mail1.MaxTopics, MaxHashes: mail1.MaxHashes, MaxBudget: mail1Budget, Name: c.cfg.Name,
	}
	if a.MembersOnly {
		h.Flags |= mail1.MembersOnly
	}
	if c.cfg.Member != nil && c.cfg.Member(c.peer.ID) {
		h.Flags |= mail1.Member
	}
	return h
}

// unix is a time in Unix seconds, 0 for the zero time.
func unix(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.Unix(), 0))
}
