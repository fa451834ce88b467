package catchup

import (
	"time"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const (
	firstRetry = 5 * time.Second // after a round that failed, tripled each time
	mostRetry  = 10 * time.Minute
	quietAfter = time.Minute      // after mail that came live, at least,
	quietEvery = 10 * time.Minute // and after the last round
)

// soon plans a round at a time, unless there is one earlier.
func (m *Machine) soon(at time.Time) {
	if m.wake.IsZero() || at.Before(m.wake) {
		m.wake = at
	}
}

// cameLive plans a round in which servers only say what they have: then the next start does not fetch it.
func (m *Machine) cameLive(topics []envelope.Topic) {
	if len(m.stillWanted(topics)) == 0 || !m.anyLists() { // older servers would send it all again
		return
	}
	at := m.now.Add(quietAfter)
	if next := m.lastEnd.Add(quietEvery); !m.lastEnd.IsZero() && next.After(at) {
		at = next
	}
	m.soon(at)
}

// explain notes why topics are not answered.
func (m *Machine) explain(r *round, end End) {
	for _, cell := range r.cells {
		for _, t := range cell {
			switch {
			case r.finished[t]:
				delete(m.why, t)
			case end == EndOverBudget:
				m.why[t] = coverage.OverBudget
			case end == EndFailed && r.asked:
				m.why[t] = coverage.Failed
			}
		}
	}
}

// afterwards plans what follows from a round.
func (m *Machine) afterwards(r *round, end End) {
	m.forget() // it may not have been stored the first time
	if end == EndFailed {
		m.soon(m.now.Add(m.backOff()))
		m.failures++
	} else if end != EndStopped {
		m.failures, m.lastGood = 0, m.now
	}
	for _, l := range r.lanes {
		if l.server.up && l.server.stale { // all connections broke after it was asked
			m.soon(m.now)
		}
	}
	if next := m.nextMissing(); !next.IsZero() && m.anyLists() {
		m.soon(next)
	}
}

// backOff is how long to wait after a round that failed: a little more or less for each client.
func (m *Machine) backOff() time.Duration {
	wait := firstRetry
	for n := 0; n < m.failures && wait < mostRetry; n++ {
		wait *= 3
	}
	wait = min(wait, mostRetry)
	return wait - wait/10 + time.Duration(m.rng.Int64N(int64(wait/5)))
}

// State says how it stands.
func (m *Machine) State() Snapshot {
	s := Snapshot{Syncing: m.round != nil, Waiting: len(m.queue), Last: m.last, LastGood: m.lastGood, Topics: len(m.wants)}
	for _, id := range m.serverIDs() {
		if m.servers[id].up {
			s.Connected = append(s.Connected, id)
		}
	}
	if r := m.round; r != nil {
		s.Began, s.New, s.Bytes = r.began, r.new, r.bytes()
		if s.Primary = (nodeaddr.ID{}); r.bringer != nil {
			s.Primary = r.bringer.server.id
		}
	} else if m.startable() {
		s.Next = m.wake
	}
	return s
}
