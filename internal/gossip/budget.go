package gossip

import "time"

// Relayed counts what was passed on for others within one day: the encoded size of each envelope that was not posted here,
// once for each peer that it was sent to.
type Relayed struct {
	Day   int64 // since 1970-01-01, by the clock given to Step, in UTC
	Bytes int64
}

const secondsADay = 24 * 60 * 60

// relayBudget is what may be passed on for others today.
type relayBudget struct {
	Relayed
	spent bool // something was held back today
}

// turnDay begins a new day's budget when it is time.
func (m *Machine) turnDay() {
	if day := m.last.Unix() / secondsADay; day != m.budget.Day {
		m.budget.Relayed = Relayed{Day: day}
		m.relayAgain()
	}
}

// mayRelay reports whether an entry may be sent. Own posts always may; of others none once one was held back, so that the
// day's end is the same for large and small ones.
func (m *Machine) mayRelay(e *entry) bool {
	if e.own || m.cfg.RelayPerDay == 0 {
		return true
	}
	if b := &m.budget; !b.spent && b.Bytes+int64(e.size) > m.cfg.RelayPerDay {
		b.spent = true
		m.do(RelayBudget{Spent: true, Limit: m.cfg.RelayPerDay})
	}
	return !m.budget.spent
}

// relayAgain lets envelopes pass that were held back and still live.
func (m *Machine) relayAgain() {
	if !m.budget.spent {
		return
	}
	m.budget.spent = false
	m.do(RelayBudget{Limit: m.cfg.RelayPerDay})
	for _, l := range m.links {
		if l.held {
			l.held, l.again = false, true
			m.unsettle = true
		}
	}
}

// nextDay is when a spent budget is renewed.
func (m *Machine) nextDay() time.Duration {
	if !m.budget.spent {
		return never
	}
	return m.mono + time.Unix((m.budget.Day+1)*secondsADay, 0).Sub(m.last.Round(0))
}
