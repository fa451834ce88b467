package catchup

import (
	"bytes"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const (
	maxRecall   = 1024 // envelopes that are asked for again in a round
	firstRecall = 5 * time.Minute
	mostRecall  = 6 * time.Hour
	ageDefault  = 30 * 24 * time.Hour // for which servers keep mail, at most, when none says
	goneFor     = 30 * 24 * time.Hour // for which it is reported that something is gone
)

// withheld turns what a server named and did not hand over into what is missing.
func (m *Machine) withheld(j *job, list []history.Entry) ([]coverage.Missing, error) {
	var missing []coverage.Missing
	for _, e := range list {
		x, ok := m.missing[e.Hash]
		if !ok {
			if len(m.missing)+len(missing) >= maxMissing {
				return nil, fault.Errorf(op, fault.Limit, "mail servers named more than %d envelopes that they did not hand over", maxMissing)
			}
			x = coverage.Missing{Hash: e.Hash, Sent: e.Sent, Size: e.Size, Noticed: m.now, Next: m.now.Add(firstRecall), Cause: coverage.Withheld}
			if len(j.topics) <= coverage.MaxMissingTopics {
				x.Topics = j.topics
			}
		}
		if id := j.lane.server.id; !slices.Contains(x.Named, id) && len(x.Named) < coverage.MaxNamed {
			x.Named = append(slices.Clone(x.Named), id)
		}
		missing = append(missing, x)
	}
	return missing, nil
}

// missingHashes lists what is missing and passes, in order.
func (m *Machine) missingHashes(pass func(*coverage.Missing) bool) []envelope.Hash {
	var list []envelope.Hash
	for h, x := range m.missing {
		if pass(&x) {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(a, b envelope.Hash) int { return bytes.Compare(a[:], b[:]) })
	return list
}

// dueMissing lists what a round asks for again: all for somebody who waits for it, otherwise what is due.
func (m *Machine) dueMissing(own bool) []envelope.Hash {
	list := m.missingHashes(func(x *coverage.Missing) bool { return !x.Gone && (!own || !m.now.Before(x.Next)) })
	slices.SortStableFunc(list, func(a, b envelope.Hash) int { return m.missing[a].Next.Compare(m.missing[b].Next) })
	return list[:min(len(list), maxRecall)]
}

// recallJob asks a server for what is missing; nil for nothing.
func (m *Machine) recallJob(l *lane) *job {
	var list []history.Entry
	for _, h := range m.round.recall {
		if x, ok := m.missing[h]; ok {
			list = append(list, history.Entry{Hash: h, Sent: x.Sent, Size: x.Size})
		}
	}
	if len(list) == 0 {
		return nil
	}
	hashes := make([]envelope.Hash, len(list))
	for i, e := range list {
		hashes[i] = e.Hash
	}
	return m.startJob(&job{lane: l, recalls: hashes, machine: newRecall(list, l.server.caps), open: OpenFetch{ID: 1}})
}

// settleMissing plans when what is still missing is asked for again, and says of what it is too late for.
func (m *Machine) settleMissing() {
	var c Commit
	tried := slices.ContainsFunc(m.round.lanes, func(l *lane) bool { return l.recalled && !l.failed })
	for _, h := range m.missingHashes(func(*coverage.Missing) bool { return true }) {
		x := m.missing[h]
		gone := time.Unix(int64(x.Sent), 0).Add(m.age())
		switch {
		case x.Gone && m.now.After(gone.Add(goneFor)):
			c.Found = append(c.Found, h)
			continue
		case !x.Gone && m.now.After(gone):
			x.Gone, x.Cause = true, coverage.Expired
		case !x.Gone && (!m.now.Before(x.Next) || tried && slices.Contains(m.round.recall, h)):
			if tried {
				x.Tried++
			}
			wait := mostRecall
			if x.Tried < 8 {
				wait = min(wait, firstRecall<<x.Tried)
			}
			x.Next = m.now.Add(wait)
		default:
			continue
		}
		c.Missing = append(c.Missing, x)
	}
	if len(c.Missing)+len(c.Found) > 0 {
		m.commit(nil, c)
	}
}

// age is for how long servers keep mail, at most.
func (m *Machine) age() time.Duration {
	age := ageDefault
	for _, s := range m.servers {
		age = max(age, s.caps.Age, s.caps.Keep)
	}
	return age
}

// nextMissing is when something is to be asked for again; zero for never.
func (m *Machine) nextMissing() time.Time {
	var at time.Time
	for _, x := range m.missing {
		if !x.Gone && (at.IsZero() || x.Next.Before(at)) {
			at = x.Next
		}
	}
	return at
}

// Gaps lists what nobody has handed over, the oldest first.
func (m *Machine) Gaps(now time.Time) []coverage.Gap { return m.book.Gaps(m.sight(now)) }

// Summary says of each want how far it is complete, and who says so.
func (m *Machine) Summary(now time.Time) []coverage.Line { return m.book.Summary(m.sight(now)) }

func (m *Machine) sight(now time.Time) coverage.Sight {
	s := coverage.Sight{Wants: m.wants, Now: second(now), Why: m.why, Name: m.name, Servers: make([]nodeaddr.ID, 0, len(m.choices))}
	for _, c := range m.choices {
		s.Servers = append(s.Servers, c.Server)
	}
	for _, h := range m.missingHashes(func(*coverage.Missing) bool { return true }) {
		s.Missing = append(s.Missing, m.missing[h])
	}
	if !m.online.IsZero() {
		s.Live = make(map[envelope.Topic]uint32, len(m.wants))
		for _, w := range m.wants {
			s.Live[w.Topic] = uint32(m.liveSince(w.Topic))
		}
	}
	return s
}
