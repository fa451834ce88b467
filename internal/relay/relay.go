// Package relay runs the gossip machine over sessions: it holds the machine's lock and its timer, turns packets into
// events, carries actions out on links, and hands accepted envelopes to the sinks.
//
// Make a Relay with New, run each connection's dialects through Serve, and end with Close. Packets have been parsed and
// hashed on their connection's goroutine before the lock is taken, so it is held for look-ups only. All methods are safe
// for concurrent use.
package relay

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/wire"
)

// Codes of health conditions.
const (
	ClockSkew   = "clock-skew"   // our clock disagrees with our peers'
	RelayBudget = "relay-budget" // the day's bytes for others are spent
)

// MaxPacket is the largest packet that is read: all that RLPx carries. Peers put their whole pool into one packet for a
// newcomer, however large; who insists on the 1 MiB that nodes agree on is sent the same again each time it connects.
const MaxPacket = 1<<24 - 1

// Config is what a Relay is made of.
type Config struct {
	Gossip   gossip.Config
	Dialects []*wire.Dialect  // that are spoken; envelopes stay within one unless Gossip.Bridge
	Sinks    []Sink           // told of every accepted envelope, in this order
	Keeper   Keeper           // keeps accepted envelopes, and says when they are safe; nil when nobody does
	Mail     Mail             // asks for history and answers; nil when nobody does
	Now      func() time.Time // the clock
	// Progress says that one more peer confirmed an envelope that was posted here; peers is how many have. It is called
	// without locks, after the Sinks were told of the envelope, on their goroutine: it must return soon. May be nil.
	Progress func(hash envelope.Hash, peers int)
	Log      *slog.Logger
	Health   *health.Registry
}

// Sink takes accepted envelopes, one after the other. direct marks those that a trusted peer sent to us alone.
type Sink interface {
	Offer(env *envelope.Envelope, pow float64, direct bool)
}

// Keeper keeps accepted envelopes durably. Its methods return at once and never call the Relay.
type Keeper interface {
	// Keep is answered by Relay.Resolve, once. source is the address prefix that brought the envelope, "" for our own.
	Keep(env *envelope.Envelope, source string)
	// Refused is told of an envelope that gossip did not accept, and why.
	Refused(hash envelope.Hash, reason, source string)
}

// Mail is told of greeted links, and of the packets on them that are not gossip. Its methods are called on the links'
// own goroutines and return at once.
type Mail interface {
	Opened(l *session.Link)
	// Asked takes a wire.Request or wire.SyncRequest.
	Asked(l *session.Link, p wire.Packet)
	// Answered takes a wire.Direct, wire.Complete or wire.SyncResponse of a trusted peer, and reports whether somebody
	// waited for it.
	Answered(l *session.Link, p wire.Packet) bool
	Closed(l *session.Link)
}

// Relay joins sessions to the gossip machine.
type Relay struct {
	cfg      Config
	networks map[*wire.Dialect]gossip.Network
	sinks    *sinkQueue

	mu       sync.Mutex
	machine  *gossip.Machine
	timer    *time.Timer
	due      time.Time // when the timer fires; zero when it is stopped
	conns    map[gossip.Conn]*conn
	answers  []gossip.Posted // of the Step under way
	pauses   map[gossip.Conn]time.Duration
	skew     time.Duration
	skewed   bool
	counters Counters
	keeping  int // envelopes that the keeper has not answered
	closed   bool
}

// Counters are what a Relay counts beside the machine.
type Counters struct {
	Requests  uint64 // history requests
	Direct    uint64 // envelopes that trusted peers sent to us alone
	Confirmed uint64 // packets of own posts that peers confirmed
	Ignored   uint64 // packets without effect
}

// New makes a relay and starts its timer and its sinks.
func New(cfg Config) *Relay {
	cfg.Gossip.SinkConfirms, cfg.Gossip.TellRefusals = cfg.Keeper != nil, cfg.Keeper != nil
	r := &Relay{
		cfg:      cfg,
		networks: map[*wire.Dialect]gossip.Network{},
		machine:  gossip.New(cfg.Gossip),
		conns:    map[gossip.Conn]*conn{},
		pauses:   map[gossip.Conn]time.Duration{},
		sinks:    newSinkQueue(cfg.Sinks, cfg.Progress),
	}
	for i, d := range cfg.Dialects {
		r.networks[d] = gossip.Network(i)
	}
	r.timer = time.AfterFunc(time.Hour, r.tick)
	r.timer.Stop()
	return r
}

// Close ends all sessions and waits for the sinks to finish what was accepted.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	r.timer.Stop()
	var sessions []*session.Session
	for _, c := range r.conns {
		sessions = append(sessions, c.session)
	}
	r.mu.Unlock()
	for _, s := range sessions {
		s.Close(fault.E("relay", fault.Closed, nil, "this node stops"))
	}
	r.sinks.close()
}

// Serve speaks a dialect on a connection until it ends, and returns why. Calls with the same peer.Conn belong to one
// connection.
func (r *Relay) Serve(peer session.Peer, d *wire.Dialect, t session.Transport) error {
	id := gossip.Conn(peer.Conn)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return fault.E("relay", fault.Closed, nil, "this node stops")
	}
	c, ok := r.conns[id]
	if !ok {
		c = newConn(session.New(peer, r, func() int { return MaxPacket }))
		r.conns[id] = c
	}
	c.users++
	r.mu.Unlock()
	err := c.session.Run(d, t)
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.users--; c.users == 0 {
		delete(r.conns, id)
		delete(r.pauses, id)
	}
	return err
}

