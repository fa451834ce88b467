package relay

import (
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/wire"
)

// maxFollowed bounds the packets of own posts whose confirmation is awaited on a link.
const maxFollowed = 256

// conn is a connection with what runs on it.
type conn struct {
	session *session.Session
	links   map[gossip.Network]*link
	users   int // calls of Serve
	in, out uint64
	minPoW  float64
	full    bool
	trusted func() // ends the trust that the user asked for
}

// link is a greeted link.
type link struct {
	link     *session.Link
	followed []followed
}

// followed is a packet with own posts that the peer has not confirmed yet.
type followed struct {
	digest envelope.Hash
	hashes []envelope.Hash
}

func newConn(s *session.Session) *conn {
	return &conn{session: s, links: map[gossip.Network]*link{}}
}

func (l *link) follow(digest envelope.Hash, hashes []envelope.Hash) {
	if len(l.followed) == maxFollowed {
		l.followed = append(l.followed[:0], l.followed[1:]...)
	}
	l.followed = append(l.followed, followed{digest, hashes})
}

// refused forgets the envelopes of a packet that the peer did not take.
func (l *link) refused(report wire.Report) {
	for i, f := range l.followed {
		if f.digest != report.Digest {
			continue
		}
		no := map[envelope.Hash]bool{}
		for _, r := range report.Refused {
			no[r.Hash] = true
		}
		kept := f.hashes[:0]
		for _, h := range f.hashes {
			if !no[h] {
				kept = append(kept, h)
			}
		}
		l.followed[i].hashes = kept
	}
}

// confirmed takes the packet off the list and returns what the peer has.
func (l *link) confirmed(digest envelope.Hash) []envelope.Hash {
	for i, f := range l.followed {
		if f.digest == digest {
			l.followed = append(l.followed[:i], l.followed[i+1:]...)
			return f.hashes
		}
	}
	return nil
}

// at finds a greeted link. The lock is held.
func (r *Relay) at(l *session.Link) (*conn, *link, gossip.Conn, gossip.Network) {
	id, network := gossip.Conn(l.Session().Peer().Conn), r.networks[l.Dialect()]
	c := r.conns[id]
	if c == nil {
		return nil, nil, id, network
	}
	return c, c.links[network], id, network
}

// Greet implements session.Handler.
func (r *Relay) Greet(l *session.Link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, _, _, network := r.at(l)
	pow, bloom := r.machine.Requirement()
	// Under the lock: an announcement that comes now is queued behind the hello.
	l.SendHello(wire.Hello{MinPoW: pow, Bloom: bloom, Confirms: true})
	c.links[network] = &link{link: l}
}

// Opened implements session.Handler.
func (r *Relay) Opened(l *session.Link, h wire.Hello) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, _, id, network := r.at(l)
	peer := l.Session().Peer()
	require := gossip.Requirement{MinPoW: h.MinPoW, Bloom: h.Bloom, ByTopics: h.ByTopics, Topics: h.Topics}
	if h.Packets != nil {
		require.Packets = rate(h.Packets)
	}
	if h.Bytes != nil {
		require.Bytes = rate(h.Bytes)
	}
	c.minPoW, c.full = h.MinPoW, !h.ByTopics && (h.Bloom == nil || h.Bloom.IsFull())
	r.step(gossip.Joined{Conn: id, Network: network, Require: require, Source: peer.Source, Trusted: peer.Trusted})
	if r.cfg.Mail != nil {
		r.cfg.Mail.Opened(l)
	}
	return nil
}

// rate is what of a peer's limits concerns one sender.
func rate(l *wire.Limits) uint64 {
	switch {
	case l.IP == 0:
		return l.Peer
	case l.Peer == 0:
		return l.IP
	}
	return min(l.IP, l.Peer)
}

// Received implements session.Handler.
func (r *Relay) Received(l *session.Link, p wire.Packet, size int) (time.Duration, error) {
	if r.mail(l, p) {
		return 0, nil
	}
	ev := gossip.Received{Bytes: size}
	if list, ok := p.(wire.Envelopes); ok {
		ev.List = list.List
		if ev.WantAck = l.AwaitsAnswers(); ev.WantAck {
			ev.Ticket = list.Digest() // hashes the packet: outside the lock
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c, link, id, network := r.at(l)
	switch p := p.(type) {
	case wire.Envelopes:
		ev.Conn, ev.Network = id, network
		c.in += uint64(len(ev.List))
		r.step(ev)
	case wire.Update:
		r.require(c, id, network, p)
	case wire.Acknowledged:
		if hashes := link.confirmed(p.Digest); len(hashes) > 0 {
			r.step(gossip.Confirmed{Conn: id, Network: network, Hashes: hashes})
		}
	case wire.Report:
		link.refused(p)
	case wire.Direct:
		r.counters.Direct += uint64(len(p.List))
		for _, e := range p.List {
			r.sinks.push(offer{env: e.Detach(), direct: true})
		}
	case wire.Request, wire.SyncRequest:
		r.counters.Requests++
	default:
		r.counters.Ignored++
	}
	pause := max(r.pauses[id], r.pressure())
	delete(r.pauses, id)
	return pause, nil
}

// keepHigh is how many envelopes may wait for the keeper before peers are read more slowly.
const keepHigh = 16384

// pressure returns for how long a peer should not be read. The lock is held.
func (r *Relay) pressure() time.Duration {
	if r.keeping > keepHigh {
		return sinkPause
	}
	return r.sinks.pressure()
}

// mail passes on what concerns history, and reports whether that was all.
func (r *Relay) mail(l *session.Link, p wire.Packet) bool {
	if r.cfg.Mail == nil {
		return false
	}
	switch p.(type) {
	case wire.Request, wire.SyncRequest:
		r.cfg.Mail.Asked(l, p)
		r.mu.Lock()
		r.counters.Requests++
		r.mu.Unlock()
		return true
	case wire.Direct, wire.Complete, wire.SyncResponse:
		return r.cfg.Mail.Answered(l, p)
	}
	return false
}

func (r *Relay) require(c *conn, id gossip.Conn, network gossip.Network, u wire.Update) {
	ev := gossip.Required{Conn: id, Network: network, MinPoW: u.MinPoW, Bloom: u.Bloom, ByTopics: u.ByTopics, Topics: u.Topics}
	if u.Packets != nil {
		n := rate(u.Packets)
		ev.Packets = &n
	}
	if u.Bytes != nil {
		n := rate(u.Bytes)
		ev.Bytes = &n
	}
	if u.MinPoW != nil {
		c.minPoW = *u.MinPoW
	}
	if u.Bloom != nil {
		c.full = u.Bloom.IsFull()
	}
	if u.ByTopics {
		c.full = false
	}
	r.step(ev)
}

// Closed implements session.Handler.
func (r *Relay) Closed(l *session.Link, reason error) {
	if r.cfg.Mail != nil {
		r.cfg.Mail.Closed(l)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c, _, id, network := r.at(l)
	delete(c.links, network)
	r.step(gossip.Left{Conn: id, Network: network})
	r.cfg.Log.Debug("a link ended", "conn", id, "dialect", l.Dialect().String(), "reason", reason)
}
