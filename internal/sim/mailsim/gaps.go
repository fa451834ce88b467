package mailsim

import (
	"maps"
	"slices"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
)

// checkGaps compares the gaps that are reported with what is claimed and with what is missing.
func (c *client) checkGaps() {
	gaps := c.m.Gaps(c.now())
	c.w.report.Gaps += len(gaps)
	seen := make(map[string]bool)
	for _, g := range gaps {
		if seen[g.ID] || g.ID == "" || g.Text == "" || len(g.Topics) == 0 && g.Envelopes == 0 || g.From > g.To {
			c.w.failf("client %d: a gap makes no sense: %+v", c.index, g)
		}
		seen[g.ID] = true
		if g.Envelopes == 0 {
			c.checkRange(g)
		}
	}
	for _, want := range c.store.wants {
		c.checkHoles(want, gaps)
	}
	c.checkNamed(gaps)
	c.checkNeedless(gaps)
	c.checkSummary()
}

// checkSummary checks that what is called complete is what a server said, and that nothing within is known to be missing.
func (c *client) checkSummary() {
	lines := c.m.Summary(c.now())
	if len(lines) != len(c.store.wants) {
		c.w.failf("client %d waits for %d topics, and the summary has %d", c.index, len(c.store.wants), len(lines))
	}
	for _, l := range lines {
		if l.Text == "" || l.Complete > 0 && len(l.By) == 0 || l.Agreed > l.Complete || l.Complete > l.Answered {
			c.w.failf("client %d: a line makes no sense: %+v", c.index, l)
		}
		for _, id := range l.By {
			if !slices.ContainsFunc(c.store.claims[source{l.Topic, id}], func(k coverage.Claim) bool { return k.Exact && !k.Doubt && k.From <= l.Complete && l.Complete <= k.To }) {
				c.w.failf("client %d: server %d has not said what is called complete: %+v", c.index, c.w.serverOf(id).index, l)
			}
		}
		for _, h := range slices.SortedFunc(maps.Keys(c.store.missing), compareHashes) {
			m := c.store.missing[h]
			if env := c.w.byHash[m.Hash]; !m.Gone && env.Topic() == l.Topic && m.Sent >= l.Since && m.Sent <= l.Complete {
				c.w.failf("client %d: %x is missing from what is called complete: %+v", c.index, m.Hash[:4], l)
			}
		}
	}
}

// checkNeedless checks that no time is reported for which a server that never lost anything has answered since the faults.
func (c *client) checkNeedless(gaps []coverage.Gap) {
	for _, s := range c.w.servers {
		if s.form != history.ByArrival || s.age > 0 || s.denied || len(s.lives) != 1 || len(s.records) == 0 {
			continue
		}
		oldest := seconds(s.records[0].arrived+s.skew) + 2*slack // of what was before, nobody knows
		for _, want := range c.store.wants {
			for _, g := range gaps {
				if g.Envelopes == 0 && slices.Contains(g.Topics, want.Topic) && g.To > max(want.Since, oldest) && g.From <= seconds(c.w.heal+firstSync) {
					c.w.failf("client %d: server %d has answered for the time of this gap in topic %v: %+v", c.index, s.index, want.Topic, g)
					return
				}
			}
		}
	}
}

// claimed is what servers are claimed to have answered about a topic, in order.
func (c *client) claimed(t envelope.Topic) (list []coverage.Claim) {
	for _, from := range c.sources() {
		if from.topic != t {
			continue
		}
		for _, claim := range c.store.claims[from] {
			if claim.To >= claim.From {
				list = append(list, claim)
			}
		}
	}
	slices.SortFunc(list, func(a, b coverage.Claim) int { return int(int64(a.From) - int64(b.From)) })
	return list
}

// checkRange checks that no server has answered for the time of a gap.
func (c *client) checkRange(g coverage.Gap) {
	for _, t := range g.Topics {
		for _, claim := range c.claimed(t) {
			if claim.From <= g.To && claim.To >= g.From {
				c.w.failf("client %d: a gap is reported that is none: %+v; there is %+v", c.index, g, claim)
				return
			}
		}
	}
}

// checkHoles checks that every time that no server has answered for lies within gaps.
func (c *client) checkHoles(want coverage.Want, gaps []coverage.Gap) {
	next, last := want.Since, seconds(c.w.heal+firstSync)
	for _, claim := range append(c.claimed(want.Topic), coverage.Claim{From: last + 1, To: last + 1}) {
		if claim.From > next && next <= last {
			c.checkHole(want.Topic, next, min(claim.From-1, last), gaps)
		}
		next = max(next, claim.To+1)
	}
}

func (c *client) checkHole(t envelope.Topic, from, to uint32, gaps []coverage.Gap) {
	next := from
	for _, g := range gaps {
		if g.Envelopes == 0 && slices.Contains(g.Topics, t) && g.From <= next && g.To >= next {
			next = g.To + 1
		}
	}
	if next <= to {
		c.w.failf("client %d: nobody answered for topic %v from %d to %d, and no gap says so", c.index, t, next, to)
	}
}

// checkNamed checks that envelopes that servers named and nobody handed over are in gaps, and counted rightly.
func (c *client) checkNamed(gaps []coverage.Gap) {
	missing, named := 0, 0
	for _, h := range slices.SortedFunc(maps.Keys(c.store.missing), compareHashes) {
		m := c.store.missing[h]
		if env := c.w.byHash[m.Hash]; env == nil || !c.wants(env) {
			continue
		}
		missing++
		if !slices.ContainsFunc(gaps, func(g coverage.Gap) bool { return g.Envelopes > 0 && g.From <= m.Sent && g.To >= m.Sent }) {
			c.w.failf("client %d: %x is missing, and no gap says so", c.index, m.Hash[:4])
		}
	}
	for _, g := range gaps {
		named += g.Envelopes
	}
	if named < missing {
		c.w.failf("client %d: %d envelopes are missing, and gaps speak of %d", c.index, missing, named)
	}
}

// judgeEnd checks that the world came to rest.
func (w *world) judgeEnd() {
	for _, c := range w.clients {
		c.checkStore()
		c.checkLetters()
		if c.commits > 0 || c.lookups > 0 {
			w.failf("client %d never comes to rest: %d commits, %d lookups", c.index, c.commits, c.lookups)
		}
	}
}
