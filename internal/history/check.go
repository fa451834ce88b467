package history

import (
	"math"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// What a check holds and does at most.
const (
	maxLacking = 16384          // envelopes that wait to be looked up or fetched; then no more are listed
	minListed  = maxLacking / 8 // envelopes that a question for a list leaves room for
	entryBytes = 48             // what an entry counts at servers towards the budget of a list
	leastEntry = 40             // bytes that it takes at least
	maxTries   = 2              // questions for an envelope
	maxNamed   = 1 << 21        // entries of all lists
	maxLost    = 1024           // envelopes that were named in vain, if fewer were handed over
	spare      = 16             // packets of an answer by hash beyond one for each envelope
)

// Check compares what one mail server has with what we have, and fetches what we lack. Make it with NewCheck. It lists from its
// position on, has everything looked up, and once it may Proceed looks up again what was lacking and fetches the rest.
// Without anything to fetch it ends without Proceed; otherwise it waits for it, for as long as it takes.
type Check struct {
	talk
	ledger  ledger
	proceed bool
	listed  bool // the server has named everything

	lookups int
	lookup  *lookup // the open one

	bodies   []uint64 // numbers of what is queued, in its order
	withheld []uint64 // of what is to be recorded
	named    int      // entries
	vain     int      // envelopes that were named and not handed over, or are not what was asked for
	paged    uint64   // numbers below were settled by the last page
}

// lookup is an open Lookup.
type lookup struct {
	again []uint64 // items that were looked up before; nil for fresh ones
	size  int
	early bool
}

// NewCheck makes the comparison of a plan with a server that Lists. Plan.After, if any, is a position by arrival; a Fetch of
// the same plan can go on from there as well. The error is an Invalid, Limit or Unavailable fault. The check begins with the
// first Step.
func NewCheck(p Plan, c Caps) (*Check, error) {
	const op = "history: check"
	if !c.Lists {
		return nil, fault.E(op, fault.Unavailable, nil, "this mail server cannot say what it has: only those that speak mail/1 can be compared")
	}
	if err := p.check(Caps{Forms: []Form{ByArrival}, MaxTopics: c.MaxTopics}); err != nil {
		return nil, err
	}
	if !p.After.IsZero() && p.After.Form != ByArrival {
		return nil, fault.Errorf(op, fault.Invalid, "a comparison goes on from a position by arrival, not from one in the form %q", p.After.Form)
	}
	k := &Check{talk: newTalk(p, c)}
	k.want = newWanted(&k.plan)
	return k, nil
}

// Step implements Job.
func (c *Check) Step(now time.Time, ev Event) []Action {
	if !c.enter(now) {
		return nil
	}
	if c.began.IsZero() {
		c.begin()
	}
	switch ev := ev.(type) {
	case Answered:
		if c.ask != nil && ev.Ask == c.asks {
			c.answered(ev.Answer)
		}
	case Looked:
		c.looked(ev)
	case Proceed:
		c.proceed = true
	case Delivered:
		c.delivered(ev.Err)
	case Stop:
		c.stop(ev.Err)
	}
	if at, fruitless, due := c.overdue(); due {
		a := c.ask
		c.giveUp(at, fruitless)
		c.giveBack(a, nil)
	}
	c.settle()
	return c.actions
}

// begin settles where to start.
func (c *Check) begin() {
	c.began = c.now
	c.pos = Position{Form: ByArrival, Epoch: c.caps.Epoch}
	switch after := c.plan.After; {
	case after.IsZero():
	case after.Epoch == c.caps.Epoch:
		c.pos = after
	default:
		c.report.Restarted, c.until = true, 0
	}
	c.ledger.at = c.pos
	c.report.Form, c.report.Resume, c.report.FirstArrival = Listing, c.pos, c.pos.Arrival
	c.listed = c.atUntil()
}

// moveTo sets how far the server has named what it has.
func (c *Check) moveTo(p Position) {
	c.pos = p
	c.retries = 0
	c.ledger.mark(p)
}

// settle looks up, delivers, asks and finishes, as far as it can be done now.
func (c *Check) settle() {
	if !c.ending && c.listed && c.ask == nil && c.lookup == nil && c.ledger.low() == c.ledger.count && len(c.withheld) == 0 {
		c.finishFully()
	}
	c.deliver()
	switch {
	case c.ending:
		if c.idle() {
			c.report.Lacking, c.report.LackingBytes = c.ledger.left()
			c.finish()
		}
		return
	case c.lookup == nil:
		c.lookUp()
	}
	switch {
	case c.ask != nil:
		c.grant()
	case c.waits():
	case c.fetches():
		c.askBodies()
	case c.lists():
		c.askList()
	}
}

// fetches reports whether bodies are asked for next. As much as is known by then goes into one question.
func (c *Check) fetches() bool {
	if !c.proceed || c.queue.held() >= window/2 {
		return false
	}
	ready := c.ledger.ready()
	return ready >= c.perQuestion() || ready > 0 && c.lookup == nil && !c.lists()
}

// lists reports whether there is more to list, and room for it.
func (c *Check) lists() bool { return !c.listed && c.ledger.open() <= maxLacking-minListed }

func (c *Check) perQuestion() int {
	if c.caps.MaxHashes > 0 {
		return min(c.caps.MaxHashes, MaxHashes)
	}
	return MaxHashes
}

// left is what a budget leaves; at least 1, so that what is asked for is something.
func (c *Check) left() int64 {
	if c.plan.Budget == 0 {
		return math.MaxInt64
	}
	return max(c.plan.Budget-c.report.ListBytes-c.bytes, 1)
}

// full reports whether the plan's limits are reached.
func (c *Check) full() bool {
	return c.plan.Limit > 0 && c.taken >= c.plan.Limit || c.plan.Budget > 0 && c.report.ListBytes+c.bytes >= c.plan.Budget
}

// askList asks for as much of the list as there is room for. So the list needs no credit beyond.
func (c *Check) askList() {
	q := c.question()
	q.Epoch, q.After, q.Until = c.pos.Epoch, c.pos.Arrival, c.until
	q.Budget = min(int64(maxLacking-c.ledger.open())*entryBytes, c.left())
	q.Credit = q.Budget
	c.put(&ask{form: Listing, from: c.pos, credit: q.Credit, budget: math.MaxInt64}, q)
}

// askBodies asks for what is lacking, in the order of the list.
func (c *Check) askBodies() {
	a := &ask{form: ByHash, from: c.pos, open: map[envelope.Hash]uint64{}}
	most := c.perQuestion()
	if c.plan.Limit > 0 {
		most = min(most, c.plan.Limit-c.taken)
	}
	left := min(c.left(), askBudget)
	for i := range c.ledger.items {
		it := &c.ledger.items[i]
		if !it.ready() {
			continue
		}
		if size := int64(it.Size); len(a.hashes) == most || len(a.hashes) > 0 && a.budget+size > left {
			break
		}
		it.state = asked
		a.budget += int64(it.Size)
		a.hashes = append(a.hashes, it.Hash)
		a.open[it.Hash] = it.number
	}
	a.credit = window - c.queue.held()
	c.put(a, Question{Hashes: a.hashes, Credit: a.credit})
}

// lookUp has the next envelopes looked up: first those that are in the way of fetching.
func (c *Check) lookUp() {
	l := &lookup{early: !c.proceed}
	var list []Entry
	if c.proceed {
		l.again, list = c.ledger.earliest(MaxLookup)
	}
	if list == nil {
		n := min(len(c.ledger.fresh), MaxLookup)
		list = c.ledger.fresh[:n:n]
	}
	if l.size = len(list); l.size == 0 {
		return
	}
	c.lookups++
	c.lookup = l
	c.do(Lookup{Lookup: c.lookups, Entries: list})
}

// looked takes the answer to a lookup.
func (c *Check) looked(ev Looked) {
	l := c.lookup
	if l == nil || ev.Lookup != c.lookups || len(ev.Have) != l.size {
		return
	}
	c.lookup = nil
	if l.again == nil {
		c.ledger.looked(ev.Have, l.early)
		return
	}
	for i, had := range ev.Have {
		c.ledger.lookedAgain(l.again[i], had)
	}
}
