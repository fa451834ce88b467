package catchup

import (
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
)

// What a recall asks for at a time, and how long it waits.
const (
	recallBytes  = 1 << 20
	recallCredit = 4 << 20
	recallWait   = 15 * time.Second // for each packet
)

// recall asks one server for envelopes by their hashes. It is a history.Job.
type recall struct {
	left   []history.Entry // not asked for yet
	most   int             // hashes of a question
	asked  map[envelope.Hash]bool
	came   []*envelope.Envelope
	asks   int
	open   bool // a question
	alive  time.Time
	began  time.Time
	done   bool
	page   bool // with the consumer
	err    error
	report history.Report
}

func newRecall(list []history.Entry, c history.Caps) *recall {
	most := history.MaxHashes
	if c.MaxHashes > 0 {
		most = min(most, c.MaxHashes)
	}
	return &recall{left: list, most: most}
}

// Deadline implements history.Job.
func (r *recall) Deadline() (time.Time, bool) { return r.alive.Add(recallWait), r.open }

// Step implements history.Job.
func (r *recall) Step(now time.Time, ev history.Event) (actions []history.Action) {
	if r.done {
		return nil
	}
	if r.began.IsZero() {
		r.began = now
		return []history.Action{history.Lookup{Lookup: 1, Entries: r.left}}
	}
	switch ev := ev.(type) {
	case history.Looked:
		r.looked(ev.Have)
	case history.Answered:
		actions = r.answered(now, ev.Answer)
	case history.Delivered:
		r.page = false
		if r.report.Fetched += uint64(len(r.came)); ev.Err != nil {
			r.fail(ev.Err)
		}
		r.came = nil
	case history.Stop:
		actions = r.cancel()
		r.fail(ev.Err)
	}
	if r.open && !now.Before(r.alive.Add(recallWait)) {
		actions = r.cancel()
		r.fail(fault.Errorf(op, fault.Timeout, "the mail server sent nothing for %v", recallWait))
	}
	return append(actions, r.settle(now)...)
}

func (r *recall) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.left = nil
}

func (r *recall) cancel() []history.Action {
	if !r.open {
		return nil
	}
	r.open = false
	return []history.Action{history.Cancel{Ask: r.asks}}
}

// looked leaves out what has come meanwhile.
func (r *recall) looked(have []bool) {
	var left []history.Entry
	for i, e := range r.left {
		if i < len(have) && !have[i] {
			left = append(left, e)
		}
	}
	r.left, r.asked = left, map[envelope.Hash]bool{}
}

func (r *recall) answered(now time.Time, a history.Answer) []history.Action {
	if !r.open {
		return nil
	}
	r.alive, r.report.Answered = now, true
	switch a := a.(type) {
	case history.Got:
		fresh := false
		for _, env := range a.Envelopes {
			if r.asked[env.Hash()] {
				delete(r.asked, env.Hash())
				r.came = append(r.came, env.Detach())
				fresh = true
			}
		}
		if !fresh {
			cancel := r.cancel()
			r.fail(fault.E(op, fault.Corrupt, nil, "the mail server sends what was not asked for"))
			return cancel
		}
	case history.Ended:
		r.open = false
		if a.Err != nil {
			r.fail(a.Err)
		}
	case history.Lost:
		r.open = false
		r.fail(fault.E(op, fault.Unavailable, a.Err, "the connection to the mail server was lost"))
	}
	return nil
}

// settle delivers, asks and finishes, as far as it can be done now.
func (r *recall) settle(now time.Time) []history.Action {
	switch {
	case r.asked == nil && r.err == nil, r.open, r.page:
		return nil
	case len(r.came) > 0:
		page := history.Page{Envelopes: r.came}
		for _, env := range r.came {
			page.Bytes += int64(len(env.Raw()))
		}
		r.page = true
		return []history.Action{history.Deliver{Page: page}}
	case len(r.left) > 0:
		return []history.Action{r.question(now)}
	}
	r.done = true
	r.report.Form, r.report.End, r.report.Err = history.ByHash, history.EndComplete, r.err
	if r.report.Took = now.Sub(r.began); r.err != nil {
		r.report.End = history.EndFailed
	}
	return []history.Action{history.Finish{Report: r.report}}
}

func (r *recall) question(now time.Time) history.Action {
	var hashes []envelope.Hash
	r.asked = map[envelope.Hash]bool{}
	size := int64(0)
	for len(r.left) > 0 && len(hashes) < r.most {
		e := r.left[0]
		if size += int64(e.Size); len(hashes) > 0 && size > recallBytes {
			break
		}
		hashes, r.left = append(hashes, e.Hash), r.left[1:]
		r.asked[e.Hash] = true
	}
	r.asks++
	r.open, r.alive = true, now
	return history.Ask{Ask: r.asks, Form: history.ByHash, Question: history.Question{Hashes: hashes, Credit: recallCredit}}
}
