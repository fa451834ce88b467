package segment

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"unsafe"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

const (
	maxLook       = 1 << 16  // entries that one Next looks at, give or take a chunk
	maxWalkMemory = 64 << 20 // bytes that all walks together keep between their pages
)

// walk is a query and how far it came; that is all that a walk needs. What it keeps beside, its sources, only spares the
// next page the search, and is given up when it becomes too much or when the slice changed underneath.
type walk struct {
	a       *Archive
	q       archive.Query    // its After and AfterArrival move on
	topics  []envelope.Topic // wanted, ascending
	wanted  map[envelope.Topic]bool
	until   uint64 // inclusive
	sources map[*slice]*source
	looked  int   // entries, in this Next
	kept    int64 // bytes that count in Archive.memory
	closed  bool
}

// Walk implements archive.Archive.
func (a *Archive) Walk(ctx context.Context, q archive.Query) (archive.Walk, error) {
	const op = "archive: walk"
	if q.Order > archive.ByArrival {
		return nil, fault.Errorf(op, fault.Invalid, "order %d is unknown", q.Order)
	}
	if len(q.Topics) > archive.MaxTopic {
		return nil, fault.Errorf(op, fault.Invalid, "%d topics were asked for; %d are the most", len(q.Topics), archive.MaxTopic)
	}
	if err := ctx.Err(); err != nil {
		return nil, errGone(op, err)
	}
	if a.isClosed() {
		return nil, errClosed(op)
	}
	if a.walks.Add(1) > archive.MaxWalks {
		a.walks.Add(-1)
		return nil, fault.E(op, fault.Busy, nil, "too many readers at a time; try again later")
	}
	a.mu.RLock()
	until := a.next - 1
	a.mu.RUnlock()
	if q.UntilArrival > 0 {
		until = min(until, q.UntilArrival)
	}
	w := &walk{a: a, q: q, until: until, sources: make(map[*slice]*source)}
	w.q.Topics, w.q.Bloom = nil, nil
	if q.Order == archive.ByArrival {
		w.q.After = archive.Key{}
	}
	if len(q.Topics) > 0 {
		w.topics = slices.Clone(q.Topics)
		slices.SortFunc(w.topics, func(a, b envelope.Topic) int { return bytes.Compare(a[:], b[:]) })
		w.topics = slices.Compact(w.topics)
		w.wanted = make(map[envelope.Topic]bool, len(w.topics))
		for _, t := range w.topics {
			w.wanted[t] = true
		}
	} else if q.Bloom != nil && !q.Bloom.IsFull() {
		bloom := *q.Bloom
		w.q.Bloom = &bloom
	}
	return w, nil
}

// Next implements archive.Walk.
func (w *walk) Next(ctx context.Context, b archive.Bound) (archive.Page, error) {
	const op = "archive: next"
	if b.Count < 1 {
		return archive.Page{}, fault.Errorf(op, fault.Invalid, "a page of %d records was asked for", b.Count)
	}
	if w.closed {
		return archive.Page{}, fault.E(op, fault.Closed, nil, "the walk is closed")
	}
	if err := ctx.Err(); err != nil {
		return archive.Page{}, errGone(op, err)
	}
	list := w.attach()
	defer w.detach(list)
	if w.a.isClosed() { // asked after the slices were taken: none of them was missing yet
		return archive.Page{}, errClosed(op)
	}
	p := &page{bound: b}
	w.looked = 0
	var err error
	if w.q.Order == archive.BySent {
		err = w.mergeBySent(ctx, list, p)
	} else {
		err = w.readByArrival(ctx, list, p)
	}
	if err != nil {
		return archive.Page{}, err
	}
	return w.finish(p)
}

// page collects what the next page will have.
type page struct {
	bound archive.Bound
	items []item
	bytes int
	done  bool
}

// add takes an item, unless the page is full.
func (p *page) add(it *item) bool {
	size := int(it.rec.Size)
	if len(p.items) == p.bound.Count || len(p.items) > 0 && p.bytes+size > p.bound.Bytes {
		return false
	}
	p.items = append(p.items, *it)
	p.bytes += size
	return true
}

// finish reads the bodies, and moves the walk's cursor.
func (w *walk) finish(p *page) (archive.Page, error) {
	records, err := w.a.load(p.items)
	if err != nil {
		w.forget() // the sources are ahead of the cursor
		return archive.Page{}, err
	}
	if n := len(p.items); n > 0 {
		last := &p.items[n-1]
		w.passedArrival(last.s.base + uint64(last.ordinal))
		if w.q.Order == archive.BySent {
			hash := records[n-1].Hash
			if records[n-1].Arrival == 0 {
				if hash, err = w.a.hashOf(last); err != nil {
					w.forget()
					return archive.Page{}, err
				}
			}
			w.passed(archive.Key{Sent: last.rec.Sent, Hash: hash})
		}
	}
	records = slices.DeleteFunc(records, func(r archive.Record) bool { return r.Arrival == 0 })
	return archive.Page{Records: records, Done: p.done}, nil
}

// passed moves the cursor of a walk BySent: nothing up to k is left.
func (w *walk) passed(k archive.Key) {
	if w.q.Order == archive.BySent && compareKeys(k, w.q.After) > 0 {
		w.q.After = k
	}
}

// passedArrival moves the cursor of a walk ByArrival.
func (w *walk) passedArrival(arrival uint64) {
	if w.q.Order == archive.ByArrival {
		w.q.AfterArrival = max(w.q.AfterArrival, arrival)
	}
}

