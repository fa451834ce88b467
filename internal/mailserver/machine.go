package mailserver

import (
	"slices"
	"time"
)

// machine decides which request may begin, whose turn it is, and who is given up. The caller performs the actions of a
// Step in order; a turn is answered by turned. It is deterministic and not safe for concurrent use.
type machine struct {
	limits  Limits
	workers int // turns at a time

	now     time.Time
	tasks   map[uint64]*task
	conns   map[uint64]*conn
	sources map[string]*source
	list    []*source // the same, in the order in which they came
	active  []*source // those with tasks that are ready or have their turn

	open, running, slots int     // over all sources
	idle                 []*task // blocked and with a slot, the longest first
	busy                 int     // turns in progress
	underWay             int64   // over all tasks
	virtual              int64   // virtual time: that of the source that had the last turn
	estimate             int64   // what a turn costs on average
	total                bucket
	day                  int64 // the UTC day that today counts
	today                int64
	closing              bool

	sweepAt  time.Time // zero when nothing is open
	wakeAt   time.Time // when an allowance lets the next turn happen; zero for none
	forgetAt time.Time // when idle sources are looked for
	actions  []action
}

// source is an address prefix, or one connection that shares with none.
type source struct {
	key     string
	alone   bool // limits of sources do not hold
	conns   []*conn
	open    int // tasks that have not ended
	slots   int // tasks in progress
	share   share
	virtual int64 // that of the connection that had the last turn
	bucket  bucket
	used    time.Time // when it last asked
}

type conn struct {
	id       uint64
	source   *source
	trusted  bool
	tasks    []*task // all, also those that ended and drain
	waiting  []*task
	ready    []*task // whose turn it may be, the next one first
	running  int     // tasks that left waiting and have not ended
	underWay int64
	share    share
	bucket   bucket
	gone     bool
	used     time.Time // when it last asked
}

// share is one's place in the sharing of turns: the least virtual time comes next.
type share struct {
	virtual int64
	active  int // tasks that are ready or have their turn
}

type phase uint8

const (
	waiting phase = iota // for a place among the running tasks of its connection
	ready                // for its turn
	turning
	blocked  // until more has left
	draining // ended, but not everything has left
)

type task struct {
	id       uint64
	conn     *conn
	phase    phase
	begun    bool // had a turn
	slot     bool // counts among the slots: it may hold a walk
	asked    time.Time
	progress time.Time // when something left, or was sent after everything had left
	underWay int64
	need     int64 // bytes that the next turn may send
	charged  int64 // for the turn in progress
	stop     *end  // to be done when the turn is over
}

// event is something that happened.
type event interface{ event() }

type (
	asked struct {
		id  uint64
		who Asker
	}
	// turned says that a turn is over: it sent so many bytes, and the next one may send need.
	turned struct {
		id    uint64
		work  time.Duration
		sent  int64
		need  int64
		ended bool
	}
	// drained says that bytes have left, or never will.
	drained struct {
		id    uint64
		bytes int64
		lost  bool
	}
	cancelled struct{ id uint64 }
	left      struct{ conn uint64 }
	limited   struct{ limits Limits }
	closed    struct{}
	tick      struct{}
)

func (asked) event()     {}
func (turned) event()    {}
func (drained) event()   {}
func (cancelled) event() {}
func (left) event()      {}
func (limited) event()   {}
func (closed) event()    {}
func (tick) event()      {}

// action is something that the caller has to do.
type action interface{ action() }

type (
	// turn gives a task its turn: it may send at most room bytes.
	turn struct {
		id   uint64
		room int64
	}
	// park lets go of a walk; the task goes on later.
	park struct{ id uint64 }
	// abort hurries the turn in progress; an end follows when it is over.
	abort struct{ id uint64 }
	// end ends a task from outside of a turn, with an error, or without a word if that is nil.
	end struct {
		id         uint64
		err        error
		retryAfter time.Duration
	}
)

func (turn) action()  {}
func (park) action()  {}
func (abort) action() {}
func (end) action()   {}

func newMachine(limits Limits, workers int) *machine {
	return &machine{
		limits: limits, workers: workers, estimate: int64(time.Millisecond),
		tasks: map[uint64]*task{}, conns: map[uint64]*conn{}, sources: map[string]*source{},
	}
}

// Step takes what happened and returns what to do. The slice is valid until the next Step.
func (m *machine) Step(now time.Time, ev event) []action {
	clear(m.actions)
	m.actions = m.actions[:0]
	m.observe(now)
	switch ev := ev.(type) {
	case asked:
		m.ask(ev)
	case turned:
		m.turned(ev)
	case drained:
		m.drained(ev)
	case cancelled:
		if t := m.tasks[ev.id]; t != nil {
			m.end(t, end{id: t.id})
		}
	case left:
		m.left(ev.conn)
	case limited:
		m.setLimits(ev.limits)
	case closed:
		m.closing = true
		m.endAll(m.errClosing)
	}
	m.sweep()
	m.giveTurns()
	return m.actions
}

