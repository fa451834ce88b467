package catchup

import (
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
)

const (
	maxShown = 65536 // envelopes of a server that are remembered in a round; with more nothing is compared
	settling = 60    // seconds that an envelope may take to reach all servers
)

// shown is what one server has shown in a round, to compare it with another.
type shown struct {
	list  map[envelope.Hash]sight
	full  bool
	visit uint32 // the last time that it was asked, of any of the topics: older mail may have been shown then
}

type sight struct {
	sent uint32
	good bool // we have it, so it is what was asked for
}

func (s *shown) add(h envelope.Hash, sent uint32, good bool) {
	old, ok := s.list[h]
	switch {
	case !ok && len(s.list) >= maxShown:
		s.full = true
		return
	case s.list == nil:
		s.list = map[envelope.Hash]sight{}
	}
	s.list[h] = sight{sent, good || old.good}
}

// see notes where a question starts.
func (l *lane) see(p place) { l.seen.visit = max(l.seen.visit, p.from, p.until) }

// compare tells what one of two servers lacked of what the other had.
func (m *Machine) compare() {
	var list []*lane
	for _, l := range m.round.lanes {
		if l.done && !l.seen.full && l.server.lists() && l.report.Withheld == 0 {
			list = append(list, l)
		}
	}
	if len(list) != 2 || list[0].over || list[1].over {
		return
	}
	a, b := list[0], list[1]
	from, to := a.comparable()
	fromB, toB := b.comparable()
	from, to = max(from, fromB), min(to, toB)
	lackedA, lackedB, of := 0, 0, 0
	for h, x := range a.seen.list {
		if !x.good || x.sent < from || x.sent > to {
			continue
		}
		of++
		if _, ok := b.seen.list[h]; !ok {
			lackedB++
		}
	}
	for h, x := range b.seen.list {
		if _, ok := a.seen.list[h]; !ok && x.good && x.sent >= from && x.sent <= to {
			of++
			lackedA++
		}
	}
	if of == 0 {
		return
	}
	a.report.Lacked, b.report.Lacked = lackedA, lackedB
	m.note(a.server, directory.Lacked{Lacked: lackedA, Of: of})
	m.note(b.server, directory.Lacked{Lacked: lackedB, Of: of})
}

// comparable is the range of sent time in which a server should have shown what it has.
func (l *lane) comparable() (from, to uint32) {
	from = l.seen.visit
	if !l.server.caps.Oldest.IsZero() {
		from = max(from, second(l.server.caps.Oldest))
	}
	return from + settling, second(l.began) - min(second(l.began), settling)
}
