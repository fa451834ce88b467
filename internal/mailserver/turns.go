package mailserver

import (
	"math"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// costOfByte is what a byte sent counts in the sharing of turns, in nanoseconds of work: 64 KiB as much as 0.65 ms.
const costOfByte = 10

// giveTurns gives turns as long as there are workers for them.
func (m *machine) giveTurns() {
	m.wakeAt = time.Time{}
	for m.busy < m.workers {
		t := m.next()
		if t == nil {
			return
		}
		m.giveTurn(t)
	}
}

// next finds the task whose turn it is: that of the source with the least virtual time, and there of the connection with
// the least.
func (m *machine) next() *task {
	if m.mustWait(&m.total, m.limits.Total) {
		return nil
	}
	var best *task
	for _, s := range m.active {
		if best != nil && s.share.virtual >= best.conn.source.share.virtual {
			continue
		}
		if !s.alone && m.mustWait(&s.bucket, m.limits.Source) {
			continue
		}
		if t := m.nextOf(s); t != nil {
			best = t
		}
	}
	return best
}

func (m *machine) nextOf(s *source) *task {
	slotFree := s.slots < sourceWalks && (m.slots < MaxWalks || len(m.idle) > 0)
	var best *task
	for _, c := range s.conns {
		if len(c.ready) == 0 || best != nil && c.share.virtual >= best.conn.share.virtual {
			continue
		}
		if !c.trusted && m.mustWait(&c.bucket, m.limits.Conn) {
			continue
		}
		for _, t := range c.ready {
			if t.slot || slotFree && c.underWay <= MaxRunning*WindowBytes {
				best = t
				break
			}
		}
	}
	return best
}

// mustWait reports whether an allowance is used up, and sees to it that we wake up when it is not any more.
func (m *machine) mustWait(b *bucket, a Allowance) bool {
	wait := b.untilTurn(a, m.now)
	if wait == 0 {
		return false
	}
	if at := m.now.Add(wait); m.wakeAt.IsZero() || at.Before(m.wakeAt) {
		m.wakeAt = at
	}
	return true
}

func (m *machine) giveTurn(t *task) {
	c, s := t.conn, t.conn.source
	c.ready = without(c.ready, t)
	t.phase, t.begun = turning, true
	if !t.slot {
		if m.slots >= MaxWalks {
			m.park(m.idle[0])
		}
		t.slot = true
		m.slots++
		s.slots++
	}
	m.busy++
	m.virtual, s.virtual = s.share.virtual, c.share.virtual
	t.charged = m.estimate // until the cost is known, so that another worker turns to somebody else
	s.share.virtual += t.charged
	c.share.virtual += t.charged
	room := int64(math.MaxInt64)
	if t.underWay > 0 {
		room = WindowBytes - t.underWay
	}
	m.do(turn{t.id, room})
}

// promote starts as many waiting tasks of a connection as may run.
func (m *machine) promote(c *conn) {
	for c.running < MaxRunning && len(c.waiting) > 0 {
		t := c.waiting[0]
		c.waiting = without(c.waiting, t)
		c.running++
		m.running++
		m.makeReady(t)
	}
}

// makeReady puts a task at the end of its connection's queue. Who was inactive starts at the present virtual time: nobody
// saves up turns.
func (m *machine) makeReady(t *task) {
	c, s := t.conn, t.conn.source
	if s.share.active == 0 {
		m.active = append(m.active, s)
		s.share.virtual = max(s.share.virtual, m.virtual)
	}
	if c.share.active == 0 {
		c.share.virtual = max(c.share.virtual, s.virtual)
	}
	s.share.active++
	c.share.active++
	m.idle = without(m.idle, t)
	t.phase = ready
	c.ready = append(c.ready, t)
}

// block has a task wait until more of it has left.
func (m *machine) block(t *task) {
	t.phase = blocked
	m.idle = append(m.idle, t)
}

// park takes the slot of a blocked task.
func (m *machine) park(t *task) {
	m.freeSlot(t)
	m.do(park{t.id})
}

// deactivate counts one task of a connection less that is ready or has its turn.
func (m *machine) deactivate(c *conn) {
	c.share.active--
	if c.source.share.active--; c.source.share.active == 0 {
		m.active = slices.DeleteFunc(m.active, func(s *source) bool { return s == c.source })
	}
}

// sweep looks every second for who waits for too long, and every minute for who does not ask any more.
func (m *machine) sweep() {
	if !m.sweepAt.IsZero() && !m.now.Before(m.sweepAt) {
		for _, t := range m.allTasks() {
			m.check(t)
		}
		if m.sweepAt = m.now.Add(time.Second); m.open == 0 {
			m.sweepAt = time.Time{}
		}
	}
	if !m.forgetAt.IsZero() && !m.now.Before(m.forgetAt) {
		m.forgetIdle()
		if m.forgetAt = m.now.Add(forgetAfter); len(m.list) == 0 {
			m.forgetAt = time.Time{}
		}
	}
}

func (m *machine) check(t *task) {
	switch {
	case t.phase == blocked && m.now.Sub(t.progress) >= StallTimeout:
		m.end(t, end{id: t.id, err: fault.E("", fault.Timeout, nil, "the answer was not taken; ask again with a smaller budget or on a better line")})
	case t.phase == blocked && t.slot && m.now.Sub(t.progress) >= parkAfter:
		m.park(t)
	case !t.begun && t.phase != draining && m.now.Sub(t.asked) >= QueueTimeout:
		m.refuse(t)
	}
}
