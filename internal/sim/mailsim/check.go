package mailsim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
)

// slack is how far clocks may be apart: a client's own, and its network's.
const slack = 15

// Bounds of what a client may hold at a time.
const (
	maxCommits = 32
	maxHeld    = 32 << 20 // bytes of commits under way
	maxLookups = 16
	maxClaims  = 64
)

// bounded checks that the machine asks for no more than it may.
func (c *client) bounded() {
	if c.commits > maxCommits || c.bytes > maxHeld || c.lookups > maxLookups {
		c.w.failf("client %d has %d commits with %d bytes and %d lookups under way", c.index, c.commits, c.bytes, c.lookups)
	}
}

// checkClaims compares what the store claims of a server with what that server has said, and with what is kept.
func (c *client) checkClaims(from source) {
	list := c.store.claims[from]
	if len(list) > maxClaims {
		c.w.failf("client %d stores %d claims about one topic of one server", c.index, len(list))
	}
	s := c.w.serverOf(from.server)
	for _, claim := range list {
		c.w.report.Claims++
		switch {
		case claim.Topic != from.topic || claim.Server != from.server || s == nil:
			c.w.failf("client %d stores a claim in a wrong place: %v", c.index, show(claim))
		case claim.Exact:
			c.checkExact(s, claim)
		default:
			c.checkOlder(s, claim)
		}
	}
}

// checkExact checks a claim by arrival: what it says of arrivals, and what of sent times.
func (c *client) checkExact(s *server, claim coverage.Claim) {
	g := c.ground(s)
	key := subject{claim.Epoch, claim.Topic}
	upTo, at, hello := g.covers(key, claim.First, claim.Through, claim.Since)
	if upTo < claim.Through && claim.Through > claim.First {
		c.w.failf("client %d: false claim, server %d has said nothing beyond arrival %d: %v", c.index, s.index, upTo, show(claim))
		return
	}
	if claim.To >= claim.From && claim.Through > claim.First && claim.To > seconds(at)+slack {
		c.w.failf("client %d: false claim, server %d last answered at %d: %v", c.index, s.index, seconds(at), show(claim))
	}
	for _, r := range s.lives[claim.Epoch] {
		h, sent := r.env.Hash(), r.env.Sent()
		if r.env.Topic() != claim.Topic || c.accounted(h) {
			continue
		}
		arrivals := r.arrival > claim.First && r.arrival <= claim.Through && sent >= claim.Since
		times := sent >= claim.From && sent <= claim.To && seconds(r.arrived)+slack < claim.To
		_, handed := g.handed[h]
		again := fmt.Sprint("claim", c.index, s.index, h)
		switch {
		case !arrivals && !times:
		case arrivals && handed:
			c.w.failOnce(again, "client %d: false claim, server %d handed over %x, arrival %d, and it is not kept: %v", c.index, s.index, h[:4], r.arrival, show(claim))
		case arrivals && g.named[h]:
			c.w.failOnce(again, "client %d: false claim, server %d named %x, arrival %d, and it is neither kept nor missing: %v", c.index, s.index, h[:4], r.arrival, show(claim))
		case times && r.gone != 0 && r.gone < hello && !s.conceals(h) && sent > claim.From+slack+uint32(s.skew.Abs()/time.Second):
			c.w.failOnce(again, "client %d: false claim, server %d had deleted %x, sent %d, before it was asked: %v", c.index, s.index, h[:4], sent, show(claim))
		case times && r.gone == 0 && !s.conceals(h):
			c.w.failOnce(again, "client %d: false claim, server %d has %x, arrival %d, sent %d: %v", c.index, s.index, h[:4], r.arrival, sent, show(claim))
		}
	}
}

// show is a claim in short.
func show(k coverage.Claim) string {
	return fmt.Sprintf("%v exact %v, arrivals (%d, %d] of %x since %d, sent %d to %d, doubt %v", k.Topic, k.Exact, k.First, k.Through, k.Epoch[:2], k.Since, k.From, k.To, k.Doubt)
}

// seconds is a true time as envelopes have it.
func seconds(at time.Duration) uint32 { return uint32(epoch.Add(at).Unix()) }

