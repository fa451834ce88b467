package sim

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

// node is a simulated node: a machine, a wrong clock and a sink.
type node struct {
	id      int
	full    bool // wants every topic
	archive bool // confirms what it keeps, and sometimes fails to
	skew    time.Duration
	wires   []*wire
	topics  map[envelope.Topic]bool // wanted, unless full

	up       bool
	life     int // how often it was started
	machine  *gossip.Machine
	due      time.Duration // of the next tick
	accepted map[envelope.Hash]*acceptance
	archived map[envelope.Hash]bool
	acks     map[envelope.Hash][]envelope.Hash // by ticket: what would be acknowledged
	failing  bool                              // the archive's disk does
	known    time.Duration                     // since when its stamps are right; never before start
	right    bool
}

// acceptance is when and how an envelope came to a node in its present life.
type acceptance struct {
	at   time.Duration
	hops int
}

// start begins a node's life, with an empty pool.
func (w *world) start(n *node) {
	n.up, n.right = true, false
	n.life++
	n.machine = gossip.New(gossip.Config{
		Seed: w.rand.Uint64(), NoiseSeed: uint64(n.id), Full: n.full, SinkConfirms: n.archive, PostDelay: postDelay,
	})
	n.accepted = make(map[envelope.Hash]*acceptance)
	n.archived = make(map[envelope.Hash]bool)
	n.acks = make(map[envelope.Hash][]envelope.Hash)
	n.due = -1
	w.note("start %d", n.id)
	w.want(n)
	for _, l := range n.wires {
		w.connect(l)
	}
}

// crash ends it: the pool and what it was about to do are gone.
func (w *world) crash(n *node) {
	if !n.up {
		return
	}
	w.note("crash %d", n.id)
	n.up = false
	for _, l := range n.wires {
		w.disconnect(l, w.between(time.Second, 3*time.Second))
	}
}

// want tells a node's interest to its machine.
func (w *world) want(n *node) {
	if n.full {
		return
	}
	topics := []envelope.Topic{}
	for i := range topicCount {
		if t := topicOf(i); n.topics[t] {
			topics = append(topics, t)
		}
	}
	w.step(n, gossip.Wanted{Owner: "chat", Topics: topics})
}

// local is the node's clock.
func (n *node) local(now time.Duration) time.Time { return epoch.Add(now + n.skew) }

// step gives an event to a node's machine and carries out what it says.
func (w *world) step(n *node, ev gossip.Event) {
	if !n.up {
		return
	}
	w.steps++
	for _, action := range n.machine.Step(n.local(w.now), ev) {
		switch a := action.(type) {
		case gossip.Send:
			w.send(n, a)
		case gossip.Accept:
			w.accept(n, a)
		case gossip.Ack:
			w.acknowledge(n, a)
		case gossip.Announce:
			w.announce(n, a)
		case gossip.Disconnect:
			w.cut(n, a)
		case gossip.Pause:
			w.failf("node %d pauses a connection without limits", n.id)
		case gossip.Skew:
			w.note("skew %d %v", n.id, a)
		case gossip.Posted:
			if a.Err != nil {
				w.failf("node %d refuses its own post: %v", n.id, a.Err)
			}
		}
	}
	w.watchClock(n)
	w.schedule(n)
}

// schedule asks for the tick that the machine wants.
func (w *world) schedule(n *node) {
	at, ok := n.machine.Deadline()
	if !ok {
		n.due = -1
		return
	}
	due := max(at.Sub(epoch)-n.skew, w.now)
	if due == n.due {
		return
	}
	n.due = due
	life := n.life
	w.at(due, func() {
		if n.life == life && n.due == due {
			n.due = -1
			w.step(n, gossip.Tick{})
		}
	})
}

// stampError is how far the node's stamps are from the true time.
func (w *world) stampError(n *node) time.Duration {
	return n.machine.NetworkTime(n.local(w.now)).Sub(epoch.Add(w.now))
}

// watchClock notes since when a node's stamps are good enough for all others.
func (w *world) watchClock(n *node) {
	off := w.stampError(n)
	right := off >= -stampLate && off <= stampEarly
	if right && !n.right {
		n.known = w.now
	}
	n.right = right
}

func (w *world) wireOf(n *node, c gossip.Conn) (l *wire, end int) {
	for _, l := range n.wires {
		if l.conn == c && l.up {
			if l.ends[0] == n {
				return l, 0
			}
			return l, 1
		}
	}
	return nil, 0
}

