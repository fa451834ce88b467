package history

import (
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

func (c *Check) answered(ans Answer) {
	a := c.ask
	switch ans := ans.(type) {
	case Named:
		c.gotList(ans)
	case Got:
		c.gotBodies(ans)
	case Ended:
		c.heard()
		c.ask = nil
		c.ended(a, ans)
	case Lost:
		c.lost(ans.Err)
	}
	if c.vain > maxLost && c.vain > c.taken && !c.ending {
		c.closeAsk()
		c.fail(fault.Errorf(opFetch, fault.Unavailable,
			"the mail server named %d envelopes that it does not hand over: ask another one", c.vain))
	}
}

// gotList takes a packet of the list.
func (c *Check) gotList(n Named) {
	a := c.ask
	size := max(n.Bytes, int64(len(n.List))*leastEntry)
	if a.form != Listing || !c.pay(size, 0) {
		return
	}
	c.report.ListBytes += size
	c.named += len(n.List)
	for _, e := range n.List {
		if c.seen.has(e.Hash) {
			c.report.Duplicates++
			continue
		}
		c.seen.add(e.Hash)
		if reason := c.want.judgeEntry(e); reason != Reasons {
			c.report.Discarded[reason]++
			continue
		}
		c.report.Listed++
		c.ledger.name(e)
		a.moved, a.fruit = true, c.now
	}
	if to := c.through(n.Through); to.Arrival > c.pos.Arrival {
		c.moveTo(to)
		if a.moved = true; len(n.List) == 0 {
			a.fruit = c.now
		}
	}
	switch {
	case c.full():
		c.closeAsk()
		c.finishAs(EndLimited)
	case a.packets > maxAnswer || c.named > maxNamed:
		c.closeAsk()
		c.fail(fault.Errorf(opFetch, fault.Limit, "the mail server's list has %d entries so far, and no end: given up there", c.named))
	case a.credit <= 0: // it counts otherwise than we do
		c.closeAsk()
		c.fruitful(a.moved)
	}
}

// gotBodies takes a packet of what was asked for by hash.
func (c *Check) gotBodies(g Got) {
	a := c.ask
	size, own := sizeOf(g)
	if a.form != ByHash || !c.pay(size, own) {
		return
	}
	first, before := len(c.queue.list), c.bytes
	for _, env := range g.Envelopes {
		c.body(a, env)
	}
	if c.bytes-before < size/2 { // do not hold a packet for a few of its envelopes
		c.queue.detach(first)
	}
	switch {
	case c.full():
		c.closeAsk()
		c.finishAs(EndLimited)
	case a.packets > len(a.hashes)+spare:
		c.closeAsk()
		c.fail(corrupt("does not end its answer, after %d packets", a.packets))
	}
}

// body takes one envelope.
func (c *Check) body(a *ask, env *envelope.Envelope) {
	number, ok := a.open[env.Hash()]
	if !ok {
		c.report.Discarded[NotAsked]++
		return
	}
	delete(a.open, env.Hash())
	a.moved, a.fruit = true, c.now
	it := c.ledger.item(number)
	if reason := c.want.judge(env); reason != Reasons {
		c.report.Discarded[reason]++
		if it.state = settled; reason == NotAsked || reason == OutOfRange {
			c.vain++
		}
		return
	}
	it.state = passing
	c.take(env)
	c.bodies = append(c.bodies, number)
	c.report.Fetched++
}

// ended takes the end of an answer.
func (c *Check) ended(a *ask, e Ended) {
	switch {
	case a.form == ByHash && e.Err == nil:
		c.bodiesEnded(a, e)
	case a.form == ByHash:
		c.giveBack(a, nil)
		c.turnedDown(a, e)
	case e.Err != nil && fault.KindOf(e.Err) == fault.NotFound && c.isNew(e.Epoch), e.Err == nil && c.isNew(e.Epoch):
		if at, ok := c.restart(e.Epoch); ok {
			c.moveTo(at)
		}
	case e.Err != nil:
		c.turnedDown(a, e)
	default:
		c.listEnded(a, e)
	}
}

func (c *Check) turnedDown(a *ask, e Ended) {
	if a.moved {
		c.retries = 0
	}
	c.refused(e)
}

func (c *Check) listEnded(a *ask, e Ended) {
	c.report.Answered = true
	if to := c.through(e.Through); to.Arrival > c.pos.Arrival {
		c.moveTo(to)
		a.moved = true
	}
	if !e.More || c.atUntil() {
		c.listed = true
		return
	}
	c.fruitful(a.moved)
}

// bodiesEnded gives up what the server says it does not have, or has failed to send twice.
func (c *Check) bodiesEnded(a *ask, e Ended) {
	c.report.Answered, c.retries = true, 0
	missing := make(map[envelope.Hash]bool, len(e.Missing))
	for _, h := range e.Missing {
		missing[h] = true
	}
	c.giveBack(a, func(it *item) {
		if !e.More {
			it.tries++
		}
		if it.tries >= maxTries || missing[it.Hash] {
			it.state = passing
			c.withheld = append(c.withheld, it.number)
			c.vain++
			c.doubt, a.moved = true, true
		}
	})
	if e.More {
		c.fruitful(a.moved)
	}
}

// giveBack puts what has not come of an answer back to what is lacking. tell, if not nil, is told of each.
func (c *Check) giveBack(a *ask, tell func(*item)) {
	for _, h := range a.hashes {
		number, ok := a.open[h]
		if !ok {
			continue
		}
		it := c.ledger.item(number)
		if it.state = lacking; tell != nil {
			tell(it)
		}
	}
}

// deliver hands over the next page, if the consumer is free. Where only the position has moved, that waits until there
// is nothing else to do, or much has been compared.
func (c *Check) deliver() {
	if c.queue.page != nil || c.stopped {
		return
	}
	p := c.queue.next(c.report.Resume)
	if p == nil {
		p = &Page{}
	}
	n := len(p.Envelopes)
	for _, number := range c.bodies[:n] {
		c.ledger.settle(number)
	}
	c.bodies = c.bodies[n:]
	n = min(len(c.withheld), maxPage)
	for _, number := range c.withheld[:n] {
		p.Withheld = append(p.Withheld, c.ledger.item(number).Entry)
		c.ledger.settle(number)
	}
	c.withheld = c.withheld[n:]
	p.Resume = c.ledger.reached()
	quiet := c.ending || c.ask == nil && c.lookup == nil && c.ledger.fresh == nil || c.ledger.low()-c.paged >= maxLacking
	if len(p.Envelopes)+len(p.Withheld) == 0 && (!c.moved() || !quiet) {
		return
	}
	c.paged = c.ledger.low()
	c.hand(p, -1)
}

// moved reports whether the position is beyond the last page's.
func (c *Check) moved() bool {
	at, last := c.ledger.at, c.report.Resume
	return at.Epoch != last.Epoch || at.Arrival != last.Arrival
}

// idle reports whether the consumer has all that it gets.
func (c *Check) idle() bool {
	return c.queue.page == nil && (c.stopped || c.queue.idle() && len(c.withheld) == 0 && !c.moved())
}
