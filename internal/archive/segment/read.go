package segment

import (
	"cmp"
	"io"
	"slices"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

const (
	readSpan = 256 << 10 // the most that one read takes for several frames
	readGap  = 2 << 10   // frames this far apart are read together
)

// item is a record before its body is read.
type item struct {
	s       *slice
	ordinal uint32
	rec     slindex.Rec
	hash    envelope.Hash
	hashed  bool // hash is known
}

func (s *slice) itemOf(ordinal uint32, e *slindex.Entry) item {
	rec := slindex.Rec{Topic: e.Topic, Sent: e.Sent, Offset: e.Offset, Size: e.Size, Prefix: slindex.Prefix(e.Hash)}
	return item{s, ordinal, rec, e.Hash, true}
}

// loader reads the bodies of items.
type loader struct {
	a       *Archive
	items   []item
	order   []uint32 // of items: those without a hash first, then as they lie on disk
	records []archive.Record
	buf     []byte // what was read
	payload []byte // the bodies, which the records share
	unknown int    // bodies whose hashes are not known
}

// load returns the records of items, in their order. One that was dropped or is damaged has Arrival 0.
func (a *Archive) load(items []item) ([]archive.Record, error) {
	if len(items) == 0 {
		return nil, nil
	}
	l := &loader{a: a, items: items, records: make([]archive.Record, len(items))}
	l.buf = a.buffers.get()
	defer a.buffers.put(l.buf)
	l.arrange()
	for i := 0; i < len(l.order); {
		n, err := l.readSome(l.order[i:])
		if err != nil {
			return nil, err
		}
		i += n
	}
	l.hashAll()
	return l.records, nil
}

func (l *loader) arrange() {
	size := 0
	l.order = make([]uint32, len(l.items))
	for i := range l.items {
		l.order[i] = uint32(i)
		size += int(l.items[i].rec.Size)
	}
	slices.SortFunc(l.order, func(x, y uint32) int {
		a, b := &l.items[x], &l.items[y]
		if a.hashed != b.hashed {
			if b.hashed {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.s.base, b.s.base), cmp.Compare(a.rec.Offset, b.rec.Offset))
	})
	l.payload = make([]byte, 0, size)
}

// readSome reads the first items of order that lie together, and returns how many.
func (l *loader) readSome(order []uint32) (int, error) {
	first := &l.items[order[0]]
	start := int64(first.rec.Offset)
	end := start + frameSpace(int(first.rec.Size))
	n := 1
	for ; n < len(order); n++ {
		next := &l.items[order[n]]
		to := int64(next.rec.Offset) + frameSpace(int(next.rec.Size))
		if next.s != first.s || next.hashed != first.hashed || int64(next.rec.Offset) > end+readGap || to-start > readSpan {
			break
		}
		end = max(end, to)
	}
	b := l.buf
	if end-start > int64(len(b)) {
		b = make([]byte, end-start)
	}
	b = b[:end-start]
	if err := readUpTo(first.s.body, b, start); err != nil {
		return 0, l.a.unreadable(first.s, err)
	}
	for _, i := range order[:n] {
		at := int64(l.items[i].rec.Offset) - start
		l.take(i, b[at:at+frameSpace(int(l.items[i].rec.Size))])
	}
	return n, nil
}

// readUpTo is ReadAt with zeros for what the file is too short for: it does not check out, as any other damage.
func readUpTo(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if n < len(b) && err != nil && err != io.EOF {
		return err
	}
	clear(b[n:])
	return nil
}

// take checks a frame and keeps its body.
func (l *loader) take(i uint32, b []byte) {
	it := &l.items[i]
	f, ok := it.check(b)
	if !ok || f.kind == dropped {
		// A drop may just have been writing here; the head is written whole and first.
		again := make([]byte, len(b))
		if err := readUpTo(it.s.body, again, int64(it.rec.Offset)); err != nil {
			ok = false
		} else if f, ok = it.check(again); ok && f.kind == kept {
			b = again
		}
	}
	if !ok {
		l.a.damage(it.s, it.ordinal, int64(it.rec.Offset), "an envelope is damaged and cannot be served")
		return
	}
	if f.kind == dropped {
		return
	}
	at := len(l.payload)
	l.payload = append(l.payload, b[frameHead:frameHead+f.size]...)
	if !it.hashed {
		l.unknown++
	}
	l.records[i] = archive.Record{
		Arrival: it.s.base + uint64(it.ordinal), Arrived: f.arrived,
		Sent: it.rec.Sent, Topic: it.rec.Topic, Hash: it.hash,
		Raw: l.payload[at:len(l.payload):len(l.payload)],
	}
}

// check reports whether b is the item's frame, its envelope intact or dropped.
func (it *item) check(b []byte) (frame, bool) {
	f, ok := parseFrame(b, it.s.seeds)
	if !ok || f.ordinal != it.ordinal || f.size != it.rec.Size {
		return f, false
	}
	return f, f.kind == dropped || it.s.seeds.ofBody(b[frameHead:frameHead+f.size]) == f.sum
}

// hashAll fills in the hashes that were not known: many at once, which is much faster than one by one.
func (l *loader) hashAll() {
	if l.unknown == 0 {
		return
	}
	raws, places := make([][]byte, 0, l.unknown), make([]uint32, 0, l.unknown)
	for _, i := range l.order {
		if l.items[i].hashed {
			break // and so are all after it
		}
		if l.records[i].Arrival != 0 {
			raws, places = append(raws, l.records[i].Raw), append(places, i)
		}
	}
	hashes := make([]envelope.Hash, len(raws))
	envelope.HashAll(raws, hashes)
	for n, i := range places {
		r, it := &l.records[i], &l.items[i]
		if slindex.Prefix(hashes[n]) != it.rec.Prefix {
			l.a.damage(it.s, it.ordinal, int64(it.rec.Offset), "an envelope is not the one that the index names")
			*r = archive.Record{}
			continue
		}
		r.Hash = hashes[n]
	}
}

// hashOf returns the full hash of an item, for the rare case that its first 8 bytes do not decide.
func (a *Archive) hashOf(it *item) (envelope.Hash, error) {
	if it.hashed {
		return it.hash, nil
	}
	_, h, err := a.identify(it)
	it.hash, it.hashed = h, err == nil
	return h, err
}

func (a *Archive) unreadable(s *slice, err error) error {
	return fault.E("archive: read", fault.Unavailable, err,
		"the disk of the archive fails to read "+sliceName(s.base)+": look into the system's log, and at the disk")
}
