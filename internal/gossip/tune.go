package gossip

import "time"

// Tune changes settings of Config that bear a change while the machine runs; zero values mean the same as there. What is
// pooled already keeps its time, and a smaller pool is reached as envelopes expire and newcomers push others out.
type Tune struct {
	PoolCount  int
	PoolBytes  int64
	MaxTTL     time.Duration
	PostDelay  time.Duration
	PeerRate   float64
	SourceRate float64

	RelayPerDay int64
}

func (Tune) event() {}

func (m *Machine) tune(t Tune) {
	c := m.cfg
	c.PoolCount, c.PoolBytes, c.MaxTTL, c.PostDelay = t.PoolCount, t.PoolBytes, t.MaxTTL, t.PostDelay
	c.PeerRate, c.SourceRate, c.PeerBurst, c.SourceBurst = t.PeerRate, t.SourceRate, 0, 0
	c.RelayPerDay = max(t.RelayPerDay, 0)
	changed := c.RelayPerDay != m.cfg.RelayPerDay
	m.cfg = c.withDefaults()
	if changed {
		m.relayAgain()
	}
}
