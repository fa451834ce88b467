package history

import (
	"context"
	"time"
)

// Run fetches what the plan says from one server. deliver is called with one page after the other and returns when the
// page is kept; its error ends the fetch. Run returns when nothing of it runs any more. The report is valid also with an
// error, which is then Report.Err: a fault, deliver's error, or ctx's if that ended it. clock tells the time; nil means
// time.Now.
func Run(ctx context.Context, t Transport, p Plan, deliver func(context.Context, Page) error, clock func() time.Time) (Report, error) {
	if clock == nil {
		clock = time.Now
	}
	f, err := New(p, t.Caps())
	if err != nil {
		return Report{Err: err, From: p.From, To: p.To, Resume: p.After}, err
	}
	r := &runner{ctx: ctx, transport: t, fetch: f, deliver: deliver, clock: clock,
		events: make(chan Event, 8), done: make(chan struct{})}
	defer close(r.done)
	return r.run()
}

// runner performs what a Fetch decides.
type runner struct {
	ctx       context.Context
	transport Transport
	fetch     *Fetch
	deliver   func(context.Context, Page) error
	clock     func() time.Time

	events chan Event
	done   chan struct{} // closed when nobody reads events any more
	cancel func()        // of the open question
	report *Report
}

func (r *runner) run() (Report, error) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stopped := r.ctx.Done()
	var ev Event = Tick{}
	for {
		for ev != nil {
			ev = r.step(ev)
		}
		if r.report != nil {
			return *r.report, r.report.Err
		}
		var due <-chan time.Time
		if at, ok := r.fetch.Deadline(); ok {
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
	for _, action := range r.fetch.Step(r.clock(), ev) {
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
		case Finish:
			r.report = &a.Report
		}
	}
	return next
}

func (r *runner) post(ev Event) {
	select {
	case r.events <- ev:
	case <-r.done:
	}
}
