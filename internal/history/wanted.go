package history

import "github.com/restante-im/restante/internal/envelope"

// wanted judges what comes.
type wanted struct {
	plan     *Plan
	topics   map[envelope.Topic]struct{}
	filter   envelope.Bloom // what stands for the topics where a server goes by filters
	filtered bool           // it may be such a server
}

func newWanted(p *Plan) wanted {
	w := wanted{plan: p, topics: make(map[envelope.Topic]struct{}, len(p.Topics))}
	for _, t := range p.Topics {
		w.topics[t] = struct{}{}
		w.filter.Or(t.WideBloom())
	}
	return w
}

// judge returns why an envelope is not wanted, or Reasons when it is.
func (w *wanted) judge(env *envelope.Envelope) Reason {
	if sent := env.Sent(); sent < w.plan.From || w.plan.To != 0 && sent > w.plan.To {
		return OutOfRange
	}
	if !w.asked(env.Topic()) {
		if w.filtered && len(w.topics) > 0 && w.filter.AdmitsTopic(env.Topic()) {
			return ByFilter
		}
		return NotAsked
	}
	if env.Size() > w.plan.MaxSize {
		return TooLarge
	}
	if w.plan.MinPoW > 0 && env.PoW() < w.plan.MinPoW {
		return LowWork
	}
	return Reasons
}

// judgeEntry does so by what a server says of an envelope, as far as that goes.
func (w *wanted) judgeEntry(e Entry) Reason {
	switch {
	case e.Sent < w.plan.From || w.plan.To != 0 && e.Sent > w.plan.To:
		return OutOfRange
	case int64(e.Size) > int64(w.plan.MaxSize):
		return TooLarge
	}
	return Reasons
}

func (w *wanted) asked(t envelope.Topic) bool {
	if len(w.topics) > 0 {
		_, ok := w.topics[t]
		return ok
	}
	return w.plan.Bloom == nil || w.plan.Bloom.AdmitsTopic(t)
}

// remembered is how many hashes seen keeps at least.
const remembered = 1 << 16

// seen knows the hashes of the last envelopes, in two generations.
type seen struct{ young, old map[envelope.Hash]struct{} }

func (s *seen) has(h envelope.Hash) bool {
	if _, ok := s.young[h]; ok {
		return true
	}
	_, ok := s.old[h]
	return ok
}

func (s *seen) add(h envelope.Hash) {
	if s.young == nil || len(s.young) == remembered {
		s.old, s.young = s.young, make(map[envelope.Hash]struct{})
	}
	s.young[h] = struct{}{}
}

// loop finds cursors that come again, however long the circle is: it holds on to one of them, for twice as many pages
// each time.
type loop struct {
	held  []byte
	pages int // since it was held
	turn  int // pages after which another one is held
}

func (l *loop) closed(cursor []byte) bool {
	if l.held != nil && string(l.held) == string(cursor) {
		return true
	}
	if l.pages++; l.pages >= l.turn {
		l.held, l.pages, l.turn = append([]byte(nil), cursor...), 0, max(2*l.turn, 1)
	}
	return false
}

// spread tells from the sent times of what came how much of a range is done, whichever way the server goes through it.
type spread struct {
	any         bool
	first, last uint32
}

func (s *spread) add(sent uint32) {
	if !s.any {
		s.any, s.first = true, sent
	}
	s.last = sent
}

func (s *spread) share(from, to uint32) float64 {
	if !s.any || from == 0 || to <= from {
		return -1
	}
	done := s.last - min(from, s.last)
	if s.last < s.first {
		done = to - min(to, s.last)
	}
	return float64(done) / float64(to-from)
}
