package gossip

import (
	"fmt"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// listHeader is more than the header of any packet's list takes.
const listHeader = 8

// settle looks at every link: sends what is due, and finds when the next one is.
func (m *Machine) settle() {
	m.unsettle = false
	m.wake, m.idle = never, 0
	for _, l := range m.links {
		l.idle = false
		m.wake = min(m.wake, m.serve(l))
	}
}

// grown is called when the log got an entry. Links that wait for their time will see it anyway.
func (m *Machine) grown() {
	if m.idle > 0 {
		m.unsettle = true
	}
}

// serve sends what a link may get now, and returns when it has to be looked at again.
func (m *Machine) serve(l *link) time.Duration {
	if l.conn.closing {
		return never
	}
	due := never
	if l.again {
		if at := l.rescan + rescanEvery; l.rescan != 0 && m.mono < at {
			due = at
		} else {
			l.at, l.again, l.rescan = 0, false, max(m.mono, 1)
		}
	}
	if l.at < len(m.pool.log) && !l.full {
		ready := max(l.flushed+m.cfg.Coalesce, l.paced)
		if m.mono >= max(ready-m.early, l.paced) {
			due = min(due, m.flush(l))
		} else {
			due = min(due, ready)
		}
	}
	if l.inFlight > 0 {
		at := max(l.progress, l.conn.drained) + m.cfg.SlowReader // one link may wait for the other
		if m.mono >= at {
			m.stats.SlowReaders++
			m.disconnect(l.conn, fmt.Sprintf("slow reader: nothing was taken for %s", m.cfg.SlowReader))
			return never
		}
		due = min(due, at)
	}
	if !l.idle && l.at == len(m.pool.log) {
		l.idle = true
		m.idle++
	}
	return due
}

// flush sends a link's backlog until it has seen the whole log, its credit is used up, its peer's rate forbids more, or
// it is others' turn. It returns when to go on, if time is what it waits for.
func (m *Machine) flush(l *link) time.Duration {
	l.flushed = m.mono
	for budget := scanAtOnce; l.at < len(m.pool.log) && !l.full; {
		if m.mono < l.paced {
			return l.paced
		}
		if budget <= 0 {
			l.flushed = m.mono - m.cfg.Coalesce
			return m.mono
		}
		list, own := m.collect(l, &budget)
		if len(list) == 0 {
			continue
		}
		// Links often get the same; the caller encodes a shared list once.
		if !slices.Equal(list, m.lastList) {
			m.lastList = slices.Clone(list)
		}
		clear(list)
		m.send(l, m.lastList, own)
	}
	return never
}

func (m *Machine) send(l *link, list []*envelope.Envelope, own []envelope.Hash) {
	bytes := envelope.ListSize(list)
	m.do(Send{Conn: l.conn.id, Network: l.net, List: list, Own: own, Bytes: bytes})
	if l.inFlight == 0 {
		l.progress = m.mono
	}
	l.inFlight += bytes
	l.pace(m.mono, bytes)
	m.stats.Sent += uint64(len(list))
	m.stats.SentBytes += uint64(bytes)
	m.stats.SentPackets++
}

// pace puts off the next packet as the peer's announced rates ask. A quarter of its packets are left for other codes.
func (l *link) pace(now time.Duration, bytes int) {
	if l.packets > 0 {
		l.paced = now + time.Duration(1.25*float64(time.Second)/float64(l.packets))
	}
	if l.bytes > 0 {
		l.paced = max(l.paced, now+time.Duration(float64(time.Second)*float64(bytes)/float64(l.bytes)))
	}
}

// collect takes the next packet's envelopes from the log and marks them as known to the connection. The list is valid
// until the next call.
func (m *Machine) collect(l *link, budget *int) (list []*envelope.Envelope, own []envelope.Hash) {
	list = m.scratch[:0]
	bytes := listHeader
	target, slot, net := m.cfg.Packet, l.conn.slot, In(l.net)
	if l.packets > 0 {
		target = m.cfg.MaxPacket / 2 // packets are scarce: fill them better
	}
	target = min(target, max(l.window/2, minPacket))
	log := m.pool.log
	for ; l.at < len(log) && len(list) < m.cfg.PerPacket && *budget > 0; l.at++ {
		*budget--
		e := log[l.at]
		if e == nil || e.knows(slot) || e.nets&net == 0 || !l.wants(e) {
			continue
		}
		size := int(e.size)
		if size+listHeader > m.cfg.MaxPacket {
			m.stats.Oversize++
			continue
		}
		if !m.mayRelay(e) {
			l.held = true
			continue
		}
		if len(list) > 0 && bytes+size > target {
			break
		}
		if l.inFlight+bytes+size > l.window && (len(list) > 0 || l.inFlight > 0) {
			l.full = true
			break
		}
		e.mark(slot)
		if e.own {
			own = append(own, e.env.Hash())
		} else {
			m.budget.Bytes += int64(size)
		}
		bytes += size
		list = append(list, e.env)
	}
	m.scratch = list
	return list, own
}

func (m *Machine) drained(ev Drained) {
	l := m.link(ev.Conn, ev.Network)
	if l == nil {
		return
	}
	switch took := m.mono - l.progress; {
	case took > slowDrain:
		l.window = max(l.window/2, min(minWindow, m.cfg.InFlight))
	case took < fastDrain && l.full:
		l.window = min(2*l.window, m.cfg.InFlight)
	}
	l.inFlight = max(l.inFlight-max(ev.Bytes, 0), 0)
	l.progress, l.conn.drained = m.mono, m.mono
	if l.inFlight == 0 || l.inFlight <= l.window/2 {
		l.full = false
	}
	m.wake = min(m.wake, m.serve(l))
}

// countUnsent counts the links that an entry did not reach in time.
func (m *Machine) countUnsent(e *entry) {
	if m.idle == len(m.links) || e.at == hidden {
		return
	}
	for _, l := range m.links {
		if !l.idle && l.at <= e.at && !e.knows(l.conn.slot) && e.nets&In(l.net) != 0 && l.wants(e) {
			m.stats.Unsent++
		}
	}
}

// disconnect ends a connection, once.
func (m *Machine) disconnect(c *conn, reason string) {
	if !c.closing {
		c.closing = true
		m.stats.Disconnects++
		m.do(Disconnect{Conn: c.id, Reason: reason})
	}
}
