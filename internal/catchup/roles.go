package catchup

import (
	"slices"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// maxTries is how many jobs or connections of one server may fail in a round.
const maxTries = 2

// eligible lists the servers that the round may ask, the best first; those that failed in it come last.
func (m *Machine) eligible() []*server {
	r := m.round
	var list []*server
	if r.options.Server != nil {
		list = append(list, m.server(*r.options.Server))
	} else {
		for _, c := range m.choices {
			list = append(list, m.server(c.Server))
		}
	}
	list = slices.DeleteFunc(list, func(s *server) bool { return r.tried[s.id] >= maxTries })
	slices.SortStableFunc(list, func(a, b *server) int { return r.tried[a.id] - r.tried[b.id] })
	return list
}

// dialing lists those that may come up yet.
func (m *Machine) dialing() []*server {
	var list []*server
	for _, s := range m.eligible() {
		if !s.up && !s.dialed.IsZero() && m.now.Before(m.round.giveUp(s)) {
			list = append(list, s)
		}
	}
	return list
}

// free returns the best server that is up and has no part in the round, or failed in it and may be tried again. One that
// can be compared goes before one that cannot: of those two, only the first can be the second.
func (m *Machine) free(second bool) *server {
	var other *server
	for _, s := range m.eligible() {
		if l := m.round.lane(s); !s.up || l != nil && !l.failed {
			continue
		}
		if s.lists() {
			return s
		}
		if other == nil {
			other = s
		}
	}
	if second {
		return nil
	}
	return other
}

// assign gives servers their parts, and reports whether it did.
func (m *Machine) assign() bool {
	r := m.round
	if r.stopped != nil || r.over || len(r.cells) == 0 {
		return false
	}
	if r.bringer == nil || r.bringer.failed {
		r.rival = nil
		for _, l := range r.lanes {
			if !l.failed && !l.dropped { // it was the second: it knows what is lacking
				r.bringer, l.heard, r.hedgeAt = l, false, m.now.Add(m.hedgeAfter(l.server.id))
				return true
			}
		}
		s := m.free(false)
		if s == nil {
			return false
		}
		r.bringer, r.hedgeAt = m.join(s), time.Time{}
		return true
	}
	if m.hedge() {
		return true
	}
	if !m.wantsSecond() {
		return false
	}
	s := m.free(true)
	if s == nil {
		return false
	}
	m.join(s)
	return true
}

// wantsSecond reports whether another server is to be compared with the primary.
func (m *Machine) wantsSecond() bool {
	r := m.round
	if r.alone || r.options.Server != nil || r.limit > 0 && !r.bringer.done {
		return false // within a budget bodies come first
	}
	return !slices.ContainsFunc(r.lanes, func(l *lane) bool { return l != r.bringer && !l.failed && !l.dropped })
}

// join gives a server a lane, or lets it go on after a failure.
func (m *Machine) join(s *server) *lane {
	if l := m.round.lane(s); l != nil {
		l.failed, l.recalled = false, false
		return l
	}
	l := &lane{server: s, began: m.now, brought: map[int]bool{}}
	m.round.lanes = append(m.round.lanes, l)
	return l
}

// hedgeOpen reports whether the primary has yet to answer, and another one may be asked for bodies too.
func (m *Machine) hedgeOpen() bool {
	r := m.round
	return r.bringer != nil && !r.hedged && !r.hedgeAt.IsZero() && !r.bringer.heard && !r.bringer.done && r.options.Server == nil && r.limit == 0
}

// hedge lets another server hand over bodies as well, when the primary takes longer than it mostly does.
func (m *Machine) hedge() bool {
	r := m.round
	if !m.hedgeOpen() || m.now.Before(r.hedgeAt) {
		return false
	}
	for _, l := range r.lanes {
		if l != r.bringer && !l.failed && !l.dropped {
			r.rival = l
		}
	}
	if r.rival == nil {
		s := m.free(false)
		if s == nil {
			return false
		}
		r.rival = m.join(s)
	}
	r.hedged, r.rival.heard = true, false
	return true
}

// endHedge settles who is the primary: who answered first. The other's job is given up; it is compared later.
func (m *Machine) endHedge() bool {
	r := m.round
	if r.rival == nil || r.bringer == nil || r.bringer.failed {
		return false
	}
	loser := r.rival
	switch {
	case r.rival.failed:
		r.rival = nil
		return true
	case r.bringer.heard:
	case r.rival.heard || r.rival.done:
		loser, r.bringer = r.bringer, r.rival
	default:
		return false
	}
	r.rival = nil
	loser.dropped = !loser.server.lists() || r.alone
	if loser.job != nil && (loser.dropped || loser.job.bodies) {
		loser.job.demoted = true
		m.giveUp(loser.job, fault.E(op, fault.Closed, nil, "another mail server was faster"))
	}
	return true
}

// hedgeAfter is how long a server's first answer may take before another one is asked too.
func (m *Machine) hedgeAfter(id nodeaddr.ID) time.Duration {
	for _, c := range m.choices {
		if c.Server == id && c.HedgeAfter > 0 {
			return c.HedgeAfter
		}
	}
	return hedgeUnknown
}

const hedgeUnknown = 2 * time.Second

// drop gives up on connections that take too long.
func (m *Machine) drop() bool {
	r := m.round
	for _, s := range m.eligible() {
		if !s.up && !s.dialed.IsZero() && !m.now.Before(r.giveUp(s)) {
			m.gaveUp(s)
			return true
		}
	}
	return false
}