// attach takes references to the slices that may hold more, and matches them with the sources.
func (w *walk) attach() []*source {
	first, last := max(w.q.From, w.q.After.Sent), w.q.Last()
	views := w.a.views(func(t *tally, base uint64) bool {
		return base <= w.until && base+uint64(t.count) > w.q.AfterArrival+1 && t.minSent <= last && t.maxSent >= first
	})
	list := make([]*source, len(views))
	known := w.sources
	w.sources = make(map[*slice]*source, len(views))
	for i := range views {
		v := &views[i]
		s := known[v.slice]
		if s == nil || s.v.index != v.index {
			s = &source{w: w}
			s.barrier = archive.Key{Sent: max(v.tally.minSent, first)}
		}
		s.v = *v
		w.sources[v.slice] = s
		list[i] = s
	}
	return list
}

// detach gives the references back, and the sources too if all walks together keep too much.
func (w *walk) detach(list []*source) {
	for _, s := range list {
		s.v.release()
		s.v.entries, s.v.memory = nil, nil
	}
	var size int64
	for _, s := range w.sources {
		size += s.memory()
	}
	w.account(size)
	if w.a.memory.Load() > maxWalkMemory {
		w.forget()
	}
}

func (w *walk) account(size int64) {
	w.a.memory.Add(size - w.kept)
	w.kept = size
}

// forget gives up the sources; the next page is searched from the cursor.
func (w *walk) forget() {
	clear(w.sources)
	w.account(0)
}

// Close implements archive.Walk.
func (w *walk) Close() {
	if !w.closed {
		w.closed = true
		w.forget()
		w.a.walks.Add(-1)
	}
}

// matches reports whether a record is wanted.
func (w *walk) matches(s *slice, ordinal uint32, rec *slindex.Rec) bool {
	arrival := s.base + uint64(ordinal)
	switch {
	case rec.Size == 0, rec.Sent < w.q.From, rec.Sent > w.q.Last(), arrival <= w.q.AfterArrival, arrival > w.until:
		return false
	case w.wanted != nil:
		return w.wanted[rec.Topic]
	}
	return w.q.Bloom == nil || w.q.Bloom.AdmitsTopic(rec.Topic)
}

func compareKeys(a, b archive.Key) int {
	return cmp.Or(cmp.Compare(a.Sent, b.Sent), bytes.Compare(a.Hash[:], b.Hash[:]))
}

// source is what a walk reads from one slice: chunk after chunk of items that match, in the walk's order.
type source struct {
	w       *walk
	v       view
	chunk   []item
	at      int         // in chunk
	barrier archive.Key // BySent: all up to here is in chunk or was looked at
	pos     int         // ByArrival: all ordinals before are in chunk or were looked at; BySent: of a dense plan
	step    int         // length of the last chunk

	plan     plan
	planned  *slindex.Index    // what the plan was made of
	postings []slindex.Posting // sparse: what is left, in the order of the walk
	single   bool              // sparse: the postings are of one topic, hence in exact order
}

// plan is how a source finds what matches.
type plan uint8

const (
	unplanned plan = iota
	inMemory       // look at all entries
	sparse         // few match: their postings were gathered
	dense          // many may match: look at all records in order
	exhausted
)

const (
	firstStep = 128
	lastStep  = 1024
	maxGather = 8192 // postings of a slice
)

func (s *source) memory() int64 {
	const each = int64(unsafe.Sizeof(item{}))
	return int64(cap(s.chunk))*each + int64(cap(s.postings))*8
}

// empty reports whether the chunk is used up.
func (s *source) empty() bool { return s.at == len(s.chunk) }

// begin makes room for the next chunk and returns how long it should be.
func (s *source) begin() int {
	s.step = min(max(2*s.step, firstStep), lastStep)
	s.chunk, s.at = s.chunk[:0], 0
	return s.step
}

// runs returns the postings that a query by topics has in the slice.
func (s *source) runs() ([]slindex.Run, error) {
	if s.w.topics != nil {
		return s.v.index.Runs(s.w.topics, nil)
	}
	return s.v.index.AllRuns(func(t envelope.Topic) bool { return s.w.q.Bloom.AdmitsTopic(t) }, nil)
}

// gather chooses between sparse and dense, and reads the postings if they are few.
func (s *source) gather(from, to archive.Key, bounded bool) error {
	w, x := s.w, s.v.index
	s.plan, s.planned = dense, x
	if w.topics == nil && w.q.Bloom == nil {
		return nil
	}
	runs, err := s.runs()
	if err != nil {
		return err
	}
	total := 0
	for i, run := range runs {
		lo, err := x.SearchRun(run, from)
		if err != nil {
			return err
		}
		hi := int(run.Count)
		if bounded {
			if hi, err = x.SearchRun(run, to); err != nil {
				return err
			}
		}
		runs[i] = slindex.Run{First: run.First + uint32(lo), Count: uint32(max(hi-lo, 0))}
		total += int(runs[i].Count)
	}
	w.looked += len(runs)
	if total > maxGather {
		return nil
	}
	s.plan, s.single = sparse, len(runs) == 1
	s.postings = make([]slindex.Posting, 0, total)
	for _, run := range runs {
		if s.postings, err = x.ReadRun(run, 0, int(run.Count), s.postings); err != nil {
			return err
		}
	}
	w.looked += total
	return nil
}
