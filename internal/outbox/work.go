package outbox

import (
	"container/heap"
	"errors"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// This file is the way of a letter: sealed, posted, looked at again and again, done.

func (m *Machine) schedule(l *letter, at time.Time) {
	l.next = at
	if l.index < 0 {
		heap.Push(&m.due, l)
	} else {
		heap.Fix(&m.due, l.index)
	}
}

func (m *Machine) unschedule(l *letter) {
	if l.index >= 0 {
		heap.Remove(&m.due, l.index)
	}
}

// enqueue lets a letter wait for its turn to be posted, or sealed first where it has no envelope that lives.
func (m *Machine) enqueue(l *letter) {
	m.unschedule(l)
	if l.alive(m.now) {
		l.phase = toPost
		m.postQueue.push(l)
		return
	}
	l.phase, l.env = toSeal, nil
	m.sealQueue.push(l)
}

// alive reports whether the letter's last envelope can still be posted.
func (l *letter) alive(now time.Time) bool {
	return l.env != nil && now.Before(l.Attempts[len(l.Attempts)-1].Expires)
}

// pump begins what there is room for.
func (m *Machine) pump() {
	for len(m.seals) < m.cfg.Seals {
		l := m.sealQueue.pop(toSeal)
		if l == nil {
			break
		}
		if m.tooLate(l) {
			continue
		}
		m.lastSeal++
		l.phase, l.seal = sealing, m.lastSeal
		m.seals[l.seal] = l
		m.schedule(l, m.now.Add(sealWait))
		m.do(Seal{ID: l.seal, Letter: l.Letter})
	}
	for len(m.posts) < maxPosts {
		l := m.postQueue.pop(toPost)
		if l == nil {
			break
		}
		if m.tooLate(l) {
			continue
		}
		if !l.alive(m.now) {
			m.enqueue(l)
			continue
		}
		l.phase = posting
		m.posts[l.env.Hash()] = l
		m.schedule(l, m.now.Add(postWait))
		m.do(Post{ID: l.ID, Envelope: l.env})
	}
	m.pumpAsks()
}

// tooLate gives a letter up whose time is over.
func (m *Machine) tooLate(l *letter) bool {
	if m.now.Before(l.Until) {
		return false
	}
	m.giveUp(l)
	return true
}

// dueNow does what a letter's time has come for.
func (m *Machine) dueNow(l *letter) {
	switch l.phase {
	case sealing:
		delete(m.seals, l.seal)
		m.retry(l, "its envelope was not sealed in time")
	case posting:
		delete(m.posts, l.env.Hash())
		m.retry(l, "this node did not take it in time")
	case waiting:
		m.look(l)
	case settled:
		m.tell(l) // a hold has ended: the sentence says so
		m.awaitEnd(l)
	}
}

// look decides what is next for a letter that has waited.
func (m *Machine) look(l *letter) {
	if end := l.later; l.State != StateHeld && end.After(m.now) {
		l.later = time.Time{}
		m.ask(l)
		m.schedule(l, end)
		return
	}
	if l.State == StateHeld {
		if !m.now.Before(l.heldSince.Add(settleAfter)) {
			m.finish(l)
			return
		}
		m.ask(l)
		m.wait(l)
		return
	}
	if m.tooLate(l) {
		return
	}
	m.ask(l)
	if l.again || l.step >= repostFrom || !l.posted() || !l.alive(m.now) {
		m.enqueue(l)
		return
	}
	m.wait(l)
}

// posted reports whether our node took the last envelope.
func (l *letter) posted() bool {
	return len(l.Attempts) > 0 && !l.Attempts[len(l.Attempts)-1].Posted.IsZero()
}

// wait looks at the letter again later, each time a longer while.
func (m *Machine) wait(l *letter) {
	next := m.now.Add(backOff(l.step))
	if l.State != StateHeld && l.Until.Before(next) {
		next = l.Until
	}
	l.step++
	l.phase, l.later = waiting, time.Time{}
	m.schedule(l, next)
}

// waitPosted waits after a post. However long that is, servers are asked soon: some keep mail for a short while only.
func (m *Machine) waitPosted(l *letter) {
	m.wait(l)
	if soon := m.now.Add(backOff(0)); soon.Before(l.next) {
		l.later = l.next
		m.schedule(l, soon)
	}
}

// retry waits after a failure that may pass.
func (m *Machine) retry(l *letter, text string) {
	l.Err, l.Changed = text, m.now
	m.wait(l)
	m.tell(l)
}

func (m *Machine) sealed(ev Sealed) {
	l := m.seals[ev.ID]
	if l == nil {
		return
	}
	delete(m.seals, ev.ID)
	if l.phase != sealing || l.seal != ev.ID {
		return // it turned out to be held meanwhile, or was given up
	}
	if ev.Err == nil && (ev.Envelope == nil || ev.Envelope.Topic() != l.Topic) {
		ev.Err = fault.E(letterOp, fault.Internal, nil, "the envelope does not fit the letter")
	}
	if ev.Err != nil {
		text := fault.Text(ev.Err)
		if fault.Is(ev.Err, fault.Invalid) || fault.Is(ev.Err, fault.Limit) {
			m.fail(l, text)
		} else {
			m.retry(l, text)
		}
		return
	}
	l.env, l.Err = ev.Envelope, ""
	m.attempt(l, Attempt{Hash: ev.Envelope.Hash(), Expires: time.Unix(int64(ev.Envelope.Expiry()), 0).UTC()})
	if !l.alive(m.now) {
		m.retry(l, "its envelope was dead before it could be sent: check this device's clock")
		m.save(l)
		return
	}
	m.save(l)
	m.enqueue(l)
	m.tell(l)
}

// attempt remembers a new envelope of the letter.
func (m *Machine) attempt(l *letter, a Attempt) {
	if len(l.Attempts) == MaxAttempts {
		delete(m.byHash, l.Attempts[0].Hash)
		l.Attempts = slices.Delete(l.Attempts, 0, 1)
	}
	l.Attempts = append(l.Attempts, a)
	m.byHash[a.Hash] = l
}

func (m *Machine) posted(ev Posted) {
	l := m.posts[ev.Hash]
	if l == nil {
		return
	}
	delete(m.posts, ev.Hash)
	if l.phase != posting || l.env.Hash() != ev.Hash {
		return
	}
	if ev.Err != nil {
		m.notPosted(l, ev.Err)
		return
	}
	l.Attempts[len(l.Attempts)-1].Posted = m.now
	l.Err, l.again = "", false
	m.waitPosted(l)
	m.tell(l)
}

// notPosted tells what a new try may mend from what it may not.
func (m *Machine) notPosted(l *letter, err error) {
	var refusal *envelope.Refusal
	switch errors.As(err, &refusal); {
	case refusal != nil && refusal.Reason != envelope.TooLarge:
		l.env = nil // too old, too new, or with too little work: another one may pass
		m.retry(l, fault.Text(err))
	case fault.Is(err, fault.Invalid):
		m.fail(l, fault.Text(err))
	default:
		m.retry(l, fault.Text(err))
	}
}

func (m *Machine) accepted(ev Accepted) {
	l := m.byHash[ev.Hash]
	peers := min(ev.Peers, maxPeers)
	if l == nil || peers <= l.Peers {
		return
	}
	l.Peers, l.Changed = peers, m.now
	if l.State == StateSending {
		l.State, l.Err = StateAccepted, ""
		m.save(l)
	}
	m.tell(l)
}

// online starts the waits anew, and posts what is not held, since it may have left nobody.
func (m *Machine) online() {
	for _, l := range m.order {
		if l.phase == waiting {
			l.step, l.again, l.later = 0, true, time.Time{}
			m.schedule(l, m.now)
		}
	}
}

// giveUp ends a letter's sending, on the user's wish or because its time is over.
func (m *Machine) giveUp(l *letter) {
	switch late := !m.now.Before(l.Until); {
	case l.State == StateHeld, late && l.State == StateAccepted && m.known == 0:
		m.finish(l)
	case late:
		m.fail(l, "no mail server said in time that it holds it: send it again")
	default:
		m.fail(l, "given up")
	}
}

func (m *Machine) fail(l *letter, text string) {
	l.State, l.Err, l.Changed = StateFailed, text, m.now
	m.finish(l)
}

// finish ends what is done about a letter, and lets its secrets go.
func (m *Machine) finish(l *letter) {
	m.open--
	m.openBytes -= l.Size
	m.done++
	l.Done, l.phase, l.env = true, settled, nil
	l.Payload, l.Sym, l.Sign = nil, nil, nil
	m.unschedule(l)
	m.awaitEnd(l)
	m.save(l)
	m.tell(l)
	if m.done > MaxDone {
		i := slices.IndexFunc(m.order, func(l *letter) bool { return l.Done })
		m.forget(m.order[i])
	}
}

// awaitEnd schedules the next end of a hold.
func (m *Machine) awaitEnd(l *letter) {
	var next time.Time
	for _, h := range l.Holders {
		if h.Until.After(m.now) && (next.IsZero() || h.Until.Before(next)) {
			next = h.Until
		}
	}
	if !next.IsZero() {
		m.schedule(l, next)
	}
}

// forget drops a letter. What is under way for it will find nothing.
func (m *Machine) forget(l *letter) {
	if l.Done {
		m.done--
	} else {
		m.open--
		m.openBytes -= l.Size
	}
	l.Done, l.phase = true, settled
	m.unschedule(l)
	for _, a := range l.Attempts {
		delete(m.byHash, a.Hash)
	}
	delete(m.letters, l.ID)
	i := m.place(l)
	m.order = slices.Delete(m.order, i, i+1)
	m.do(Delete{ID: l.ID})
}

func (m *Machine) save(l *letter) { m.do(Save{ID: l.ID, Data: l.record()}) }

func (m *Machine) tell(l *letter) { m.do(Changed{Entry: m.entry(l)}) }
