package history

import (
	"math"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// What a fetch holds and does at most.
const (
	window        = 4 << 20  // bytes that wait for the consumer
	askBudget     = 64 << 20 // bytes of one answer by arrival
	maxPage       = 1000     // envelopes of a Deliver
	maxPageBytes  = 1 << 20  // and their bytes, but for a single larger one
	maxFruitless  = 8        // pages in a row that bring nothing and promise more
	maxRetries    = 5        // questions in a row that are put off or come to nothing
	maxRestarts   = 2        // epochs that end under a fetch
	maxAsks       = 1 << 20
	maxAnswer     = 1 << 24          // packets of one answer,
	maxAnswerPage = 8 * MaxPageLimit // and of one page: some servers overdo it, but not endlessly
	clockAhead    = 60               // seconds beyond now that "until now" reaches, for clocks that run ahead
	longestPause  = 2 * time.Minute
	firstPause    = 2 * time.Second // before asking again; doubled each time
	fruitlessTime = time.Minute     // for which a server may send nothing but what was not asked for
)

// Defaults of the plan's waits.
const (
	firstAnswerDefault = 10 * time.Second
	firstAnswerBare    = 5 * time.Second
	nextPacketDefault  = 30 * time.Second
	quietDefault       = 3 * time.Second
)

// Fetch is one fetch from one server. Make it with New.
type Fetch struct {
	talk
	forms  []Form // left to try, the present one first
	limit  int    // of the next page
	piece  uint32 // seconds of range that a question in the form Bare covers; 0 for all
	again  bool   // the present position was asked before, because its answer was not whole
	drain  bool   // the next question waits until everything is delivered
	loop   loop
	spread spread
}

// New makes the fetch of a plan from a server. The error is an Invalid or Limit fault about the plan. The fetch begins
// with the first Step.
func New(p Plan, c Caps) (*Fetch, error) {
	if err := p.check(c); err != nil {
		return nil, err
	}
	f := &Fetch{talk: newTalk(p, c), forms: slices.Clone(c.Forms)}
	f.limit = f.plan.PageLimit
	f.want = newWanted(&f.plan)
	return f, nil
}

func (p *Plan) check(c Caps) error {
	const op = "history: fetch"
	most := MaxTopics
	if c.MaxTopics > 0 && slices.Equal(c.Forms, []Form{ByArrival}) {
		most = min(most, c.MaxTopics)
	}
	switch {
	case len(c.Forms) == 0:
		return fault.E(op, fault.Unavailable, nil, "the peer is no mail server, or speaks no form of request that we know")
	case p.To != 0 && p.From > p.To:
		return fault.Errorf(op, fault.Invalid, "the time range ends (%d) before it begins (%d)", p.To, p.From)
	case len(p.Topics) > most:
		return fault.Errorf(op, fault.Limit, "%d topics are asked for, the mail server takes %d at a time: ask for some of them first", len(p.Topics), most)
	case p.PageLimit < 0 || p.PageLimit > MaxPageLimit:
		return fault.Errorf(op, fault.Invalid, "pages of %d envelopes are asked for; allowed: 1 to %d", p.PageLimit, MaxPageLimit)
	case p.Limit < 0 || p.Budget < 0 || p.MaxSize < 0 || !(p.MinPoW >= 0):
		return fault.E(op, fault.Invalid, nil, "a limit of the fetch is negative")
	}
	return nil
}

// Step implements Job.
func (f *Fetch) Step(now time.Time, ev Event) []Action {
	if !f.enter(now) {
		return nil
	}
	if f.began.IsZero() {
		f.begin()
	}
	switch ev := ev.(type) {
	case Answered:
		if f.ask != nil && ev.Ask == f.asks {
			f.answered(ev.Answer)
		}
	case Delivered:
		f.delivered(ev.Err)
	case Stop:
		f.stop(ev.Err)
	}
	f.checkTime()
	f.settle()
	return f.actions
}

// begin settles where to start: at the position of an earlier fetch, if the server is still the one that it was.
func (f *Fetch) begin() {
	f.began = f.now
	after := f.plan.After
	known := slices.Contains(f.forms, after.Form)
	switch {
	case after.Form == ByArrival && known && after.Epoch == f.caps.Epoch:
		f.forms = []Form{ByArrival}
	case after.Form == ByArrival:
		f.report.Restarted = known
		after, f.until = Position{}, 0
	case !after.IsZero():
		f.plan.From, f.plan.To = after.From, after.To
		if known {
			f.forms = []Form{after.Form}
		} else {
			after = Position{}
		}
	}
	f.useForm(after)
	if f.pos.Form == ByArrival && f.atUntil() {
		f.finishAll()
	}
}

// useForm starts with the first of the forms left, at a position of that form or, zero, at the start of the plan.
func (f *Fetch) useForm(at Position) {
	f.pos = at
	if at.IsZero() {
		f.pos = Position{Form: f.forms[0]}
		if f.pos.Form == ByArrival {
			f.pos.Epoch = f.caps.Epoch
		} else {
			f.pinRange()
			f.pos.From, f.pos.To = f.plan.From, f.plan.To
		}
	}
	f.report.Form, f.report.Resume = f.pos.Form, f.pos
	f.report.FirstArrival = f.pos.Arrival
	f.want.filtered = f.pos.Form != ByArrival
	f.retries, f.fruitless = 0, 0
	f.loop = loop{}
}

// pinRange gives an open range its end: all pages of older servers are asked for with the same bounds.
func (f *Fetch) pinRange() {
	if f.plan.To == 0 {
		f.plan.To = max(f.plan.From, uint32(min(max(f.now.Unix()+clockAhead, 1), math.MaxUint32)))
	}
}

// nextForm gives up a form in which the server did not answer, or did not understand. It reports whether there is another.
func (f *Fetch) nextForm() bool {
	if len(f.forms) < 2 || f.taken > 0 || f.pos.Form != f.forms[0] || f.pos.Arrival != 0 || f.pos.Cursor != nil {
		return false
	}
	f.forms = f.forms[1:]
	f.closeAsk()
	f.useForm(Position{})
	return true
}

// settle asks, delivers and finishes, as far as it can be done now.
func (f *Fetch) settle() {
	f.deliver()
	if f.ending {
		if f.queue.idle() {
			f.finish()
		}
		return
	}
	if f.ask != nil {
		f.grant()
		return
	}
	room := window / 2
	if f.drain {
		room = 1
	}
	if f.waits() || f.queue.held() >= int64(room) {
		return
	}
	f.drain = false
	f.askNext()
}

// askNext asks for what comes next.
func (f *Fetch) askNext() {
	a := &ask{form: f.pos.Form, from: f.pos}
	q := f.question()
	switch a.form {
	case ByArrival:
		q.Epoch, q.After, q.Until = f.pos.Epoch, f.pos.Arrival, f.until
		q.Budget = askBudget
		if f.plan.Budget > 0 {
			q.Budget = min(q.Budget, max(f.plan.Budget-f.bytes, 1))
		}
		a.budget, a.credit = q.Budget, window-f.queue.held()
		q.Credit = a.credit
	case Paged:
		q.From, q.To, q.Cursor, q.Limit = f.pos.From, f.pos.To, f.pos.Cursor, f.limit
		if f.plan.Limit > 0 {
			q.Limit = min(q.Limit, max(f.plan.Limit-f.taken, 1))
		}
	case Bare:
		q.From, q.To = f.pos.From, f.pos.To
		if f.piece > 0 && q.To-q.From >= f.piece {
			q.To = q.From + f.piece - 1
		}
		a.to = q.To
	}
	f.put(a, q)
}
