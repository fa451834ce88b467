package coverage

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Book holds all claims. Make it with NewBook.
type Book struct {
	claims map[envelope.Topic][]Claim // of all servers, ascending by server
}

// NewBook makes a book of what was stored.
func NewBook(claims []Claim) *Book {
	b := &Book{claims: map[envelope.Topic][]Claim{}}
	b.Put(b.With(claims))
	return b
}

// With returns what the lists of claims become with these added, in the order of their first mention. The book is as
// before until Put.
func (b *Book) With(add []Claim) []Replace {
	type key struct {
		topic  envelope.Topic
		server nodeaddr.ID
	}
	var list []Replace
	place := make(map[key]int, len(add))
	for _, c := range add {
		k := key{c.Topic, c.Server}
		i, ok := place[k]
		if !ok {
			i = len(list)
			place[k] = i
			list = append(list, Replace{Topic: c.Topic, Server: c.Server, Claims: slices.Clone(b.Claims(c.Topic, c.Server))})
		}
		list[i].Claims = merge(list[i].Claims, c)
	}
	return list
}

// Put takes lists over, once they are stored.
func (b *Book) Put(list []Replace) {
	for _, r := range list {
		all := b.claims[r.Topic]
		from, to := within(all, r.Server)
		if all = slices.Replace(slices.Clone(all), from, to, r.Claims...); len(all) == 0 {
			delete(b.claims, r.Topic)
			continue
		}
		b.claims[r.Topic] = all
	}
}

// Drop returns the lists that forget all about a topic, for Put.
func (b *Book) Drop(t envelope.Topic) []Replace {
	var list []Replace
	for _, c := range b.claims[t] {
		if n := len(list); n == 0 || list[n-1].Server != c.Server {
			list = append(list, Replace{Topic: t, Server: c.Server})
		}
	}
	return list
}

// Topics lists the topics that there are claims about, ascending.
func (b *Book) Topics() []envelope.Topic {
	list := make([]envelope.Topic, 0, len(b.claims))
	for t := range b.claims {
		list = append(list, t)
	}
	sortTopics(list)
	return list
}

// Claims lists what one server is known to have answered about a topic. It must not be changed.
func (b *Book) Claims(t envelope.Topic, server nodeaddr.ID) []Claim {
	all := b.claims[t]
	from, to := within(all, server)
	return all[from:to:to]
}

// within returns where a server's claims are.
func within(all []Claim, server nodeaddr.ID) (from, to int) {
	order := func(c Claim, id nodeaddr.ID) int { return bytes.Compare(c.Server[:], id[:]) }
	from, _ = slices.BinarySearchFunc(all, server, order)
	for to = from; to < len(all) && all[to].Server == server; to++ {
	}
	return from, to
}

// Position is where a server that answers by arrival was left, for one topic.
type Position struct {
	Arrival uint64 // all up to it was considered
	Since   uint32 // of what was sent since then
	Until   uint32 // the last time that the server was asked to the end about that, sent time; 0 for never
}

// Position returns where a server was left in an epoch of its archive; false for nowhere.
func (b *Book) Position(t envelope.Topic, server nodeaddr.ID, epoch [8]byte) (p Position, ok bool) {
	claims := b.Claims(t, server)
	for _, c := range claims {
		if c.Exact && c.Epoch == epoch && (!ok || c.Through > p.Arrival || c.Through == p.Arrival && c.Since < p.Since) {
			p.Arrival, p.Since, ok = c.Through, c.Since, true
		}
	}
	for _, c := range claims {
		if c.Exact && c.Epoch == epoch && c.says() && c.Since <= p.Since {
			p.Until = max(p.Until, c.To)
		}
	}
	return p, ok
}

