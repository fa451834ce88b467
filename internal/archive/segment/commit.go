package segment

import (
	"context"
	"path/filepath"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

const (
	maxCommit = 4 << 20  // bytes that share one write and one sync; a larger Put comes alone
	keepBytes = 16 << 20 // of a write buffer from one commit to the next

	// What one Put may bring. It lands in one slice as a whole, whose offsets have 32 bits.
	maxPutBytes = 256 << 20
	maxPutCount = 1 << 20
)

// Put implements archive.Archive.
func (a *Archive) Put(ctx context.Context, list []*envelope.Envelope) ([]archive.Receipt, error) {
	const op = "archive: put"
	r := &request{ctx: ctx, list: list, receipts: make([]archive.Receipt, len(list))}
	for _, e := range list {
		if e == nil || len(e.Raw()) == 0 {
			return nil, fault.E(op, fault.Invalid, nil, "one of the envelopes is empty")
		}
		if len(e.Raw()) > maxRaw {
			return nil, fault.Errorf(op, fault.Invalid, "an envelope of %d bytes is too large: %d are the most", len(e.Raw()), maxRaw)
		}
		r.bytes += frameSpace(len(e.Raw()))
	}
	if r.bytes > maxPutBytes || len(list) > maxPutCount {
		return nil, fault.Errorf(op, fault.Invalid, "%d envelopes of %d bytes are too many at a time: put them in several calls", len(list), r.bytes)
	}
	if err := a.queue.submit(op, r); err != nil {
		return nil, err
	}
	return r.receipts, nil
}

// committer is the state of the one goroutine that writes.
type committer struct {
	buf      []byte // frames of this commit
	entries  []slindex.Entry
	expected int // records of the next slice
}

func (a *Archive) commitLoop() {
	defer a.finished.Done()
	for {
		size, _ := a.sliceLimit()
		batch := a.queue.take(min(size, maxCommit))
		if batch == nil {
			break
		}
		if batch[0].do != nil {
			batch[0].err = batch[0].do()
		} else {
			a.commit(batch)
		}
		for _, r := range batch {
			close(r.done)
		}
	}
	a.seal()
	a.indexer.finish()
}

// commit makes a batch of Puts durable, or fails those of them that brought anything new.
func (a *Archive) commit(batch []*request) {
	const op = "archive: put"
	now := a.now()
	c := &commit{a: a, committer: &a.committer, arrived: uint32(now.Unix()), now: now}
	c.buf, c.entries = c.buf[:0], nil
	if err := a.sealIfDue(now); err != nil {
		for _, r := range batch {
			r.err = err
		}
		return
	}
	c.older = a.views(everySlice)
	defer func() { releaseAll(c.older) }()
	if a.active != nil {
		c.join(a.active)
		if n := len(c.older); n > 0 && c.older[n-1].slice == a.active {
			c.older[n-1].release()
			c.older = c.older[:n-1]
		}
	}
	for _, r := range batch {
		if r.err = r.ctx.Err(); r.err != nil {
			r.err = errGone(op, r.err)
			continue
		}
		r.err = c.stage(r)
	}
	if len(c.buf) > 0 {
		if err := c.write(); err != nil {
			c.undo(batch, err)
			return
		}
	}
	c.publish(batch)
}

// commit is one group of Puts on its way to the disk.
type commit struct {
	*committer
	a        *Archive
	now      time.Time
	arrived  uint32
	older    []view // all slices but the active one
	s        *slice // the active one, or nil as long as nothing needs it
	tally    tally  // of s with what is staged
	measured bool   // used is known
	used     int64  // bytes on disk before the commit
}

// join makes s the slice of this commit.
func (c *commit) join(s *slice) {
	c.s, c.tally, c.entries = s, s.tally, s.memory.entries
}

// stage fills in the receipts of a request, and appends what is new to the write buffer.
func (c *commit) stage(r *request) error {
	known, err := c.duplicates(r)
	if err != nil || known == len(r.list) {
		return err
	}
	if err := c.makeRoom(r.bytes + slindexEach*int64(len(r.list))); err != nil {
		return err
	}
	if c.s == nil {
		s, err := c.a.begin(c.now)
		if err != nil {
			return err
		}
		c.join(s)
	}
	m := c.s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range r.list {
		if r.receipts[i].Duplicate {
			continue
		}
		ordinal, duplicate := m.byHash[e.Hash()]
		if !duplicate {
			ordinal = c.add(e)
			m.byHash[e.Hash()] = ordinal
		}
		r.fresh = r.fresh || ordinal >= c.s.tally.count
		r.receipts[i] = archive.Receipt{
			Arrival: c.s.base + uint64(ordinal), Arrived: c.entries[ordinal].Arrived, Duplicate: duplicate,
		}
	}
	return nil
}

// add appends one envelope to the commit.
func (c *commit) add(e *envelope.Envelope) (ordinal uint32) {
	ordinal = c.tally.count
	offset := uint32(c.s.length + int64(len(c.buf)))
	c.buf = appendFrame(c.buf, e.Raw(), ordinal, c.arrived, c.s.seeds)
	entry := entryOf(e, c.arrived, offset)
	c.entries = append(c.entries, entry)
	c.tally.add(&entry)
	return ordinal
}

// duplicates finds which of a request's envelopes are in older slices, fills in their receipts, and returns how many.
func (c *commit) duplicates(r *request) (n int, err error) {
	var maybe []int // places in the list
	for i := range c.older {
		v := &c.older[i]
		maybe = maybe[:0]
		for j, e := range r.list {
			if sent := e.Sent(); sent >= v.tally.minSent && sent <= v.tally.maxSent && v.mayHave(e.Hash()) && !r.receipts[j].Duplicate {
				maybe = append(maybe, j)
			}
		}
		if len(maybe) == 0 {
			continue
		}
		hashes := make([]envelope.Hash, len(maybe))
		for k, j := range maybe {
			hashes[k] = r.list[j].Hash()
		}
		found, err := c.a.lookUp(v, hashes)
		if err != nil {
			return 0, err
		}
		for k, j := range maybe {
			if f := &found[k]; f.there {
				r.receipts[j] = archive.Receipt{Arrival: v.base + uint64(f.ordinal), Arrived: f.arrived, Duplicate: true}
				n++
			}
		}
	}
	return n, nil
}

// write makes the commit durable.
func (c *commit) write() error {
	if _, err := c.s.body.WriteAt(c.buf, c.s.length); err != nil {
		return fault.E("archive: put", fault.Unavailable, err, "new mail cannot be written: "+whyDisk(err))
	}
	if err := c.s.body.Sync(); err != nil {
		return fault.E("archive: put", fault.Unavailable, err, "new mail cannot be made durable: "+whyDisk(err))
	}
	return nil
}

// publish shows readers what is durable now, and completes the receipts.
func (c *commit) publish(batch []*request) {
	a := c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range batch {
		for i := range r.receipts {
			if r.err == nil && r.receipts[i].Duplicate {
				a.counts.duplicates++
			}
		}
	}
	if len(c.buf) == 0 {
		return
	}
	s := c.s
	a.counts.puts += uint64(c.tally.count - s.tally.count)
	a.counts.syncs++
	s.memory.entries = c.entries
	s.tally = c.tally
	s.length += int64(len(c.buf))
	s.bodyDisk = s.length
	s.indexDisk = indexBound(int(s.tally.count))
	a.next = s.next()
	a.last = max(a.last, s.tally.last)
	a.refusing = ""
	if cap(c.buf) > keepBytes {
		c.buf = nil
	}
}

// undo forgets a commit that could not be written, and the slice with it: after a failed sync nobody knows what of it is
// on the disk. What had been acknowledged before is, and stays readable.
func (c *commit) undo(batch []*request, err error) {
	for _, r := range batch {
		if r.fresh && r.err == nil {
			r.err = err
		}
	}
	c.s.memory.mu.Lock()
	for _, e := range c.entries[c.s.tally.count:] {
		delete(c.s.memory.byHash, e.Hash)
	}
	c.s.memory.mu.Unlock()
	c.a.log.Error("archive: put failed", "file", sliceName(c.s.base), "error", err)
	c.a.abandon(fault.Text(err))
}

// begin starts a new slice, whose name is durable before anything is acknowledged in it.
func (a *Archive) begin(now time.Time) (*slice, error) {
	s, err := a.create(now)
	if err != nil {
		return nil, fault.E("archive: put", fault.Unavailable, err, "no new slice can be begun: "+whyDisk(err))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts.syncs += 2
	a.slices = append(a.slices[:len(a.slices):len(a.slices)], s)
	a.active = s
	return s, nil
}

func (a *Archive) create(now time.Time) (*slice, error) {
	h := sliceHeader{a.key, a.next, now}
	name := sliceName(a.next)
	if err := writeFile(a.fs, a.dir, name, writeBytes(h.encode())); err != nil {
		return nil, err
	}
	body, err := a.fs.OpenReadWrite(filepath.Join(a.dir, name))
	if err != nil {
		return nil, err
	}
	s := &slice{
		base: a.next, seeds: a.key.seeds(a.next), created: now, body: body, memory: newMemory(a.committer.expected),
		tally: newTally(), length: headerSize, bodyDisk: headerSize, indexDisk: indexBound(0),
	}
	s.refs.Store(1)
	return s, nil
}

// sealIfDue ends the active slice when it is full or old.
func (a *Archive) sealIfDue(now time.Time) error {
	s := a.active
	if s == nil || s.tally.count == 0 {
		return nil
	}
	size, age := a.sliceLimit()
	if s.length < size && s.tally.count < maxRecords && now.Sub(s.created) < age {
		return nil
	}
	if err := a.indexer.admit(); err != nil {
		a.refuse(fault.Text(err))
		return err
	}
	a.seal()
	return nil
}

// seal ends the active slice and has its index written.
func (a *Archive) seal() {
	s := a.active
	if s == nil {
		return
	}
	a.mu.Lock()
	a.active = nil
	a.mu.Unlock()
	if s.tally.count > 0 {
		a.committer.expected = int(s.tally.count) + int(s.tally.count)/16
		a.indexer.add(s)
	}
}

// abandon ends the active slice where it was durable last.
func (a *Archive) abandon(why string) {
	s := a.active
	size, err := s.body.Size()
	a.mu.Lock()
	a.refusing = why
	if err == nil {
		s.bodyDisk = max(s.length, size)
	}
	if s.tally.count == 0 { // the next slice takes its name
		a.slices = a.slices[: len(a.slices)-1 : len(a.slices)-1]
		a.active = nil
	}
	a.mu.Unlock()
	if s.tally.count == 0 {
		s.release()
		return
	}
	a.seal()
}
