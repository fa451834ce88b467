package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
)

// The format of version 1. docs/archive-format.md says the same in prose.
const (
	sliceMagic = "RSTslice"
	version    = 1

	headerSize = 64 // of a slice
	frameHead  = 20 // of a frame: size and kind, ordinal, arrived, checksum of the body, checksum of these
	markSize   = 44 // what stands in a dropped body: checksum, sent, topic, hash
	minFrame   = frameHead + markSize

	maxRaw = 1<<24 - 1 // bytes of one envelope; the size has 24 bits
)

// kind is what a frame holds.
type kind uint8

const (
	kept    kind = iota // an envelope
	dropped             // an envelope's mark, or for a moment still the envelope
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// archiveKey seeds all checksums of an archive. It is random and never leaves the disk, so an envelope cannot be made
// that holds something which would be taken for a frame when a damaged slice is searched for the next one.
type archiveKey [16]byte

// seeds start the checksums of one slice.
type seeds struct{ head, body uint32 }

func (k *archiveKey) seeds(base uint64) seeds {
	mix := func(half []byte) uint32 {
		return crc32.Checksum(le.AppendUint64(append([]byte(nil), half...), base), castagnoli)
	}
	return seeds{mix(k[:8]), mix(k[8:])}
}

// id tells slices apart, for slindex.Meta.
func (s seeds) id() uint64 { return uint64(s.head)<<32 | uint64(s.body) }

func (s seeds) ofHead(b []byte) uint32 { return crc32.Update(s.head, castagnoli, b) }
func (s seeds) ofBody(b []byte) uint32 { return crc32.Update(s.body, castagnoli, b) }

// sliceHeader opens a slice.
type sliceHeader struct {
	key     archiveKey
	base    uint64
	created time.Time // to the second
}

func (h *sliceHeader) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, sliceMagic)
	le.PutUint32(b[8:], version)
	copy(b[16:], h.key[:])
	le.PutUint64(b[32:], h.base)
	le.PutUint64(b[40:], uint64(h.created.Unix()))
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// parseSliceHeader returns the format's version, 0 for bytes that are no header.
func parseSliceHeader(b []byte) (h sliceHeader, v uint32) {
	if len(b) < headerSize || string(b[:8]) != sliceMagic || le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return h, 0
	}
	h.key = archiveKey(b[16:32])
	h.base = le.Uint64(b[32:])
	h.created = time.Unix(int64(le.Uint64(b[40:])), 0)
	return h, le.Uint32(b[8:])
}

// frame is what stands before an envelope.
type frame struct {
	kind    kind
	size    uint32 // of the envelope
	ordinal uint32 // its place in the slice: arrival less base
	arrived uint32 // Unix second
	sum     uint32 // checksum of the envelope
}

// space is what the frame takes in the slice. A short envelope is padded: the mark must fit when it is dropped.
func (f *frame) space() int64 { return frameSpace(int(f.size)) }

func frameSpace(size int) int64 { return frameHead + int64(max(size, markSize)) }

func (f *frame) put(b []byte, s seeds) {
	le.PutUint32(b, f.size|uint32(f.kind)<<24)
	le.PutUint32(b[4:], f.ordinal)
	le.PutUint32(b[8:], f.arrived)
	le.PutUint32(b[12:], f.sum)
	le.PutUint32(b[16:], s.ofHead(b[:16]))
}

// parseFrame reads a frame's head; ok says that it is one of this slice.
func parseFrame(b []byte, s seeds) (f frame, ok bool) {
	word := le.Uint32(b)
	f = frame{kind(word >> 24), word & maxRaw, le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:])}
	return f, f.kind <= dropped && f.size > 0 && le.Uint32(b[16:]) == s.ofHead(b[:16])
}

// appendFrame appends an envelope's frame.
func appendFrame(b []byte, raw []byte, ordinal, arrived uint32, s seeds) []byte {
	f := frame{kept, uint32(len(raw)), ordinal, arrived, s.ofBody(raw)}
	at := len(b)
	b = append(b, make([]byte, frameHead)...)
	f.put(b[at:], s)
	b = append(b, raw...)
	if short := markSize - len(raw); short > 0 {
		b = append(b, make([]byte, short)...)
	}
	return b
}

// mark is what stays of a dropped envelope, so that it is known when it comes again.
type mark struct {
	sent  uint32
	topic envelope.Topic
	hash  envelope.Hash
}

func (m *mark) put(b []byte, s seeds) {
	le.PutUint32(b[4:], m.sent)
	copy(b[8:], m.topic[:])
	copy(b[12:], m.hash[:])
	le.PutUint32(b, s.ofBody(b[4:markSize]))
}

func parseMark(b []byte, s seeds) (m mark, ok bool) {
	m = mark{le.Uint32(b[4:]), envelope.Topic(b[8:12]), envelope.Hash(b[12:markSize])}
	return m, le.Uint32(b) == s.ofBody(b[4:markSize])
}

// trailer follows the index in its file. What was dropped does not change the index, only this count.
type trailer struct {
	busy    bool // a drop was under way: the index does not know how it ended
	dropped uint32
	bytes   uint64 // of the dropped envelopes
}

const (
	trailerMagic = "RSTdrops"
	trailerSize  = 32
)

func (t trailer) encode() []byte {
	b := append(make([]byte, 0, trailerSize), trailerMagic...)
	var busy uint32
	if t.busy {
		busy = 1
	}
	b = le.AppendUint32(b, busy)
	b = le.AppendUint32(b, t.dropped)
	b = le.AppendUint64(b, t.bytes)
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func parseTrailer(b []byte) (t trailer, ok bool) {
	t = trailer{le.Uint32(b[8:]) != 0, le.Uint32(b[12:]), le.Uint64(b[16:])}
	return t, string(b[:8]) == trailerMagic && le.Uint32(b[28:]) == crc32.Checksum(b[:28], castagnoli)
}

// indexBound is the most that the index of n envelopes takes on disk.
func indexBound(n int) int64 { return slindexFixed + slindexEach*int64(n) }

const (
	slindexFixed = 4096
	slindexEach  = 56
)

// Names of files. An archive has an ARCHIVE, a LOCK, slices, and the indexes of those that are sealed.
const (
	manifestName = "ARCHIVE"
	lockName     = "LOCK"
	sliceSuffix  = ".slice"
	indexSuffix  = ".index"
	newSuffix    = ".new" // being written
)

func sliceName(base uint64) string { return fmt.Sprintf("%016x", base) + sliceSuffix }
func indexName(base uint64) string { return fmt.Sprintf("%016x", base) + indexSuffix }

// parseName returns the base in a slice's or an index's name.
func parseName(name, suffix string) (base uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	base, err := strconv.ParseUint(digits, 16, 64)
	return base, err == nil
}

// entryOf is an envelope as the index knows it.
func entryOf(e *envelope.Envelope, arrived, offset uint32) slindex.Entry {
	return slindex.Entry{
		Topic: e.Topic(), Sent: e.Sent(), Arrived: arrived,
		Offset: offset, Size: uint32(len(e.Raw())), Hash: e.Hash(),
	}
}
