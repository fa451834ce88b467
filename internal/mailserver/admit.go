package mailserver

import (
	"fmt"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// busyRetry is when to ask again after a Busy refusal.
const busyRetry = 2 * time.Second

const (
	maxSources    = 1 << 14 // that asked within forgetAfter
	forgetAfter   = time.Minute
	secondsPerDay = 24 * 60 * 60
)

// ask admits a request or refuses it.
func (m *machine) ask(ev asked) {
	if _, ok := m.tasks[ev.id]; ok {
		return
	}
	if e := m.refusal(ev); e.err != nil {
		e.id = ev.id
		m.do(e)
		return
	}
	c := m.connOf(ev.who)
	s := c.source
	if m.open >= MaxOpen {
		m.refuse(m.heaviest(s))
	}
	m.total.requests--
	s.bucket.requests--
	c.bucket.requests--
	c.used, s.used = m.now, m.now
	t := &task{id: ev.id, conn: c, asked: m.now, progress: m.now, need: PacketBytes}
	m.tasks[t.id] = t
	c.tasks = append(c.tasks, t)
	m.open++
	s.open++
	c.waiting = append(c.waiting, t)
	m.promote(c)
	if m.sweepAt.IsZero() {
		m.sweepAt = m.now.Add(time.Second)
	}
	if m.forgetAt.IsZero() {
		m.forgetAt = m.now.Add(forgetAfter)
	}
}

// refusal says why a request may not be admitted now; its err is nil when it may. The counts of one that is unknown are
// zero.
func (m *machine) refusal(ev asked) end {
	c, s := m.conns[ev.who.Conn], m.sources[sourceKey(ev.who)]
	if c != nil {
		s = c.source
	}
	switch {
	case m.closing:
		return m.errClosing(0)
	case m.dayIsUsed():
		return m.errDay(0)
	case c != nil && c.open() >= MaxRunning+MaxWaiting:
		return busy("%d requests of this connection are open; wait for an answer first", c.open())
	case s != nil && s.open >= MaxSource:
		return busy("%d requests from this network are open; wait for an answer first", s.open)
	case m.open >= MaxOpen && m.heaviest(s) == nil:
		return busy("the mail server has as many requests as it can take; ask again soon")
	case s == nil && len(m.sources) >= maxSources:
		return busy("the mail server is asked by too many at once; ask again soon")
	}
	return m.tooMany(c, s)
}

// heaviest finds the request that makes room for one of s when no more may be open: the last one of the source with most
// open, if it has not begun and that source is left with no fewer than s. So whatever some ask for, there is room for
// others.
func (m *machine) heaviest(s *source) *task {
	most := 1
	if s != nil {
		most += s.open
	}
	var last *task
	for _, o := range m.list {
		if o.open > most {
			if t := o.lastWaiting(); t != nil {
				most, last = o.open, t
			}
		}
	}
	return last
}

func (s *source) lastWaiting() (last *task) {
	for _, c := range s.conns {
		for _, t := range c.tasks {
			if !t.begun && t.phase != draining && (last == nil || t.id > last.id) {
				last = t
			}
		}
	}
	return last
}

// tooMany holds a request against the allowances.
func (m *machine) tooMany(c *conn, s *source) end {
	var wait time.Duration
	var most int
	hold := func(b *bucket, a Allowance) {
		if w := b.untilRequest(a, m.now); w > wait {
			wait, most = w, a.Requests
		}
	}
	hold(&m.total, m.limits.Total)
	if s != nil && !s.alone {
		hold(&s.bucket, m.limits.Source)
	}
	if c != nil && !c.trusted {
		hold(&c.bucket, m.limits.Conn)
	}
	if wait == 0 {
		return end{}
	}
	text := fmt.Sprintf("more than %d requests a minute; ask again in %d s", most, int(wait/time.Second)+1)
	return end{err: fault.E("", fault.Limit, nil, text), retryAfter: wait}
}

// refuse ends a request that has not begun.
func (m *machine) refuse(t *task) {
	e := busy("the mail server did not come to this request, for there are too many; ask again soon")
	e.id = t.id
	m.end(t, e)
}

func busy(format string, a ...any) end {
	return end{err: fault.Errorf("", fault.Busy, format, a...), retryAfter: busyRetry}
}

func (m *machine) errClosing(id uint64) end {
	return end{id: id, err: fault.E("", fault.Closed, nil, "the mail server is shutting down")}
}

func (m *machine) errDay(id uint64) end {
	err := fault.E("", fault.Limit, nil, "the mail server has sent all that its operator grants for a day; ask again after midnight UTC, or ask another")
	return end{id: id, err: err, retryAfter: untilMidnight(m.now)}
}

func untilMidnight(now time.Time) time.Duration {
	return now.UTC().Truncate(secondsPerDay * time.Second).Add(secondsPerDay * time.Second).Sub(now)
}

func (m *machine) dayIsUsed() bool {
	return m.limits.BytesPerDay > 0 && m.today >= m.limits.BytesPerDay
}

// checkDay ends everything when the day's bytes are used up.
func (m *machine) checkDay() {
	if m.dayIsUsed() {
		m.endAll(m.errDay)
	}
}

func (m *machine) endAll(why func(id uint64) end) {
	for _, t := range m.allTasks() {
		m.end(t, why(t.id))
	}
}

// allTasks lists the tasks in the order in which their sources, connections and they themselves came.
func (m *machine) allTasks() []*task {
	var list []*task
	for _, s := range m.list {
		for _, c := range s.conns {
			list = append(list, c.tasks...)
		}
	}
	return list
}

// sourceKey tells sources apart. Who shares with none is alone; the zero byte keeps such keys apart from prefixes.
func sourceKey(who Asker) string {
	if who.Source == "" || who.Trusted {
		return fmt.Sprintf("\x00%d", who.Conn)
	}
	return who.Source
}

// connOf finds or makes the connection of an asker, and its source.
func (m *machine) connOf(who Asker) *conn {
	if c := m.conns[who.Conn]; c != nil {
		return c
	}
	key := sourceKey(who)
	s := m.sources[key]
	if s == nil {
		s = &source{key: key, alone: key != who.Source, bucket: newBucket(m.limits.Source, m.now)}
		m.sources[key] = s
		m.list = append(m.list, s)
	}
	c := &conn{id: who.Conn, source: s, trusted: who.Trusted, bucket: newBucket(m.limits.Conn, m.now)}
	m.conns[c.id] = c
	s.conns = append(s.conns, c)
	return c
}

func (c *conn) open() int { return c.running + len(c.waiting) }

// forgetIdle forgets who has not asked for so long that the allowances have filled up again.
func (m *machine) forgetIdle() {
	m.list = slices.DeleteFunc(m.list, func(s *source) bool {
		s.conns = slices.DeleteFunc(s.conns, func(c *conn) bool {
			idle := len(c.tasks) == 0 && m.now.Sub(c.used) >= forgetAfter
			if idle && m.conns[c.id] == c {
				delete(m.conns, c.id)
			}
			return idle
		})
		if !m.isIdle(s) {
			return false
		}
		delete(m.sources, s.key)
		return true
	})
}

// forgetConn forgets a connection that left, when its last turn is over.
func (m *machine) forgetConn(c *conn) {
	if !c.gone || len(c.tasks) > 0 {
		return
	}
	s := c.source
	s.conns = slices.DeleteFunc(s.conns, func(o *conn) bool { return o == c })
	if m.isIdle(s) {
		delete(m.sources, s.key)
		m.list = slices.DeleteFunc(m.list, func(o *source) bool { return o == s })
	}
}

// isIdle reports whether nothing of a source is worth being remembered.
func (m *machine) isIdle(s *source) bool {
	return len(s.conns) == 0 && (s.alone || m.now.Sub(s.used) >= forgetAfter)
}