// Epoch returns from when on, in sent time, a server answered in an epoch of its archive (0: it did not), and whether it
// answered in another one.
func (b *Book) Epoch(server nodeaddr.ID, epoch [8]byte) (first uint32, other bool) {
	for t := range b.claims {
		for _, c := range b.Claims(t, server) {
			switch {
			case !c.Exact:
			case c.Epoch != epoch:
				other = true
			case c.says() && (first == 0 || c.From < first):
				first = c.From
			}
		}
	}
	return first, other
}

// AnsweredFrom returns until when, in sent time from a second on and without a break, a server has answered about a topic:
// in whatever way, or only where it said that this is all; false if it has not.
func (b *Book) AnsweredFrom(t envelope.Topic, server nodeaddr.ID, from uint32, sure bool) (until uint32, ok bool) {
	return reach(from, said(b.Claims(t, server), func(c *Claim) bool { return !sure || !c.Doubt }))
}

// AnsweredUntil returns until when, in sent time, any server has answered about a topic in whatever way; 0 for never.
func (b *Book) AnsweredUntil(t envelope.Topic) (until uint32) {
	for _, c := range b.claims[t] {
		if c.says() {
			until = max(until, c.To)
		}
	}
	return until
}

// merge adds a claim of the same topic and server to a list.
func merge(list []Claim, c Claim) []Claim {
	for i := 0; i < len(list); i++ {
		if joined, ok := join(list[i], c); ok {
			c, list = joined, slices.Delete(list, i, i+1)
			i = -1
		}
	}
	list = append(list, c)
	slices.SortFunc(list, func(a, b Claim) int {
		return cmp.Or(cmp.Compare(a.To, b.To), cmp.Compare(a.From, b.From), cmp.Compare(a.Through, b.Through))
	})
	if len(list) > MaxClaims {
		list = slices.Delete(list, 0, len(list)-MaxClaims)
	}
	return list
}

// join makes one claim of two that touch.
func join(a, b Claim) (Claim, bool) {
	if a.Exact != b.Exact || a.Epoch != b.Epoch || a.Doubt != b.Doubt {
		return Claim{}, false
	}
	if a.Exact {
		return joinExact(a, b)
	}
	if max(a.From, b.From) > after(min(a.To, b.To)) {
		return Claim{}, false
	}
	a.From, a.To = min(a.From, b.From), max(a.To, b.To)
	a.Asked = later(a, b)
	return a, true
}

func joinExact(a, b Claim) (Claim, bool) {
	if max(a.First, b.First) > min(a.Through, b.Through) {
		return Claim{}, false // arrivals in between were not considered
	}
	if cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(b.Through, a.Through), cmp.Compare(a.Since, b.Since)) > 0 {
		a, b = b, a
	}
	joined := a
	joined.Through, joined.Asked = max(a.Through, b.Through), later(a, b)
	if a.Through < b.Through || a.Since > b.Since { // neither considered all that the other did
		joined.Since = max(a.Since, b.Since)
	}
	switch {
	case a.says() && b.says():
		if max(a.From, b.From) > after(min(a.To, b.To)) {
			return Claim{}, false
		}
		joined.From, joined.To = min(a.From, b.From), max(a.To, b.To)
	case a.says():
		if b.From > after(a.To) {
			return Claim{}, false
		}
	case b.says():
		joined.To = b.To
		if a.Through < b.Through || a.Since > b.Since || a.From > b.From || !a.Asked.After(b.Asked) { // else a has caught up
			joined.From = b.From
		}
	default:
		joined.From = max(a.From, b.From)
	}
	joined.From = max(joined.From, joined.Since)
	return joined, true
}

// after is the second that follows, if there is one.
func after(second uint32) uint32 { return max(second, second+1) }

func sortTopics(list []envelope.Topic) {
	slices.SortFunc(list, func(a, b envelope.Topic) int { return bytes.Compare(a[:], b[:]) })
}

func sortServers(list []nodeaddr.ID) {
	slices.SortFunc(list, func(a, b nodeaddr.ID) int { return bytes.Compare(a[:], b[:]) })
}
