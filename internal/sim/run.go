package sim

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

// The times of a run.
const (
	warmUp    = 20 * time.Second // until the first fault
	heal      = 60 * time.Second // all faults are over
	lastPost  = 95 * time.Second
	finish    = 115 * time.Second // everything has arrived
	postDelay = 200 * time.Millisecond

	settle     = 20 * time.Second // after the heal, in which connections come back and pools are exchanged
	stampLate  = 6 * time.Second  // a stamp that far behind the true time does not matter
	stampEarly = 1 * time.Second  // nor one that far ahead, even where a clock is 8 s behind
	maxHops    = 16               // on a network of 50 nodes at rest
	maxDelay   = 10 * time.Second // there: lines are as slow as 50 kB/s, and some envelopes have 200 kB

	topicCount  = 24
	packetLimit = 1 << 20
)

// Plan says what to simulate. Zero fields take defaults.
type Plan struct {
	Seed  uint64
	Nodes int // [50]
}

// Report is the outcome of a run.
type Report struct {
	Plan      Plan
	Failures  []string // what went wrong; at most 20 are described
	Trace     uint64   // a hash of everything that happened
	Steps     int      // events that machines took
	Posts     int      // envelopes posted
	Required  int      // deliveries that had to happen, and were checked
	WorstHops int      // while the network was at rest
	Worst     time.Duration
	Stray     int // deliveries of envelopes that were not asked for, by the filters' nature
}

// posted is an envelope that somebody wrote.
type posted struct {
	hash    envelope.Hash
	topic   envelope.Topic
	at      time.Duration
	expiry  time.Duration // by its stamp
	from    *node
	life    int // of its author
	stamped bool
	stray   int
	live    bool // somebody had it at the heal, or it was posted later
}

// Run simulates one network.
func Run(p Plan) Report {
	if p.Nodes == 0 {
		p.Nodes = 50
	}
	w := newWorld(p.Seed)
	w.build(p.Nodes)
	w.plotPosts()
	w.plotFaults()
	w.at(heal, w.census)
	w.runUntil(finish)
	r := Report{Plan: p, Steps: w.steps, Posts: len(w.posts)}
	w.check(&r)
	r.Failures, r.Trace = w.failures, w.trace.Sum64()
	return r
}

func topicOf(i int) envelope.Topic {
	return envelope.Topic{byte(i * 37), byte(i * 11), byte(i * 101), byte(i)}
}

// build makes the nodes and wires. Full nodes with tolerable clocks form the backbone: a ring with chords. All others hang
// on some of it, for what a node does not want it does not pass on.
func (w *world) build(count int) {
	for i := range count {
		n := &node{id: i, full: i < count*3/5, topics: make(map[envelope.Topic]bool)}
		n.archive = n.full && w.rand.IntN(4) == 0
		switch {
		case i >= count-2 || i >= count*3/5-2 && n.full:
			n.skew = time.Duration(1-2*w.rand.IntN(2)) * w.between(50*time.Second, 70*time.Second)
		case w.rand.IntN(4) == 0:
			n.skew = time.Duration(w.rand.Int64N(17)-8) * time.Second
		}
		if !n.full {
			for range 1 + w.rand.IntN(5) {
				n.topics[topicOf(w.rand.IntN(topicCount))] = true
			}
		}
		w.nodes = append(w.nodes, n)
	}
	backbone := w.nodes[:count/2]
	for i, n := range backbone {
		w.wire(n, backbone[(i+1)%len(backbone)])
		w.wire(n, backbone[w.rand.IntN(len(backbone))])
	}
	for _, n := range w.nodes[count/2:] {
		for len(n.wires) < 4 {
			w.wire(n, backbone[w.rand.IntN(len(backbone))])
		}
	}
	for _, n := range w.nodes {
		w.at(w.between(0, 3*time.Second), func() { w.start(n) })
	}
}

func (w *world) wire(a, b *node) {
	for _, l := range a.wires {
		if a == b || l.ends[0] == b || l.ends[1] == b {
			return
		}
	}
	if a == b {
		return
	}
	l := &wire{ends: [2]*node{a, b}, wanted: true, networks: 1 + w.rand.IntN(2)}
	l.latency = w.between(time.Millisecond, 120*time.Millisecond)
	l.bandwidth = float64(int(50_000) << w.rand.IntN(8))
	w.wires = append(w.wires, l)
	a.wires, b.wires = append(a.wires, l), append(b.wires, l)
}

