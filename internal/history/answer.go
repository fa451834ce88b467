package history

import (
	"bytes"
	"slices"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

func (f *Fetch) answered(ans Answer) {
	switch ans := ans.(type) {
	case Got:
		f.got(ans)
	case Ended:
		f.heard()
		a := f.ask
		f.ask = nil
		f.ended(a, ans)
	case Lost:
		f.lost(ans.Err)
	}
}

// got takes a packet.
func (f *Fetch) got(g Got) {
	a := f.ask
	size, own := sizeOf(g)
	if !f.pay(size, own) {
		return
	}
	if f.takeAll(a, g.Envelopes, size) {
		a.moved, a.fruit = true, f.now
	}
	if to := f.through(g.Through); a.form == ByArrival && to.Arrival > f.pos.Arrival && !a.cut {
		f.moveTo(to)
		if a.moved = true; len(g.Envelopes) == 0 {
			a.fruit = f.now
		}
	}
	switch {
	case a.cut || f.full() && a.form != Paged:
		f.closeAsk()
		f.finishAs(EndLimited)
	case a.packets > maxAnswer || a.packets > maxAnswerPage && a.form == Paged:
		f.closeAsk()
		f.fail(corrupt("does not end its answer, after %d packets", a.packets))
	}
}

// takeAll queues what is wanted of a packet, and reports whether it brought anything that is new.
func (f *Fetch) takeAll(a *ask, list []*envelope.Envelope, size int64) (anything bool) {
	if a.form != ByArrival && f.queue.held() >= window {
		a.refused, a.any = true, true
		f.report.Discarded[NoRoom] += uint64(len(list))
		return false
	}
	first, kept := len(f.queue.list), int64(0)
	for _, env := range list {
		a.any, a.last = true, env.Hash()
		if reason := f.want.judge(env); reason != Reasons {
			f.report.Discarded[reason]++
			anything = anything || reason > NotAsked && reason != OutOfRange
			continue
		}
		if f.seen.has(a.last) {
			f.report.Duplicates++
			continue
		}
		if anything = true; f.plan.Limit > 0 && f.taken >= f.plan.Limit {
			a.cut = true
			continue
		}
		f.seen.add(a.last)
		kept += int64(len(env.Raw()))
		f.spread.add(env.Sent())
		f.take(env)
	}
	if kept < size/2 { // do not hold a packet for a few of its envelopes
		f.queue.detach(first)
	}
	return anything
}

// full reports whether the plan's limits are reached.
func (f *Fetch) full() bool {
	return f.plan.Limit > 0 && f.taken >= f.plan.Limit || f.plan.Budget > 0 && f.bytes >= f.plan.Budget
}

// moveTo sets where to go on once all that is queued is kept.
func (f *Fetch) moveTo(p Position) {
	f.pos = p
	f.again, f.retries = false, 0
	f.queue.mark(p)
}

// ended takes the end of an answer.
func (f *Fetch) ended(a *ask, e Ended) {
	if e.Err != nil {
		f.refused(a, e)
		return
	}
	f.report.Answered = true
	if a.form == ByArrival {
		f.arrivalsEnded(a, e)
		return
	}
	if !f.whole(a, e) {
		return
	}
	switch {
	case a.form == Paged:
		f.pageEnded(a, e)
	case len(e.Cursor) > 0 && a.to > a.from.From:
		f.smaller(a) // the server cut the answer, and takes no cursor in this form
	default:
		f.doubt = f.doubt || len(e.Cursor) > 0
		f.pieceEnded(a)
	}
}

// whole reports whether an answer brought all that it should have. If not, it is asked for again.
func (f *Fetch) whole(a *ask, e Ended) bool {
	unsent := e.Last != envelope.Hash{} && e.Last != a.last && !f.seen.has(e.Last)
	switch {
	case a.refused:
		f.smaller(a)
		return false
	case unsent:
		f.report.Unsent++
		if !f.again {
			f.again = true
			return false
		}
		f.doubt = true
	}
	return true
}

// smaller makes the next question bring less than the last one, and wait for the consumer. What was delivered meanwhile is
// not taken twice, so every turn brings something.
func (f *Fetch) smaller(a *ask) {
	f.drain = true
	if a.form == Paged {
		f.limit = max(f.limit/2, 1)
	} else {
		f.piece = max((a.to-a.from.From)/2, 1)
	}
}

// pageEnded follows the cursor.
func (f *Fetch) pageEnded(a *ask, e Ended) {
	next := Position{Form: Paged, From: f.pos.From, To: f.pos.To, Cursor: slices.Clone(e.Cursor)}
	switch {
	case len(e.Cursor) == 0:
		f.finishAll()
	case len(e.Cursor) > maxCursor:
		f.fail(corrupt("gave a cursor of %d bytes; at most %d make sense", len(e.Cursor), maxCursor))
	case bytes.Equal(e.Cursor, f.pos.Cursor) || f.loop.closed(e.Cursor):
		f.fail(corrupt("leads in circles: it gave a cursor for the next page that it gave before"))
	case !f.fruitful(a.moved):
	default:
		f.moveTo(next)
		if f.full() {
			f.finishAs(EndLimited)
		}
	}
}

func (f *Fetch) arrivalsEnded(a *ask, e Ended) {
	if f.isNew(e.Epoch) {
		f.beginAnew(e.Epoch)
		return
	}
	if to := f.through(e.Through); to.Arrival > f.pos.Arrival {
		f.moveTo(to)
		a.moved = true
	}
	switch {
	case !e.More || f.atUntil():
		f.finishAll()
	case f.fruitful(a.moved) && f.full():
		f.finishAs(EndLimited)
	}
}

// pieceEnded goes on with the next piece of the range.
func (f *Fetch) pieceEnded(a *ask) {
	if a.to >= f.pos.To {
		f.finishAll()
		return
	}
	f.moveTo(Position{Form: Bare, From: a.to + 1, To: f.pos.To})
}

// beginAnew starts with an archive that has done so.
func (f *Fetch) beginAnew(epoch [8]byte) {
	if at, ok := f.restart(epoch); ok {
		f.moveTo(at)
	}
}

// refused decides what a server's refusal means.
func (f *Fetch) refused(a *ask, e Ended) {
	if a.moved {
		f.retries = 0
	}
	switch kind := fault.KindOf(e.Err); {
	case kind == fault.NotFound && a.form == ByArrival && f.isNew(e.Epoch):
		f.beginAnew(e.Epoch)
	case kind == fault.Invalid && f.nextForm():
	default:
		f.talk.refused(e)
	}
}

// checkTime gives up what takes too long.
func (f *Fetch) checkTime() {
	at, fruitless, due := f.overdue()
	if !due {
		return
	}
	a := f.ask
	silent := a.alive.IsZero()
	switch {
	case fruitless:
		f.giveUp(at, fruitless)
	case a.form == Bare && (!silent || f.report.Answered || len(f.forms) == 1):
		f.closeAsk()
		f.doubt = true
		if a.refused {
			f.smaller(a)
			return
		}
		f.pieceEnded(a)
	case silent && f.nextForm():
	case silent && !f.report.Answered && slices.Contains(f.caps.Forms, Bare) && f.plan.After.IsZero():
		f.closeAsk()
		f.doubt = true // one that answers in the form Bare has nothing to say when it has nothing
		f.finishAll()
	default:
		f.giveUp(at, fruitless)
	}
}
