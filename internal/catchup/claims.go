package catchup

import (
	"slices"
	"time"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
)

// claims is what a job that ended well shows.
func (m *Machine) claims(j *job) []coverage.Claim {
	rep := &j.report
	if j.places == nil {
		return m.sentClaims(j)
	}
	list := make([]coverage.Claim, 0, len(j.places))
	kept := m.keptSince(j.lane.server)
	for _, p := range j.places {
		if j.givenUp[p.topic] {
			continue
		}
		c := coverage.Claim{Topic: p.topic, Server: j.lane.server.id, Exact: true, Epoch: rep.Epoch, First: p.base,
			Through: rep.LastArrival, Since: max(p.since, j.from), Asked: m.now}
		visit := p.until // and not the want's start, if it was moved since
		if visit == 0 {
			visit = p.from
		}
		switch {
		case rep.Restarted: // of what it had before nothing is known: it is asked anew the next time
			c.First, c.Since = rep.FirstArrival, second(j.began)
			visit = c.Since
		case j.until > 0:
			c.Through = max(c.Through, j.until)
		case rep.LastArrival < p.arrival:
			continue // nothing that it said goes beyond what is known
		}
		c.From = max(visit, c.Since, kept)
		if j.until == 0 {
			c.To = max(second(j.began), 1)
		} else {
			c.From = max(c.From, 1)
		}
		list = append(list, c)
	}
	return list
}

// fresh is for how long a server's word is taken for what is its oldest mail.
const fresh = time.Minute

// keptSince is from when on a server has all that it got: by its promise, unless its archive is known to have begun anew,
// or because it still has something that came before. What it got earlier may have been deleted before it was asked for.
func (m *Machine) keptSince(s *server) uint32 {
	kept := max(second(m.now.Add(-s.caps.Keep)), s.anew)
	if s.caps.Oldest.IsZero() {
		return kept
	}
	oldest := second(s.caps.Oldest)
	if oldest < kept && m.now.Sub(s.said) > fresh {
		return kept // it may have deleted more since it said so
	}
	return min(kept, oldest+1)
}

// seeEpoch notes whether a server's archive has begun anew since it was asked first, and from when on we know it.
func (m *Machine) seeEpoch(s *server) {
	s.anew = 0
	if first, other := m.book.Epoch(s.id, s.caps.Epoch); other {
		if first == 0 {
			first = m.second()
		}
		s.anew = first + 1 // of what came in that second something may have been lost
	}
}

// sentClaims is what a server shows that does not know arrivals.
func (m *Machine) sentClaims(j *job) []coverage.Claim {
	rep := &j.report
	c := coverage.Claim{Server: j.lane.server.id, From: j.from, To: min(rep.To, second(j.open.Began)), Asked: m.now,
		Doubt: rep.End != history.EndComplete}
	list := make([]coverage.Claim, 0, len(j.topics))
	for _, c.Topic = range j.topics {
		if c.From <= c.To && !j.givenUp[c.Topic] {
			list = append(list, c)
		}
	}
	return list
}

// closes lists the stored jobs that a job has done the rest of, and those that nobody can go on with.
func (m *Machine) closes(j *job, claims []coverage.Claim) []uint64 {
	s := j.lane.server
	var list []uint64
	for _, o := range m.open {
		if o.Server != s.id {
			continue
		}
		if o.at.Form != history.ByArrival {
			if o.ID == j.open.ID {
				list = append(list, o.ID)
			}
			continue
		}
		behind := slices.ContainsFunc(m.stillWanted(o.Topics), func(t envelope.Topic) bool {
			return !slices.ContainsFunc(claims, func(c coverage.Claim) bool { return c.Topic == t && c.Through >= o.at.Arrival })
		})
		if !behind || o.at.Epoch != s.caps.Epoch {
			list = append(list, o.ID)
		}
	}
	return list
}
