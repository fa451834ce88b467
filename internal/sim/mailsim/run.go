package mailsim

import (
	"fmt"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
)

// The times of a run, after its faults have ended.
const (
	firstSync = 30 * time.Minute // everybody asks for everything,
	eachSync  = 10 * time.Minute // then of each server by itself,
	lastSync  = 100 * time.Minute
	judgement = 3 * time.Hour // what should have come has
	theEnd    = 10 * time.Hour
)

// Break says in which way the clients are broken on purpose.
type Break uint8

// The ways. Each must make runs fail, or the checks have no teeth.
const (
	Unbroken      Break = iota
	LoseCommits         // now and then the store says that it kept a page, and has kept only the claims
	EarlyKept           // the store says that it kept a page a while before it has; a crash may come in between
	SwallowPacket       // now and then a packet of an answer does not reach the machine
	FalseHeld           // a server that does not have a letter is heard to hold it
	NewAgain            // the store takes what it has for new, now and then
	Breaks              // their number
)

// Plan says what to simulate.
type Plan struct {
	Seed  uint64
	Break Break
	Log   func(line string) // gets every fact of the trace; nil for nobody
}

// Report is the outcome of a run.
type Report struct {
	Plan     Plan
	Failures []string // what went wrong; at most 20 are described
	Trace    uint64   // a hash of everything that happened
	Events   int
	Servers  int
	Clients  int
	Posts    int // envelopes that somebody sent
	Crashes  int // of clients
	Asks     int // questions to servers
	Syncs    int // that were finished, once
	Letters  int
	Claims   int // that were checked against what the server said
	Required int // envelopes that a client had to have, and were checked
	Gaps     int // at the end
}

// String is one line, and another for each failure.
func (r Report) String() string {
	s := fmt.Sprintf("seed %d: %d servers, %d clients, %d posts, %d crashes, %d questions, %d syncs, %d letters; %d claims and %d deliveries checked, %d gaps left, trace %016x",
		r.Plan.Seed, r.Servers, r.Clients, r.Posts, r.Crashes, r.Asks, r.Syncs, r.Letters, r.Claims, r.Required, r.Gaps, r.Trace)
	for _, f := range r.Failures {
		s += "\n  " + f
	}
	return s
}

// Run simulates one world.
func Run(p Plan) Report {
	w := newWorld(p)
	w.report.Plan = p
	w.report.Plan.Log = nil
	w.heal = w.between(10*time.Hour, 30*time.Hour)
	w.build()
	w.plotMail()
	w.plotServers()
	for _, c := range w.clients {
		c.plot()
	}
	w.at(w.heal, w.mend)
	w.runUntil(w.heal + judgement)
	w.judge()
	w.runUntil(w.heal + theEnd)
	w.judgeEnd()
	w.report.Failures, w.report.Trace = w.failures, w.trace.Sum64()
	return w.report
}

// build makes the topics, servers and clients.
func (w *world) build() {
	for i := range 4 + w.rand.IntN(12) {
		w.topics = append(w.topics, envelope.Topic{byte(i * 37), byte(i * 11), byte(i * 101), byte(i)})
	}
	old := w.chance(0.1) // a world without mail/1
	for i := range 2 + w.rand.IntN(4) {
		w.servers = append(w.servers, w.newServer(i, w.drawTraits(old)))
	}
	for i := range 1 + w.rand.IntN(3) {
		w.clients = append(w.clients, w.newClient(i))
	}
	w.report.Servers, w.report.Clients = len(w.servers), len(w.clients)
}

// drawTraits draws what a server is like.
func (w *world) drawTraits(old bool) traits {
	t := traits{form: history.ByArrival, perPacket: 1 + w.rand.IntN(30), latency: w.between(5*time.Millisecond, 300*time.Millisecond)}
	t.gap = w.between(time.Millisecond, 200*time.Millisecond)
	t.think = w.between(time.Millisecond, 50*time.Millisecond)
	if old || w.chance(0.35) {
		t.form = history.Paged
		if w.chance(0.35) {
			t.form = history.Bare
		}
	}
	if w.chance(0.3) {
		t.skew = w.between(-90*time.Second, 90*time.Second).Truncate(time.Second)
	}
	if t.topics, t.hashes = 1000, 4096; w.chance(0.2) {
		t.topics, t.hashes = 1+w.rand.IntN(4), 1+w.rand.IntN(10)
	}
	if t.promise = 1; w.chance(0.3) {
		t.promise = w.rand.Float64()
	}
	if w.chance(0.3) {
		t.age = w.between(2*time.Hour, 10*time.Hour).Truncate(time.Second)
	}
	for _, p := range []*float64{&t.mute, &t.busy, &t.stall, &t.cut, &t.junk, &t.repeat} {
		if w.chance(0.3) {
			*p = w.rand.Float64() * 0.15
		}
	}
	if w.chance(0.3) {
		t.think = w.between(100*time.Millisecond, 12*time.Second)
	}
	for _, p := range []*float64{&t.omitPage, &t.omitList, &t.withhold} {
		if w.chance(0.15) {
			*p = w.rand.Float64() * 0.4
		}
	}
	t.lasting = w.chance(0.4)
	t.denied = w.chance(0.04)
	return t
}

// plotServers lets servers crash, lose their disks, and prune.
func (w *world) plotServers() {
	for _, s := range w.servers {
		for range w.rand.IntN(5) {
			down := w.between(time.Second, 40*time.Minute)
			w.at(w.between(0, w.heal-time.Hour), func() { s.crash(down) })
		}
		if w.chance(0.2) {
			w.at(w.between(time.Hour, w.heal-time.Hour), s.loseDisk)
		}
		if s.age > 0 {
			w.every(w.between(time.Minute, 30*time.Minute), s.prune)
		}
	}
}

// every lets something happen again and again.
func (w *world) every(d time.Duration, do func()) {
	w.after(d, func() {
		if do(); w.now < w.heal+theEnd {
			w.every(d, do)
		}
	})
}

// mend ends the faults: from here on everybody is there.
func (w *world) mend() {
	w.note("the faults end")
	for _, s := range w.servers {
		s.up = true
	}
	for _, c := range w.clients {
		c.settle()
		w.after(firstSync, func() { c.sync(syncAll()) })
		for i, s := range w.servers {
			w.after(firstSync+time.Duration(i+1)*eachSync, func() { c.sync(syncFrom(s)) })
		}
		w.after(lastSync, func() { c.sync(syncAll()) })
	}
}
