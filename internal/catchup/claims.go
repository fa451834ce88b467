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
	for _, p := range j.places {
		if _, ok := m.want[p.topic]; !ok {
			continue
		}
		c := coverage.Claim{Topic: p.topic, Server: j.lane.server.id, Exact: true, Epoch: rep.Epoch, First: p.base,
			Through: rep.LastArrival, Since: max(p.since, j.from), Asked: m.now}
		visit := max(p.until, p.from)
		switch {
		case rep.Restarted: // of what it had before nothing is known: it is asked anew the next time
			c.First, c.Since = rep.FirstArrival, second(j.began)
			visit = c.Since
		case j.until > 0:
			c.Through = max(c.Through, j.until)
		case rep.LastArrival < p.arrival:
			continue // nothing that it said goes beyond what is known
		}
		c.From = max(m.keptSince(j.lane.server, visit, p.until > 0), visit, c.Since)
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

// keptSince is from when on, after a visit, a server still has all that it got: what came before it may have been deleted
// without our having seen it. It is 0 when nothing was.
func (m *Machine) keptSince(s *server, visit uint32, visited bool) uint32 {
	now := m.second()
	promised := second(m.now.Add(-s.caps.Keep)) // what came since is there
	if visited && visit >= promised {
		return 0
	}
	oldest := now // an empty archive cannot say what it had
	if !s.caps.Oldest.IsZero() {
		oldest = second(s.caps.Oldest)
		if oldest < promised && m.now.Sub(s.said) > fresh {
			oldest = promised // it may have deleted since it said so
		}
	}
	if int64(oldest) <= int64(visit)+1 {
		return 0
	}
	return oldest
}

// sentClaims is what a server shows that does not know arrivals.
func (m *Machine) sentClaims(j *job) []coverage.Claim {
	rep := &j.report
	c := coverage.Claim{Server: j.lane.server.id, From: j.from, To: min(rep.To, second(j.open.Began)), Asked: m.now,
		Doubt: rep.End != history.EndComplete}
	if c.To < c.From {
		return nil
	}
	list := make([]coverage.Claim, 0, len(j.topics))
	for _, c.Topic = range m.stillWanted(j.topics) {
		list = append(list, c)
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