func (r *Relay) tick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due = time.Time{}
	r.step(gossip.Tick{})
}

// step gives an event to the machine, does what it says, and sets the timer. The lock is held.
func (r *Relay) step(ev gossip.Event) {
	if r.closed {
		return
	}
	now := r.cfg.Now()
	for _, action := range r.machine.Step(now, ev) {
		r.perform(action)
	}
	r.arm(now)
}

// arm sets the timer to the machine's deadline. The lock is held.
func (r *Relay) arm(now time.Time) {
	due, ok := r.machine.Deadline()
	if !ok {
		if !r.due.IsZero() {
			r.timer.Stop()
			r.due = time.Time{}
		}
		return
	}
	if !due.Equal(r.due) {
		r.due = due
		r.timer.Reset(max(due.Sub(now), 0))
	}
}

func (r *Relay) perform(action gossip.Action) {
	switch a := action.(type) {
	case gossip.Send:
		r.send(a)
	case gossip.Accept:
		r.accept(a)
	case gossip.Rejected:
		r.cfg.Keeper.Refused(a.Hash, reasonText(a.Reason), r.source(a.From))
	case gossip.Ack:
		r.acknowledge(a)
	case gossip.Announce:
		r.announce(a)
	case gossip.Pause:
		r.pauses[a.Conn] = max(r.pauses[a.Conn], a.For)
	case gossip.Disconnect:
		if c := r.conns[a.Conn]; c != nil {
			c.session.Close(fault.E("gossip", fault.Invalid, nil, a.Reason))
		}
	case gossip.Skew:
		r.reportSkew(a)
	case gossip.Posted:
		r.answers = append(r.answers, a)
	case gossip.Progress:
		r.counters.Confirmed++
		if r.cfg.Progress != nil {
			r.sinks.push(offer{progress: &a})
		}
	case gossip.RelayBudget:
		r.reportBudget(a)
	}
}

// accept hands an envelope to who wants it. Sinks see it once, the keeper until it could keep it.
func (r *Relay) accept(a gossip.Accept) {
	if !a.Again {
		r.sinks.push(offer{env: a.Envelope, pow: a.PoW})
	}
	if r.cfg.Keeper != nil {
		r.keeping++
		r.cfg.Keeper.Keep(a.Envelope, r.source(a.From))
	}
}

// source is the address prefix of a connection.
func (r *Relay) source(id gossip.Conn) string {
	if c := r.conns[id]; c != nil {
		return c.session.Peer().Source
	}
	return ""
}

func reasonText(reason envelope.Reason) string {
	if reason == 0 {
		return "pool-full"
	}
	return reason.String()
}

func (r *Relay) send(a gossip.Send) {
	c := r.conns[a.Conn]
	if c == nil || c.links[a.Network] == nil {
		return
	}
	l := c.links[a.Network]
	var ready func([]byte)
	if own := a.Own; len(own) > 0 {
		ready = func(payload []byte) {
			digest := envelope.Keccak256(payload)
			r.mu.Lock()
			defer r.mu.Unlock()
			l.follow(digest, own)
		}
	}
	l.link.SendEnvelopes(a.List, a.Bytes, ready, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		c.out += uint64(len(a.List))
		r.step(gossip.Drained{Conn: a.Conn, Network: a.Network, Bytes: a.Bytes})
	})
}

func (r *Relay) acknowledge(a gossip.Ack) {
	c := r.conns[a.Conn]
	if c == nil || c.links[a.Network] == nil {
		return
	}
	refused := make([]wire.Refused, len(a.Refused))
	for i, f := range a.Refused {
		refused[i] = wire.Refused{Hash: f.Hash, Text: f.Text}
	}
	l := c.links[a.Network].link
	l.Send(l.Dialect().Answer(a.Ticket, refused)...)
}

func (r *Relay) announce(a gossip.Announce) {
	for _, c := range r.conns {
		for _, l := range c.links {
			frames, err := l.link.Dialect().Encode(wire.Update{MinPoW: a.MinPoW, Bloom: a.Bloom})
			if err != nil {
				r.cfg.Log.Error("an announcement cannot be encoded", "err", err)
				continue
			}
			l.link.Send(frames...)
		}
	}
}

func (r *Relay) reportBudget(a gossip.RelayBudget) {
	if !a.Spent {
		r.cfg.Health.Clear(RelayBudget)
		return
	}
	r.cfg.Health.Set(RelayBudget, health.Warning, fmt.Sprintf("The %.4g MiB that may be passed on for others in a day (UTC) are "+
		"spent. Mail still comes in, and own messages leave, but until midnight peers can tell that those are yours. Raise "+
		"gossip.relay_per_day.", float64(a.Limit)/(1<<20)))
}

func (r *Relay) reportSkew(a gossip.Skew) {
	r.skew, r.skewed = a.Offset, a.Known
	if !a.Known || a.Offset == 0 {
		r.cfg.Health.Clear(ClockSkew)
		return
	}
	direction := "behind"
	if a.Offset < 0 {
		direction = "ahead of"
	}
	r.cfg.Health.Set(ClockSkew, health.Warning, fmt.Sprintf("This machine's clock is %v %s its peers'. Own messages are stamped "+
		"with their time. Set the clock, or switch on time synchronisation.", a.Offset.Abs().Round(time.Second), direction))
}
