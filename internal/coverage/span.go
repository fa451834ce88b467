package coverage

import (
	"cmp"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Answered lists what servers answered about a topic, ascending and without overlap.
func (b *Book) Answered(t envelope.Topic) []Span {
	var edges []uint64 // where something begins or has ended
	for _, c := range b.claims[t] {
		if c.says() {
			edges = append(edges, uint64(c.From), uint64(c.To)+1)
		}
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	var list []Span
	for i := 1; i < len(edges); i++ {
		s := Span{From: uint32(edges[i-1]), To: uint32(edges[i] - 1), Doubt: true}
		for _, c := range b.claims[t] {
			if !c.says() || c.From > s.From || c.To < s.To {
				continue
			}
			s.Exact, s.Doubt = s.Exact || c.Exact, s.Doubt && c.Doubt
			if n := len(s.Servers); n == 0 || s.Servers[n-1] != c.Server {
				s.Servers = append(s.Servers, c.Server)
			}
		}
		if len(s.Servers) == 0 {
			continue
		}
		if n := len(list); n > 0 && list[n-1].continues(s) {
			list[n-1].To = s.To
			continue
		}
		list = append(list, s)
	}
	return list
}

func (s *Span) continues(next Span) bool {
	return s.To+1 == next.From && s.Exact == next.Exact && s.Doubt == next.Doubt && slices.Equal(s.Servers, next.Servers)
}

// stretch is a range of sent time, both inclusive.
type stretch struct{ from, to uint32 }

// union sorts stretches and joins those that touch.
func union(list []stretch) []stretch {
	slices.SortFunc(list, func(a, b stretch) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	joined := list[:0]
	for _, s := range list {
		if n := len(joined); n > 0 && s.from <= after(joined[n-1].to) {
			joined[n-1].to = max(joined[n-1].to, s.to)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// rest returns what of a range is in none of the stretches of a union.
func rest(whole stretch, covered []stretch) []stretch {
	var list []stretch
	next := uint64(whole.from)
	for _, c := range covered {
		if uint64(c.from) > next && next <= uint64(whole.to) {
			list = append(list, stretch{uint32(next), min(c.from-1, whole.to)})
		}
		next = max(next, uint64(c.to)+1)
	}
	if next <= uint64(whole.to) {
		list = append(list, stretch{uint32(next), whole.to})
	}
	return list
}

// reach returns until when a union goes on without a break, from a second on; false if it does not begin there.
func reach(from uint32, covered []stretch) (uint32, bool) {
	for _, c := range covered {
		if c.from <= from && from <= c.to {
			return c.to, true
		}
	}
	return 0, false
}

// said collects the stretches of the claims that pass.
func said(claims []Claim, pass func(*Claim) bool) []stretch {
	var list []stretch
	for i := range claims {
		if c := &claims[i]; c.says() && pass(c) {
			list = append(list, stretch{c.From, c.To})
		}
	}
	return union(list)
}

func later(a, b Claim) time.Time {
	if a.Asked.After(b.Asked) {
		return a.Asked
	}
	return b.Asked
}

// addServer keeps an ascending list of at most MaxNamed servers.
func addServer(list []nodeaddr.ID, id nodeaddr.ID) []nodeaddr.ID {
	if slices.Contains(list, id) || len(list) >= MaxNamed {
		return list
	}
	list = append(list, id)
	sortServers(list)
	return list
}
