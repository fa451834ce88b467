package mailsim

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
)

// ground is what one server has said to one client, as the network saw it: what claims must be founded on.
type ground struct {
	server *server
	client *client
	hellos []time.Duration
	exact  map[subject][]stretch
	older  map[envelope.Topic][]stretch
	handed map[envelope.Hash]time.Duration // when first
	named  map[envelope.Hash]bool
	shown  map[envelope.Hash]bool        // handed over or named, ever
	told   map[envelope.Hash][]time.Time // held until
}

// subject is what arrivals are about.
type subject struct {
	epoch [8]byte
	topic envelope.Topic
}

// stretch is what one answer was about: arrivals, of the older forms none, and sent times.
type stretch struct {
	after, through uint64
	from, to       uint32
	at             time.Duration // when the client heard it
	hello          time.Duration // of the last hello before
	silent         bool          // no more than a question
}

// ground returns what a server has said to a client.
func (c *client) ground(s *server) *ground {
	for _, g := range c.grounds {
		if g.server == s {
			return g
		}
	}
	g := &ground{server: s, client: c, exact: make(map[subject][]stretch), older: make(map[envelope.Topic][]stretch),
		handed: make(map[envelope.Hash]time.Duration), named: make(map[envelope.Hash]bool), shown: make(map[envelope.Hash]bool), told: make(map[envelope.Hash][]time.Time)}
	c.grounds = append(c.grounds, g)
	return g
}

// hello notes when the server last said how it is.
func (g *ground) hello(at time.Duration) { g.hellos = append(g.hellos, at) }

// forget drops what was named of topics that nobody waits for any more: who wants them again asks anew.
func (g *ground) forget(dropped func(envelope.Topic) bool) {
	maps.DeleteFunc(g.named, func(h envelope.Hash, _ bool) bool { return dropped(g.client.w.byHash[h].Topic()) })
}

// crashed drops what was named and nobody has made a note of: who knew it is dead.
func (g *ground) crashed() {
	maps.DeleteFunc(g.named, func(h envelope.Hash, _ bool) bool { return !g.client.accounted(h) })
}

// said notes a part of an answer; open says whether the client still listens.
func (g *ground) said(a *answering, ans history.Answer, open bool) {
	through := uint64(0)
	switch ans := ans.(type) {
	case history.Got:
		through = ans.Through
		for _, e := range ans.Envelopes {
			g.shown[e.Hash()] = true
			if _, before := g.handed[e.Hash()]; !before && open && (a.form == history.ByHash || matches(&a.q, e, true)) {
				g.handed[e.Hash()] = g.server.w.now
			}
		}
	case history.Named:
		through = ans.Through
		for _, e := range ans.List {
			g.named[e.Hash], g.shown[e.Hash] = g.named[e.Hash] || open, true
		}
	case history.Ended:
		if ans.Err != nil {
			return
		}
		through = ans.Through
		if a.form == history.Paged && len(ans.Cursor) == 0 && open {
			g.answered(a)
		}
	}
	if open && (a.form == history.ByArrival || a.form == history.Listing) && through >= a.q.After {
		g.considered(a, through)
	}
}

// asked notes a question. What was handed over or named before, but not kept because the answer broke off, counts only if it
// is so again in the answer to this one. To some of the older forms silence is an answer.
func (g *ground) asked(form history.Form, q history.Question) {
	again := func(h envelope.Hash) bool {
		env, r := g.client.w.byHash[h], g.server.stored[h]
		switch {
		case env == nil || !matches(&q, env, true) || g.client.accounted(h):
			return false
		case form == history.ByArrival || form == history.Listing:
			return r == nil || r.arrival > q.After
		}
		return bytes.Compare(cursorOf(env), q.Cursor) > 0
	}
	if form == history.ByHash {
		return
	}
	maps.DeleteFunc(g.handed, func(h envelope.Hash, _ time.Duration) bool { return again(h) })
	maps.DeleteFunc(g.named, func(h envelope.Hash, _ bool) bool { return again(h) })
	for _, t := range q.Topics {
		g.older[t] = append(g.older[t], stretch{from: q.From, to: q.To, at: g.server.w.now, silent: true})
	}
}

// considered notes that everything up to an arrival was considered.
func (g *ground) considered(a *answering, through uint64) {
	now := g.server.w.now
	for _, t := range a.q.Topics {
		key := subject{a.c.server.epoch, t}
		if a.q.Epoch != [8]byte{} {
			key.epoch = a.q.Epoch
		}
		list := g.exact[key]
		next := stretch{after: a.q.After, through: through, from: a.q.From, to: a.q.To, at: now, hello: g.hellos[len(g.hellos)-1]}
		if n := len(list) - 1; n >= 0 && list[n].after == next.after && list[n].from == next.from && list[n].to == next.to && list[n].hello == next.hello {
			list[n].through, list[n].at = max(list[n].through, through), now
			continue
		}
		g.exact[key] = append(list, next)
	}
}

// answered notes that a range of sent time was answered in an older form.
func (g *ground) answered(a *answering) {
	for _, t := range a.q.Topics {
		g.older[t] = append(g.older[t], stretch{from: a.q.From, to: a.q.To, at: g.server.w.now})
	}
}

// covers returns up to which arrival beyond first what was said of a subject goes without a hole, for what was sent since
// then, as far as through; when the last of it was said, and what was known of the server then.
func (g *ground) covers(key subject, first, through uint64, since uint32) (upTo uint64, at, hello time.Duration) {
	list := slices.Clone(g.exact[key])
	slices.SortStableFunc(list, func(x, y stretch) int { return cmp.Compare(x.after, y.after) })
	upTo, hello = first, 1<<62
	for _, s := range list {
		if s.through >= first && s.after <= through {
			at = max(at, s.at) // that there is nothing new was said by this one too, whatever the time
		}
		if s.after > upTo || s.from > since || s.to != 0 {
			continue
		}
		if s.through >= first && s.after <= through {
			hello = min(hello, s.hello)
		}
		upTo = max(upTo, s.through)
	}
	return upTo, at, hello
}

// answers reports whether what was answered in the older forms covers what was sent from and to. Silence counts where the
// claim says that there is doubt.
func (g *ground) answers(t envelope.Topic, from, to uint32, doubt bool) bool {
	list := slices.DeleteFunc(slices.Clone(g.older[t]), func(s stretch) bool { return s.silent && !doubt })
	slices.SortStableFunc(list, func(x, y stretch) int { return cmp.Compare(x.from, y.from) })
	next := from // the first second that is not covered
	for _, s := range list {
		if s.from <= next && s.to >= next {
			next = s.to + 1
		}
	}
	return next > to
}
