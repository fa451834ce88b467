package catchup

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const op = "catchup"

// cellSize is how many topics are one question; servers may allow less.
const cellSize = 1000

// round is one catch-up.
type round struct {
	ids     []uint64 // of the Syncs that it is for; 0 for the machine itself
	options Options
	limit   int64 // of bytes received; 0 for none
	alone   bool  // nobody is compared with
	began   time.Time
	cells   [][]envelope.Topic // what is asked together: of one rank
	recall  []envelope.Hash    // what is missing and asked for again

	lanes   []*lane
	bringer *lane // the primary
	rival   *lane // may hand over bodies as well, because the primary is slow
	hedgeAt time.Time
	hedged  bool

	tried    map[nodeaddr.ID]int // jobs that failed, and connections
	finished map[envelope.Topic]bool
	asked    bool
	stopped  error // it ends, because of this
	local    bool  // and that is our own failure
	over     bool  // the bytes are spent
	err      error // the last failure

	new      int
	newBytes int64
	first    time.Duration
}

// sync queues a round, or joins one like it that has not asked anything yet.
func (m *Machine) sync(s Sync) {
	if r := m.round; r != nil && !r.asked && r.stopped == nil && r.options.same(s.Options) {
		r.ids = append(r.ids, s.ID)
		return
	}
	if len(m.queue) >= maxQueue {
		m.refuse(s, fault.Errorf(op, fault.Busy, "%d catch-ups wait already: wait for one of them", maxQueue))
		return
	}
	m.queue = append(m.queue, s)
}

func (m *Machine) refuse(s Sync, err error) {
	m.do(Finished{ID: s.ID, Report: Report{ID: s.ID, End: EndFailed, Err: err, Began: m.now}})
}

// stop ends a Sync.
func (m *Machine) stop(id uint64) {
	err := fault.E(op, fault.Closed, nil, "the catch-up was stopped")
	for i, s := range m.queue {
		if s.ID == id {
			m.queue = slices.Delete(m.queue, i, i+1)
			m.do(Finished{ID: id, Report: Report{ID: id, End: EndStopped, Err: err, Began: m.now}})
			return
		}
	}
	r := m.round
	if r == nil {
		return
	}
	i := slices.Index(r.ids, id)
	switch {
	case i < 0 || id == 0:
	case len(r.ids) > 1:
		report := m.report(id)
		report.End, report.Err = EndStopped, err
		r.ids = slices.Delete(r.ids, i, i+1)
		m.do(Finished{ID: id, Report: report})
	default:
		m.halt(err)
	}
}

// halt ends the round: what is under way is given up, what came is kept.
func (m *Machine) halt(err error) {
	r := m.round
	if r.stopped != nil {
		return
	}
	r.stopped = err
	for _, l := range r.lanes {
		if l.job != nil {
			m.giveUp(l.job, err)
		}
	}
}

func (o *Options) same(b Options) bool {
	return o.MaxBytes == b.MaxBytes && o.Alone == b.Alone && slices.Equal(o.First, b.First) && slices.Equal(o.Only, b.Only) &&
		(o.Server == nil) == (b.Server == nil) && (o.Server == nil || *o.Server == *b.Server)
}

// whole reports whether a round with these options brings all that is wanted.
func (o *Options) whole() bool { return o.same(Options{}) || o.same(Options{First: o.First}) }

// startable reports whether the machine may start a round by itself.
func (m *Machine) startable() bool { return !m.wake.IsZero() && len(m.choices) > 0 && len(m.wants) > 0 }

// begin starts the next round, if one is due.
func (m *Machine) begin() bool {
	own := m.startable() && !m.now.Before(m.wake)
	if len(m.queue) == 0 && !own {
		return false
	}
	r := &round{began: m.now, tried: map[nodeaddr.ID]int{}, finished: map[envelope.Topic]bool{}}
	if len(m.queue) > 0 {
		r.options = m.queue[0].Options
	}
	r.limit = cmp.Or(r.options.MaxBytes, m.config.MaxBytes)
	r.alone = r.options.Alone || m.config.Alone
	m.queue = slices.DeleteFunc(m.queue, func(s Sync) bool {
		same := r.options.same(s.Options)
		if same {
			r.ids = append(r.ids, s.ID)
		}
		return same
	})
	if own && r.options.whole() {
		r.ids = append(r.ids, 0)
	}
	if r.options.whole() {
		m.wake = time.Time{}
	}
	m.round = r
	m.plan(r)
	if len(m.choices) == 0 && r.options.Server == nil {
		r.err = fault.E(op, fault.Unavailable, nil, "no mail server can be asked now: add one, or wait until one may be tried again")
	}
	return true
}

