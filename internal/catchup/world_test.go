package catchup_test

import (
	"container/heap"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
	"pgregory.net/rapid"
)

// world is a client with its store among simulated mail servers, on a clock of its own.
type world struct {
	t    rapid.TB
	rng  *rand.Rand
	now  time.Time
	heap events
	seq  int
	life int // of the machine: what was planned for an earlier one does not reach it

	servers []*mailServer
	cooling map[nodeaddr.ID]time.Time
	machine *catchup.Machine
	wants   []coverage.Want
	crash   float64 // at a commit
	config  catchup.Config

	// The store.
	mail    map[envelope.Hash]*envelope.Envelope
	claims  map[claimKey][]coverage.Claim
	missing map[envelope.Hash]coverage.Missing
	open    map[uint64]catchup.OpenFetch
	fail    error // of the next commits

	made     uint64
	cuts     int // connections that broke
	repeated int // envelopes that were had already
	syncs    uint64
	finished map[uint64]catchup.Report
	own      []catchup.Report
	notes    map[nodeaddr.ID][]directory.Event
	seen     map[nodeaddr.ID]map[envelope.Hash]bool
	asking   bool
}

type claimKey struct {
	topic  envelope.Topic
	server nodeaddr.ID
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

var start = time.Unix(1_700_000_000, 0)

func newWorld(t rapid.TB, seed uint64) *world {
	return &world{t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: start, cooling: map[nodeaddr.ID]time.Time{},
		mail: map[envelope.Hash]*envelope.Envelope{}, claims: map[claimKey][]coverage.Claim{},
		missing: map[envelope.Hash]coverage.Missing{}, open: map[uint64]catchup.OpenFetch{},
		finished: map[uint64]catchup.Report{}, notes: map[nodeaddr.ID][]directory.Event{},
		seen: map[nodeaddr.ID]map[envelope.Hash]bool{}}
}

// server adds one, behind those that are there.
func (w *world) server() *mailServer {
	s := &mailServer{w: w, id: nodeaddr.ID{byte(len(w.servers) + 1)}, latency: 20 * time.Millisecond, dial: 30 * time.Millisecond,
		keep: 30 * 24 * time.Hour, epoch: 1}
	w.servers = append(w.servers, s)
	return s
}

func topic(n int) envelope.Topic { return envelope.Topic{byte(n), 7} }

// want waits for topics since so long ago.
func (w *world) want(ago time.Duration, topics ...int) {
	for _, n := range topics {
		w.wants = append(w.wants, coverage.Want{Topic: topic(n), Since: uint32(w.now.Add(-ago).Unix())})
	}
	if w.machine != nil {
		w.step(catchup.Wanted{List: w.wants})
	}
}

// post makes an envelope that some servers get.
func (w *world) post(n int, ago time.Duration, at ...*mailServer) *envelope.Envelope {
	w.made++
	data := make([]byte, 100+w.rng.IntN(200))
	binary.BigEndian.PutUint64(data, w.made)
	env := envelope.New(uint32(w.now.Add(-ago).Unix())+50, 50, topic(n), data, w.made)
	for _, s := range at {
		s.put(env, ago)
	}
	return env
}

// boot starts the machine from the store.
func (w *world) boot() {
	c := w.config
	c.Wants, c.Seed = w.wants, 1
	for _, list := range w.claims {
		c.Claims = append(c.Claims, list...)
	}
	for _, x := range w.missing {
		c.Missing = append(c.Missing, x)
	}
	for _, o := range w.open {
		c.Open = append(c.Open, o)
	}
	w.life++
	for _, s := range w.servers {
		s.desired, s.up, s.open = false, false, nil
		s.tries++
	}
	w.machine = catchup.New(c)
	w.step(catchup.Candidates{List: w.choices()})
}

func (w *world) choices() []directory.Choice {
	var list []directory.Choice
	for _, s := range w.servers {
		if until, ok := w.cooling[s.id]; !ok || !w.now.Before(until) {
			list = append(list, directory.Choice{Server: s.id, HedgeAfter: 500 * time.Millisecond})
		}
	}
	return list
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	life := w.life
	heap.Push(&w.heap, event{w.now.Add(d), w.seq, func() {
		if life == w.life {
			do()
		}
	}})
}

// step feeds the machine and performs what it wants.
func (w *world) step(ev catchup.Event) {
	life := w.life
	for _, a := range slices.Clone(w.machine.Step(w.now, ev)) {
		if w.life != life {
			return // it crashed
		}
		w.perform(a)
	}
}

func (w *world) find(id nodeaddr.ID) *mailServer { return w.servers[id[0]-1] }

func (w *world) perform(a catchup.Action) {
	switch a := a.(type) {
	case catchup.Connect:
		w.find(a.Server).connect()
	case catchup.Disconnect:
		w.find(a.Server).disconnect()
	case catchup.Ask:
		w.find(a.Server).ask(a)
	case catchup.CancelAsk:
		if s := w.find(a.Server); s.open != nil && s.open.ask == a.Ask {
			s.open = nil
		}
	case catchup.Grant:
		w.find(a.Server).grant(a.Bytes)
	case catchup.Lookup:
		w.after(time.Millisecond, func() {
			have := make([]bool, len(a.Hashes))
			for i, h := range a.Hashes {
				_, have[i] = w.mail[h]
			}
			w.step(catchup.Looked{Lookup: a.Lookup, Have: have})
		})
	case catchup.Commit:
		w.after(2*time.Millisecond, func() { w.keep(a) })
	case catchup.Note:
		w.note(a)
	case catchup.Seen:
		if w.seen[a.Server] == nil {
			w.seen[a.Server] = map[envelope.Hash]bool{}
		}
		for _, h := range a.Hashes {
			w.seen[a.Server][h] = true
		}
	case catchup.Finished:
		if a.ID == 0 {
			w.own = append(w.own, a.Report)
			return
		}
		if _, twice := w.finished[a.ID]; twice {
			w.t.Fatalf("sync %d is finished twice", a.ID)
		}
		w.finished[a.ID] = a.Report
	}
}

// note is a very simple directory.
func (w *world) note(a catchup.Note) {
	w.notes[a.Server] = append(w.notes[a.Server], a.Event)
	wait := time.Duration(0)
	switch ev := a.Event.(type) {
	case directory.Failed:
		if wait = 10 * time.Second; fault.KindOf(ev.Err) == fault.Corrupt {
			wait = time.Hour
		}
	case directory.ConnectFailed:
		wait = 20 * time.Second
	}
	if wait == 0 || !w.asking {
		return
	}
	w.cooling[a.Server] = w.now.Add(wait)
	again := func() { w.step(catchup.Candidates{List: w.choices()}) }
	w.after(0, again)
	w.after(wait, again)
}

// keep is the store: a transaction, and perhaps a crash before or after it.
func (w *world) keep(c catchup.Commit) {
	fate := w.rng.Float64()
	if fate < w.crash/2 {
		w.boot()
		return
	}
	if w.fail != nil {
		w.step(catchup.Kept{Commit: c.Commit, Err: w.fail})
		return
	}
	kept := catchup.Kept{Commit: c.Commit}
	for _, env := range c.Envelopes {
		h := env.Hash()
		if _, ok := w.mail[h]; ok {
			w.repeated++
			continue
		}
		w.mail[h] = env
		kept.New++
		kept.NewBytes += int64(len(env.Raw()))
	}
	for _, x := range c.Missing {
		w.missing[x.Hash] = x
	}
	for _, h := range c.Found {
		delete(w.missing, h)
	}
	for _, o := range c.Open {
		w.open[o.ID] = o
	}
	for _, id := range c.Closed {
		delete(w.open, id)
	}
	for _, r := range c.Claims {
		w.claims[claimKey{r.Topic, r.Server}] = r.Claims
		w.check(r)
	}
	if fate < w.crash {
		w.boot()
		return
	}
	w.step(kept)
}

// check looks whether claims are true: the server was asked, and all that it had and shows is here or known to be missing.
func (w *world) check(r coverage.Replace) {
	s := w.find(r.Server)
	for _, c := range r.Claims {
		if c.To < c.From {
			continue
		}
		if asked, ok := s.lastAsk[r.Topic]; !ok || uint32(asked.Unix()) < c.To {
			w.t.Fatalf("%v is said to have answered about %v until %d; it was asked at %v", r.Server.Short(), r.Topic, c.To, asked.Unix())
		}
		had := slices.Clone(s.list)
		if !s.older { // those cannot say what they lost
			had = append(had, s.gone...)
		}
		for _, e := range had {
			sent, h := e.env.Sent(), e.env.Hash()
			if e.env.Topic() != r.Topic || sent < c.From || sent > c.To || uint32(e.at.Unix()) >= c.To || s.omitted(e.env) || sent < w.since(r.Topic) {
				continue
			}
			_, have := w.mail[h]
			_, known := w.missing[h]
			if !have && !known && !s.hid[h] {
				w.t.Fatalf("%v claims %+v, but %v, sent %d, arrival %d at %d, is not here", r.Server.Short(), c, h, sent, e.arrival, e.at.Unix())
			}
		}
	}
}

func (w *world) since(t envelope.Topic) uint32 {
	for _, x := range w.wants {
		if x.Topic == t {
			return x.Since
		}
	}
	return 1<<32 - 1
}

// next lets happen what comes next, not after a time; false for nothing.
func (w *world) next(until time.Time) bool {
	at, due := w.machine.Deadline()
	if due && at.Before(w.now) {
		w.t.Fatalf("a deadline is past")
	}
	if len(w.heap) > 0 && !w.heap[0].at.After(until) && (!due || !w.heap[0].at.After(at)) {
		ev := heap.Pop(&w.heap).(event)
		if ev.at.After(w.now) {
			w.now = ev.at
		}
		ev.do()
		return true
	}
	if due && !at.After(until) {
		w.now = at
		w.step(catchup.Tick{})
		return true
	}
	return false
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	until := w.now.Add(d)
	for steps := 0; w.next(until); steps++ {
		if steps > 2_000_000 {
			w.t.Fatal("no end")
		}
	}
	w.now = until
}

// sync catches up.
func (w *world) sync(o catchup.Options) catchup.Report {
	w.syncs++
	id := w.syncs
	w.step(catchup.Sync{ID: id, Options: o})
	until := w.now.Add(time.Hour)
	for {
		if r, ok := w.finished[id]; ok {
			return r
		}
		if !w.next(until) {
			w.t.Fatalf("sync %d does not end: %+v", id, w.machine.State())
		}
	}
}

// questions counts those that servers got.
func (w *world) questions() (n int) {
	for _, s := range w.servers {
		n += len(s.asks)
	}
	return n
}
