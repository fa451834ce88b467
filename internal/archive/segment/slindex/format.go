package slindex

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/restante-im/restante/internal/fault"
)

// The format of version 1. docs/archive-format.md says the same in prose.
const (
	magic   = "RSTindex"
	version = 1

	blockSize = 4096 // what one checksum covers
	fenceStep = 512  // items between two fences

	recordSize  = 24 // topic, sent, offset, size, prefix of the hash
	hashSize    = 6  // last two bytes of the prefix, ordinal
	orderSize   = 4  // ordinal
	postingSize = 8  // sent, ordinal
	topicSize   = 8  // topic, first posting

	factsSize = 80 // of the footer: everything but its tables
	endSize   = 24 // the last bytes of every version
)

// castagnoli is the polynomial of all checksums: processors compute it by an instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// section is a table of items of one width, in the part of the file before the footer.
type section struct {
	name  string
	start int64
	width int
	count int
}

func (s *section) end() int64 { return s.at(s.count) }

// at returns the offset of item i in the file.
func (s *section) at(i int) int64 { return s.start + int64(i)*int64(s.width) }

// layout follows from three counts alone.
type layout struct {
	records, hashes, order, postings, topics section
	blocks                                   int // with a checksum each
	footer                                   int // length
}

func layoutOf(records, live, topics int) (l layout) {
	next := int64(0)
	place := func(name string, width, count int) section {
		s := section{name: name, start: next, width: width, count: count}
		next = s.end()
		return s
	}
	l.records = place("records", recordSize, records)
	l.hashes = place("hashes", hashSize, live)
	l.order = place("order by sent time", orderSize, live)
	l.postings = place("postings", postingSize, live)
	l.topics = place("directory of topics", topicSize, topics)
	l.blocks = int((next + blockSize - 1) / blockSize)
	l.footer = factsSize + bloomBytes(live) + 12*fences(live) + 4*fences(topics) + 4*l.blocks
	return l
}

// fences returns how many fences n items have: one for each fenceStep, the first item's included.
func fences(n int) int { return (n + fenceStep - 1) / fenceStep }

// nameAt says which section an offset belongs to.
func (l *layout) nameAt(offset int64) string {
	for _, s := range []*section{&l.records, &l.hashes, &l.order, &l.postings, &l.topics} {
		if offset < s.end() {
			return s.name
		}
	}
	return "footer"
}

// facts are the fixed part of the footer.
type facts struct {
	records, live, topics uint32
	meta                  Meta
	bytes                 uint64 // sum of sizes
	minSent, maxSent      uint32
	first, last           uint32 // arrived
}

func (f *facts) append(b []byte) []byte {
	le := binary.LittleEndian
	for _, n := range []uint32{f.records, f.live, f.topics, 0} {
		b = le.AppendUint32(b, n)
	}
	for _, n := range []uint64{f.meta.Base, f.meta.Slice, f.meta.SliceBytes, f.bytes} {
		b = le.AppendUint64(b, n)
	}
	b = append(b, f.meta.Seed[:]...)
	for _, n := range []uint32{f.minSent, f.maxSent, f.first, f.last} {
		b = le.AppendUint32(b, n)
	}
	return b
}

func parseFacts(b []byte) (f facts) {
	u32 := func(i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }
	u64 := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
	f.records, f.live, f.topics = u32(0), u32(4), u32(8)
	f.meta = Meta{Base: u64(16), Slice: u64(24), SliceBytes: u64(32), Seed: [16]byte(b[48:64])}
	f.bytes = u64(40)
	f.minSent, f.maxSent, f.first, f.last = u32(64), u32(68), u32(72), u32(76)
	return f
}

// appendEnd appends the last bytes of a file with this footer.
func appendEnd(b, footer []byte) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(footer)))
	b = binary.LittleEndian.AppendUint32(b, checksum(footer))
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, checksum(b[at:]))
	return append(b, magic...)
}

// readFooter returns the footer of a file of our version, its checksum checked.
func readFooter(r io.ReaderAt, size int64) ([]byte, error) {
	if size < endSize {
		return nil, damaged("end", 0)
	}
	end := make([]byte, endSize)
	if err := readFull(r, end, size-endSize); err != nil {
		return nil, err
	}
	u32 := func(i int) uint32 { return binary.LittleEndian.Uint32(end[i:]) }
	if string(end[16:]) != magic || u32(12) != checksum(end[:12]) || u32(8) == 0 {
		return nil, damaged("end", size-endSize)
	}
	if v := u32(8); v > version {
		return nil, fault.Errorf("slindex: open", fault.Invalid,
			"the index is of format %d, and this program reads up to %d: use the program that wrote it, or a newer one", v, version)
	}
	start := size - endSize - int64(u32(0))
	if u32(0) < factsSize || start < 0 {
		return nil, damaged("end", size-endSize)
	}
	footer := make([]byte, u32(0))
	if err := readFull(r, footer, start); err != nil {
		return nil, err
	}
	if checksum(footer) != u32(4) {
		return nil, damaged("footer", start)
	}
	return footer, nil
}

// readFull is ReadAt whose errors are faults. A file that ends too early is damaged.
func readFull(r io.ReaderAt, b []byte, offset int64) error {
	switch n, err := r.ReadAt(b, offset); {
	case n == len(b):
		return nil
	case err == io.EOF:
		return damaged("file: it ends early", offset+int64(n))
	default:
		return fault.E("slindex: read", fault.Unavailable, err, "the index of a slice cannot be read")
	}
}

// damaged is the fault for bytes that do not check out.
func damaged(where string, offset int64) error {
	return fault.Errorf("slindex: read", fault.Corrupt,
		"the index of a slice is damaged (%s, at offset %d); it can be built again from the slice", where, offset)
}
