package segment

import (
	"io"
	"path/filepath"
	"sync"

	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/fault"
)

// maxUnindexed is how many sealed slices may wait for their index; they are served from memory meanwhile.
const maxUnindexed = 4

// indexer writes the indexes of sealed slices in the background.
type indexer struct {
	a       *Archive
	shaping sync.Mutex // held while an index is made, and while its trailer is changed

	mu      sync.Mutex
	changed sync.Cond
	waiting []*slice
	failed  error // of the last attempt; nobody tries again until kicked
	done    bool  // nothing will be added any more
}

func (x *indexer) init(a *Archive) {
	x.a = a
	x.changed.L = &x.mu
}

// add has the index of a sealed slice written.
func (x *indexer) add(s *slice) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.waiting = append(x.waiting, s)
	x.failed = nil
	x.changed.Broadcast()
}

// kick has it try again what failed.
func (x *indexer) kick() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failed = nil
	x.changed.Broadcast()
}

// admit waits until another slice may be sealed, and tells why none may be if indexes cannot be written.
func (x *indexer) admit() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.waiting) >= maxUnindexed {
		x.failed = nil
		x.changed.Broadcast()
	}
	for len(x.waiting) >= maxUnindexed && x.failed == nil {
		x.changed.Wait()
	}
	if len(x.waiting) >= maxUnindexed {
		return fault.E("archive: put", fault.Unavailable, x.failed, "the indexes of the archive cannot be written: "+whyDisk(x.failed))
	}
	return nil
}

// finish lets the loop end when nothing waits.
func (x *indexer) finish() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done = true
	x.failed = nil
	x.changed.Broadcast()
}

func (x *indexer) loop() {
	defer x.a.finished.Done()
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		for !x.done && (len(x.waiting) == 0 || x.failed != nil) {
			x.changed.Wait()
		}
		if len(x.waiting) == 0 || x.failed != nil {
			return
		}
		s := x.waiting[0]
		x.mu.Unlock()
		x.shaping.Lock()
		err := x.a.writeIndex(s)
		x.shaping.Unlock()
		x.mu.Lock()
		if x.failed = err; err == nil {
			x.waiting = append(x.waiting[:0], x.waiting[1:]...)
		} else {
			x.a.log.Error("archive: index not written", "file", indexName(s.base), "error", err)
		}
		x.changed.Broadcast()
	}
}

// writeIndex moves the index of a sealed slice from memory to its file. The caller holds shaping.
func (a *Archive) writeIndex(s *slice) error {
	a.mu.RLock()
	m, t, length, gone := s.memory, s.tally, s.length, s.gone
	if !gone {
		s.refs.Add(1) // it may be pruned meanwhile
		defer s.release()
	}
	a.mu.RUnlock()
	if gone || m == nil {
		return nil
	}
	meta := slindex.Meta{Base: s.base, Slice: s.seeds.id(), SliceBytes: uint64(length), Seed: a.key}
	name := indexName(s.base)
	err := writeFile(a.fs, a.dir, name, func(w io.Writer) error {
		if err := slindex.Build(w, m.entries[:t.count], meta); err != nil {
			return err
		}
		_, err := w.Write(trailer{dropped: t.dropped, bytes: t.droppedBytes}.encode())
		return err
	})
	if err != nil {
		return err
	}
	x, err := a.openIndex(s)
	if err != nil {
		return err
	}
	a.mu.Lock()
	s.memory, s.index, s.indexFile, s.indexDisk = nil, x.index, x.file, x.size
	gone = s.gone
	a.mu.Unlock()
	if gone {
		return a.fs.Remove(filepath.Join(a.dir, name))
	}
	return nil
}

// openedIndex is an index with its file.
type openedIndex struct {
	index   *slindex.Index
	file    File
	size    int64 // of the file
	trailer trailer
}

// openIndex opens the index of a slice, and reports Corrupt when it does not fit.
func (a *Archive) openIndex(s *slice) (x openedIndex, err error) {
	if x.file, err = a.fs.Open(filepath.Join(a.dir, indexName(s.base))); err != nil {
		return x, err
	}
	if err = x.read(s); err != nil {
		x.file.Close()
	}
	return x, err
}

func (x *openedIndex) read(s *slice) (err error) {
	if x.size, err = x.file.Size(); err != nil {
		return err
	}
	var last [trailerSize]byte
	inner := x.size - trailerSize
	if inner < 0 {
		return errIndex
	}
	if err := readFull(x.file, last[:], inner); err != nil {
		return err
	}
	var ok bool
	if x.trailer, ok = parseTrailer(last[:]); !ok || x.trailer.busy {
		return errIndex
	}
	if x.index, err = slindex.Open(x.file, inner); err != nil {
		return err
	}
	m := x.index.Meta()
	if m.Base != s.base || m.Slice != s.seeds.id() || uint64(x.index.Live()) < uint64(x.trailer.dropped) {
		return errIndex
	}
	return nil
}

var errIndex = fault.E("archive: open", fault.Corrupt, nil, "the index does not belong to the slice")
