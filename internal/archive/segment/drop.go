package segment

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Drop implements archive.Dropper. It waits for backups and checks under way. Hard links of slices that a backup made are the same
// files: what is dropped here is dropped there.
func (a *Archive) Drop(ctx context.Context, hashes []envelope.Hash) (n int, err error) {
	a.steady.Lock()
	defer a.steady.Unlock()
	err = a.perform(ctx, "archive: drop", func() error {
		n, err = a.drop(hashes)
		return err
	})
	return n, err
}

// drop runs in the committer: only one goroutine writes to slices.
func (a *Archive) drop(hashes []envelope.Hash) (n int, err error) {
	hashes = slices.Clone(hashes)
	slices.SortFunc(hashes, func(a, b envelope.Hash) int { return bytes.Compare(a[:], b[:]) })
	hashes = slices.Compact(hashes)
	views := a.views(everySlice)
	defer releaseAll(views)
	for i := range views {
		v := &views[i]
		var list []item
		for _, h := range hashes {
			if !v.mayHave(h) {
				continue
			}
			found, err := a.toDrop(v, h)
			if err != nil {
				return n, err
			}
			list = append(list, found...)
		}
		if len(list) == 0 {
			continue
		}
		dropped, err := a.dropFrom(v.slice, list)
		n += dropped
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// toDrop returns the item of an envelope that the slice has, dropped before or not.
func (a *Archive) toDrop(v *view, h envelope.Hash) (list []item, err error) {
	found, err := a.candidates(v, h)
	for i := range found {
		if _, hash, err := a.identify(&found[i]); err != nil {
			return nil, err
		} else if hash == h {
			found[i].hash = h
			list = append(list, found[i])
		}
	}
	return list, err
}

// dropFrom overwrites envelopes of one slice. It flags them all, durably, before it overwrites any: from then on none is
// served, and what a crash leaves undone is done at the next start, because the trailer says so.
func (a *Archive) dropFrom(s *slice, list []item) (n int, err error) {
	a.indexer.shaping.Lock()
	defer a.indexer.shaping.Unlock()
	a.mu.RLock()
	t, indexed, indexDisk := s.tally, s.index != nil, s.indexDisk
	a.mu.RUnlock()
	for i := range list {
		f, _, err := a.identify(&list[i])
		if err != nil {
			return 0, err
		}
		if f.kind == kept {
			t.drop(f.size)
			n++
		}
	}
	mark := func(tr trailer) error {
		if !indexed {
			return nil
		}
		return a.writeTrailer(s, indexDisk-trailerSize, tr)
	}
	if err := mark(trailer{busy: true}); err != nil {
		return 0, cannotDrop(err)
	}
	for i := range list {
		if err := list[i].flag(); err != nil {
			return 0, cannotDrop(err)
		}
	}
	if err := s.body.Sync(); err != nil {
		return 0, cannotDrop(err)
	}
	a.mu.Lock()
	s.tally = t
	a.mu.Unlock()
	err = s.eraseAll(list)
	if err == nil {
		err = mark(trailer{dropped: t.dropped, bytes: t.droppedBytes})
	}
	if err != nil {
		return 0, cannotDrop(err)
	}
	return n, nil
}

func cannotDrop(err error) error {
	return fault.E("archive: drop", fault.Unavailable, err, "envelopes cannot be removed; try again: "+whyDisk(err))
}

// writeTrailer replaces the trailer of a slice's index.
func (a *Archive) writeTrailer(s *slice, at int64, t trailer) error {
	f, err := a.fs.OpenReadWrite(filepath.Join(a.dir, indexName(s.base)))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(t.encode(), at)
	if err == nil {
		err = f.Sync()
	}
	return errorOf(err, f.Close())
}

// flag says in the frame that the envelope is dropped.
func (it *item) flag() error {
	b := make([]byte, frameHead)
	if err := readUpTo(it.s.body, b, int64(it.rec.Offset)); err != nil {
		return err
	}
	f, ok := parseFrame(b, it.s.seeds)
	if !ok || f.kind == dropped {
		return nil
	}
	f.kind = dropped
	f.put(b, it.s.seeds)
	_, err := it.s.body.WriteAt(b, int64(it.rec.Offset))
	return err
}

// eraseAll overwrites envelopes by their marks and zeros.
func (s *slice) eraseAll(list []item) error {
	for _, it := range list {
		b := make([]byte, frameSpace(int(it.rec.Size))-frameHead)
		m := mark{it.rec.Sent, it.rec.Topic, it.hash}
		m.put(b, s.seeds)
		if _, err := s.body.WriteAt(b, int64(it.rec.Offset)+frameHead); err != nil {
			return err
		}
	}
	return s.body.Sync()
}

// eraseUnfinished ends a drop that a crash cut short.
func (s *slice) eraseUnfinished(c *collector) error {
	var list []item
	for _, ordinal := range c.unfinished {
		if e := &c.memory.entries[ordinal]; e.Size > 0 {
			list = append(list, s.itemOf(ordinal, e))
		}
	}
	if len(list) == 0 {
		return nil
	}
	if err := s.eraseAll(list); err != nil {
		return cannotDrop(err)
	}
	return nil
}
