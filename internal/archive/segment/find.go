package segment

import (
	"context"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Find implements archive.Archive.
func (a *Archive) Find(ctx context.Context, hashes []envelope.Hash, bodies bool) ([]archive.Record, error) {
	const op = "archive: find"
	if len(hashes) > archive.MaxFind {
		return nil, fault.Errorf(op, fault.Invalid, "%d hashes were asked for; %d are the most", len(hashes), archive.MaxFind)
	}
	records := make([]archive.Record, len(hashes))
	views := a.views(everySlice)
	defer releaseAll(views)
	if a.isClosed() { // asked after the slices were taken: none of them was missing yet
		return nil, errClosed(op)
	}
	for i := len(views) - 1; i >= 0; i-- { // what is asked for is mostly new
		if err := ctx.Err(); err != nil {
			return nil, errGone(op, err)
		}
		if err := a.findIn(&views[i], hashes, records); err != nil {
			return nil, err
		}
	}
	if !bodies {
		for i := range records {
			records[i].Raw = nil
		}
	}
	return records, nil
}

// findIn fills in the records that are in one slice.
func (a *Archive) findIn(v *view, hashes []envelope.Hash, records []archive.Record) error {
	var items []item
	var places []int // in hashes, of the items
	for i, h := range hashes {
		if records[i].Arrival > 0 || !v.mayHave(h) {
			continue
		}
		list, err := a.candidates(v, h)
		if err != nil {
			return err
		}
		for range list {
			places = append(places, i)
		}
		items = append(items, list...)
	}
	loaded, err := a.load(items)
	if err != nil {
		return err
	}
	for i, place := range places {
		if loaded[i].Arrival > 0 && loaded[i].Hash == hashes[place] {
			records[place] = loaded[i]
		}
	}
	return nil
}

// mayHave reports whether the slice may hold an envelope, dropped or not.
func (v *view) mayHave(h envelope.Hash) bool {
	if v.index != nil {
		return v.index.MayHave(h)
	}
	_, ok := v.memory.find(h, v.tally.count)
	return ok
}

// candidates returns what a slice may know an envelope as: normally nothing or one.
func (a *Archive) candidates(v *view, h envelope.Hash) (list []item, err error) {
	err = a.mending(v, func() error {
		if v.index == nil {
			if ordinal, ok := v.memory.find(h, v.tally.count); ok {
				list = append(list, v.itemOf(ordinal, &v.entries[ordinal]))
			}
			return nil
		}
		ordinals, err := v.index.FindHash(h, nil)
		if err != nil || len(ordinals) == 0 {
			return err
		}
		recs, err := v.index.Gather(ordinals, nil)
		for i := range recs {
			list = append(list, item{s: v.slice, ordinal: ordinals[i], rec: recs[i]})
		}
		return err
	})
	return list, err
}

// known is what Put is told of an envelope that may be there already.
type known struct {
	there   bool
	ordinal uint32
	arrived uint32
}

// lookUp says which of some envelopes a slice has, dropped ones included.
func (a *Archive) lookUp(v *view, hashes []envelope.Hash) ([]known, error) {
	result := make([]known, len(hashes))
	for i, h := range hashes {
		list, err := a.candidates(v, h)
		if err != nil {
			return nil, err
		}
		for k := range list {
			f, hash, err := a.identify(&list[k])
			if err != nil {
				return nil, err
			}
			if hash == h {
				result[i] = known{true, list[k].ordinal, f.arrived}
			}
		}
	}
	return result, nil
}

// identify reads a frame and the full hash of its envelope. Of a damaged one the hash is made up, unlike any other.
func (a *Archive) identify(it *item) (frame, envelope.Hash, error) {
	b := make([]byte, frameSpace(int(it.rec.Size)))
	if err := readUpTo(it.s.body, b, int64(it.rec.Offset)); err != nil {
		return frame{}, it.hash, a.unreadable(it.s, err)
	}
	f, ok := it.check(b)
	if m, marked := parseMark(b[frameHead:], it.s.seeds); ok && f.kind == dropped && marked {
		return f, m.hash, nil
	}
	if ok {
		return f, envelope.Keccak256(b[frameHead : frameHead+f.size]), nil
	}
	var h envelope.Hash
	for i := range 8 {
		h[i] = byte(it.rec.Prefix >> (56 - 8*i))
	}
	le.PutUint32(h[28:], it.ordinal)
	return f, h, nil
}

// mending calls do, and again with the index made anew when it is found damaged.
func (a *Archive) mending(v *view, do func() error) error {
	err := do()
	if v.index == nil || !fault.Is(err, fault.Corrupt) {
		return err
	}
	if err := a.mend(v, err); err != nil {
		return err
	}
	a.mu.RLock()
	fresh := v.slice.view()
	a.mu.RUnlock()
	v.release() // the reference that v has stays with it
	v.memory, v.entries, v.index, v.tally = fresh.memory, fresh.entries, fresh.index, fresh.tally
	return do()
}
