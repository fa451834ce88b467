package history

import (
	"bytes"
	"slices"
	"time"

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
		f.ask = nil
		text := "the connection to the mail server was lost"
		if fault.KindOf(ans.Err) != fault.Internal {
			text += ": " + fault.Text(ans.Err)
		}
		f.fail(fault.E(opFetch, fault.Unavailable, ans.Err, text))
	}
}

// heard notes a sign of life.
func (f *Fetch) heard() {
	if f.report.FirstAnswer == 0 {
		f.report.FirstAnswer = f.now.Sub(f.began)
	}
	f.ask.alive = f.now
	if f.ask.fruit.IsZero() {
		f.ask.fruit = f.now
	}
}

// got takes a packet.
func (f *Fetch) got(g Got) {
	a := f.ask
	f.heard()
	a.packets++
	f.report.Answered = true
	own := int64(0) // the envelopes' bytes, which the budget counts; the credit counts the packet's
	for _, env := range g.Envelopes {
		own += int64(len(env.Raw()))
	}
	size := max(own, g.Bytes)
	f.report.Received += size
	if a.form == ByArrival {
		if size > 0 && (a.credit <= 0 || a.budget <= 0) {
			f.closeAsk()
			f.fail(corrupt("sent more than it was asked for at a time"))
			return
		}
		a.credit -= size
		a.budget -= own
	}
	if f.takeAll(a, g.Envelopes, size) {
		a.moved, a.fruit = true, f.now
	}
	if a.form == ByArrival && g.Through > f.pos.Arrival && !a.cut {
		f.moveTo(Position{Form: ByArrival, Epoch: f.pos.Epoch, Arrival: g.Through})
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
		f.taken++
		f.bytes += int64(len(env.Raw()))
		kept += int64(len(env.Raw()))
		f.spread.add(env.Sent())
		f.queue.push(env)
	}
	if kept < size/2 { // do not hold a packet for a few of its envelopes
		for i, env := range f.queue.list[first:] {
			f.queue.list[first+i] = env.Detach()
		}
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

// fruitful reports whether a page that promises more is worth following. If not, the fetch has failed.
func (f *Fetch) fruitful(moved bool) bool {
	if f.fruitless++; moved {
		f.fruitless = 0
	}
	if f.fruitless < maxFruitless {
		return true
	}
	f.fail(corrupt("promises more, but %d pages in a row brought nothing new", f.fruitless))
	return false
}

func (f *Fetch) arrivalsEnded(a *ask, e Ended) {
	if e.Epoch != [8]byte{} && e.Epoch != f.pos.Epoch {
		f.restart(e.Epoch)
		return
	}
	if e.Through > f.pos.Arrival {
		f.moveTo(Position{Form: ByArrival, Epoch: f.pos.Epoch, Arrival: e.Through})
		a.moved = true
	}
	switch {
	case !e.More:
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

// restart begins with an archive that has begun anew.
func (f *Fetch) restart(epoch [8]byte) {
	if f.restarts++; f.restarts > maxRestarts {
		f.fail(corrupt("says again and again that its archive has begun anew"))
		return
	}
	f.report.Restarted = true
	f.report.FirstArrival = 0
	f.moveTo(Position{Form: ByArrival, Epoch: epoch})
}

// refused decides what a server's refusal means.
func (f *Fetch) refused(a *ask, e Ended) {
	if a.moved {
		f.retries = 0
	}
	switch kind := fault.KindOf(e.Err); {
	case kind == fault.NotFound && a.form == ByArrival && e.Epoch != [8]byte{} && e.Epoch != f.pos.Epoch:
		f.restart(e.Epoch)
	case kind == fault.Invalid && f.nextForm():
	case kind == fault.Busy || kind == fault.Timeout || kind == fault.Unavailable:
		f.putOff(refusal(e.Err), e.RetryAfter)
	default:
		f.fail(refusal(e.Err))
	}
}

func refusal(err error) error {
	return fault.E(opFetch, fault.KindOf(err), err, "the mail server refused: "+fault.Text(err))
}

// putOff asks again later, unless that was tried often enough.
func (f *Fetch) putOff(err error, wait time.Duration) {
	if f.retries++; f.retries > maxRetries || wait > longestPause {
		f.fail(err)
		return
	}
	if wait <= 0 {
		wait = firstPause << (f.retries - 1)
	}
	f.pause = f.now.Add(wait)
}

// checkTime gives up what takes too long.
func (f *Fetch) checkTime() {
	a := f.ask
	if a == nil {
		return
	}
	at, fruitless := a.deadline(&f.plan)
	if at.IsZero() || f.now.Before(at) {
		return
	}
	switch {
	case fruitless:
		f.closeAsk()
		f.fail(corrupt("sent nothing that was asked for, for %v", fruitlessTime))
	case a.form == Bare && (!a.alive.IsZero() || f.report.Answered || len(f.forms) == 1):
		f.closeAsk()
		f.doubt = true
		if a.refused {
			f.smaller(a)
			return
		}
		f.pieceEnded(a)
	case a.alive.IsZero() && f.nextForm():
	case a.alive.IsZero() && f.report.Answered:
		f.closeAsk()
		f.putOff(overdue("did not go on", at.Sub(a.asked)), 0)
	case a.alive.IsZero() && slices.Contains(f.caps.Forms, Bare) && f.plan.After.IsZero():
		f.closeAsk()
		f.doubt = true // one that answers in the form Bare has nothing to say when it has nothing
		f.finishAll()
	case a.alive.IsZero():
		f.closeAsk()
		f.fail(overdue("did not answer", at.Sub(a.asked)))
	default:
		f.closeAsk()
		f.fail(overdue("stopped in the middle of an answer; nothing more came", at.Sub(a.alive)))
	}
}