// Deadline is when the next tick is due; the zero time for none.
func (m *machine) Deadline() time.Time {
	at := m.sweepAt
	for _, t := range []time.Time{m.wakeAt, m.forgetAt} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

func (m *machine) do(a action) { m.actions = append(m.actions, a) }

func (m *machine) observe(now time.Time) {
	if m.now.IsZero() {
		m.total = newBucket(m.limits.Total, now)
	}
	if now.After(m.now) {
		m.now = now
	}
	if day := m.now.Unix() / secondsPerDay; day != m.day {
		m.day, m.today = day, 0
	}
}

func (m *machine) setLimits(l Limits) {
	m.limits = l
	m.total = newBucket(l.Total, m.now)
	for _, s := range m.list {
		s.bucket = newBucket(l.Source, m.now)
		for _, c := range s.conns {
			c.bucket = newBucket(l.Conn, m.now)
		}
	}
	m.checkDay()
}

func (m *machine) turned(ev turned) {
	t := m.tasks[ev.id]
	if t == nil || t.phase != turning {
		return
	}
	m.busy--
	m.charge(t, ev)
	if t.underWay == 0 && ev.sent > 0 {
		t.progress = m.now
	}
	m.addUnderWay(t, ev.sent)
	t.need = ev.need
	m.block(t)
	switch {
	case ev.ended:
		m.release(t)
	case t.stop != nil:
		m.end(t, *t.stop)
	default:
		m.goOn(t)
	}
	m.deactivate(t.conn) // only now: who goes on was never inactive
	m.checkDay()
}

// charge settles what the turn cost.
func (m *machine) charge(t *task, ev turned) {
	cost := int64(ev.work) + ev.sent*costOfByte
	c, s := t.conn, t.conn.source
	s.share.virtual += cost - t.charged
	c.share.virtual += cost - t.charged
	m.estimate += (cost - m.estimate) / 8
	m.today += ev.sent
	m.total.spend(ev.sent, ev.work)
	s.bucket.spend(ev.sent, ev.work)
	c.bucket.spend(ev.sent, ev.work)
}

func (m *machine) drained(ev drained) {
	t := m.tasks[ev.id]
	if t == nil {
		return
	}
	t.progress = m.now
	m.addUnderWay(t, -ev.bytes)
	switch {
	case t.phase == draining:
		m.dropDrained(t)
	case ev.lost:
		m.end(t, end{id: t.id})
	case t.phase == blocked:
		m.goOn(t)
	}
}

func (m *machine) addUnderWay(t *task, n int64) {
	if t.conn.gone {
		return
	}
	t.underWay += n
	t.conn.underWay += n
	m.underWay += n
}

// goOn makes a blocked task ready if what it may send next fits into its window.
func (m *machine) goOn(t *task) {
	if t.underWay == 0 || t.underWay+t.need <= m.window() {
		m.makeReady(t)
	}
}

// window is how much of an answer may be under way, one packet always excepted.
func (m *machine) window() int64 {
	if m.underWay >= TotalWindow {
		return 0
	}
	return WindowBytes
}

// left forgets a connection: nobody will say what becomes of what is under way.
func (m *machine) left(id uint64) {
	c := m.conns[id]
	if c == nil {
		return
	}
	delete(m.conns, id)
	for _, t := range c.tasks {
		m.addUnderWay(t, -t.underWay)
	}
	c.gone = true
	for _, t := range slices.Clone(c.tasks) {
		if t.phase == draining {
			m.dropDrained(t)
			continue
		}
		m.end(t, end{id: t.id})
	}
	m.forgetConn(c)
}

// end ends a task that has not ended, at once or when its turn is over.
func (m *machine) end(t *task, e end) {
	switch t.phase {
	case draining:
		return
	case turning:
		if t.stop == nil || e.err == nil {
			t.stop = &e
		}
		m.do(abort{t.id})
		return
	case ready:
		t.conn.ready = without(t.conn.ready, t)
		m.deactivate(t.conn)
	case waiting:
		t.conn.waiting = without(t.conn.waiting, t)
	}
	m.do(e)
	m.release(t)
}

// release takes a task out of all counts; it remains while something of it is under way.
func (m *machine) release(t *task) {
	c := t.conn
	m.freeSlot(t) // blocked ones without a slot are not idle
	m.open--
	c.source.open--
	if t.phase != waiting {
		c.running--
		m.running--
	}
	t.phase = draining
	m.promote(c)
	m.dropDrained(t)
}

func (m *machine) dropDrained(t *task) {
	if t.underWay > 0 {
		return
	}
	c := t.conn
	delete(m.tasks, t.id)
	c.tasks = without(c.tasks, t)
	m.forgetConn(c)
}

func (m *machine) freeSlot(t *task) {
	if t.slot {
		t.slot = false
		m.idle = without(m.idle, t)
		m.slots--
		t.conn.source.slots--
	}
}

func without(list []*task, t *task) []*task {
	if i := slices.Index(list, t); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}