// checkOlder checks a claim of the older forms.
func (c *client) checkOlder(s *server, claim coverage.Claim) {
	g := c.ground(s)
	if !g.answers(claim.Topic, claim.From, claim.To, claim.Doubt) {
		c.w.failf("client %d: false claim, server %d has not answered for all of it: %v", c.index, s.index, show(claim))
		return
	}
	for _, h := range slices.SortedFunc(maps.Keys(g.handed), compareHashes) {
		env := c.w.byHash[h]
		if env == nil || env.Topic() != claim.Topic || env.Sent() < claim.From || env.Sent() > claim.To || c.accounted(h) || c.clockAt(g.handed[h]).After(claim.Asked) {
			continue
		}
		c.w.failOnce(fmt.Sprint("claim", c.index, s.index, h), "client %d: false claim, server %d handed over %x and it is not kept: %v", c.index, s.index, h[:4], show(claim))
	}
}

// accounted reports whether the store has an envelope, or says that it is missing.
func (c *client) accounted(h envelope.Hash) bool {
	if c.store.mail[h] != nil {
		return true
	}
	_, missing := c.store.missing[h]
	return missing
}

// checkStore checks everything that is claimed.
func (c *client) checkStore() {
	for _, from := range c.sources() {
		c.checkClaims(from)
	}
}

// judge checks, a while after the faults, that what should have come has, and that the rest is known.
func (w *world) judge() {
	w.note("judgement")
	for _, c := range w.clients {
		for _, id := range slices.Sorted(maps.Keys(c.syncs)) {
			w.failf("client %d: sync %d was never finished", c.index, id)
		}
		counted := 0
		for _, n := range c.counted {
			counted += n
		}
		if counted != c.fresh {
			w.failf("client %d: reports speak of %d new envelopes, the store of %d", c.index, counted, c.fresh)
		}
		for _, h := range slices.SortedFunc(maps.Keys(c.store.fresh), compareHashes) {
			if n := c.store.fresh[h]; n != 1 {
				w.failf("client %d: %x was new %d times", c.index, h[:4], n)
			}
		}
		c.checkStore()
		for _, s := range w.servers {
			c.checkDelivery(s)
		}
		c.checkMissing()
		c.checkGaps()
	}
}

// checkDelivery checks that a client has what a server has for it and hands over.
func (c *client) checkDelivery(s *server) {
	if s.denied {
		return
	}
	g := c.ground(s)
	for _, r := range s.records {
		h, env := r.env.Hash(), r.env
		if !c.wants(env) || r.arrived > c.w.heal+firstSync || s.conceals(h) && !(g.named[h] && !s.withholds(h)) {
			continue
		}
		if s.form != history.ByArrival && !c.answeredFor(s, r) {
			continue
		}
		c.w.report.Required++
		if c.store.mail[h] == nil {
			c.w.failf("client %d lacks %x, topic %v, sent %d, which server %d has as %d since %v", c.index, h[:4], env.Topic(), env.Sent(), s.index, r.arrival, r.arrived)
		}
	}
}

// answeredFor reports whether an older server has answered for an envelope without doubt, or after the faults. What it gets
// later than the network carries it is not asked for again.
func (c *client) answeredFor(s *server, r *record) bool {
	sent := r.env.Sent()
	if seconds(r.arrived)-sent > uint32(maxTTL/time.Second) && seconds(r.arrived) > sent {
		return false
	}
	return sent >= seconds(c.w.heal-maxTTL) || slices.ContainsFunc(c.store.claims[source{r.env.Topic(), s.id}], func(claim coverage.Claim) bool {
		return !claim.Doubt && claim.From <= sent && sent <= claim.To && claim.Asked.After(epoch.Add(r.arrived+slack*time.Second))
	})
}

// checkMissing checks that what is called missing is: somebody named it, and it is not there.
func (c *client) checkMissing() {
	for _, h := range slices.SortedFunc(maps.Keys(c.store.missing), compareHashes) {
		named := slices.ContainsFunc(c.grounds, func(g *ground) bool { return g.shown[h] })
		if c.store.mail[h] != nil || !named {
			c.w.failf("client %d: %x is called missing; it is kept: %v; a server named it: %v", c.index, h[:4], c.store.mail[h] != nil, named)
		}
	}
}
