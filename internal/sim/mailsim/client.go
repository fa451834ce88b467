package mailsim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/outbox"
)

// client is somebody with an inbox: what is on disk, and while it runs the machines in memory.
type client struct {
	w         *world
	index     int
	skew      time.Duration
	store     *store
	grounds   []*ground
	fragile   float64 // that it crashes before an action
	diskFails float64 // that a transaction does

	up     bool
	life   int
	online bool
	m      *catchup.Machine
	dir    *directory.Directory
	out    *outbox.Machine
	conns  map[nodeaddr.ID]*conn
	lines  map[nodeaddr.ID]*line
	chosen []directory.Choice
	due    [3]time.Duration // of the ticks of m, out and dir
	begun  time.Duration

	syncs    map[uint64]bool // of this life, not finished; whether it can succeed
	nextSync uint64
	commits  int   // not answered
	bytes    int64 // in those
	lookups  int
	fresh    int               // that the store had for the machine, in this life
	counted  map[time.Time]int // that reports of this life say, by when the round began
	lastLive time.Duration
	settled  bool          // the faults are over
	since    time.Duration // when the last server that may be asked came
	lastAsk  time.Duration
}

func (w *world) newClient(index int) *client {
	c := &client{w: w, index: index, skew: w.between(-3*time.Second, 3*time.Second)}
	c.store = newStore(c)
	if w.chance(0.7) {
		c.fragile = w.rand.Float64() * 0.003
	}
	if w.chance(0.5) {
		c.diskFails = w.rand.Float64() * 0.03
	}
	c.store.wants = c.drawWants(0)
	dir := directory.New()
	for i, s := range w.servers {
		e := directory.Entry{Node: s.node, Name: fmt.Sprint("server ", i), Preferred: w.chance(0.2)}
		if _, err := dir.Add(c.now(), e); err != nil {
			w.failf("client %d cannot add server %d: %v", index, i, err)
		}
	}
	c.saveServers(dir)
	return c
}

// drawWants draws what somebody waits for.
func (c *client) drawWants(now uint32) []coverage.Want {
	w := c.w
	var list []coverage.Want
	since := uint32(epoch.Unix())
	for _, t := range w.topics {
		if w.chance(0.5) || len(list) == 0 {
			want := coverage.Want{Topic: t, Since: since, Rank: w.rand.IntN(3)}
			if now > 0 && w.chance(0.3) {
				want.Since = now - min(now-since, uint32(w.rand.IntN(6*3600)))
			}
			list = append(list, want)
		}
	}
	return list
}

func (c *client) now() time.Time { return c.clockAt(c.w.now) }

// clockAt is what the client's clock showed at a true time.
func (c *client) clockAt(at time.Duration) time.Time { return epoch.Add(at + c.skew) }

// saveServers stores what the directory says has changed.
func (c *client) saveServers(dir *directory.Directory) {
	for _, r := range dir.Changed() {
		if r.Data == nil {
			delete(c.store.servers, r.ID)
			continue
		}
		c.store.servers[r.ID] = r.Data
	}
}

// start begins a life with what is on disk.
func (c *client) start() {
	if c.up {
		return
	}
	w := c.w
	c.up = true
	c.life++
	c.begun = w.now
	w.note("client %d starts", c.index)
	c.checkStore()
	c.conns = make(map[nodeaddr.ID]*conn)
	c.lines = make(map[nodeaddr.ID]*line)
	c.syncs = make(map[uint64]bool)
	c.commits, c.bytes, c.lookups, c.fresh, c.counted = 0, 0, 0, 0, make(map[time.Time]int)
	c.chosen = nil
	c.due = [3]time.Duration{-1, -1, -1}
	c.dir = directory.New()
	var records []directory.Record
	for _, id := range slices.Sorted(maps.Keys(c.store.servers)) {
		records = append(records, directory.Record{ID: id, Data: c.store.servers[id]})
	}
	for _, err := range c.dir.Load(records) {
		w.failf("client %d cannot load its servers: %v", c.index, err)
	}
	c.m = catchup.New(c.stored())
	c.startOutbox()
	c.step(catchup.Wanted{List: slices.Clone(c.store.wants)})
	c.choose()
	c.stepOutbox(outbox.Tick{})
	if c.online {
		c.hasNetwork()
	}
}

// hasNetwork tells everybody that the network is there.
func (c *client) hasNetwork() {
	if !c.up {
		return
	}
	c.dir.Online()
	c.choose()
	c.step(catchup.Online{})
	c.stepOutbox(outbox.Online{})
}

// stored is what the machine is given at the start.
func (c *client) stored() catchup.Config {
	cfg := catchup.Config{Wants: slices.Clone(c.store.wants), Seed: c.w.rand.Uint64()}
	for _, g := range c.sources() {
		cfg.Claims = append(cfg.Claims, c.store.claims[g]...)
	}
	for _, h := range slices.SortedFunc(maps.Keys(c.store.missing), compareHashes) {
		cfg.Missing = append(cfg.Missing, c.store.missing[h])
	}
	for _, id := range slices.Sorted(maps.Keys(c.store.open)) {
		cfg.Open = append(cfg.Open, c.store.open[id])
	}
	return cfg
}