func (w *world) send(n *node, a gossip.Send) {
	l, end := w.wireOf(n, a.Conn)
	if l == nil {
		return // it broke in this very moment
	}
	for _, e := range a.List {
		h := e.Hash()
		if l.dir[end].known[h] {
			w.failf("node %d sends %x twice on one connection, or back", n.id, h[:4])
		}
		l.dir[end].known[h] = true
		w.note("send %d %x", n.id, h[:8])
	}
	if len(a.List) == 0 || a.Bytes > packetLimit {
		w.failf("node %d sends %d envelopes in %d bytes", n.id, len(a.List), a.Bytes)
	}
	w.transmit(l, end, a.Bytes, func() {
		w.step(n, gossip.Drained{Conn: a.Conn, Network: a.Network, Bytes: a.Bytes})
	}, func(to *node) {
		ev := gossip.Received{Conn: a.Conn, Network: a.Network, List: a.List, Bytes: a.Bytes, WantAck: to.archive}
		if to.archive {
			w.tickets++
			binary.BigEndian.PutUint64(ev.Ticket[:], w.tickets)
			for _, e := range a.List {
				to.acks[ev.Ticket] = append(to.acks[ev.Ticket], e.Hash())
			}
		}
		// What it takes it must not send back.
		back := l.dir[1-end].known
		for _, e := range a.List {
			back[e.Hash()] = true
		}
		w.step(to, ev)
		for _, e := range a.List {
			if _, ok := to.machine.Lookup(e.Hash()); !ok {
				delete(back, e.Hash())
			}
		}
	})
}

func (w *world) accept(n *node, a gossip.Accept) {
	h := a.Envelope.Hash()
	w.note("accept %d %x", n.id, h[:8])
	p := w.byHash[h]
	if got := n.accepted[h]; (got != nil) != a.Again {
		w.failf("node %d accepts %x, which it has: %v, again: %v", n.id, h[:4], got != nil, a.Again)
	}
	if n.accepted[h] == nil {
		n.accepted[h] = &acceptance{at: w.now, hops: w.hops(n, a)}
		if !n.full && !n.topics[p.topic] && !a.Own {
			p.stray++
		}
	}
	if n.archive {
		w.keep(n, h)
	}
}

// hops is how many links an envelope crossed on its way.
func (w *world) hops(n *node, a gossip.Accept) int {
	if a.Own {
		return 0
	}
	if l, end := w.wireOf(n, a.From); l != nil {
		if got := l.ends[1-end].accepted[a.Envelope.Hash()]; got != nil {
			return got.hops + 1
		}
	}
	return 1
}

// keep is the archive: it answers after a while, and sometimes that it could not.
func (w *world) keep(n *node, h envelope.Hash) {
	life := n.life
	w.after(w.between(time.Millisecond, 50*time.Millisecond), func() {
		if n.life != life {
			return
		}
		outcome := gossip.Durable
		if n.failing {
			outcome = gossip.Retry
		} else {
			n.archived[h] = true
		}
		w.step(n, gossip.Resolved{Hash: h, Outcome: outcome})
	})
}

// acknowledge checks that nothing is acknowledged that was not kept.
func (w *world) acknowledge(n *node, a gossip.Ack) {
	refused := make(map[envelope.Hash]bool)
	for _, r := range a.Refused {
		refused[r.Hash] = true
	}
	for _, h := range n.acks[a.Ticket] {
		p := w.byHash[h]
		if !n.archived[h] && !refused[h] && n.accepted[h] != nil {
			w.failf("node %d acknowledges %x, which it has not archived", n.id, p.hash[:4])
		}
	}
	delete(n.acks, a.Ticket)
}

func (w *world) announce(n *node, a gossip.Announce) {
	w.note("announce %d", n.id)
	for _, l := range n.wires {
		if !l.up {
			continue
		}
		end := 0
		if l.ends[1] == n {
			end = 1
		}
		conn := l.conn
		for net := range l.networks {
			w.transmit(l, end, 100, nil, func(to *node) {
				w.step(to, gossip.Required{Conn: conn, Network: gossip.Network(net), MinPoW: a.MinPoW, Bloom: a.Bloom})
			})
		}
	}
}

// cut carries out a Disconnect. No node here does anything bad, so only those may be cut whose line has stalled.
func (w *world) cut(n *node, a gossip.Disconnect) {
	w.note("cut %d %s", n.id, a.Reason)
	l, _ := w.wireOf(n, a.Conn)
	if l == nil {
		return
	}
	if !strings.Contains(a.Reason, "slow reader") || w.now > l.stallEnd {
		w.failf("node %d cuts an honest peer: %s", n.id, a.Reason)
	}
	w.after(0, func() { w.disconnect(l, w.between(time.Second, 3*time.Second)) })
}
