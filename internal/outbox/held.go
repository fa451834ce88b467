package outbox

import (
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// This file is about who holds a letter.

const (
	maxServers  = 64 // of Servers, the first
	askedHashes = 3  // of one letter, its last envelopes
	maxPeers    = 1 << 20
)

// asking is what is asked of one server.
type asking struct {
	waiting []*letter
	batch   []*letter       // whose question is under way
	open    []envelope.Hash // of that question; nil for none
	until   time.Time       // when it counts as failed
}

// servers takes over who can be asked. A new one is asked soon about everything that is not held well enough.
func (m *Machine) servers(ev Servers) {
	old := m.list
	m.list = slices.Clone(ev.List[:min(len(ev.List), maxServers)])
	m.known = max(ev.Known, len(ev.List))
	for id, a := range m.asks {
		if !slices.Contains(m.list, id) {
			a.drop(id)
		}
	}
	if !slices.ContainsFunc(m.list, func(id nodeaddr.ID) bool { return !slices.Contains(old, id) }) {
		return
	}
	soon := m.now.Add(newServerWait)
	for _, l := range m.order {
		if l.phase == waiting && len(l.Attempts) > 0 && l.next.After(soon) {
			m.schedule(l, soon)
		}
	}
}

// drop forgets what was to be asked of a server that is gone.
func (a *asking) drop(id nodeaddr.ID) {
	for _, l := range a.waiting {
		delete(l.asked, id)
	}
	a.waiting = nil
}

// ask has servers asked about a letter: at first only as many as should hold it, since who is asked learns that it is
// ours; later more.
func (m *Machine) ask(l *letter) {
	if len(l.Attempts) == 0 {
		return
	}
	most := m.cfg.Holders
	if l.step >= repostFrom {
		most = MaxHolders
	}
	for _, id := range m.list[:min(most, len(m.list))] {
		if l.asked[id] || slices.ContainsFunc(l.Holders, func(h Holder) bool { return h.Server == id && h.How == HowTold }) {
			continue
		}
		if l.asked == nil {
			l.asked = map[nodeaddr.ID]bool{}
		}
		l.asked[id] = true
		a := m.asks[id]
		if a == nil {
			a = &asking{}
			m.asks[id] = a
		}
		a.waiting = append(a.waiting, l)
	}
}

// pumpAsks asks every server that is not being asked.
func (m *Machine) pumpAsks() {
	for _, id := range m.list {
		a := m.asks[id]
		if a == nil || a.open != nil || len(a.waiting) == 0 {
			continue
		}
		n := 0
		for ; n < len(a.waiting); n++ {
			l := a.waiting[n]
			hashes := l.hashes()
			if len(a.open)+len(hashes) > MaxHashes {
				break
			}
			if l.Done {
				delete(l.asked, id)
				continue
			}
			a.batch, a.open = append(a.batch, l), append(a.open, hashes...)
		}
		a.waiting = slices.Delete(a.waiting, 0, n)
		if a.open != nil {
			a.until = m.now.Add(heldWait)
			m.do(AskHeld{Server: id, Hashes: slices.Clone(a.open)})
		}
	}
}

// hashes are those of the letter's last envelopes.
func (l *letter) hashes() []envelope.Hash {
	var list []envelope.Hash
	for _, a := range l.Attempts[max(0, len(l.Attempts)-askedHashes):] {
		list = append(list, a.Hash)
	}
	return list
}

// close ends the question under way.
func (a *asking) close(id nodeaddr.ID) {
	for _, l := range a.batch {
		delete(l.asked, id)
	}
	a.batch, a.open, a.until = nil, nil, time.Time{}
}

// expireAsks gives up questions that nobody answered; the letters' next looks ask again.
func (m *Machine) expireAsks() {
	for id, a := range m.asks {
		if a.open != nil && !a.until.After(m.now) {
			a.close(id)
		}
		if a.open == nil && len(a.waiting) == 0 {
			delete(m.asks, id)
		}
	}
}

func (m *Machine) heldAnswer(ev HeldAnswer) {
	if a := m.asks[ev.Server]; a != nil && slices.Equal(a.open, ev.Hashes) {
		a.close(ev.Server)
	}
	if ev.Err != nil || len(ev.Until) != len(ev.Hashes) {
		return
	}
	for i, h := range ev.Hashes {
		if until := ev.Until[i].UTC().Round(0); until.After(m.now) && until.Year() <= 9999 {
			m.holds(h, Holder{Server: ev.Server, Until: until, Confirmed: m.now, How: HowTold})
		}
	}
}

// holds takes in that a server holds one of our envelopes.
func (m *Machine) holds(h envelope.Hash, by Holder) {
	l := m.byHash[h]
	if l == nil || by.Server == (nodeaddr.ID{}) || !l.addHolder(by) {
		return
	}
	if l.State != StateHeld {
		l.State, l.Err, l.heldSince = StateHeld, "", m.now
	}
	l.Changed = m.now
	switch {
	case l.Done:
		m.awaitEnd(l)
		m.save(l)
		m.tell(l)
	case len(l.Holders) >= m.cfg.Holders:
		m.finish(l)
	default:
		if l.phase != waiting {
			m.wait(l) // whatever was under way is not needed any more
		}
		m.save(l)
		m.tell(l)
	}
}

// addHolder reports whether that is news.
func (l *letter) addHolder(by Holder) bool {
	i := slices.IndexFunc(l.Holders, func(h Holder) bool { return h.Server == by.Server })
	switch {
	case i < 0 && len(l.Holders) < MaxHolders:
		l.Holders = append(l.Holders, by)
		return true
	case i < 0:
		return false
	}
	old := l.Holders[i]
	if by.How == HowSeen && (old.How == HowSeen || old.Until.After(by.Confirmed)) || by.How == HowTold && by.Until.Equal(old.Until) {
		return false
	}
	l.Holders[i] = by
	return true
}
