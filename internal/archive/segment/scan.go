package segment

import (
	"io"
	"math/bits"

	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

const (
	windowBytes = 1 << 20   // what scanning reads at a time
	hashBytes   = 256 << 10 // envelopes of so many bytes are hashed together
)

// window reads a file forward.
type window struct {
	r    io.ReaderAt
	end  int64 // of what counts in the file
	buf  []byte
	at   int64 // of data in the file
	data []byte
}

// peek returns the bytes from offset on, n of them or up to the end. They are good until the next call.
func (w *window) peek(offset int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.end-offset))
	if offset < w.at || offset+int64(n) > w.at+int64(len(w.data)) {
		size := int(min(int64(max(n, windowBytes)), w.end-offset))
		if size > len(w.buf) {
			w.buf = make([]byte, size)
		}
		if err := readUpTo(w.r, w.buf[:size], offset); err != nil {
			return nil, err
		}
		w.at, w.data = offset, w.buf[:size]
	}
	from := int(offset - w.at)
	return w.data[from : from+n], nil
}

// found is a frame that a scan came to.
type found struct {
	frame
	offset int64
	raw    []byte // the envelope, or nil where only the mark is left
	mark   mark   // of a dropped one
	lost   uint32 // numbers before this one whose frames are damaged
	lostAt int64  // where the first of them was
}

// scan calls visit for every intact frame between the header and end, with what is wrong before it, and returns the
// offset behind the last one. What follows that is not intact: at the end of the youngest slice, a write that a crash cut
// short. raw is good until visit returns.
func scan(r io.ReaderAt, end int64, s seeds, visit func(*found) error) (int64, error) {
	w := &window{r: r, end: end}
	next, last := uint32(0), int64(headerSize) // the ordinal that is due, and the end of what is intact
	floor := uint32(0)                         // no frame from here on has a smaller ordinal
	for pos := int64(headerSize); pos+minFrame <= end; {
		f, ok, err := readFrame(w, pos, s, floor, (pos-last)/minFrame)
		if err != nil {
			return last, err
		}
		if f == nil {
			if pos, err = resync(w, pos, s, floor); err != nil || pos < 0 {
				return last, err
			}
			continue
		}
		pos, floor = pos+f.space(), f.ordinal+1
		if !ok {
			continue
		}
		f.lost, f.lostAt = f.ordinal-next, last
		if err := visit(f); err != nil {
			return last, err
		}
		next, last = f.ordinal+1, pos
	}
	return last, nil
}

// readFrame returns nil where no frame begins. ok says that its body is intact. At most slack numbers from floor on may
// be missing.
func readFrame(w *window, pos int64, s seeds, floor uint32, slack int64) (*found, bool, error) {
	b, err := w.peek(pos, frameHead)
	if err != nil {
		return nil, false, err
	}
	head, ok := parseFrame(b, s)
	if !ok || head.ordinal < floor || int64(head.ordinal-floor) > slack || pos+head.space() > w.end {
		return nil, false, nil
	}
	b, err = w.peek(pos, int(head.space()))
	if err != nil {
		return nil, false, err
	}
	f := &found{frame: head, offset: pos}
	if head.kind == dropped {
		if f.mark, ok = parseMark(b[frameHead:], s); ok {
			return f, true, nil
		}
	}
	f.raw = b[frameHead : frameHead+head.size]
	return f, s.ofBody(f.raw) == head.sum, nil
}

// resync looks for the next frame beyond pos, and returns -1 where there is none.
func resync(w *window, pos int64, s seeds, floor uint32) (int64, error) {
	const step = 64 << 10
	for from := pos + 1; from+minFrame <= w.end; from += step {
		b, err := w.peek(from, step+frameHead-1)
		if err != nil {
			return -1, err
		}
		for i := 0; i+frameHead <= len(b); i++ {
			at := from + int64(i)
			ordinal := le.Uint32(b[i+4:])
			if b[i+3] > byte(dropped) || ordinal < floor || int64(ordinal-floor) > (at-pos)/minFrame+1 {
				continue
			}
			if f, ok := parseFrame(b[i:], s); ok && at+f.space() <= w.end {
				return at, nil
			}
		}
	}
	return -1, nil
}

// collector makes entries of a scan.
type collector struct {
	a          *Archive
	s          *slice
	memory     *memory
	tally      tally
	limit      uint32   // ordinals from here on belong to the next slice
	dropped    []uint32 // ordinals
	unfinished []uint32 // of them, those whose envelopes are still there
	payload    []byte   // room for a list's header, then envelopes
	pending    []uint32 // their ordinals
	length     int64    // the end of the last frame that counts
	end        int64    // the end of what is intact
}

