package catchup

import (
	"time"

	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
)

// lane is one server's part in a round: its jobs, one after the other.
type lane struct {
	server *server
	report ServerReport
	began  time.Time
	job    *job

	cell     int                     // the one that is worked on
	did      map[envelope.Topic]bool // topics of it that were asked for to the end
	jobs     int
	recalled bool // what is missing was asked for

	heard   bool // it answered, and so as one does who hands over bodies
	done    bool // nothing is left to ask
	failed  bool // the last job
	over    bool // it stopped because the bytes were spent
	dropped bool // it was slower than the other, and cannot be compared
	lacking int64

	brought map[int]bool // cells of which it handed over something
	seen    shown
}

// drive lets every lane do the next thing, and reports whether one did.
func (m *Machine) drive() bool {
	r := m.round
	for _, l := range r.lanes {
		switch {
		case l.job == nil && (l.done || l.failed || l.dropped || l.over || r.stopped != nil || r.over):
		case l.job == nil:
			m.proceed(l)
			return true
		case l.job.over:
			m.jobEnded(l)
			return true
		case !l.job.bodies && m.mayBring(l):
			l.job.bodies = true
			m.step(l.job, history.Proceed{})
			return true
		}
	}
	return false
}

// mayBring reports whether a server may hand over bodies of the cell that it is at: nobody else is at it.
func (m *Machine) mayBring(l *lane) bool {
	r := m.round
	b := r.bringer
	return l == b || l == r.rival || b == nil || b.failed || b.done || b.cell > l.cell
}

// proceed starts the next job of a lane.
func (m *Machine) proceed(l *lane) {
	r := m.round
	switch {
	case !l.server.up:
		m.fail(l, fault.Errorf(op, fault.Unavailable, "the connection to the mail server %s was lost", m.name(l.server.id)))
		return
	case r.spent():
		l.over, r.over = true, true
		return
	case l.jobs > 64+4*len(m.wants):
		m.fail(l, fault.Errorf(op, fault.Corrupt, "the mail server %s comes to no end", m.name(l.server.id)))
		return
	}
	j, err := m.nextJob(l)
	switch {
	case err != nil:
		m.fail(l, err)
	case j == nil:
		l.done = true
		l.report.Took = m.now.Sub(l.began)
	default:
		l.jobs++
		l.job = j
		r.asked, l.server.stale = true, false
		if l == r.bringer && r.hedgeAt.IsZero() {
			r.hedgeAt = m.now.Add(m.hedgeAfter(l.server.id))
		}
		first := history.Event(history.Tick{})
		if j.bodies = m.mayBring(l); j.bodies && j.check {
			first = history.Proceed{}
		}
		m.step(j, first)
	}
}

// nextJob finds what is left to ask a server; nil for nothing.
func (m *Machine) nextJob(l *lane) (*job, error) {
	r := m.round
	for ; l.cell < len(r.cells); l.cell, l.did = l.cell+1, nil {
		topics := m.stillWanted(r.cells[l.cell])
		if len(topics) == 0 {
			continue
		}
		if l.did == nil {
			l.did = map[envelope.Topic]bool{}
		}
		next := m.bySent
		if l.server.arrivals() {
			next = m.byArrival
		}
		if j, err := next(l, topics); j != nil || err != nil {
			return j, err
		}
	}
	if l.recalled || !l.server.lists() {
		return nil, nil
	}
	l.recalled = true
	return m.recallJob(l), nil
}

// jobEnded draws the conclusions.
func (m *Machine) jobEnded(l *lane) {
	j, r := l.job, m.round
	l.job = nil
	rep := &j.report
	l.report.Form, l.report.End = rep.Form, rep.End
	l.report.ListBytes += rep.ListBytes
	l.report.Listed += int(rep.Listed)
	l.report.Fetched += int(rep.Fetched)
	l.lacking = rep.LackingBytes
	if l.report.FirstAnswer == 0 {
		l.report.FirstAnswer = rep.FirstAnswer
	}
	if rep.WithheldCount > 0 {
		l.report.Withheld += int(rep.WithheldCount)
		m.note(l.server, directory.Withheld{N: int(rep.WithheldCount)})
	}
	switch {
	case j.local != nil:
		r.err, r.local = j.local, true
		l.failed = true
		m.halt(j.local)
	case j.demoted || r.stopped != nil:
	case rep.End == history.EndFailed && j.unheard():
	case rep.End == history.EndFailed:
		m.fail(l, rep.Err)
	case rep.End == history.EndLimited:
		l.over, r.over = true, true
	default:
		l.heard = true
		for _, t := range j.finishes {
			if !rep.Restarted { // what the archive had before it began anew is compared at once
				l.did[t], r.finished[t] = true, true
			}
		}
		m.note(l.server, directory.Answered{First: rep.FirstAnswer, Last: rep.Took, Envelopes: int(rep.Envelopes), Bytes: rep.Received})
	}
}

// fail ends a server's part; whether it may try again, assign decides.
func (m *Machine) fail(l *lane, err error) {
	r := m.round
	l.failed = true
	l.report.Err, r.err = err, err
	l.report.Took = m.now.Sub(l.began)
	r.tried[l.server.id]++
	switch fault.KindOf(err) {
	case fault.Corrupt, fault.Denied, fault.Invalid, fault.Limit:
		r.tried[l.server.id] = maxTries // it would fail again
	}
	m.note(l.server, directory.Failed{Err: err})
}
