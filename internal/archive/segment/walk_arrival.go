package segment

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment/slindex"
)

// readByArrival fills a page slice by slice.
func (w *walk) readByArrival(ctx context.Context, list []*source, p *page) error {
	for _, s := range list {
		for {
			for ; !s.empty(); s.at++ {
				if !p.add(&s.chunk[s.at]) {
					return nil
				}
			}
			if s.plan == exhausted {
				break
			}
			if w.looked >= maxLook {
				if len(p.items) == 0 {
					w.passedArrival(s.v.base + uint64(s.pos) - 1)
				}
				return nil
			}
			if err := ctx.Err(); err != nil {
				w.forget()
				return errGone("archive: next", err)
			}
			if err := s.fillByArrival(); err != nil {
				w.forget()
				return err
			}
		}
	}
	p.done = true
	return nil
}

// fillByArrival reads the next chunk. It may be empty before the source is exhausted.
func (s *source) fillByArrival() error {
	return s.w.a.mending(&s.v, func() error {
		n := s.begin()
		if s.plan == unplanned || s.planned != s.v.index {
			if err := s.planByArrival(); err != nil {
				return err
			}
		}
		switch {
		case s.v.index == nil:
			s.plan = inMemory
			s.entriesByArrival(n)
			return nil
		case s.plan == sparse:
			return s.sparseByArrival(n)
		}
		return s.denseByArrival(n)
	})
}

func (s *source) planByArrival() error {
	w := s.w
	if w.q.AfterArrival >= s.v.base {
		s.pos = max(s.pos, int(w.q.AfterArrival-s.v.base+1))
	}
	if s.v.index == nil {
		return nil
	}
	last := w.q.Last()
	if err := s.gather(archive.Key{Sent: w.q.From}, archive.Key{Sent: last + 1}, last < math.MaxUint32); err != nil {
		return err
	}
	if s.plan == sparse {
		s.postings = slices.DeleteFunc(s.postings, func(p slindex.Posting) bool { return int(p.Ordinal) < s.pos })
		slices.SortFunc(s.postings, func(a, b slindex.Posting) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	}
	return nil
}

func (s *source) sparseByArrival(n int) error {
	n = min(n, len(s.postings))
	if err := s.gatherItems(n); err != nil {
		return err
	}
	if n > 0 {
		s.pos = int(s.postings[n-1].Ordinal) + 1
	}
	if s.postings = s.postings[n:]; len(s.postings) == 0 {
		s.plan, s.postings = exhausted, nil
	}
	return nil
}

func (s *source) denseByArrival(n int) error {
	recs, err := s.v.index.Records(s.pos, n, make([]slindex.Rec, 0, n))
	if err != nil {
		return err
	}
	for i := range recs {
		if ordinal := uint32(s.pos + i); s.w.matches(s.v.slice, ordinal, &recs[i]) {
			s.chunk = append(s.chunk, item{s: s.v.slice, ordinal: ordinal, rec: recs[i]})
		}
	}
	s.w.looked += len(recs)
	s.pos += len(recs)
	if len(recs) < n {
		s.plan = exhausted
	}
	return nil
}

func (s *source) entriesByArrival(n int) {
	entries := s.v.entries
	start := s.pos
	for ; s.pos < len(entries) && s.pos < start+16*lastStep && len(s.chunk) < n; s.pos++ {
		it := s.v.itemOf(uint32(s.pos), &entries[s.pos])
		if s.w.matches(s.v.slice, it.ordinal, &it.rec) {
			s.chunk = append(s.chunk, it)
		}
	}
	s.w.looked += (s.pos - start) / 4
	if s.pos >= len(entries) {
		s.plan = exhausted
	}
}
