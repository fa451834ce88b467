// Package slindex is the immutable index of one sealed slice of an archive: it finds the records of a topic, by sent time
// or by hash without reading bodies. Build writes it once; Open reads its footer and answers from then on, reading and
// verifying blocks of 4 KiB as it needs them.
//
// A slice numbers its records from 0 in the order of arrival: the ordinal. Entry i of Build has ordinal i. An entry of
// Size 0 is a hole: the number of a record that was lost. It takes part in Len and Records, and in nothing else.
//
// Orders by (sent, hash) are exact, full hashes included, but the index keeps only the first 8 bytes of a hash. What
// it finds by a hash, or as the place of a key, are therefore candidates: see FindHash and SearchRun.
//
// Start with Open and Runs. The format is in docs/archive-format.md, "The index of a slice". The package knows no files, clocks or bodies. An Index
// never changes and is safe for concurrent use if its ReaderAt is. Errors are faults: Corrupt for damage, whose text names
// the section and the offset, Invalid for a format of a newer version, Unavailable when reading failed. Whatever the
// bytes are, nothing panics, and no more memory is taken than the length of the file justifies.
package slindex

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/restante-im/restante/internal/envelope"
)

// MaxEntries is the most entries of an index.
const MaxEntries = 1 << 24

// Entry is what Build is told of a record.
type Entry struct {
	Topic   envelope.Topic
	Sent    uint32
	Arrived uint32 // Unix second of arrival; only its range is kept
	Offset  uint32 // of the record in the slice; kept, not interpreted
	Size    uint32 // of its RLP; 0 for a hole
	Hash    envelope.Hash
}

// Meta is what an index keeps for its reader.
type Meta struct {
	Base       uint64   // arrival of ordinal 0
	Slice      uint64   // identifies the slice, so that another one's index is not taken for it
	SliceBytes uint64   // length of the slice that the index describes
	Seed       [16]byte // random and secret, so that nobody can craft hashes that fool MayHave
}

// Run is the place of one topic's postings, in the order (sent, hash). The zero Run is empty.
type Run struct{ First, Count uint32 }

// Posting is one record of a run.
type Posting struct{ Sent, Ordinal uint32 }

// Rec is a record as the index knows it.
type Rec struct {
	Topic  envelope.Topic
	Sent   uint32
	Offset uint32
	Size   uint32 // 0 for a hole, whose other fields are 0 as well
	Prefix uint64 // of its hash; see Prefix
}

// Prefix returns the first 8 bytes of a hash as a number that sorts alike.
func Prefix(h envelope.Hash) uint64 { return binary.BigEndian.Uint64(h[:8]) }

// indexSize is about what an Index takes beside its tables, in bytes.
const indexSize = 1 << 10

// Index answers questions about one slice.
type Index struct {
	r       io.ReaderAt
	facts   facts
	layout  layout
	buffers sync.Pool // of *[chunk + 2*blockSize]byte

	// The footer's tables, as they stand in the file.
	filter                              bloom
	hashFences, sentFences, topicFences []byte
	sums                                []byte
}

// Open reads the footer of an index that is size bytes long, in two reads, about 1.5 bytes an entry. It keeps r.
func Open(r io.ReaderAt, size int64) (*Index, error) {
	footer, err := readFooter(r, size)
	if err != nil {
		return nil, err
	}
	start := size - endSize - int64(len(footer))
	f := parseFacts(footer)
	if f.records > MaxEntries || f.live > f.records || f.topics > f.live || (f.topics == 0) != (f.live == 0) {
		return nil, damaged("footer: its counts", start)
	}
	l := layoutOf(int(f.records), int(f.live), int(f.topics))
	if l.footer != len(footer) || l.topics.end() != start {
		return nil, damaged("footer: its length", start)
	}
	x := &Index{r: r, facts: f, layout: l, buffers: sync.Pool{New: func() any { return new([chunk + 2*blockSize]byte) }}}
	rest := footer[factsSize:]
	table := func(n int) (b []byte) {
		b, rest = rest[:n:n], rest[n:]
		return b
	}
	x.filter = table(bloomBytes(int(f.live)))
	x.hashFences = table(8 * fences(int(f.live)))
	x.sentFences = table(4 * fences(int(f.live)))
	x.topicFences = table(4 * fences(int(f.topics)))
	x.sums = table(4 * l.blocks)
	return x, nil
}

// Len returns the number of ordinals, holes included.
func (x *Index) Len() int { return int(x.facts.records) }

// Live returns the number of records, holes not included.
func (x *Index) Live() int { return int(x.facts.live) }

// Meta returns what Build was given.
func (x *Index) Meta() Meta { return x.facts.meta }

// Bytes returns the sum of the records' sizes.
func (x *Index) Bytes() uint64 { return x.facts.bytes }

// Sent returns the smallest and the largest sent time; max < min when there is no record.
func (x *Index) Sent() (min, max uint32) { return x.facts.minSent, x.facts.maxSent }

// Arrived returns the earliest and the latest second of arrival; last < first when there is no record.
func (x *Index) Arrived() (first, last uint32) { return x.facts.first, x.facts.last }

// Memory returns about how many bytes of memory the index takes while it is open and at rest.
func (x *Index) Memory() int { return x.layout.footer + indexSize }