// plotPosts lets nodes write, more or less evenly, until lastPost.
func (w *world) plotPosts() {
	for at := 3 * time.Second; at < lastPost; at += w.between(100*time.Millisecond, 500*time.Millisecond) {
		n := w.nodes[w.rand.IntN(len(w.nodes))]
		topic := topicOf(w.rand.IntN(topicCount))
		size := 32 << w.rand.IntN(8)
		if w.rand.IntN(50) == 0 {
			size = 200_000
		}
		ttl := 60 + w.rand.IntN(200)
		if w.rand.IntN(3) == 0 {
			ttl = 15 // chatter, which is late soon
		}
		w.at(at, func() { w.post(n, topic, uint32(ttl), size) })
	}
}

func (w *world) post(n *node, topic envelope.Topic, ttl uint32, size int) {
	if !n.up {
		return
	}
	data := make([]byte, size)
	binary.BigEndian.PutUint64(data, uint64(len(w.posts)))
	stamp := n.machine.NetworkTime(n.local(w.now)).Unix()
	env := envelope.New(uint32(stamp)+ttl, ttl, topic, data, 0)
	p := &posted{hash: env.Hash(), topic: topic, at: w.now, from: n, life: n.life}
	p.expiry = time.Unix(int64(env.Expiry()), 0).Sub(epoch)
	w.watchClock(n)
	p.stamped = n.right
	w.posts = append(w.posts, p)
	w.byHash[p.hash] = p
	w.step(n, gossip.Post{Envelope: env})
}

// plotFaults lets things go wrong between warmUp and heal.
func (w *world) plotFaults() {
	during := func() time.Duration { return w.between(warmUp, heal-5*time.Second) }
	for range 40 {
		l := w.wires[w.rand.IntN(len(w.wires))]
		w.at(during(), func() { w.disconnect(l, w.between(time.Second, 8*time.Second)) })
	}
	for range 10 {
		l, span := w.wires[w.rand.IntN(len(w.wires))], w.between(time.Second, 20*time.Second)
		w.at(w.between(warmUp, heal-20*time.Second), func() { w.stall(l, span) })
	}
	for range 6 {
		n, down := w.nodes[w.rand.IntN(len(w.nodes))], w.between(time.Second, 10*time.Second)
		w.at(w.between(warmUp, heal-10*time.Second), func() {
			if n.up {
				w.crash(n)
				w.after(down, func() { w.start(n) })
			}
		})
	}
	for range 3 {
		n, span := w.nodes[w.rand.IntN(len(w.nodes))], w.between(time.Second, 15*time.Second)
		w.at(w.between(warmUp, heal-15*time.Second), func() {
			n.failing = true
			w.after(span, func() { n.failing = false })
		})
	}
	for range 10 {
		n := w.nodes[w.rand.IntN(len(w.nodes))]
		add, drop := topicOf(w.rand.IntN(topicCount)), topicOf(w.rand.IntN(topicCount))
		w.at(during(), func() {
			delete(n.topics, drop)
			n.topics[add] = true
			if n.up {
				w.want(n)
			}
		})
	}
	for range w.rand.IntN(3) {
		w.at(w.between(warmUp, heal-25*time.Second), func() { w.part(w.between(5*time.Second, 20*time.Second)) })
	}
}

// part splits the network in two for a while.
func (w *world) part(span time.Duration) {
	side := make([]bool, len(w.nodes))
	for i := range side {
		side[i] = w.rand.IntN(2) == 0
	}
	w.note("part")
	for _, l := range w.wires {
		if side[l.ends[0].id] == side[l.ends[1].id] {
			continue
		}
		l.wanted = false
		w.disconnect(l, time.Second)
		w.after(span, func() {
			l.wanted = true
			w.connect(l)
		})
	}
}

// String is one line, and another for each failure.
func (r Report) String() string {
	s := fmt.Sprintf("seed %d: %d nodes, %d posts, %d required deliveries, %d steps, at rest at most %d hops and %v, trace %016x",
		r.Plan.Seed, r.Plan.Nodes, r.Posts, r.Required, r.Steps, r.WorstHops, r.Worst.Round(time.Millisecond), r.Trace)
	for _, f := range r.Failures {
		s += "\n  " + f
	}
	return s
}
