package coverage

import (
	"cmp"
	"encoding/hex"
	"hash/fnv"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// Gaps lists what nobody has handed over, the oldest first. Topics with the same gap share one.
func (b *Book) Gaps(s Sight) []Gap {
	var g gaps
	wanted := make(map[envelope.Topic]bool, len(s.Wants))
	for _, w := range s.Wants {
		wanted[w.Topic] = true
		b.unanswered(&g, w, &s)
	}
	for i := range s.Missing {
		if m := &s.Missing[i]; len(m.Topics) == 0 || slices.ContainsFunc(m.Topics, func(t envelope.Topic) bool { return wanted[t] }) {
			g.missing(m)
		}
	}
	for i := range g.list {
		finish(&g.list[i], &s)
	}
	slices.SortStableFunc(g.list, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.ID, b.ID))
	})
	return g.list
}

// gaps collects gaps that are alike.
type gaps struct {
	list  []Gap
	place map[gapKey]int
}

type gapKey struct {
	cause  Cause
	closed bool
	from   uint32
	to     uint32
	topics string // of envelopes that are known by name
}

func (g *gaps) at(k gapKey) *Gap {
	i, ok := g.place[k]
	if !ok {
		if g.place == nil {
			g.place = map[gapKey]int{}
		}
		i = len(g.list)
		g.place[k] = i
		g.list = append(g.list, Gap{Cause: k.cause, Closed: k.closed, From: k.from, To: k.to})
	}
	return &g.list[i]
}

// unanswered adds the ranges of a want that no server answered for.
func (b *Book) unanswered(g *gaps, w Want, s *Sight) {
	claims := b.claims[w.Topic]
	covered := said(claims, func(*Claim) bool { return true })
	whole := stretch{w.Since, s.Now}
	if live, ok := s.Live[w.Topic]; ok {
		whole.to = min(whole.to, max(live, 1)-1)
	}
	if w.Since == 0 && len(covered) > 0 {
		whole.from = covered[0].from // "everything" is what servers have
	}
	if whole.from > whole.to {
		return
	}
	for _, r := range rest(whole, covered) {
		cause, asked := why(claims, r)
		if cause == NotAsked {
			cause = s.Why[w.Topic]
		}
		gap := g.at(gapKey{cause: cause, closed: closed(cause), from: r.from, to: r.to})
		gap.Topics = append(gap.Topics, w.Topic)
		if gap.Since.IsZero() || asked.Before(gap.Since) {
			gap.Since = asked
		}
	}
}

func closed(c Cause) bool { return c == Expired || c == Reset }

// why tells whether a range that is not claimed was asked for: then it was deleted before.
func why(claims []Claim, r stretch) (Cause, time.Time) {
	cause, asked := NotAsked, time.Unix(int64(r.from), 0).UTC()
	for _, c := range claims {
		if !c.Exact || !c.says() || c.Since > r.from || c.From <= r.to {
			continue
		}
		if cause == NotAsked {
			cause, asked = Expired, c.Asked
		}
		for _, old := range claims {
			if old.Server == c.Server && old.Exact && old.Epoch != c.Epoch && old.says() && old.To < r.from {
				return Reset, c.Asked
			}
		}
	}
	return cause, asked
}

// missing adds an envelope that is known by name.
func (g *gaps) missing(m *Missing) {
	topics := slices.Clone(m.Topics)
	sortTopics(topics)
	k := gapKey{cause: m.Cause, closed: m.Gone}
	for _, t := range topics {
		k.topics += string(t[:])
	}
	k.topics += "named"
	gap := g.at(k)
	if gap.Envelopes == 0 {
		gap.From, gap.To, gap.Topics, gap.Since = m.Sent, m.Sent, topics, m.Noticed
	}
	gap.From, gap.To = min(gap.From, m.Sent), max(gap.To, m.Sent)
	if m.Noticed.Before(gap.Since) {
		gap.Since = m.Noticed
	}
	gap.Envelopes++
	gap.Bytes += int64(m.Size)
	for _, id := range m.Named {
		gap.Holders = addServer(gap.Holders, id)
	}
}

// finish fills in what follows from the rest.
func finish(g *Gap, s *Sight) {
	sortTopics(g.Topics)
	if g.Envelopes == 0 && !g.Closed {
		for _, id := range s.Servers {
			g.Holders = addServer(g.Holders, id)
		}
	}
	g.ID = g.id()
	g.Text = g.sentence(s.Name)
}

// id does not go by the end, which moves with the time as long as nobody was asked.
func (g *Gap) id() string {
	h := fnv.New64a()
	from := g.From
	if g.Envelopes > 0 {
		from = 0
	}
	h.Write([]byte{byte(g.Cause), byte(from >> 24), byte(from >> 16), byte(from >> 8), byte(from), boolByte(g.Closed), boolByte(g.Envelopes > 0)})
	for _, t := range g.Topics {
		h.Write(t[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
