package segment

import (
	"cmp"
	"container/heap"
	"context"
	"math"
	"slices"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment/slindex"
)

// mergeBySent fills a page from several slices, each of which is opened only when the order comes to its earliest time.
func (w *walk) mergeBySent(ctx context.Context, list []*source, p *page) error {
	m := &merger{w: w}
	for _, s := range list {
		if s.plan != exhausted || !s.empty() {
			m.list = append(m.list, s)
		}
	}
	heap.Init(m)
	for len(m.list) > 0 && m.err == nil {
		s := m.list[0]
		switch {
		case !s.empty():
			if !p.add(&s.chunk[s.at]) {
				return m.err
			}
			s.at++
		case s.plan == exhausted:
			heap.Pop(m)
			continue
		case w.looked >= maxLook:
			w.passed(s.barrier)
			return m.err
		default:
			if err := ctx.Err(); err != nil {
				w.forget()
				return errGone("archive: next", err)
			}
			if err := s.fillBySent(); err != nil {
				w.forget()
				return err
			}
		}
		heap.Fix(m, 0)
	}
	p.done = m.err == nil
	return m.err
}

// merger is a heap of sources by what comes next in each.
type merger struct {
	w    *walk
	list []*source
	err  error
}

func (m *merger) Len() int      { return len(m.list) }
func (m *merger) Swap(i, j int) { m.list[i], m.list[j] = m.list[j], m.list[i] }
func (m *merger) Push(x any)    { m.list = append(m.list, x.(*source)) }

func (m *merger) Pop() any {
	last := m.list[len(m.list)-1]
	m.list = m.list[:len(m.list)-1]
	return last
}

// Less sorts a source that must look further before any item that may come after what it will find.
func (m *merger) Less(i, j int) bool {
	a, b := m.list[i], m.list[j]
	aSent, aPrefix := a.head()
	bSent, bPrefix := b.head()
	if aSent != bSent || aPrefix != bPrefix {
		return aSent < bSent || aSent == bSent && aPrefix < bPrefix
	}
	if a.empty() || b.empty() {
		return a.empty() && !b.empty()
	}
	return m.w.compareItems(&a.chunk[a.at], &b.chunk[b.at], &m.err) < 0
}

func (s *source) head() (sent uint32, prefix uint64) {
	if s.empty() {
		return s.barrier.Sent, slindex.Prefix(s.barrier.Hash)
	}
	rec := &s.chunk[s.at].rec
	return rec.Sent, rec.Prefix
}

// compareItems orders by (sent, hash). It reads the bodies in the rare case that the beginnings of the hashes are equal;
// what fails then is left in err.
func (w *walk) compareItems(x, y *item, err *error) int {
	if c := cmp.Or(cmp.Compare(x.rec.Sent, y.rec.Sent), cmp.Compare(x.rec.Prefix, y.rec.Prefix)); c != 0 {
		return c
	}
	a, errA := w.a.hashOf(x)
	b, errB := w.a.hashOf(y)
	*err = errorOf(*err, errA, errB)
	return compareKeys(archive.Key{Hash: a}, archive.Key{Hash: b})
}

// fillBySent reads the next chunk. It may be empty before the source is exhausted.
func (s *source) fillBySent() error {
	return s.w.a.mending(&s.v, func() error {
		n := s.begin()
		switch {
		case s.v.index == nil:
			s.plan = inMemory
			s.selectBySent(n)
			return nil
		case s.planned != s.v.index:
			if err := s.planBySent(); err != nil {
				return err
			}
		}
		var err error
		if s.plan == sparse {
			err = s.sparseBySent(n)
		} else {
			err = s.denseBySent(n)
		}
		return errorOf(err, s.skipPassed())
	})
}

// planBySent finds the place from which to read on.
func (s *source) planBySent() (err error) {
	w := s.w
	from, last := s.from(), w.q.Last()
	if err := s.gather(from, archive.Key{Sent: last + 1}, last < math.MaxUint32); err != nil {
		return err
	}
	if s.plan == sparse && !s.single {
		slices.SortFunc(s.postings, func(a, b slindex.Posting) int { return cmp.Compare(a.Sent, b.Sent) })
	}
	if s.plan == dense {
		s.pos, err = s.v.index.SearchSent(from)
	}
	return err
}

// from is the key beyond which the source has not looked.
func (s *source) from() archive.Key {
	if compareKeys(s.barrier, s.w.q.After) > 0 {
		return s.barrier
	}
	return s.w.q.After
}

