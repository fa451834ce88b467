package gossip

import (
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// sinkState is what the sinks made of an entry.
type sinkState uint8

const (
	sinkDone    sinkState = iota // kept, or nobody has to confirm
	sinkWaiting                  // a Resolved is expected
	sinkRefused                  // Declined
	sinkFailed                   // Retry: offered again later
)

// ticket is an acknowledgement that a peer waits for. A nil ticket does nothing.
type ticket struct {
	conn    *conn
	net     Network
	digest  envelope.Hash
	opened  time.Duration
	waits   []*entry // envelopes whose fate is not known yet
	pending int
	refused []Refused
	offered bool // all envelopes of the packet have been looked at
	done    bool
	unknown bool // the fate of one cannot be known: no acknowledgement
}

func (m *Machine) openTicket(c *conn, ev *Received) *ticket {
	t := &ticket{conn: c, net: ev.Network, digest: ev.Ticket, opened: m.mono}
	if !m.cfg.SinkConfirms {
		return t // it will be done before anybody could wait
	}
	if c.tickets >= maxTickets {
		m.stats.AcksSkipped++
		return nil
	}
	c.tickets++
	m.tickets = append(m.tickets, t)
	return t
}

// join makes the ticket wait for an entry's sink.
func (t *ticket) join(e *entry) {
	if t == nil || e.sink == sinkDone || slices.Contains(e.wait, t) {
		return
	}
	e.wait = append(e.wait, t)
	t.waits = append(t.waits, e)
	t.pending++
}

func (t *ticket) refuse(h envelope.Hash, text string) {
	if t != nil {
		t.refused = append(t.refused, Refused{Hash: h, Text: text})
	}
}

// settled notes an envelope whose fate is known, or can never be.
func (t *ticket) settled(h envelope.Hash, s sinkState) {
	switch {
	case t == nil:
	case s == sinkRefused:
		t.refuse(h, textDeclined)
	case s != sinkDone:
		t.unknown = true
	}
}

const textDeclined = "envelope was not archived"

// finish acknowledges if nothing is pending.
func (m *Machine) finish(t *ticket) {
	if t.done || !t.offered || t.pending > 0 || t.unknown {
		return
	}
	m.endTicket(t)
	if !t.conn.gone && !t.conn.closing {
		m.stats.Acks++
		m.do(Ack{Conn: t.conn.id, Network: t.net, Ticket: t.digest, Refused: t.refused})
	}
}

func (m *Machine) endTicket(t *ticket) {
	if m.cfg.SinkConfirms && !t.done {
		t.conn.tickets--
	}
	t.done, t.waits = true, nil
}

// expireTickets gives up the tickets that are too old: rather no acknowledgement than a false one.
func (m *Machine) expireTickets() {
	n := 0
	for ; n < len(m.tickets); n++ {
		t := m.tickets[n]
		if t.done {
			continue
		}
		if m.mono < t.opened+ticketLife {
			break
		}
		for _, e := range t.waits {
			if i := slices.Index(e.wait, t); i >= 0 {
				e.wait = slices.Delete(e.wait, i, i+1)
			}
		}
		m.stats.AcksSkipped++
		m.endTicket(t)
	}
	m.tickets = slices.Delete(m.tickets, 0, n)
}

// resolved takes a sink's answer.
func (m *Machine) resolved(ev Resolved) {
	if !m.cfg.SinkConfirms {
		return
	}
	state := sinkDone
	switch ev.Outcome {
	case Declined:
		state = sinkRefused
	case Retry:
		state = sinkFailed
	}
	e := m.pool.index[ev.Hash]
	if e == nil {
		if _, ok := m.remembered.hashes[ev.Hash]; ok {
			m.remembered.hashes[ev.Hash] = state
		}
		return
	}
	if e.sink == sinkDone || e.sink == sinkFailed {
		return
	}
	e.sink = state
	if state == sinkFailed {
		m.retryLater(e)
		return
	}
	waiting := e.wait
	e.wait = nil
	for _, t := range waiting {
		t.pending--
		if state == sinkRefused {
			t.refuse(ev.Hash, textDeclined)
		}
		m.finish(t)
	}
}

// retry is an envelope to be given to the sinks again.
type retry struct {
	at    time.Duration
	entry *entry
}

// Waits double from firstRetry to lastRetry; each length of wait has a queue of its own, which is thus ordered by time.
const (
	retryLevels = 7
	retryAtOnce = 1024 // envelopes given again in one Step
)

func (m *Machine) retryLater(e *entry) {
	m.stats.SinkFailures++
	level := min(int(e.tries), retryLevels-1)
	e.tries = uint8(level + 1)
	e.failed = m.mono
	m.retries[level] = append(m.retries[level], retry{m.mono + min(firstRetry<<level, lastRetry), e})
}

func (m *Machine) retryNow() {
	left := retryAtOnce
	for level := range m.retries {
		queue, n := m.retries[level], 0
		for ; n < len(queue) && m.mono >= queue[n].at && left > 0; n++ {
			if e := queue[n].entry; e.env != nil && e.sink == sinkFailed && m.mono >= e.failed+firstRetry {
				m.acceptAgain(e)
				left--
			}
		}
		if n > 0 {
			clear(queue[:n])
			m.retries[level] = queue[n:]
		}
	}
}

func (m *Machine) nextRetry() time.Duration {
	at := never
	for _, queue := range m.retries {
		if len(queue) > 0 {
			at = min(at, queue[0].at)
		}
	}
	return at
}

// offerAgain is called when a peer sends an envelope that a sink could not keep: maybe it can now.
func (m *Machine) offerAgain(e *entry) {
	if m.mono >= e.failed+firstRetry {
		m.acceptAgain(e)
	}
}

func (m *Machine) acceptAgain(e *entry) {
	e.sink = sinkWaiting
	m.do(Accept{Envelope: e.env, PoW: e.pow, Own: e.own, Again: true})
}