// collect reads so many bytes of a slice and makes its index for the memory. Ordinals from limit on do not count.
func (a *Archive) collect(s *slice, size int64, limit uint32) (*collector, error) {
	c := &collector{a: a, s: s, limit: limit, tally: newTally(), payload: make([]byte, maxHeader, hashBytes+maxHeader)}
	c.memory, c.length = newMemory(int(min(size/512, maxRecords))), headerSize
	end, err := scan(s.body, size, s.seeds, c.take)
	if err != nil {
		return nil, a.unreadable(s, err)
	}
	c.end = end
	c.flush()
	for i := range c.memory.entries {
		e := &c.memory.entries[i]
		c.tally.add(e)
		if e.Size > 0 {
			c.memory.byHash[e.Hash] = uint32(i)
		}
	}
	for _, i := range c.dropped {
		if size := c.memory.entries[i].Size; size > 0 {
			c.tally.drop(size)
		}
	}
	return c, nil
}

// pad makes holes of the numbers up to count that were not found.
func (c *collector) pad(count uint32) {
	if lost := count - c.tally.count; lost > 0 {
		c.a.damage(c.s, count-1, c.length, "envelopes at the end of a slice are damaged and lost")
		c.memory.entries = append(c.memory.entries, make([]slindex.Entry, lost)...)
		c.tally.count = count
	}
}

func (c *collector) take(f *found) error {
	if f.ordinal >= c.limit {
		return nil // of a commit that failed: its number was given to another
	}
	if f.lost > 0 {
		c.a.damage(c.s, f.ordinal-1, f.lostAt, "envelopes are damaged and lost")
		c.memory.entries = append(c.memory.entries, make([]slindex.Entry, f.lost)...)
	}
	c.length = f.offset + f.space()
	e := slindex.Entry{Arrived: f.arrived, Offset: uint32(f.offset), Size: f.size}
	if f.kind == dropped {
		c.dropped = append(c.dropped, f.ordinal)
		e.Topic, e.Sent, e.Hash = f.mark.topic, f.mark.sent, f.mark.hash
	}
	if f.raw != nil {
		if f.kind == dropped {
			c.unfinished = append(c.unfinished, f.ordinal)
		}
		c.pending = append(c.pending, f.ordinal)
		c.payload = append(c.payload, f.raw...)
	}
	c.memory.entries = append(c.memory.entries, e)
	if len(c.payload) >= hashBytes {
		c.flush()
	}
	return nil
}

// flush fills in what only the envelopes say.
func (c *collector) flush() {
	if len(c.pending) == 0 {
		return
	}
	list, err := decodeAll(c.payload, len(c.pending))
	at := maxHeader
	for i, place := range c.pending {
		entry := &c.memory.entries[place]
		raw := c.payload[at : at+int(entry.Size)]
		at += int(entry.Size)
		var e *envelope.Envelope
		if err == nil {
			e = list[i]
		} else if e, _ = envelope.Decode(raw); e == nil {
			c.a.damage(c.s, place, int64(entry.Offset), "what should be an envelope is none, and is left out")
			*entry = slindex.Entry{}
			continue
		}
		entry.Topic, entry.Sent, entry.Hash = e.Topic(), e.Sent(), e.Hash()
	}
	c.payload, c.pending = c.payload[:maxHeader], c.pending[:0]
}

// mend replaces the index of a slice, which was found damaged, by one that is made of the bodies.
func (a *Archive) mend(v *view, why error) error {
	s := v.slice
	s.mending.Lock()
	defer s.mending.Unlock()
	a.mu.RLock()
	done, size, count := s.index != v.index, s.length, s.tally.count
	a.mu.RUnlock()
	if done {
		return nil
	}
	a.damage(s, noOrdinal, 0, "the index of a slice is damaged and is made again: "+fault.Text(why))
	a.indexer.shaping.Lock()
	defer a.indexer.shaping.Unlock()
	c, err := a.collect(s, size, count)
	if err != nil {
		return err
	}
	c.pad(count)
	a.install(s, c)
	if a.writeIndex(s) != nil {
		a.indexer.add(s) // it tries again, and serves from memory until then
	}
	return nil
}

// install puts a slice's index into memory.
func (a *Archive) install(s *slice, c *collector) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.indexFile != nil {
		s.retired = append(s.retired, s.indexFile)
	}
	s.memory, s.tally = c.memory, c.tally
	s.index, s.indexFile = nil, nil
	s.indexDisk = indexBound(int(s.tally.count))
}

// maxHeader is the most bytes of an RLP list's header.
const maxHeader = 5

// decodeAll decodes n envelopes that stand one after the other, from maxHeader on: hashing many at once is much faster
// than one by one. It overwrites the room before them.
func decodeAll(b []byte, n int) ([]*envelope.Envelope, error) {
	size := len(b) - maxHeader
	if size < 56 {
		b[maxHeader-1] = 0xc0 + byte(size)
		return envelope.DecodeList(b[maxHeader-1:], n)
	}
	width := (bits.Len(uint(size)) + 7) / 8
	if width >= maxHeader {
		return nil, fault.E("archive: read", fault.Limit, nil, "more than 4 GiB of envelopes at a time")
	}
	for i := range width {
		b[maxHeader-1-i] = byte(size >> (8 * i))
	}
	b[maxHeader-1-width] = 0xf7 + byte(width)
	return envelope.DecodeList(b[maxHeader-1-width:], n)
}