// sparseBySent takes the next postings. A chunk ends where the sent time changes, for the hashes decide among equals.
func (s *source) sparseBySent(n int) error {
	n = min(n, len(s.postings))
	for 0 < n && n < len(s.postings) && s.postings[n].Sent == s.postings[n-1].Sent {
		n++
	}
	if err := s.gatherItems(n); err != nil {
		return err
	}
	s.postings = s.postings[n:]
	if len(s.postings) == 0 {
		s.plan, s.postings = exhausted, nil
	} else {
		s.barrier = archive.Key{Sent: s.postings[0].Sent}
	}
	if s.single {
		return nil
	}
	var err error
	slices.SortStableFunc(s.chunk, func(a, b item) int { return s.w.compareItems(&a, &b, &err) })
	return err
}

// gatherItems appends the first n postings to the chunk.
func (s *source) gatherItems(n int) error {
	ordinals := make([]uint32, n)
	for i := range ordinals {
		ordinals[i] = s.postings[i].Ordinal
	}
	recs, err := s.v.index.Gather(ordinals, nil)
	if err != nil {
		return err
	}
	s.keep(ordinals, recs)
	return nil
}

// keep appends those records to the chunk that match.
func (s *source) keep(ordinals []uint32, recs []slindex.Rec) {
	for i := range recs {
		if s.w.matches(s.v.slice, ordinals[i], &recs[i]) {
			s.chunk = append(s.chunk, item{s: s.v.slice, ordinal: ordinals[i], rec: recs[i]})
		}
	}
}

// denseBySent looks at the next records in order.
func (s *source) denseBySent(n int) error {
	ordinals, err := s.v.index.BySent(s.pos, n+1, make([]uint32, 0, n+1))
	if err != nil {
		return err
	}
	recs, err := s.v.index.Gather(ordinals, make([]slindex.Rec, 0, n+1))
	if err != nil {
		return err
	}
	s.w.looked += len(recs)
	if len(recs) > n {
		s.barrier = keyOfRec(&recs[n])
		recs = recs[:n]
	} else {
		s.plan = exhausted
	}
	s.pos += len(recs)
	s.keep(ordinals, recs)
	if len(recs) > 0 && recs[len(recs)-1].Sent > s.w.q.Last() {
		s.plan = exhausted
	}
	return nil
}

// keyOfRec is not beyond the record's own key, whose hash is known in part only, and beyond all that come before.
func keyOfRec(rec *slindex.Rec) archive.Key {
	k := archive.Key{Sent: rec.Sent}
	for i := range 8 {
		k.Hash[i] = byte(rec.Prefix >> (56 - 8*i))
	}
	return k
}

// skipPassed leaves out what is at the cursor, at the front of the chunk.
func (s *source) skipPassed() error {
	after := s.w.q.After
	prefix := slindex.Prefix(after.Hash)
	for ; !s.empty(); s.at++ {
		it := &s.chunk[s.at]
		if it.rec.Sent > after.Sent || it.rec.Sent == after.Sent && it.rec.Prefix > prefix {
			return nil
		}
		if it.rec.Sent < after.Sent || it.rec.Prefix < prefix {
			continue
		}
		h, err := s.w.a.hashOf(it)
		if err != nil {
			return err
		}
		if compareKeys(archive.Key{Hash: h}, archive.Key{Hash: after.Hash}) > 0 {
			return nil
		}
	}
	return nil
}

// selectBySent takes the first n entries in memory that match and are beyond what was looked at.
func (s *source) selectBySent(n int) {
	w := s.w
	from := s.from()
	order := func(a, b item) int {
		return compareKeys(archive.Key{Sent: a.rec.Sent, Hash: a.hash}, archive.Key{Sent: b.rec.Sent, Hash: b.hash})
	}
	s.plan = exhausted
	bar, barred := archive.Key{Sent: math.MaxUint32}, false // nothing beyond is needed
	for i := range s.v.entries {
		e := &s.v.entries[i]
		if e.Sent < from.Sent || e.Sent > bar.Sent || w.wanted != nil && !w.wanted[e.Topic] {
			continue
		}
		k := archive.Key{Sent: e.Sent, Hash: e.Hash}
		it := s.v.itemOf(uint32(i), e)
		if compareKeys(k, from) <= 0 || barred && compareKeys(k, bar) > 0 || !w.matches(s.v.slice, it.ordinal, &it.rec) {
			continue
		}
		if s.chunk = append(s.chunk, it); len(s.chunk) == 2*n {
			slices.SortFunc(s.chunk, order)
			s.chunk = s.chunk[:n]
			bar = archive.Key{Sent: s.chunk[n-1].rec.Sent, Hash: s.chunk[n-1].hash}
			s.plan, barred = inMemory, true // there is more
		}
	}
	w.looked += len(s.v.entries) / 16 // these are cheap
	slices.SortFunc(s.chunk, order)
	if len(s.chunk) > n {
		s.chunk, s.plan = s.chunk[:n], inMemory
	}
	if s.plan == inMemory {
		s.barrier = archive.Key{Sent: s.chunk[n-1].rec.Sent, Hash: s.chunk[n-1].hash}
	}
}
