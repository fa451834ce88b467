package mailsim

import (
	"slices"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
)

// plot draws what somebody does until the faults end.
func (c *client) plot() {
	w := c.w
	w.at(w.between(0, time.Hour), c.start)
	absent := w.between(10*time.Minute, 6*time.Hour)
	for at := w.between(0, time.Hour); at < w.heal; at += w.between(time.Minute, absent) {
		w.at(at, func() { c.setOnline(true) })
		at += w.between(5*time.Second, 3*time.Hour)
		w.at(at, func() { c.setOnline(false) })
	}
	for range w.rand.IntN(6) {
		w.at(w.between(0, w.heal), c.crash)
	}
	for range w.rand.IntN(12) {
		w.at(w.between(0, w.heal), func() { c.sync(c.drawOptions()) })
	}
	for range w.rand.IntN(4) {
		w.at(w.between(0, w.heal), func() { c.stopSync(w.rand.Uint64N(c.nextSync + 1)) })
	}
	for range w.rand.IntN(4) {
		w.at(w.between(0, w.heal), c.changeWants)
	}
	for range w.rand.IntN(10) {
		w.at(w.between(0, w.heal), c.writeLetter)
	}
}

// settle brings the client to rest: it runs, it is online, and nothing ails it.
func (c *client) settle() {
	c.start()
	c.setOnline(true)
	c.settled = true
}

// changeWants lets the user wait for other topics.
func (c *client) changeWants() {
	before := c.store.wants
	c.store.wants = c.drawWants(c.w.second())
	for _, g := range c.grounds {
		g.forget(func(t envelope.Topic) bool {
			old := slices.ContainsFunc(before, func(w coverage.Want) bool { return w.Topic == t })
			return old && !slices.ContainsFunc(c.store.wants, func(w coverage.Want) bool { return w.Topic == t })
		})
	}
	c.w.note("client %d waits for %d topics", c.index, len(c.store.wants))
	if c.up {
		c.step(catchup.Wanted{List: slices.Clone(c.store.wants)})
	}
}

// drawOptions draws what a user asks for.
func (c *client) drawOptions() catchup.Options {
	w := c.w
	var o catchup.Options
	if w.chance(0.3) {
		o.MaxBytes = 100 + w.rand.Int64N(20_000)
	}
	if w.chance(0.2) {
		o.First = []envelope.Topic{w.topics[w.rand.IntN(len(w.topics))]}
	}
	if w.chance(0.2) {
		o.Only = []envelope.Topic{w.topics[w.rand.IntN(len(w.topics))]}
	}
	if w.chance(0.2) {
		o.Server = &w.servers[w.rand.IntN(len(w.servers))].id
	}
	o.Alone = w.chance(0.2)
	return o
}

func syncAll() catchup.Options { return catchup.Options{} }

func syncFrom(s *server) catchup.Options { return catchup.Options{Server: &s.id, Alone: true} }

// sync asks for a round.
func (c *client) sync(o catchup.Options) {
	if !c.up {
		return
	}
	c.nextSync++
	c.syncs[c.nextSync] = o.Server == nil && len(c.chosen) > 0 || o.Server != nil && !c.w.serverOf(*o.Server).denied
	c.w.note("client %d: sync %d %+v", c.index, c.nextSync, o)
	c.step(catchup.Sync{ID: c.nextSync, Options: o})
}

// stopSync takes a round back that may be over, or never was.
func (c *client) stopSync(id uint64) {
	if c.up {
		c.step(catchup.Stop{ID: id})
	}
}

// finished checks the end of a round.
func (c *client) finished(a catchup.Finished) {
	w, r := c.w, a.Report
	c.counted[r.Began] = max(c.counted[r.Began], r.New) // rounds that were asked for alike are one
	w.note("client %d: round %d ends as %v, %d new, error %v", c.index, a.ID, r.End, r.New, r.Err)
	if a.ID == 0 {
		return
	}
	if _, open := c.syncs[a.ID]; !open {
		w.failf("client %d: sync %d is finished and was not open", c.index, a.ID)
	}
	if served := c.syncs[a.ID]; r.End != catchup.EndComplete && r.End != catchup.EndAgreed && r.End != catchup.EndAnswered && w.now > w.heal+firstSync && served {
		w.failf("client %d: sync %d, with all faults over, ends as %v: %v", c.index, a.ID, r.End, r.Err)
	}
	delete(c.syncs, a.ID)
	w.report.Syncs++
	if r.End == catchup.EndFailed && r.Err == nil {
		w.failf("client %d: sync %d failed without a reason", c.index, a.ID)
	}
}
