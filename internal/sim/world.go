package sim

import (
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/sim/agenda"
)

// epoch is the true time at which every run starts.
var epoch = time.Unix(1_600_000_000, 0)

// world is a network and everything in it.
type world struct {
	rand  *rand.Rand
	now   time.Duration
	queue agenda.Agenda
	trace hash.Hash64
	steps int

	tickets uint64

	nodes    []*node
	wires    []*wire
	conns    gossip.Conn
	posts    []*posted
	byHash   map[envelope.Hash]*posted
	failures []string
}

func newWorld(seed uint64) *world {
	return &world{rand: rand.New(rand.NewPCG(seed, 0)), trace: fnv.New64a(), byHash: make(map[envelope.Hash]*posted)}
}

// at lets something happen at a later time; what is due at the same time happens in the order in which it was asked for.
func (w *world) at(t time.Duration, do func()) {
	w.queue.Put(max(t, w.now), do)
}

func (w *world) after(d time.Duration, do func()) { w.at(w.now+d, do) }

// runUntil lets everything happen that is due before end.
func (w *world) runUntil(end time.Duration) {
	for {
		at, do, ok := w.queue.Next(end)
		if !ok {
			break
		}
		w.now = at
		do()
	}
	w.now = end
}

// maxFailures is how many failures a report describes.
const maxFailures = 20

func (w *world) failf(format string, a ...any) {
	if len(w.failures) < maxFailures {
		w.failures = append(w.failures, fmt.Sprintf("%9.3f s  ", w.now.Seconds())+fmt.Sprintf(format, a...))
	}
}

// note puts a fact into the trace.
func (w *world) note(format string, a ...any) {
	fmt.Fprintf(w.trace, "%d ", w.now)
	fmt.Fprintf(w.trace, format, a...)
}

// between draws a duration.
func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rand.Int64N(int64(to-from)))
}

// wire is a line between two nodes. While it is up, one connection runs on it, with a link for each network.
type wire struct {
	ends      [2]*node
	networks  int
	latency   time.Duration
	bandwidth float64 // bytes a second
	wanted    bool    // the nodes try to be connected
	up        bool
	conn      gossip.Conn
	stalled   time.Duration // nothing leaves before then
	stallEnd  time.Duration // end of the last stall, for judging who was cut for it
	dir       [2]direction
}

// direction is what flows from ends[i].
type direction struct {
	free  time.Duration // the line is busy until then
	known map[envelope.Hash]bool
}

// connect brings a wire up, if both nodes run; else they try again later.
func (w *world) connect(l *wire) {
	if l.up || !l.wanted {
		return
	}
	if !l.ends[0].up || !l.ends[1].up {
		w.after(time.Second, func() { w.connect(l) })
		return
	}
	w.conns++
	l.up, l.conn = true, w.conns
	w.note("connect %d %d-%d", l.conn, l.ends[0].id, l.ends[1].id)
	for i := range l.ends {
		l.dir[i] = direction{free: w.now, known: make(map[envelope.Hash]bool)}
	}
	for i, from := range l.ends {
		pow, bloom := from.machine.Requirement()
		for n := range l.networks {
			ev := gossip.Joined{
				Conn: l.conn, Network: gossip.Network(n), Source: fmt.Sprint("node ", from.id),
				Require: gossip.Requirement{MinPoW: pow, Bloom: bloom},
			}
			w.transmit(l, i, 200, nil, func(to *node) { w.step(to, ev) })
		}
	}
}

// disconnect takes a wire down: what is under way is lost. The nodes try to connect again after a while.
func (w *world) disconnect(l *wire, again time.Duration) {
	if !l.up {
		return
	}
	w.note("disconnect %d", l.conn)
	l.up = false
	for _, n := range l.ends {
		for net := range l.networks {
			w.step(n, gossip.Left{Conn: l.conn, Network: gossip.Network(net)})
		}
	}
	w.after(again, func() { w.connect(l) })
}

// transmit sends so many bytes from one end. left is called when they are on the line, arrived at the other end.
func (w *world) transmit(l *wire, from, bytes int, left func(), arrived func(to *node)) {
	conn, d := l.conn, &l.dir[from]
	start := max(w.now, d.free, l.stalled)
	d.free = start + time.Duration(float64(bytes)/l.bandwidth*float64(time.Second))
	if left != nil {
		w.at(d.free, func() {
			if l.up && l.conn == conn {
				left()
			}
		})
	}
	w.at(d.free+l.latency, func() {
		if l.up && l.conn == conn {
			arrived(l.ends[1-from])
		}
	})
}

// stall keeps everything from leaving for a while.
func (w *world) stall(l *wire, span time.Duration) {
	l.stalled = max(l.stalled, w.now+span) // it may be stalled already
	l.stallEnd = l.stalled + 12*time.Second
	for i := range l.dir {
		l.dir[i].free = max(l.dir[i].free, l.stalled)
	}
}