func compareHashes(a, b envelope.Hash) int { return slices.Compare(a[:], b[:]) }

// sources names the claims that are stored, in order.
func (c *client) sources() []source {
	return slices.SortedFunc(maps.Keys(c.store.claims), func(a, b source) int {
		if n := slices.Compare(a.topic[:], b.topic[:]); n != 0 {
			return n
		}
		return slices.Compare(a.server[:], b.server[:])
	})
}

// crash ends a life: what is only in memory is gone, and the connections break.
func (c *client) crash() {
	if !c.up {
		return
	}
	c.w.note("client %d crashes", c.index)
	c.w.report.Crashes++
	c.up = false
	c.life++
	for _, s := range c.w.servers {
		if k := c.conns[s.id]; k != nil {
			k.shut()
		}
	}
	c.m, c.out, c.dir, c.conns = nil, nil, nil, nil
	for _, g := range c.grounds {
		g.crashed()
	}
	life := c.life
	down := c.w.between(time.Second, 3*time.Second)
	if c.w.chance(0.3) {
		down = c.w.between(time.Minute, 2*time.Hour)
	}
	c.w.after(down, func() {
		if c.life == life {
			c.start()
		}
	})
}

// crashes lets the client crash now, in so many cases, and reports whether it is dead.
func (c *client) crashes() bool {
	if c.up && c.w.fault(c.fragile) {
		c.crash()
	}
	return !c.up
}

// step gives an event to the machine and carries out what it says.
func (c *client) step(ev catchup.Event) {
	if c.crashes() {
		return
	}
	life := c.life
	for _, a := range slices.Clone(c.m.Step(c.now(), ev)) {
		if c.crashes() || c.life != life {
			return
		}
		c.perform(a)
	}
	if at, ok := c.m.Deadline(); ok {
		c.schedule(0, at, func() { c.step(catchup.Tick{}) })
	} else {
		c.due[0] = -1
	}
	c.bounded()
}

// schedule asks for a tick.
func (c *client) schedule(which int, at time.Time, tick func()) {
	due := max(at.Sub(epoch)-c.skew, c.w.now)
	if due == c.due[which] {
		return
	}
	c.due[which] = due
	life := c.life
	c.w.at(due, func() {
		if c.life == life && c.due[which] == due {
			c.due[which] = -1
			tick()
		}
	})
}

func (w *world) serverOf(id nodeaddr.ID) *server {
	for _, s := range w.servers {
		if s.id == id {
			return s
		}
	}
	return nil
}

// perform carries out an action. What it leads to happens later, never within.
func (c *client) perform(action catchup.Action) {
	switch a := action.(type) {
	case catchup.Connect:
		c.connect(c.w.serverOf(a.Server))
	case catchup.Disconnect:
		c.disconnect(a.Server)
	case catchup.Ask:
		c.ask(a)
	case catchup.CancelAsk:
		if k := c.conns[a.Server]; k != nil {
			k.cancel(a.Ask)
		}
	case catchup.Grant:
		if k := c.conns[a.Server]; k != nil {
			k.grant(a.Ask, a.Bytes)
		}
	case catchup.Lookup:
		c.lookup(a)
	case catchup.Commit:
		c.commit(a)
	case catchup.Note:
		c.dir.Note(c.now(), a.Server, a.Event)
		c.later(c.choose)
	case catchup.Seen:
		c.later(func() { c.stepOutbox(outbox.Seen{Server: a.Server, Hashes: a.Hashes}) })
	case catchup.Progress:
	case catchup.Finished:
		c.finished(a)
	default:
		c.w.failf("client %d: the machine says %T", c.index, action)
	}
}

// later does something after the present step, unless the client crashes.
func (c *client) later(do func()) {
	life := c.life
	c.w.after(0, func() {
		if c.life == life {
			do()
		}
	})
}

// choose tells the machine which servers to ask, when that has changed.
func (c *client) choose() {
	if !c.up {
		return
	}
	c.saveServers(c.dir)
	list := c.dir.Choose(c.now())
	if at, ok := c.dir.NextChange(c.now()); ok {
		c.schedule(2, at, c.choose)
	}
	if len(list) > 0 && len(c.chosen) == 0 {
		c.since = c.w.now
	}
	if !slices.Equal(list, c.chosen) {
		c.chosen = slices.Clone(list)
		c.step(catchup.Candidates{List: list})
	}
}

// ask passes a question on, or says that there is no connection.
func (c *client) ask(a catchup.Ask) {
	c.lastAsk = c.w.now
	if k := c.conns[a.Server]; k != nil && k.up {
		k.question(a)
		return
	}
	c.later(func() {
		err := fault.E("ask", fault.Unavailable, nil, "the mail server is not connected")
		c.step(catchup.Answered{Server: a.Server, Ask: a.Ask, Answer: history.Lost{Err: err}})
	})
}

