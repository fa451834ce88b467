package gossip

import (
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// conn is one connection with its links.
type conn struct {
	id      Conn
	slot    int // its bit in each entry's set of those who know it
	links   []*link
	trusted bool
	closing bool // a Disconnect was issued
	gone    bool
	joined  time.Duration
	source  *source // nil: exempt from limits
	budget  bucket
	points  float64
	judged  time.Duration // when points were last brought up to date
	tickets int           // open ones
	drained time.Duration // when credit was returned last, on any link
	view    view          // of the time
}

// networks is what an envelope of this connection belongs to: all networks that run on it. It comes only once, whichever of
// them its sender has it from.
func (c *conn) networks() (n Networks) {
	for _, l := range c.links {
		n |= In(l.net)
	}
	return n
}

func (c *conn) link(n Network) *link {
	for _, l := range c.links {
		if l.net == n {
			return l
		}
	}
	return nil
}

// link is one dialect on a connection. It walks the pool's log and sends what its peer wants and does not have.
type link struct {
	conn *conn
	net  Network
	require
	at       int           // place in the log up to which everything was considered
	inFlight int           // bytes sent whose credit was not returned
	window   int           // bytes that may be in flight: less on a slow line, so that what is fresh need not wait long
	progress time.Duration // when credit was returned last, or the flight began
	flushed  time.Duration // when the log was last looked at
	paced    time.Duration // no packet before this, by the peer's announced rates
	rescan   time.Duration // when the log was last considered from its start
	again    bool          // consider it once more, as soon as rescanEvery allows
	full     bool          // an envelope waits for credit
	idle     bool          // counted in Machine.idle
	held     bool          // something was held back that the day's budget did not allow
}

// require is a peer's Requirement, ready for use.
type require struct {
	minPoW         float64
	bloom          *envelope.Bloom
	topics         map[envelope.Topic]struct{} // nil: the filter counts
	packets, bytes uint64
}

// wants reports whether an entry may be sent to the peer at all.
func (r *require) wants(e *entry) bool {
	if e.pow < r.minPoW {
		return false
	}
	if r.topics != nil {
		_, ok := r.topics[e.topic]
		return ok
	}
	return r.bloom == nil || r.bloom.AdmitsTopic(e.topic)
}

func (r *require) setTopics(topics []envelope.Topic) {
	r.topics = make(map[envelope.Topic]struct{}, len(topics))
	for _, t := range topics {
		r.topics[t] = struct{}{}
	}
	r.bloom = nil
}

func (r *require) setBloom(b *envelope.Bloom) {
	r.topics, r.bloom = nil, nil
	if b != nil && !b.IsFull() {
		own := *b
		r.bloom = &own
	}
}

func (m *Machine) joined(ev Joined) {
	c := m.conns[ev.Conn]
	if c == nil {
		c = &conn{id: ev.Conn, slot: m.slots.take(m.pool), trusted: ev.Trusted, joined: m.mono, judged: m.mono}
		c.view.source = ev.Source
		if ev.Source != "" && !ev.Trusted {
			c.source = m.sources.join(ev.Source, m.mono, &m.cfg)
			c.budget = bucket{tokens: m.cfg.PeerBurst, at: m.mono}
		}
		m.conns[ev.Conn] = c
	}
	if c.link(ev.Network) != nil || c.closing {
		return
	}
	l := &link{conn: c, net: ev.Network & 15, progress: m.mono, flushed: m.mono - m.cfg.Coalesce, window: m.cfg.InFlight / 4}
	l.minPoW = ev.Require.MinPoW
	l.packets, l.bytes = ev.Require.Packets, ev.Require.Bytes
	if ev.Require.ByTopics {
		l.setTopics(ev.Require.Topics)
	} else {
		l.setBloom(ev.Require.Bloom)
	}
	c.links = append(c.links, l)
	m.links = append(m.links, l)
	m.unsettle = true
}

func (m *Machine) left(ev Left) {
	c := m.conns[ev.Conn]
	if c == nil {
		return
	}
	l := c.link(ev.Network)
	if l == nil {
		return
	}
	c.links = slices.DeleteFunc(c.links, func(x *link) bool { return x == l })
	m.links = slices.DeleteFunc(m.links, func(x *link) bool { return x == l })
	if len(c.links) == 0 {
		c.gone = true
		delete(m.conns, c.id)
		m.slots.release(c.slot)
		if c.source != nil {
			m.sources.leave(c.source)
		}
	}
	m.unsettle = true
}

func (m *Machine) required(ev Required) {
	l := m.link(ev.Conn, ev.Network)
	if l == nil {
		return
	}
	wider := false
	if ev.MinPoW != nil {
		wider = *ev.MinPoW < l.minPoW
		l.minPoW = *ev.MinPoW
	}
	switch {
	case ev.ByTopics:
		// Whether that is wider than a filter was is not worth finding out.
		wider = true
		l.setTopics(ev.Topics)
	case ev.Bloom != nil:
		wider = wider || l.topics != nil || l.bloom != nil && !l.bloom.Admits(ev.Bloom)
		l.setBloom(ev.Bloom)
	}
	if ev.Packets != nil {
		l.packets = *ev.Packets
	}
	if ev.Bytes != nil {
		l.bytes = *ev.Bytes
	}
	l.again = l.again || wider
	m.unsettle = true
}

func (m *Machine) link(c Conn, n Network) *link {
	if conn := m.conns[c]; conn != nil && !conn.closing {
		return conn.link(n & 15)
	}
	return nil
}

// moved keeps the links' places true when the log is compacted.
func (m *Machine) moved(places []int32) {
	for _, l := range m.links {
		l.at = int(places[l.at])
	}
}

// slots hands out connection slots: small numbers, used again once no entry bears the mark of the connection before.
type slots struct {
	free  []int
	stale []int // released, marks still set
	high  int
}

// staleSlots is how many slots are released before the pool is walked to clear their marks.
const staleSlots = 64

func (s *slots) take(p *pool) int {
	if len(s.free) == 0 && len(s.stale) >= staleSlots {
		p.forget(s.stale)
		s.free, s.stale = s.stale, nil
	}
	if n := len(s.free); n > 0 {
		slot := s.free[n-1]
		s.free = s.free[:n-1]
		return slot
	}
	s.high++
	return s.high - 1
}

func (s *slots) release(slot int) { s.stale = append(s.stale, slot) }
