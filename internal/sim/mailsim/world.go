package mailsim

import (
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/sim/agenda"
)

// epoch is the true time at which every run starts.
var epoch = time.Unix(1_600_000_000, 0)

// world is everything there is.
type world struct {
	plan  Plan
	rand  *rand.Rand
	now   time.Duration
	queue agenda.Agenda
	trace hash.Hash64
	log   func(string) // nil: nobody reads

	heal    time.Duration // all faults that are not lasting end
	servers []*server
	clients []*client
	byHash  map[envelope.Hash]*envelope.Envelope // all that was ever sent
	topics  []envelope.Topic
	made    uint64 // envelopes, so that none is like another

	report   Report
	failures []string
	told     map[string]bool // failures that are not told again
}

func newWorld(p Plan) *world {
	return &world{plan: p, rand: rand.New(rand.NewPCG(p.Seed, 77)), trace: fnv.New64a(), log: p.Log,
		byHash: make(map[envelope.Hash]*envelope.Envelope), told: make(map[string]bool)}
}

// at lets something happen at a later time; what is due at the same time happens in the order in which it was asked for.
func (w *world) at(t time.Duration, do func()) {
	w.queue.Put(max(t, w.now), do)
}

func (w *world) after(d time.Duration, do func()) { w.at(w.now+d, do) }

// maxEvents bounds a run: one that goes on for longer asks itself in circles.
const maxEvents = 3_000_000

// runUntil lets everything happen that is due before end.
func (w *world) runUntil(end time.Duration) {
	for {
		at, do, ok := w.queue.Next(end)
		if !ok {
			break
		}
		w.now = at
		do()
		if w.report.Events++; w.report.Events == maxEvents {
			w.failf("the world does not come to rest: %d events", maxEvents)
			w.queue.Clear()
		}
	}
	w.now = end
}

// maxFailures is how many failures a report describes.
const maxFailures = 20

func (w *world) failf(format string, a ...any) {
	w.note("FAILURE "+format, a...)
	if len(w.failures) < maxFailures {
		w.failures = append(w.failures, fmt.Sprintf("%11.3f s  ", w.now.Seconds())+fmt.Sprintf(format, a...))
	}
}

// failOnce is failf for what is found again and again.
func (w *world) failOnce(key, format string, a ...any) {
	if !w.told[key] {
		w.told[key] = true
		w.failf(format, a...)
	}
}

// note puts a fact into the trace.
func (w *world) note(format string, a ...any) {
	line := fmt.Sprintf("%11.3f  ", w.now.Seconds()) + fmt.Sprintf(format, a...)
	w.trace.Write([]byte(line))
	if w.log != nil {
		w.log(line)
	}
}

// between draws a duration.
func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rand.Int64N(int64(to-from)))
}

// chance is true in so many cases of 1.
func (w *world) chance(p float64) bool { return w.rand.Float64() < p }

// fault is chance as long as there are faults.
func (w *world) fault(p float64) bool { return w.now < w.heal && w.chance(p) }

// second is the true time as envelopes have it.
func (w *world) second() uint32 { return uint32(epoch.Add(w.now).Unix()) }

// share gives a number from 0 to 1 that is a hash's own, another one for each salt.
func share(h envelope.Hash, salt byte) float64 {
	x := uint32(h[0]^salt)<<16 | uint32(h[1]^salt*31)<<8 | uint32(h[2]^salt*7)
	x *= 2654435761
	return float64(x>>8) / (1 << 24)
}
