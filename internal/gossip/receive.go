package gossip

import (
	"fmt"

	"github.com/restante-im/restante/internal/envelope"
)

// arrival is what the envelopes of one packet have in common.
type arrival struct {
	conn   *conn
	link   *link
	ticket *ticket // nil: nobody wants to know
	bytes  int
	quiet  bool // it cannot have waited in a queue for long
	held   bool // looked at again
}

func (m *Machine) received(ev *Received) {
	l := m.link(ev.Conn, ev.Network)
	if l == nil {
		return
	}
	m.stats.ReceivedPackets++
	m.stats.ReceivedBytes += uint64(max(ev.Bytes, 0))
	m.charge(l.conn, ev.Bytes)
	in := arrival{conn: l.conn, link: l, bytes: ev.Bytes}
	in.quiet = ev.Bytes <= quietBytes && m.mono >= l.conn.view.packet+quietGap
	l.conn.view.packet = m.mono
	if ev.WantAck {
		in.ticket = m.openTicket(in.conn, ev)
	}
	for _, env := range ev.List {
		m.offer(&in, env)
		if in.conn.closing {
			break
		}
	}
	if in.ticket != nil {
		in.ticket.offered = true
		m.finish(in.ticket)
	}
}

// offer decides on one envelope of a peer.
func (m *Machine) offer(in *arrival, env *envelope.Envelope) {
	hash := env.Hash()
	if e := m.pool.index[hash]; e != nil {
		if !e.own {
			m.sample(in, env)
		}
		m.duplicate(in, e)
		return
	}
	if state, ok := m.remembered.hashes[hash]; ok {
		m.stats.Duplicates++
		in.ticket.settled(hash, state)
		return
	}
	m.sample(in, env)
	pow, err := env.Check(uint32(m.net), &m.rules)
	if err != nil {
		m.refuse(in, env, err)
		return
	}
	m.accept(in, env, pow)
}

// duplicate handles an envelope that is pooled already.
func (m *Machine) duplicate(in *arrival, e *entry) {
	m.stats.Duplicates++
	e.mark(in.conn.slot)
	if nets := in.conn.networks(); nets&^e.nets != 0 {
		// It is new to a network: bring it before the links that have passed it.
		e.nets |= nets
		if e.at != hidden {
			m.pool.append(e)
			m.grown()
		}
	}
	switch e.sink {
	case sinkWaiting:
		in.ticket.join(e)
	case sinkFailed:
		in.ticket.join(e)
		m.offerAgain(e)
	default:
		in.ticket.settled(e.env.Hash(), e.sink)
	}
}

// accept pools an envelope that is valid and new, and gives it to the sinks.
func (m *Machine) accept(in *arrival, env *envelope.Envelope, pow float64) {
	size := len(env.Raw())
	if in.bytes > 2*size {
		env = env.Detach() // or it would keep the whole packet in memory
	}
	e := m.newEntry(env, pow)
	e.nets = in.conn.networks()
	if m.cfg.Bridge {
		e.nets = AllNetworks
	}
	e.mark(in.conn.slot)
	if !m.pool.makeRoom(e, m.cfg.PoolCount, m.cfg.PoolBytes, m.evict) {
		m.stats.PoolFull++
		in.ticket.refuse(env.Hash(), "pool is full of envelopes with more PoW")
		m.tellRefusal(in, env, 0)
		return
	}
	m.pool.add(e, false)
	m.grown()
	m.stats.Accepted++
	m.do(Accept{Envelope: env, PoW: pow, From: in.conn.id, Network: in.link.net})
	in.ticket.join(e)
}

func (m *Machine) newEntry(env *envelope.Envelope, pow float64) *entry {
	m.seq++
	e := &entry{env: env, pow: pow, rank: pow, seq: m.seq, size: int32(len(env.Raw())), topic: env.Topic()}
	e.leaves = m.lastSecond(int64(env.Expiry()))
	if m.cfg.SinkConfirms {
		e.sink = sinkWaiting
	}
	return e
}

// lastSecond is the last in the pool of an envelope that expires at a second of the network's time.
func (m *Machine) lastSecond(expiry int64) int64 {
	return min(expiry, m.net+int64(m.cfg.MaxTTL.Seconds()))
}

func (m *Machine) evict(e *entry) {
	m.stats.Evicted++
	m.countUnsent(e)
	m.forget(e)
}

// refuse counts a refusal and tells the sender; some are the peer's fault.
func (m *Machine) refuse(in *arrival, env *envelope.Envelope, err error) {
	reason := reasonOf(err)
	m.stats.refused[reason]++
	m.tellRefusal(in, env, reason)
	if in.ticket != nil && reason != envelope.Expired {
		in.ticket.refuse(env.Hash(), m.refusalText(env, reason))
	}
	strict := m.mono >= m.strictAt && !in.held
	switch reason {
	case envelope.FromFuture, envelope.VeryOld, envelope.Expired:
		m.hold(in, env)
	case envelope.LowPoW:
		// The peer may discount less than we do, and some divide by another size.
		if strict && env.PoW()*1.15 < m.rules.MinPoW {
			m.penalize(in.conn, penaltyUnwanted, "sends envelopes below the minimum proof of work")
		}
	case envelope.NotWanted:
		if strict {
			m.penalize(in.conn, penaltyUnwanted, "sends envelopes outside the bloom filter")
		}
	case envelope.TooLarge:
		if env.Size() > envelope.MaxSizeDefault {
			m.penalize(in.conn, penaltyHuge, "sends envelopes that are too large")
		}
	}
}

func (m *Machine) tellRefusal(in *arrival, env *envelope.Envelope, reason envelope.Reason) {
	if m.cfg.TellRefusals {
		m.do(Rejected{Hash: env.Hash(), Reason: reason, From: in.conn.id})
	}
}

func reasonOf(err error) envelope.Reason {
	if r, ok := err.(*envelope.Refusal); ok && int(r.Reason) < reasons {
		return r.Reason
	}
	return 0
}

// refusalText is what real nodes say, which others understand by the text.
func (m *Machine) refusalText(env *envelope.Envelope, reason envelope.Reason) string {
	switch reason {
	case envelope.FromFuture:
		return "envelope from future"
	case envelope.VeryOld:
		return "very old envelope"
	case envelope.ZeroTTL:
		return fmt.Sprintf("envelope with TTL 0, hash=[%s]", env.Hash())
	case envelope.TooLarge:
		return "huge messages are not allowed"
	case envelope.LowPoW:
		pow := env.PoW()
		if ahead := int64(env.Sent()) - m.net; ahead > 0 {
			pow = env.PoWFuture(uint32(ahead) + 1)
		}
		return fmt.Sprintf("envelope with low PoW received: PoW=%f, hash=[%s]", pow, env.Hash())
	case envelope.NotWanted:
		return fmt.Sprintf("envelope does not match bloom filter, hash=[%s]", env.Hash())
	}
	return "envelope refused"
}
