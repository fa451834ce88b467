package segment

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
)

// slice is one stretch of arrivals: a file of frames, and what finds envelopes in it. The youngest slice is written to;
// then it is sealed, and in the background its index moves from memory to a file.
type slice struct {
	base    uint64 // arrival of ordinal 0
	seeds   seeds
	created time.Time
	body    File
	refs    atomic.Int32 // the archive's own and readers'; the last one closes the files
	mending sync.Mutex   // held while a damaged index is replaced

	// Guarded by Archive.mu.
	memory    *memory        // nil once there is an index
	index     *slindex.Index // nil before
	indexFile File
	retired   []File // of indexes that were replaced; readers may still be at them
	tally     tally
	length    int64 // of what counts in the body; beyond it nothing was acknowledged
	bodyDisk  int64 // bytes on disk
	indexDisk int64 // likewise; before there is an index, the most that it may take
	gone      bool  // pruned
}

// tally is what is known of a slice as a whole.
type tally struct {
	count            uint32 // ordinals, lost and dropped ones included
	live             uint64 // envelopes that are there
	bytes            uint64 // of them
	dropped          uint32
	droppedBytes     uint64
	minSent, maxSent uint32
	first, last      uint32 // arrived
}

func newTally() tally { return tally{minSent: math.MaxUint32, first: math.MaxUint32} }

// add counts an entry; a hole has no size.
func (t *tally) add(e *slindex.Entry) {
	t.count++
	if e.Size == 0 {
		return
	}
	t.live++
	t.bytes += uint64(e.Size)
	t.minSent, t.maxSent = min(t.minSent, e.Sent), max(t.maxSent, e.Sent)
	t.first, t.last = min(t.first, e.Arrived), max(t.last, e.Arrived)
}

// drop takes an entry out again. The range of times stays as wide as it is.
func (t *tally) drop(size uint32) {
	t.live--
	t.bytes -= uint64(size)
	t.dropped++
	t.droppedBytes += uint64(size)
}

func tallyOf(x *slindex.Index, t trailer) tally {
	sum := tally{
		count: uint32(x.Len()),
		live:  uint64(x.Live()) - uint64(t.dropped), bytes: x.Bytes() - t.bytes,
		dropped: t.dropped, droppedBytes: t.bytes,
	}
	sum.minSent, sum.maxSent = x.Sent()
	sum.first, sum.last = x.Arrived()
	return sum
}

// next is the arrival after the slice's last one.
func (s *slice) next() uint64 { return s.base + uint64(s.tally.count) }

func (s *slice) disk() int64 { return s.bodyDisk + s.indexDisk }

// release gives up a reference.
func (s *slice) release() {
	if s.refs.Add(-1) > 0 {
		return
	}
	s.body.Close()
	if s.indexFile != nil {
		s.indexFile.Close()
	}
	for _, f := range s.retired {
		f.Close()
	}
}

// memory is the index of a slice that has none on disk. Entries are only ever appended, so who has seen some may go on
// reading them without a lock.
type memory struct {
	entries []slindex.Entry // guarded by Archive.mu

	mu     sync.RWMutex
	byHash map[envelope.Hash]uint32 // guarded by mu; may run ahead of entries by a commit that is not durable yet
}

func newMemory(expected int) *memory {
	return &memory{
		entries: make([]slindex.Entry, 0, expected),
		byHash:  make(map[envelope.Hash]uint32, expected),
	}
}

// find returns the ordinal of an envelope, if it is below count.
func (m *memory) find(h envelope.Hash, count uint32) (uint32, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	ordinal, ok := m.byHash[h]
	return ordinal, ok && ordinal < count
}

// view is a slice as a reader sees it, for as long as it holds its reference.
type view struct {
	*slice
	memory  *memory
	entries []slindex.Entry
	index   *slindex.Index
	tally   tally
}

func (v *view) Close() { v.release() }

// views takes a reference to each slice that wanted admits, oldest first. The caller releases them all.
func (a *Archive) views(wanted func(*tally, uint64) bool) []view {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var list []view
	for _, s := range a.slices {
		if s.tally.count > 0 && wanted(&s.tally, s.base) {
			list = append(list, s.view())
		}
	}
	return list
}

// view must be called under Archive.mu.
func (s *slice) view() view {
	s.refs.Add(1)
	v := view{slice: s, memory: s.memory, index: s.index, tally: s.tally}
	if s.memory != nil {
		v.entries = s.memory.entries[:s.tally.count]
	}
	return v
}

func releaseAll(list []view) {
	for i := range list {
		list[i].release()
	}
}

func everySlice(*tally, uint64) bool { return true }
