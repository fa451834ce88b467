package gossip

import "github.com/restante-im/restante/internal/envelope"

const reasons = int(envelope.NotWanted) + 1

// Stats counts what a Machine did since it was made, and says what it holds now.
type Stats struct {
	Accepted, Duplicates, Posts, PoolFull       uint64
	ReceivedPackets, ReceivedBytes              uint64
	Sent, SentPackets, SentBytes                uint64
	Expired, Evicted                            uint64 // entries that left the pool
	Unsent                                      uint64 // envelope and link: gone before it could be sent
	Oversize                                    uint64 // envelope and link: too large for a packet
	Acks, AcksSkipped                           uint64
	SinkFailures                                uint64 // Resolved with Retry
	Penalties, Disconnects, SlowReaders, Pauses uint64
	ClockJumps, Reconsidered                    uint64 // envelopes looked at again once our clock was known
	refused                                     [reasons]uint64

	Links, Connections, Pooled, Remembered, Held int
	PooledBytes                                  int64
	OpenTickets, PendingPosts                    int

	Relayed     Relayed // for others, today
	RelayPerDay int64   // the limit of that; 0 for none
	RelaySpent  bool    // it is reached: nothing is passed on for others until the day ends
}

// Refused returns how many envelopes were refused for a reason.
func (s Stats) Refused(r envelope.Reason) uint64 {
	if int(r) < reasons {
		return s.refused[r]
	}
	return 0
}

// Stats returns a snapshot.
func (m *Machine) Stats() Stats {
	s := m.stats
	s.Links, s.Connections = len(m.links), len(m.conns)
	s.Pooled, s.PooledBytes = len(m.pool.index), m.pool.bytes
	s.Remembered, s.Held = len(m.remembered.hashes), len(m.clock.held)
	s.OpenTickets, s.PendingPosts = len(m.tickets), len(m.pending)
	s.Relayed, s.RelayPerDay, s.RelaySpent = m.budget.Relayed, m.cfg.RelayPerDay, m.budget.spent
	return s
}

// PoolInfo is what is known of one pooled envelope.
type PoolInfo struct {
	Envelope  *envelope.Envelope
	PoW       float64 // as it counts
	Own       bool
	Waiting   bool // an own post that has not left yet
	Known     int  // connections that have it
	Confirmed int  // peers that confirmed it, of an own post
}

// Lookup finds a pooled envelope.
func (m *Machine) Lookup(h envelope.Hash) (PoolInfo, bool) {
	e := m.pool.index[h]
	if e == nil {
		return PoolInfo{}, false
	}
	info := PoolInfo{Envelope: e.env, PoW: e.pow, Own: e.own, Waiting: e.at == hidden, Confirmed: len(e.votes)}
	for _, l := range m.links {
		if l == l.conn.links[0] && e.knows(l.conn.slot) {
			info.Known++
		}
	}
	return info, true
}
