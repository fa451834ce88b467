package relay

import (
	"math"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/wire"
)

// Post takes an own envelope into the pool and sends it on, after a short random delay. As long as it is pooled, peers that
// connect later get it too, and each one's confirmation is told to Config.Progress; posting it again meanwhile is no error
// and has no effect. Where the envelope breaks the rules that peers apply, the error wraps an *envelope.Refusal.
func (r *Relay) Post(env *envelope.Envelope) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fault.E("post", fault.Closed, nil, "this node stops")
	}
	r.answers = r.answers[:0]
	r.step(gossip.Post{Envelope: env})
	for _, a := range r.answers {
		if a.Hash == env.Hash() {
			return a.Err
		}
	}
	return fault.E("post", fault.Internal, nil, "the envelope got no answer")
}

// Resolve takes the keeper's answers.
func (r *Relay) Resolve(list []gossip.Resolved) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.keeping -= len(list)
	now := r.cfg.Now()
	for _, ev := range list {
		for _, action := range r.machine.Step(now, ev) {
			r.perform(action)
		}
	}
	r.arm(now)
}

// PostDirect sends an envelope to one connected peer only, unchecked and unpooled. The error is of kind NotFound if the
// peer is not connected.
func (r *Relay) PostDirect(peer [32]byte, env *envelope.Envelope) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.find(peer)
	if c == nil {
		return notConnected("post")
	}
	for network := range gossip.Network(len(r.cfg.Dialects)) {
		l := c.links[network]
		if l == nil {
			continue
		}
		frames, err := l.link.Dialect().Encode(wire.Direct{List: []*envelope.Envelope{env}})
		if err != nil {
			return err
		}
		l.link.Send(frames...)
		return nil
	}
	return notConnected("post")
}

// Trust lets a connected peer send direct envelopes until its connection ends. The error is of kind NotFound if the
// peer is not connected.
func (r *Relay) Trust(peer [32]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.find(peer)
	if c == nil {
		return notConnected("trust")
	}
	if c.trusted == nil {
		c.trusted = c.session.Trust()
	}
	return nil
}

// Connected reports whether the peer is connected now.
func (r *Relay) Connected(peer [32]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.find(peer) != nil
}

func notConnected(op string) error {
	return fault.E(op, fault.NotFound, nil, "that peer is not connected")
}

// find returns the connection with a node on which a link is open. The lock is held.
func (r *Relay) find(peer [32]byte) *conn {
	for _, c := range r.conns {
		if c.session.Peer().ID == peer && len(c.links) > 0 {
			return c
		}
	}
	return nil
}

// Want says which topics an owner wants; nil for everything. It replaces what the owner wanted before.
func (r *Relay) Want(owner string, topics []envelope.Topic) {
	r.event(gossip.Wanted{Owner: owner, Topics: topics})
}

// Unwant says that an owner wants nothing any more.
func (r *Relay) Unwant(owner string) { r.event(gossip.Unwanted{Owner: owner}) }

// SetMinPoW changes the least proof of work that is accepted and tells the peers.
func (r *Relay) SetMinPoW(pow float64) error {
	if math.IsNaN(pow) || math.IsInf(pow, 0) || pow < 0 {
		return fault.Errorf("set PoW", fault.Invalid, "a proof of work of %g cannot be required", pow)
	}
	r.event(gossip.SetMinPoW{MinPoW: pow})
	return nil
}

// SetMaxSize changes the size of the largest envelope that is accepted, in bytes.
func (r *Relay) SetMaxSize(bytes int) error {
	if bytes < 1 || bytes > envelope.MaxSizeLimit {
		return fault.Errorf("set size", fault.Invalid, "the largest envelope may have 1 to %d bytes, not %d", envelope.MaxSizeLimit, bytes)
	}
	r.event(gossip.SetMaxSize{Bytes: bytes})
	return nil
}

// SetBloom replaces the bloom filter that the interests make up, and tells the peers.
func (r *Relay) SetBloom(bloom envelope.Bloom) error {
	r.event(gossip.SetBloom{Bloom: &bloom})
	return nil
}

func (r *Relay) event(ev gossip.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step(ev)
}

// Now returns the time by which own envelopes are stamped: the clock, or the peers' if it disagrees with theirs.
func (r *Relay) Now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.machine.NetworkTime(r.cfg.Now())
}

// Peer is a connected peer as the relay sees it.
type Peer struct {
	Conn         uint64
	Dialects     []string
	MinPoW       float64 // that it requires
	Full         bool    // it wants every topic
	EnvelopesIn  uint64
	EnvelopesOut uint64
}

// Status is a snapshot of a Relay.
type Status struct {
	Stats     gossip.Stats
	Counters  Counters
	Peers     []Peer // by connection
	MinPoW    float64
	Bloom     *envelope.Bloom // what we want; nil for everything
	MaxSize   int
	Skew      time.Duration // what is added to our clock; 0 when it agrees
	SkewKnown bool
}

// Status returns a snapshot.
func (r *Relay) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := Status{Stats: r.machine.Stats(), Counters: r.counters, MaxSize: r.machine.MaxSize(), Skew: r.skew, SkewKnown: r.skewed}
	st.MinPoW, st.Bloom = r.machine.Requirement()
	for id, c := range r.conns {
		p := Peer{Conn: uint64(id), MinPoW: c.minPoW, Full: c.full, EnvelopesIn: c.in, EnvelopesOut: c.out}
		for _, l := range c.links {
			p.Dialects = append(p.Dialects, l.link.Dialect().String())
		}
		slices.Sort(p.Dialects)
		st.Peers = append(st.Peers, p)
	}
	slices.SortFunc(st.Peers, func(a, b Peer) int { return int(a.Conn) - int(b.Conn) })
	return st
}

// Relayed returns the bytes that were passed on for others today, by UTC day, and how many may be; 0 for no limit.
func (r *Relay) Relayed() (today, limit int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.machine.Stats()
	return st.Relayed.Bytes, st.RelayPerDay
}

// Tune changes limits of the pool and of peers while the relay runs.
func (r *Relay) Tune(t gossip.Tune) { r.event(t) }
