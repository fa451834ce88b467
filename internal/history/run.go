package history

import (
	"context"
	"sync"
	"time"
)

// Run fetches what the plan says from one server. deliver is called with one page after the other and returns when the
// page is kept; its error ends the fetch. Run returns when nothing of it runs any more. The report is valid also with an
// error, which is then Report.Err: a fault, deliver's error, or ctx's if that ended it. clock tells the time; nil means
// time.Now.
func Run(ctx context.Context, t Transport, p Plan, deliver func(context.Context, Page) error, clock func() time.Time) (Report, error) {
	f, err := New(p, t.Caps())
	if err != nil {
		return Report{Err: err, From: p.From, To: p.To, Resume: p.After}, err
	}
	return RunJob(ctx, t, f, deliver, nil, clock)
}

// RunJob runs any job over a transport, as Run does: a Check may fetch bodies from its start. lookup says which envelopes are
// had, in the order of the entries, and its error ends the run; for a Fetch it may be nil. It may be called while deliver
// runs; its context ends with the job.
func RunJob(ctx context.Context, t Transport, job Job, deliver func(context.Context, Page) error,
	lookup func(context.Context, []Entry) ([]bool, error), clock func() time.Time) (Report, error) {
	if clock == nil {
		clock = time.Now
	}
	r := &runner{ctx: ctx, transport: t, job: job, deliver: deliver, lookup: lookup, clock: clock,
		events: make(chan Event, 8), done: make(chan struct{})}
	var cancel context.CancelFunc
	r.looking, cancel = context.WithCancel(ctx)
	defer r.lookups.Wait()
	defer cancel()
	defer close(r.done)
	return r.run()
}

// runner performs what a job decides.
type runner struct {
	ctx       context.Context
	transport Transport
	job       Job
	deliver   func(context.Context, Page) error
	lookup    func(context.Context, []Entry) ([]bool, error)
	clock     func() time.Time

	events chan Event
	done   chan struct{} // closed when nobody reads events any more
	cancel func()        // of the open question
	report *Report

	looking context.Context // of lookups, which nobody waits for once the job has ended
	lookups sync.WaitGroup
}

func (r *runner) run() (Report, error) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stopped := r.ctx.Done()
	var ev Event = Proceed{}
	for {
		for ev != nil {
			ev = r.step(ev)
		}
		if r.report != nil {
			return *r.report, r.report.Err
		}
		var due <-chan time.Time
		if at, ok := r.job.Deadline(); ok {
			timer.Reset(at.Sub(r.clock()))
			due = timer.C
		}
		select {
		case ev = <-r.events:
		case <-due:
			ev = Tick{}
		case <-stopped:
			ev, stopped = Stop{r.ctx.Err()}, nil
		}
	}
}

// step performs the actions of one event. It returns the event that follows at once, if any.
func (r *runner) step(ev Event) (next Event) {
	for _, action := range r.job.Step(r.clock(), ev) {
		switch a := action.(type) {
		case Ask:
			cancel, err := r.transport.Ask(a.Form, a.Question, func(ans Answer) { r.post(Answered{a.Ask, ans}) })
			if r.cancel = cancel; err != nil {
				next = Answered{a.Ask, Lost{err}}
			}
		case Cancel:
			if r.cancel != nil {
				r.cancel()
			}
		case Grant:
			r.transport.Grant(a.Bytes)
		case Deliver:
			go func() { r.post(Delivered{r.deliver(r.ctx, a.Page)}) }()
		case Lookup:
			r.lookups.Go(func() { r.look(a) })
		case Finish:
			r.report = &a.Report
		}
	}
	return next
}

func (r *runner) look(a Lookup) {
	have, err := r.lookup(r.looking, a.Entries)
	if err != nil {
		r.post(Stop{err})
		return
	}
	r.post(Looked{a.Lookup, have})
}

func (r *runner) post(ev Event) {
	select {
	case r.events <- ev:
	case <-r.done:
	}
}
