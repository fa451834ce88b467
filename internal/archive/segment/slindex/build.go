package slindex

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"math"
	"slices"

	"github.com/restante-im/restante/internal/fault"
)

// chunk is how many bytes are written, or read for a scan, at a time: whole blocks.
const chunk = 8 * blockSize

// Build writes the index of entries, which are in the order of arrival, to w: front to back, in pieces of 32 KiB and a
// footer. It takes 16 bytes of memory an entry. More than MaxEntries is a Limit fault; w's errors come back as they are.
func Build(w io.Writer, entries []Entry, m Meta) error {
	if len(entries) > MaxEntries {
		return fault.Errorf("slindex: build", fault.Limit, "an index takes at most %d entries", MaxEntries)
	}
	b := newBuilder(w, entries, m)
	b.putRecords()
	// The sorts are stable and build upon each other: by hash, then by (sent, hash), then by (topic, sent, hash). The
	// sections stand in this order.
	b.sortByHash()
	b.putHashes()
	b.sortBy(func(e *Entry) uint32 { return e.Sent })
	b.putOrder()
	b.sortBy(func(e *Entry) uint32 { return binary.BigEndian.Uint32(e.Topic[:]) })
	b.putPostings()
	return b.finish()
}

type builder struct {
	entries []Entry
	facts   facts
	order   []uint32 // live ordinals as sorted last
	spare   []uint32 // of the same length
	keys    []uint32 // by ordinal
	out     blockWriter

	filter                            bloom
	hashFences, sentFences, topicMark []byte
}

func newBuilder(w io.Writer, entries []Entry, m Meta) *builder {
	b := &builder{
		entries: entries,
		facts:   facts{records: uint32(len(entries)), meta: m, minSent: math.MaxUint32, first: math.MaxUint32},
		order:   make([]uint32, 0, len(entries)),
		keys:    make([]uint32, len(entries)),
		out:     blockWriter{w: w, buf: make([]byte, 0, chunk+recordSize)},
	}
	f := &b.facts
	for i := range entries {
		if e := &entries[i]; e.Size > 0 {
			b.order = append(b.order, uint32(i))
			f.bytes += uint64(e.Size)
			f.minSent, f.maxSent = min(f.minSent, e.Sent), max(f.maxSent, e.Sent)
			f.first, f.last = min(f.first, e.Arrived), max(f.last, e.Arrived)
		}
	}
	f.live = uint32(len(b.order))
	b.spare = make([]uint32, len(b.order))
	b.filter = make(bloom, bloomBytes(len(b.order)))
	return b
}

// sortByHash sorts by the first four bytes, then the few that have them in common by all.
func (b *builder) sortByHash() {
	b.sortBy(func(e *Entry) uint32 { return binary.BigEndian.Uint32(e.Hash[:]) })
	for i := 0; i < len(b.order); {
		end := i + 1
		for end < len(b.order) && b.keys[b.order[end]] == b.keys[b.order[i]] {
			end++
		}
		if end-i > 1 {
			slices.SortFunc(b.order[i:end], func(x, y uint32) int {
				return cmp.Or(bytes.Compare(b.entries[x].Hash[:], b.entries[y].Hash[:]), cmp.Compare(x, y))
			})
		}
		i = end
	}
}

// sortBy sorts the order by a key, stably: a radix sort by 11 bits at a time, leaving out bits that all have in common.
func (b *builder) sortBy(key func(*Entry) uint32) {
	const digit, mask = 11, 1<<11 - 1
	for i := range b.entries {
		b.keys[i] = key(&b.entries[i])
	}
	for shift := 0; shift < 32; shift += digit {
		var next [mask + 1]uint32
		for _, o := range b.order {
			next[b.keys[o]>>shift&mask]++
		}
		if slices.Contains(next[:], uint32(len(b.order))) {
			continue
		}
		sum := uint32(0)
		for i, n := range next {
			next[i] = sum
			sum += n
		}
		for _, o := range b.order {
			d := b.keys[o] >> shift & mask
			b.spare[next[d]] = o
			next[d]++
		}
		b.order, b.spare = b.spare, b.order
	}
}

func (b *builder) putRecords() {
	le := binary.LittleEndian
	for i := range b.entries {
		e := &b.entries[i]
		if e.Size == 0 {
			e = &Entry{}
		}
		p := append(b.out.buf, e.Topic[:]...)
		p = le.AppendUint32(p, e.Sent)
		p = le.AppendUint32(p, e.Offset)
		p = le.AppendUint32(p, e.Size)
		b.out.put(le.AppendUint64(p, Prefix(e.Hash)))
	}
}

func (b *builder) putHashes() {
	for i, o := range b.order {
		h := &b.entries[o].Hash
		b.filter.add(probeOf(h, &b.facts.meta.Seed))
		prefix := Prefix(*h)
		if i%fenceStep == 0 {
			b.hashFences = binary.LittleEndian.AppendUint64(b.hashFences, prefix)
		}
		p := binary.LittleEndian.AppendUint16(b.out.buf, uint16(prefix))
		b.out.put(binary.LittleEndian.AppendUint32(p, o))
	}
}

func (b *builder) putOrder() {
	for i, o := range b.order {
		if i%fenceStep == 0 {
			b.sentFences = binary.LittleEndian.AppendUint32(b.sentFences, b.keys[o])
		}
		b.out.put(binary.LittleEndian.AppendUint32(b.out.buf, o))
	}
}

// putPostings writes the postings and the directory.
func (b *builder) putPostings() {
	var directory []byte
	for i, o := range b.order {
		e := &b.entries[o]
		if i == 0 || b.keys[o] != b.keys[b.order[i-1]] {
			if b.facts.topics%fenceStep == 0 {
				b.topicMark = append(b.topicMark, e.Topic[:]...)
			}
			b.facts.topics++
			directory = append(directory, e.Topic[:]...)
			directory = binary.LittleEndian.AppendUint32(directory, uint32(i))
		}
		p := binary.LittleEndian.AppendUint32(b.out.buf, e.Sent)
		b.out.put(binary.LittleEndian.AppendUint32(p, o))
	}
	for item := range slices.Chunk(directory, topicSize) {
		b.out.put(append(b.out.buf, item...))
	}
}

func (b *builder) finish() error {
	if err := b.out.flush(); err != nil {
		return err
	}
	l := layoutOf(len(b.entries), len(b.order), int(b.facts.topics))
	footer := b.facts.append(make([]byte, 0, l.footer+endSize))
	for _, table := range [][]byte{b.filter, b.hashFences, b.sentFences, b.topicMark, b.out.sums} {
		footer = append(footer, table...)
	}
	_, err := b.out.w.Write(appendEnd(footer, footer))
	return err
}

// blockWriter writes blocks and remembers their checksums.
type blockWriter struct {
	w    io.Writer
	buf  []byte // not written yet
	sums []byte
	err  error
}

// put takes the buffer with one item appended to it.
func (o *blockWriter) put(buf []byte) {
	o.buf = buf
	if len(buf) >= chunk {
		o.write(buf[:chunk])
		o.buf = append(buf[:0], buf[chunk:]...)
	}
}

func (o *blockWriter) write(b []byte) {
	for block := range slices.Chunk(b, blockSize) {
		o.sums = binary.LittleEndian.AppendUint32(o.sums, checksum(block))
	}
	if o.err == nil {
		_, o.err = o.w.Write(b)
	}
}

// flush writes what is left, and returns the first error.
func (o *blockWriter) flush() error {
	o.write(o.buf)
	o.buf = o.buf[:0]
	return o.err
}
