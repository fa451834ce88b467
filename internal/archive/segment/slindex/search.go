package slindex

import (
	"cmp"
	"context"
	"encoding/binary"
	"sort"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// MayHave reports whether the slice may hold a record of this hash. It never reads, never misses one, and is wrong about less
// than 1 % of other hashes.
func (x *Index) MayHave(h envelope.Hash) bool { return x.filter.has(probeOf(&h, &x.facts.meta.Seed)) }

// FindHash appends the ordinals of the records whose hash has the Prefix of h: normally none or one. The caller compares
// the full hash. Call MayHave first.
func (x *Index) FindHash(h envelope.Hash, dst []uint32) ([]uint32, error) {
	prefix := Prefix(h)
	fence := func(i int) uint64 { return binary.LittleEndian.Uint64(x.hashFences[8*i:]) }
	n := len(x.hashFences) / 8
	first := max(sort.Search(n, func(i int) bool { return fence(i) >= prefix })-1, 0)
	end := sort.Search(n, func(i int) bool { return fence(i) > prefix })
	var candidates []uint32
	err := x.scan(&x.layout.hashes, first*fenceStep, (end-first)*fenceStep, func(b []byte) error {
		if binary.LittleEndian.Uint16(b) != uint16(prefix) {
			return nil
		}
		o, err := x.ordinal(b[2:], &x.layout.hashes)
		candidates = append(candidates, o)
		return err
	})
	if err != nil || len(candidates) == 0 {
		return dst, err
	}
	list, err := x.Gather(candidates, nil)
	for i := range list {
		if list[i].Prefix == prefix {
			dst = append(dst, candidates[i])
		}
	}
	return dst, err
}

// SearchRun returns the first position in a run that is not before (k.Sent, Prefix(k.Hash)), or run.Count.
//
// To go on after k, read from there and leave out the records whose full key is not greater than k. Those are at the
// front: they share k's sent time and prefix, and stand in the order of their full hashes. So nothing is lost or comes
// twice, and normally k's own record is the only one to leave out. A key of a zero Hash is before all of its second:
// SearchRun for {From, 0} and {To+1, 0} bound a range of sent times, as long as To is not the last second there is.
func (x *Index) SearchRun(run Run, k archive.Key) (int, error) {
	w := window[Posting]{load: func(from int, dst []Posting) ([]Posting, error) {
		return x.ReadRun(run, from, fenceStep, dst)
	}}
	return search(0, int(run.Count), func(i int) (bool, error) {
		p, err := w.at(i)
		if err != nil || p.Sent != k.Sent || Prefix(k.Hash) == 0 {
			return p.Sent < k.Sent, err
		}
		return x.before(p.Ordinal, k)
	})
}

// SearchSent is SearchRun for the order of BySent. It returns Live when every record is before k.
func (x *Index) SearchSent(k archive.Key) (int, error) {
	fence := func(i int) uint32 { return binary.LittleEndian.Uint32(x.sentFences[4*i:]) }
	n := len(x.sentFences) / 4
	first := sort.Search(n, func(i int) bool { return fence(i) >= k.Sent }) - 1
	end := sort.Search(n, func(i int) bool { return fence(i) > k.Sent })
	w := window[uint32]{load: func(from int, dst []uint32) ([]uint32, error) { return x.BySent(from, fenceStep, dst) }}
	return search(max(first*fenceStep, 0), min(end*fenceStep, x.Live()), func(i int) (bool, error) {
		o, err := w.at(i)
		if err != nil {
			return false, err
		}
		return x.before(o, k)
	})
}

// before reports whether a record is before (k.Sent, Prefix(k.Hash)).
func (x *Index) before(ordinal uint32, k archive.Key) (is bool, err error) {
	err = x.scan(&x.layout.records, int(ordinal), 1, func(b []byte) error {
		r := parseRec(b)
		is = cmp.Or(cmp.Compare(r.Sent, k.Sent), cmp.Compare(r.Prefix, Prefix(k.Hash))) < 0
		return nil
	})
	return is, err
}

// search returns the first position in [lo, hi) that is not before what is looked for, or hi.
func search(lo, hi int, before func(i int) (bool, error)) (int, error) {
	for lo < hi {
		mid := lo + (hi-lo)/2
		switch is, err := before(mid); {
		case err != nil:
			return 0, err
		case is:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return lo, nil
}

// window is the part of a list that a search is looking at.
type window[T any] struct {
	load func(from int, dst []T) ([]T, error) // fenceStep items, fewer at the end
	from int
	list []T
}

func (w *window[T]) at(i int) (item T, err error) {
	if i < w.from || i >= w.from+len(w.list) {
		w.from = max(i-fenceStep/2, 0)
		if w.list, err = w.load(w.from, w.list[:0]); err != nil {
			return item, err
		}
		if i >= w.from+len(w.list) {
			return item, fault.E("slindex: search", fault.Invalid, nil, "the run is not one of this index")
		}
	}
	return w.list[i-w.from], nil
}

// Verify reads the whole index and returns the first damage, or ctx's error when ctx ends.
func (x *Index) Verify(ctx context.Context) error {
	end := x.layout.topics.end()
	for at := int64(0); at < end; at += chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := x.view(at, min(at+chunk, end), func([]byte) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}
