package segment

import (
	"errors"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// reopenShare of a slice's size is what the youngest may have to be written to again.
const reopenShare = 4

// recover reads what is in the directory and puts in order what a crash left.
func (a *Archive) recover() error {
	names, err := a.fs.List(a.dir)
	if err != nil {
		return fault.E("archive: open", fault.Unavailable, err, "the directory "+a.dir+" of the archive cannot be read")
	}
	var bases []uint64
	indexes := make(map[uint64]bool)
	var half []string
	for _, name := range names {
		if base, ok := parseName(name, sliceSuffix); ok {
			bases = append(bases, base)
		} else if base, ok := parseName(name, indexSuffix); ok {
			indexes[base] = true
		} else if strings.HasSuffix(name, newSuffix) {
			half = append(half, name)
		}
	}
	slices.Sort(bases)
	if err := a.readManifest(bases); err != nil {
		return err
	}
	for _, name := range half {
		_ = a.fs.Remove(filepath.Join(a.dir, name)) // of no use, and no harm
	}
	for i, base := range bases {
		limit := uint64(math.MaxUint64)
		if i+1 < len(bases) {
			limit = bases[i+1]
		}
		if err := a.recoverSlice(base, limit, indexes[base]); err != nil {
			return err
		}
		delete(indexes, base)
	}
	a.unlistEmpty()
	for base := range indexes {
		_ = a.fs.Remove(filepath.Join(a.dir, indexName(base))) // of a slice that was pruned
	}
	return nil
}

// unlistEmpty forgets slices in which nothing was ever acknowledged. The name of the youngest says what number is next; the
// slice that is begun with that number takes its place.
func (a *Archive) unlistEmpty() {
	a.slices = slices.DeleteFunc(a.slices, func(s *slice) bool {
		if s == a.active || s.tally.count > 0 || s.bodyDisk > headerSize {
			return false
		}
		if s.base < a.next {
			_ = a.fs.Remove(filepath.Join(a.dir, sliceName(s.base)))
		}
		s.release()
		return true
	})
}

// readManifest reads ARCHIVE. A new archive gets one; where it is lost, the slices have the key.
func (a *Archive) readManifest(bases []uint64) error {
	text, err := readFile(a.fs, filepath.Join(a.dir, manifestName), maxManifest)
	if err != nil && !missing(err) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.E("archive: open", fault.Unavailable, err, "the file ARCHIVE cannot be read: "+whyDisk(err))
	}
	var m manifest
	if err == nil {
		m, err = parseManifest(text)
	}
	if err == nil {
		a.manifest, a.key = m, archiveKey(m.Key)
		return nil
	}
	if !missing(err) && !errors.Is(err, errManifest) {
		return err
	}
	if m, err = newManifest(a.random, a.now()); err != nil {
		return err
	}
	if len(bases) > 0 {
		key, ok := a.keyOfSlices(bases)
		if !ok {
			return fault.E("archive: open", fault.Corrupt, nil, "the file ARCHIVE and the beginnings of all slices are damaged: restore a backup")
		}
		m.Key = key[:]
		a.damages.count++
		a.log.Warn("archive: the file ARCHIVE was missing or damaged, and is made again; arrivals count in a new epoch")
	}
	a.manifest, a.key = m, archiveKey(m.Key)
	if err := writeFile(a.fs, a.dir, manifestName, writeBytes(m.encode())); err != nil {
		return fault.E("archive: open", fault.Unavailable, err, "the file ARCHIVE cannot be written: "+whyDisk(err))
	}
	_ = a.fs.SyncDir(filepath.Dir(a.dir)) // the archive's own name; whose parent cannot be synced has made it long ago
	return nil
}

func (a *Archive) keyOfSlices(bases []uint64) (archiveKey, bool) {
	for _, base := range bases {
		f, err := a.fs.Open(filepath.Join(a.dir, sliceName(base)))
		if err != nil {
			continue
		}
		b := make([]byte, headerSize)
		err = readFull(f, b, 0)
		f.Close()
		if h, v := parseSliceHeader(b); err == nil && v > 0 {
			return h.key, true
		}
	}
	return archiveKey{}, false
}

// recoverSlice opens the slices in the order of their arrivals; the arrivals of this one end before limit.
func (a *Archive) recoverSlice(base, limit uint64, hasIndex bool) error {
	s, err := a.openSlice(base)
	if err != nil {
		return err
	}
	a.slices = append(a.slices, s)
	last := limit == math.MaxUint64
	count := uint32(min(limit-base, math.MaxUint32))
	if hasIndex {
		x, err := a.openIndex(s)
		switch {
		case err == nil:
			s.index, s.indexFile, s.indexDisk = x.index, x.file, x.size
			s.tally, s.length = tallyOf(x.index, x.trailer), int64(x.index.Meta().SliceBytes)
		case fault.Is(err, fault.Corrupt) || fault.Is(err, fault.Invalid) || errors.Is(err, io.ErrUnexpectedEOF):
			a.log.Warn("archive: an index is made again", "file", indexName(base), "why", err)
		default:
			return a.unreadable(s, err)
		}
	}
	a.next = max(a.next, s.next())
	if !last || !a.mayReopen(s) {
		if s.index == nil {
			err = a.recoverSealed(s, count, last)
		}
	} else {
		err = a.recoverActive(s)
	}
	if err != nil {
		return err
	}
	a.next, a.last = max(a.next, s.next()), max(a.last, s.tally.last)
	return nil
}