// asked judges a question.
func (c *client) asked(a catchup.Ask) {
	missing := slices.ContainsFunc(slices.Collect(maps.Values(c.store.missing)), func(m coverage.Missing) bool { return !m.Gone })
	refused := slices.ContainsFunc(c.w.servers, func(s *server) bool { return s.denied }) // is tried again now and then
	if c.settled && !missing && !refused && c.w.now > max(c.w.heal+judgement, c.lastLive+quietCheck, c.since+quietCheck) {
		c.w.failf("client %d asks in an idle world", c.index)
	}
	c.ground(c.w.serverOf(a.Server)).asked(a.Form, a.Question)
}

// quietCheck is how long after live mail came a machine may ask for it.
const quietCheck = 15 * time.Minute

// lookup asks the store.
func (c *client) lookup(a catchup.Lookup) {
	c.lookups++
	life := c.life
	c.w.after(c.w.between(time.Millisecond, 5*time.Millisecond), func() {
		if c.life != life {
			return
		}
		c.lookups--
		have := make([]bool, len(a.Hashes))
		for i, h := range a.Hashes {
			have[i] = c.store.mail[h] != nil
		}
		c.step(catchup.Looked{Lookup: a.Lookup, Have: have})
	})
}

// commit lets the store have a page, and tells the machine when it has it.
func (c *client) commit(a catchup.Commit) {
	if c.w.plan.Break == EarlyKept {
		c.keptEarly(a)
		return
	}
	size := int64(0)
	for _, e := range a.Envelopes {
		size += int64(len(e.Raw()))
	}
	c.commits++
	c.bytes += size
	c.store.transaction(func() (int, int64) {
		fresh, bytes := c.store.commit(a)
		c.noteCommit(a, fresh)
		for _, r := range a.Claims {
			c.checkClaims(source{r.Topic, r.Server})
		}
		return fresh, bytes
	}, func(fresh int, bytes int64, err error) {
		c.commits--
		c.bytes -= size
		c.fresh += fresh
		c.step(catchup.Kept{Commit: a.Commit, New: fresh, NewBytes: bytes, Err: err})
	})
}

// keptEarly is a store that is broken on purpose: it answers before it has written the envelopes.
func (c *client) keptEarly(a catchup.Commit) {
	kept, life := catchup.Kept{Commit: a.Commit}, c.life
	for _, e := range a.Envelopes {
		if c.store.mail[e.Hash()] == nil {
			kept.New++
			kept.NewBytes += int64(len(e.Raw()))
		}
	}
	c.fresh += kept.New
	c.store.note(a)
	c.later(func() { c.step(kept) })
	c.w.after(c.w.between(time.Second, 10*time.Minute), func() {
		if c.life == life {
			c.store.keep(a.Envelopes)
		}
	})
}

// noteCommit puts a commit into the trace.
func (c *client) noteCommit(a catchup.Commit, fresh int) {
	w := c.w
	w.note("client %d keeps %d, %d new, %d missing, %d found, %d open, %v closed", c.index, len(a.Envelopes), fresh, len(a.Missing), len(a.Found), len(a.Open), a.Closed)
	for _, r := range a.Claims {
		for _, k := range r.Claims {
			w.note("client %d claims of server %d: %s", c.index, w.serverOf(r.Server).index, show(k))
		}
	}
	for _, o := range a.Open {
		w.note("client %d has job %d open at server %d: %s", c.index, o.ID, w.serverOf(o.Server).index, o.Position)
	}
	for _, m := range a.Missing {
		w.note("client %d misses %x, gone %v, tried %d", c.index, m.Hash[:4], m.Gone, m.Tried)
	}
	for _, h := range a.Found {
		w.note("client %d no longer misses %x", c.index, h[:4])
	}
}

// live takes an envelope that the gossip brings.
func (c *client) live(env *envelope.Envelope, life int) {
	if !c.up || !c.online || c.life != life || !c.wants(env) {
		return
	}
	c.store.transaction(func() (int, int64) { return c.store.keep([]*envelope.Envelope{env}) },
		func(_ int, _ int64, err error) {
			if err == nil {
				c.lastLive = c.w.now
				c.step(catchup.Live{Topics: []envelope.Topic{env.Topic()}})
			}
		})
}

// wants reports whether an envelope is for the client.
func (c *client) wants(env *envelope.Envelope) bool {
	return slices.ContainsFunc(c.store.wants, func(w coverage.Want) bool { return w.Topic == env.Topic() && w.Since <= env.Sent() })
}

// setOnline takes the network away, or brings it back.
func (c *client) setOnline(on bool) {
	if c.online == on || c.settled && !on {
		return
	}
	c.w.note("client %d online %v", c.index, on)
	c.online = on
	if !c.up {
		return
	}
	if on {
		c.hasNetwork()
		return
	}
	for _, s := range c.w.servers {
		if k := c.conns[s.id]; k != nil {
			k.shut()
			late := time.Duration(0)
			if c.w.chance(0.3) {
				late = c.w.between(0, time.Minute)
			}
			c.w.after(late, func() { c.lost(k, fault.E("", fault.Unavailable, nil, "the network is gone")) })
		}
	}
}