// plan lays down what is asked for in which order.
func (m *Machine) plan(r *round) {
	rank := func(w coverage.Want) int {
		if slices.Contains(r.options.First, w.Topic) {
			return -1
		}
		return w.Rank
	}
	var list []coverage.Want
	for _, w := range m.wants {
		if len(r.options.Only) == 0 || slices.Contains(r.options.Only, w.Topic) {
			list = append(list, w)
		}
	}
	slices.SortStableFunc(list, func(a, b coverage.Want) int { return compareWants(rank(a), rank(b), a.Topic, b.Topic) })
	for i, w := range list {
		n := len(r.cells)
		if i == 0 || rank(list[i-1]) != rank(w) || len(r.cells[n-1]) == cellSize {
			r.cells = append(r.cells, nil)
			n++
		}
		r.cells[n-1] = append(r.cells[n-1], w.Topic)
	}
	r.recall = m.dueMissing(slices.Equal(r.ids, []uint64{0}))
}

func compareWants(rankA, rankB int, a, b envelope.Topic) int {
	return cmp.Or(cmp.Compare(rankA, rankB), bytes.Compare(a[:], b[:]))
}

func compareIDs(a, b nodeaddr.ID) int { return bytes.Compare(a[:], b[:]) }

func (r *round) lane(s *server) *lane {
	for _, l := range r.lanes {
		if l.server == s {
			return l
		}
	}
	return nil
}

// bytes is what was received so far.
func (r *round) bytes() (n int64) {
	for _, l := range r.lanes {
		n += l.report.Bytes
	}
	return n
}

// left is what may still be received; 0 for no limit.
func (r *round) left() int64 {
	if r.limit == 0 {
		return 0
	}
	return max(r.limit-r.bytes(), 1)
}

func (r *round) spent() bool { return r.limit > 0 && r.bytes() >= r.limit }

// finish ends the round when there is nothing left to do or to wait for.
func (m *Machine) finish() bool {
	r := m.round
	for _, l := range r.lanes {
		if l.job != nil {
			return false
		}
	}
	m.connections()
	if len(r.cells) > 0 && r.stopped == nil && !r.over && !m.waitIsOver() {
		return false
	}
	m.compare()
	m.settleMissing()
	end := m.end()
	m.explain(r, end)
	for i, id := range r.ids {
		report := m.report(id)
		if report.End = end; end == EndFailed || end == EndStopped {
			report.Err = cmp.Or(r.stopped, r.err)
		}
		if i == 0 {
			m.last = report
		}
		m.do(Finished{ID: id, Report: report})
	}
	m.lastEnd = m.now
	m.round = nil
	m.afterwards(r, end)
	return true
}

// waitIsOver reports whether no server is worth waiting for. None of those that are up has anything left to do.
func (m *Machine) waitIsOver() bool {
	r := m.round
	if r.bringer == nil || !r.bringer.done {
		return len(m.dialing()) == 0
	}
	if !m.wantsSecond() {
		return true
	}
	return len(m.dialing()) == 0 || !m.now.Before(r.began.Add(connectWait))
}

func (m *Machine) end() End {
	r := m.round
	arrivals := 0
	for _, l := range r.lanes {
		if l.done && !l.dropped && l.server.arrivals() {
			arrivals++
		}
	}
	switch {
	case r.stopped != nil && r.local:
		return EndFailed
	case r.stopped != nil:
		return EndStopped
	case r.over:
		return EndOverBudget
	case len(r.cells) == 0:
		return EndComplete
	case r.bringer == nil || !r.bringer.done:
		return EndFailed
	case arrivals > 1:
		return EndAgreed
	case arrivals == 1:
		return EndComplete
	}
	return EndAnswered
}

// report says what came of the round.
func (m *Machine) report(id uint64) Report {
	r := m.round
	report := Report{ID: id, Began: r.began, Took: m.now.Sub(r.began), FirstEnvelope: r.first, New: r.new, NewBytes: r.newBytes,
		Bytes: r.bytes(), Gaps: m.Gaps(m.now)}
	for _, l := range r.lanes {
		s := l.report
		s.Server = l.server.id
		if s.Role = Second; l == r.bringer {
			s.Role = Primary
		}
		report.Servers = append(report.Servers, s)
		if !l.done || l.over {
			report.Left = max(report.Left, l.lacking)
		}
	}
	return report
}

// deadlines tells when something is due.
func (r *round) deadlines(m *Machine, sooner func(time.Time)) {
	for _, l := range r.lanes {
		if l.job != nil {
			if at, ok := l.job.machine.Deadline(); ok {
				sooner(at)
			}
		}
	}
	if m.hedgeOpen() {
		sooner(r.hedgeAt)
	}
	for _, s := range m.dialing() {
		sooner(s.dialed.Add(hedgeDial))
		sooner(r.giveUp(s))
	}
	sooner(r.began.Add(connectWait))
}

// giveUp is when the round stops waiting for a connection.
func (r *round) giveUp(s *server) time.Time {
	from := s.dialed
	if from.Before(r.began) {
		from = r.began
	}
	return from.Add(giveUpDial)
}