// openSlice opens the body of a slice. Its header is of use only when ARCHIVE is lost.
func (a *Archive) openSlice(base uint64) (*slice, error) {
	s := &slice{base: base, seeds: a.key.seeds(base), created: time.Unix(0, 0), tally: newTally()}
	name := filepath.Join(a.dir, sliceName(base))
	body, err := a.fs.OpenReadWrite(name)
	if err != nil {
		body, err = a.fs.Open(name)
	}
	if err != nil {
		return nil, a.unreadable(s, err)
	}
	s.body = body
	s.refs.Store(1)
	if s.bodyDisk, err = body.Size(); err != nil {
		body.Close()
		return nil, a.unreadable(s, err)
	}
	b := make([]byte, headerSize)
	if err := readUpTo(body, b, 0); err != nil {
		body.Close()
		return nil, a.unreadable(s, err)
	}
	h, v := parseSliceHeader(b)
	switch {
	case v > version:
		body.Close()
		return nil, newerFormat(sliceName(base), int(v))
	case v == 0:
		a.damage(s, noOrdinal, 0, "the beginning of a slice is damaged; nothing is lost by that")
	default:
		s.created = h.created
	}
	return s, nil
}

// mayReopen reports whether the youngest slice is small and young enough to be written to again.
func (a *Archive) mayReopen(s *slice) bool {
	size, age := a.sliceLimit()
	return a.now().Sub(s.created) < age && s.bodyDisk <= size/reopenShare && s.tally.count < maxRecords && (s.index == nil || s.length == s.bodyDisk)
}

// recoverSealed reads a slice that has no index. That of the youngest is written in the background.
func (a *Archive) recoverSealed(s *slice, limit uint32, last bool) error {
	c, err := a.collect(s, s.bodyDisk, limit)
	if err != nil {
		return err
	}
	a.adopt(s, c)
	if last {
		a.skipTorn(s, c)
	} else if s.tally.count < limit {
		// The next slice's name says that there were more. A start after a torn end leaves such numbers out, too: better to say
		// it once too often.
		a.damage(s, limit-1, c.end, "envelopes at the end of a slice are missing: damaged, or never completely written")
	}
	if err := s.eraseUnfinished(c); err != nil {
		return err
	}
	if s.tally.count == 0 {
		return nil
	}
	if !last && a.writeIndex(s) == nil {
		return nil
	}
	if len(a.indexer.waiting) > maxUnindexed {
		return fault.E("archive: open", fault.Unavailable, nil, "the indexes of the archive are missing and cannot be written: is the disk full?")
	}
	a.indexer.waiting = append(a.indexer.waiting, s)
	return nil
}

// recoverActive reads the youngest slice and goes on writing to it, unless its end is torn.
func (a *Archive) recoverActive(s *slice) error {
	if s.index != nil {
		if err := a.fs.Remove(filepath.Join(a.dir, indexName(s.base))); err != nil {
			return nil // a disk that cannot be written to; it stays sealed
		}
		if err := a.fs.SyncDir(a.dir); err != nil {
			return fault.E("archive: open", fault.Unavailable, err, "the archive cannot be written to: "+whyDisk(err))
		}
	}
	count := s.tally.count
	c, err := a.collect(s, s.bodyDisk, math.MaxUint32)
	if err != nil {
		return err
	}
	c.pad(max(count, c.tally.count))
	a.adopt(s, c)
	a.skipTorn(s, c)
	if err := s.eraseUnfinished(c); err != nil {
		return err
	}
	if c.end == s.bodyDisk {
		a.active = s
	} else if s.tally.count > 0 {
		a.indexer.waiting = append(a.indexer.waiting, s)
	}
	return nil
}

// adopt gives the slice what was collected of it.
func (a *Archive) adopt(s *slice, c *collector) {
	a.install(s, c)
	s.length = c.length
}

// skipTorn leaves out the numbers that a torn end may have had: they may have been told to somebody.
func (a *Archive) skipTorn(s *slice, c *collector) {
	if torn := s.bodyDisk - c.end; torn > 0 {
		a.next = max(a.next, s.next()+uint64(torn)/minFrame+1)
		a.log.Info("archive: the end of a slice is torn and cut", "file", sliceName(s.base), "bytes", torn)
	}
}
