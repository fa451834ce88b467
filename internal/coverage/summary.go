package coverage

import (
	"slices"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Summary says how it stands with each want, in their order. Gaps that nobody will fill are passed over; they are listed.
func (b *Book) Summary(s Sight) []Line {
	all := b.Gaps(s)
	ids := map[envelope.Topic][]string{}
	holes := map[envelope.Topic][]stretch{} // closed gaps
	broken := map[envelope.Topic]uint32{}   // sent time of the first envelope that is known to be missing
	for i := range all {
		g := &all[i]
		topics := g.Topics
		if len(topics) == 0 { // of any of the wants
			for _, w := range s.Wants {
				topics = append(topics, w.Topic)
			}
		}
		for _, t := range topics {
			ids[t] = append(ids[t], g.ID)
			switch first, ok := broken[t]; {
			case g.Closed:
				holes[t] = append(holes[t], stretch{g.From, g.To})
			case g.Envelopes > 0 && (!ok || g.From < first):
				broken[t] = g.From
			}
		}
	}
	lines := make([]Line, len(s.Wants))
	for i, w := range s.Wants {
		end := uint32(1<<32 - 1)
		if first, ok := broken[w.Topic]; ok {
			end = max(first, 1) - 1
		}
		lines[i] = b.line(w, holes[w.Topic], end)
		lines[i].Gaps = ids[w.Topic]
		lines[i].Text = lines[i].sentence(s.Name)
	}
	return lines
}

// line says how far servers answered; complete is nothing beyond an end.
func (b *Book) line(w Want, holes []stretch, last uint32) Line {
	l := Line{Want: w}
	claims := b.claims[w.Topic]
	until := func(last uint32, pass func(*Claim) bool) uint32 {
		covered := said(claims, pass)
		if len(covered) == 0 {
			return 0
		}
		from := w.Since
		if from == 0 {
			from = covered[0].from
		}
		end, ok := reach(from, union(append(slices.Clone(covered), holes...)))
		end = min(end, last)
		until := uint32(0) // what was said last, not passed over
		for _, c := range covered {
			if ok && max(c.from, from) <= end {
				until = min(c.to, end)
			}
		}
		return until
	}
	exact := func(c *Claim) bool { return c.Exact && !c.Doubt }
	l.Complete = until(last, exact)
	l.Answered = until(1<<32-1, func(*Claim) bool { return true })
	best := uint32(0) // how far a single server goes; Agreed is how far the next one does
	for i := 0; i < len(claims); {
		from, to := within(claims, claims[i].Server)
		end := until(last, func(c *Claim) bool { return exact(c) && c.Server == claims[from].Server })
		l.Agreed = max(l.Agreed, min(best, end))
		best = max(best, end)
		i = to
	}
	l.By = covering(claims, l.Complete, exact)
	l.AnsweredBy = covering(claims, l.Answered, func(*Claim) bool { return true })
	return l
}

// covering lists who answered for a second.
func covering(claims []Claim, second uint32, pass func(*Claim) bool) (list []nodeaddr.ID) {
	if second == 0 {
		return nil
	}
	for i := range claims {
		if c := &claims[i]; c.says() && pass(c) && c.From <= second && second <= c.To && !slices.Contains(list, c.Server) {
			list = append(list, c.Server)
		}
	}
	return list
}
