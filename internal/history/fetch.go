package history

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
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
	plan  Plan
	caps  Caps
	want  wanted
	forms []Form // left to try, the present one first

	began, now time.Time
	ask        *ask      // the open question
	asks       int       // questions so far
	pause      time.Time // before it no question is asked; zero for none
	retries    int       // in a row
	fruitless  int       // pages in a row
	pos        Position  // where the next question starts
	limit      int       // of the next page
	piece      uint32    // seconds of range that a question in the form Bare covers; 0 for all
	again      bool      // the present position was asked before, because its answer was not whole
	drain      bool      // the next question waits until everything is delivered
	doubt      bool      // the end is not confirmed
	loop       loop
	restarts   int

	seen   seen
	queue  queue
	spread spread
	taken  int   // envelopes taken
	bytes  int64 // of those

	ending  bool // no more questions; what is queued is still delivered
	done    bool
	report  Report
	actions []Action
}

// ask is an open question.
type ask struct {
	form    Form
	from    Position
	to      uint32 // Bare: the end of the piece
	asked   time.Time
	alive   time.Time // of the last packet, or grant after a pause; zero before the first packet
	fruit   time.Time // of the last one that brought something
	moved   bool      // something new came
	any     bool      // an envelope came
	last    envelope.Hash
	credit  int64 // ByArrival: bytes that the server may send now
	budget  int64 // ByArrival: and in all
	packets int
	refused bool // there was no room
	cut     bool // Plan.Limit was reached within the answer
}

// New makes the fetch of a plan from a server. The error is an Invalid or Limit fault about the plan. The fetch begins
// with the first Step.
func New(p Plan, c Caps) (*Fetch, error) {
	if err := p.check(c); err != nil {
		return nil, err
	}
	if p.MaxSize == 0 {
		p.MaxSize = envelope.MaxSizeLimit
	}
	if p.PageLimit == 0 {
		p.PageLimit = DefaultPageLimit
	}
	f := &Fetch{plan: p, caps: c, limit: p.PageLimit, forms: slices.Clone(c.Forms)}
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

// Step takes what happened and returns what to do about it. The slice is valid until the next Step. After Finish nothing
// more is done.
func (f *Fetch) Step(now time.Time, ev Event) []Action {
	clear(f.actions)
	f.actions = f.actions[:0]
	if f.done {
		return nil
	}
	f.now = now
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

func (f *Fetch) do(a Action) { f.actions = append(f.actions, a) }

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
		after = Position{}
	case !after.IsZero():
		f.plan.From, f.plan.To = after.From, after.To
		if known {
			f.forms = []Form{after.Form}
		} else {
			after = Position{}
		}
	}
	f.useForm(after)
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
	if f.now.Before(f.pause) || f.queue.held() >= int64(room) {
		return
	}
	f.drain = false
	f.question()
}

// question asks for what comes next.
func (f *Fetch) question() {
	if f.asks >= maxAsks {
		f.fail(fault.E(opFetch, fault.Limit, nil, "the mail server promises more and more pages: given up"))
		return
	}
	f.asks++
	f.pause = time.Time{}
	a := &ask{form: f.pos.Form, from: f.pos, asked: f.now}
	f.ask = a
	q := Question{Topics: f.plan.Topics, Bloom: f.plan.Bloom, From: f.plan.From, To: f.plan.To}
	if len(q.Topics) > 0 {
		q.Bloom = nil
	}
	switch a.form {
	case ByArrival:
		q.Epoch, q.After = f.pos.Epoch, f.pos.Arrival
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
	f.do(Ask{Ask: f.asks, Form: a.form, Question: q})
}

// grant gives back the credit of what was delivered or discarded, in few large parts.
func (f *Fetch) grant() {
	a := f.ask
	if a.form != ByArrival {
		return
	}
	more := window - f.queue.held() - max(a.credit, 0)
	if more < window/4 {
		return
	}
	if a.credit <= 0 && !a.alive.IsZero() {
		a.alive, a.fruit = f.now, f.now // the server was waiting for us
	}
	more -= min(a.credit, 0) // what was overdrawn was held or dropped, and counts as sent
	a.credit += more
	f.do(Grant{Bytes: more})
}

// closeAsk ends the open question from our side.
func (f *Fetch) closeAsk() {
	if f.ask != nil {
		f.do(Cancel{Ask: f.asks})
		f.ask = nil
	}
}

// Deadline returns when a Tick is due, if nothing else happens before; false for not at all.
func (f *Fetch) Deadline() (time.Time, bool) {
	switch {
	case f.done:
		return time.Time{}, false
	case f.ask != nil:
		at, _ := f.ask.deadline(&f.plan)
		return at, !at.IsZero()
	case !f.ending && f.now.Before(f.pause):
		return f.pause, true
	}
	return time.Time{}, false
}

// deadline returns when an answer is given up, and whether that is because nothing in it is of use. There is none, zero,
// while the server waits for us.
func (a *ask) deadline(p *Plan) (at time.Time, fruitless bool) {
	wait := func(set, normal time.Duration) time.Duration {
		if set > 0 {
			return set
		}
		return normal
	}
	switch {
	case a.alive.IsZero() && a.form == Bare:
		return a.asked.Add(wait(p.FirstAnswer, firstAnswerBare)), false
	case a.alive.IsZero():
		return a.asked.Add(wait(p.FirstAnswer, firstAnswerDefault)), false
	case a.form == ByArrival && a.credit <= 0:
		return time.Time{}, false
	case a.form == Bare:
		at = a.alive.Add(wait(p.Quiet, quietDefault))
	default:
		at = a.alive.Add(wait(p.NextPacket, nextPacketDefault))
	}
	if useless := a.fruit.Add(fruitlessTime); useless.Before(at) {
		return useless, true
	}
	return at, false
}

const opFetch = "history: fetch"

// overdue names what a server did not do in time.
func overdue(what string, after time.Duration) error {
	return fault.Errorf(opFetch, fault.Timeout, "the mail server %s within %v", what, after.Round(time.Millisecond))
}

func corrupt(format string, a ...any) error {
	return fault.E(opFetch, fault.Corrupt, nil, "the mail server "+fmt.Sprintf(format, a...))
}
