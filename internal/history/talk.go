package history

import (
	"fmt"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// talk is what Fetch and Check have in common: one question after the other, waits, what waits for the consumer, the end.
type talk struct {
	plan  Plan
	caps  Caps
	want  wanted
	until uint64 // Plan.Until, as long as it means something

	began, now time.Time
	ask        *ask      // the open question
	asks       int       // questions so far
	pause      time.Time // before it no question is asked; zero for none
	retries    int       // in a row
	fruitless  int       // answers in a row
	pos        Position  // where the next question starts
	doubt      bool      // the end is not confirmed
	restarts   int

	seen  seen
	queue queue
	taken int   // envelopes taken
	bytes int64 // of those

	ending  bool // no more questions; what is queued is still delivered
	stopped bool // nor is that
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
	credit  int64 // but for Paged and Bare: bytes that the server may send now
	budget  int64 // likewise: bytes of envelopes, in all
	packets int
	refused bool // there was no room
	cut     bool // Plan.Limit was reached within the answer

	// ByHash.
	hashes []envelope.Hash
	open   map[envelope.Hash]uint64 // those that have not come, and their numbers in the ledger
}

// counted reports whether the server may send only as much as it is granted.
func (a *ask) counted() bool { return a.form != Paged && a.form != Bare }

func newTalk(p Plan, c Caps) talk {
	if p.MaxSize == 0 {
		p.MaxSize = envelope.MaxSizeLimit
	}
	if p.PageLimit == 0 {
		p.PageLimit = DefaultPageLimit
	}
	return talk{plan: p, caps: c, until: p.Until}
}

// enter begins a step. Nothing is to be done after the end.
func (t *talk) enter(now time.Time) bool {
	clear(t.actions)
	t.actions = t.actions[:0]
	t.now = now
	return !t.done
}

func (t *talk) do(a Action) { t.actions = append(t.actions, a) }

// question is what all questions of the plan have in common.
func (t *talk) question() Question {
	q := Question{Topics: t.plan.Topics, Bloom: t.plan.Bloom, From: t.plan.From, To: t.plan.To}
	if len(q.Topics) > 0 {
		q.Bloom = nil
	}
	return q
}

// put asks a question.
func (t *talk) put(a *ask, q Question) {
	if t.asks >= maxAsks {
		t.fail(fault.E(opFetch, fault.Limit, nil, "the mail server promises more and more pages: given up"))
		return
	}
	t.asks++
	t.pause = time.Time{}
	a.asked = t.now
	t.ask = a
	t.do(Ask{Ask: t.asks, Form: a.form, Question: q})
}

// waits reports whether the next question has to wait.
func (t *talk) waits() bool { return t.now.Before(t.pause) }

// heard notes a sign of life.
func (t *talk) heard() {
	if t.report.FirstAnswer == 0 {
		t.report.FirstAnswer = t.now.Sub(t.began)
	}
	t.ask.alive = t.now
	if t.ask.fruit.IsZero() {
		t.ask.fruit = t.now
	}
}

// pay notes a packet of so many bytes, of which own are envelopes', and reports whether the server was allowed to send it.
func (t *talk) pay(size, own int64) bool {
	a := t.ask
	t.heard()
	a.packets++
	t.report.Answered = true
	t.report.Received += size
	if !a.counted() {
		return true
	}
	if size > 0 && (a.credit <= 0 || a.budget <= 0) {
		t.closeAsk()
		t.fail(corrupt("sent more than it was asked for at a time"))
		return false
	}
	a.credit -= size
	a.budget -= own
	return true
}

// sizeOf returns the bytes of a packet, and of its envelopes, which are what budgets count.
func sizeOf(g Got) (size, own int64) {
	for _, env := range g.Envelopes {
		own += int64(len(env.Raw()))
	}
	return max(own, g.Bytes), own
}

// take queues an envelope.
func (t *talk) take(env *envelope.Envelope) {
	t.taken++
	t.bytes += int64(len(env.Raw()))
	t.queue.push(env)
}

// grant gives back the credit of what was delivered or discarded, in few large parts.
func (t *talk) grant() {
	a := t.ask
	if !a.counted() || a.form == Listing {
		return
	}
	more := window - t.queue.held() - max(a.credit, 0)
	if more < window/4 {
		return
	}
	if a.credit <= 0 && !a.alive.IsZero() {
		a.alive, a.fruit = t.now, t.now // the server was waiting for us
	}
	more -= min(a.credit, 0) // what was overdrawn was held or dropped, and counts as sent
	a.credit += more
	t.do(Grant{Bytes: more})
}

// closeAsk ends the open question from our side.
func (t *talk) closeAsk() {
	if t.ask != nil {
		t.do(Cancel{Ask: t.asks})
		t.ask = nil
	}
}

// lost ends it because the connection did.
func (t *talk) lost(err error) {
	t.ask = nil
	text := "the connection to the mail server was lost"
	if fault.KindOf(err) != fault.Internal {
		text += ": " + fault.Text(err)
	}
	t.fail(fault.E(opFetch, fault.Unavailable, err, text))
}

// refused decides what a server's refusal means.
func (t *talk) refused(e Ended) {
	switch fault.KindOf(e.Err) {
	case fault.Busy, fault.Timeout, fault.Unavailable:
		t.putOff(refusal(e.Err), e.RetryAfter)
	default:
		t.fail(refusal(e.Err))
	}
}

func refusal(err error) error {
	return fault.E(opFetch, fault.KindOf(err), err, "the mail server refused: "+fault.Text(err))
}

// putOff asks again later, unless that was tried often enough.
func (t *talk) putOff(err error, wait time.Duration) {
	if t.retries++; t.retries > maxRetries || wait > longestPause {
		t.fail(err)
		return
	}
	if wait <= 0 {
		wait = firstPause << (t.retries - 1)
	}
	t.pause = t.now.Add(wait)
}

// fruitful reports whether an answer that promises more is worth following. If not, the talk has failed.
func (t *talk) fruitful(moved bool) bool {
	if t.fruitless++; moved {
		t.fruitless = 0
	}
	if t.fruitless < maxFruitless {
		return true
	}
	t.fail(corrupt("promises more, but %d pages in a row brought nothing new", t.fruitless))
	return false
}

// restart notes that the archive has begun anew, and returns the position to start from; false if that was too often.
func (t *talk) restart(epoch [8]byte) (Position, bool) {
	if t.restarts++; t.restarts > maxRestarts {
		t.fail(corrupt("says again and again that its archive has begun anew"))
		return Position{}, false
	}
	t.report.Restarted = true
	t.report.FirstArrival, t.until = 0, 0
	return Position{Form: ByArrival, Epoch: epoch}, true
}

// isNew reports whether an answer by arrival tells of another epoch than that of the question.
func (t *talk) isNew(epoch [8]byte) bool { return epoch != [8]byte{} && epoch != t.pos.Epoch }

// through is a position by arrival, which does not go beyond the plan.
func (t *talk) through(arrival uint64) Position {
	if t.until > 0 {
		arrival = min(arrival, t.until)
	}
	return Position{Form: ByArrival, Epoch: t.pos.Epoch, Arrival: arrival}
}

// atUntil reports whether Plan.Until is reached.
func (t *talk) atUntil() bool { return t.until > 0 && t.pos.Arrival >= t.until }

// Deadline implements Job.
func (t *talk) Deadline() (time.Time, bool) {
	switch {
	case t.done:
		return time.Time{}, false
	case t.ask != nil:
		at, _ := t.ask.deadline(&t.plan)
		return at, !at.IsZero()
	case !t.ending && t.now.Before(t.pause):
		return t.pause, true
	}
	return time.Time{}, false
}

// overdue returns when the open question should have been answered, if that has passed; see deadline.
func (t *talk) overdue() (at time.Time, fruitless, due bool) {
	if t.ask == nil {
		return at, false, false
	}
	at, fruitless = t.ask.deadline(&t.plan)
	return at, fruitless, !at.IsZero() && !t.now.Before(at)
}

// giveUp ends a question whose answer was due at a time, and mostly the talk.
func (t *talk) giveUp(at time.Time, fruitless bool) {
	a := t.ask
	t.closeAsk()
	switch {
	case fruitless:
		t.fail(corrupt("sent nothing that was asked for, for %v", fruitlessTime))
	case a.alive.IsZero() && t.report.Answered:
		t.putOff(late("did not go on", at.Sub(a.asked)), 0)
	case a.alive.IsZero():
		t.fail(late("did not answer", at.Sub(a.asked)))
	default:
		t.fail(late("stopped in the middle of an answer; nothing more came", at.Sub(a.alive)))
	}
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
	case a.counted() && a.credit <= 0:
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

// late names what a server did not do in time.
func late(what string, after time.Duration) error {
	return fault.Errorf(opFetch, fault.Timeout, "the mail server %s within %v", what, after.Round(time.Millisecond))
}

func corrupt(format string, a ...any) error {
	return fault.E(opFetch, fault.Corrupt, nil, "the mail server "+fmt.Sprintf(format, a...))
}
