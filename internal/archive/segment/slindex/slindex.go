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
// The format is in docs/archive-format.md, "The index of a slice". The package knows no files, clocks or bodies. An Index
// never changes and is safe for concurrent use if its ReaderAt is. Errors are faults: Corrupt for damage, whose text names
// the section and the offset, Invalid for a format of a newer version, Unavailable when reading failed. Whatever the
// bytes are, nothing panics, and no more memory is taken than the length of the file justifies.
package slindex

import (
	"context"
	"encoding/binary"
	"io"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
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

// Build writes the index of entries, which are in the order of arrival, to w: front to back, in pieces of about 64 KiB. More than
// MaxEntries is a Limit fault; w's errors come back as they are.
func Build(w io.Writer, entries []Entry, m Meta) error { return errUnbuilt }

var errUnbuilt = fault.E("slindex", fault.Internal, nil, "not built yet")

// Index answers questions about one slice.
type Index struct{}

// Open reads the footer of an index that is size bytes long, in two reads, about 1.5 bytes an entry. It keeps r.
func Open(r io.ReaderAt, size int64) (*Index, error) { return nil, errUnbuilt }

// Len returns the number of ordinals, holes included.
func (x *Index) Len() int { return 0 }

// Live returns the number of records, holes not included.
func (x *Index) Live() int { return 0 }

// Meta returns what Build was given.
func (x *Index) Meta() Meta { return Meta{} }

// Bytes returns the sum of the records' sizes.
func (x *Index) Bytes() uint64 { return 0 }

// Sent returns the smallest and the largest sent time; max < min when there is no record.
func (x *Index) Sent() (min, max uint32) { return 1, 0 }

// Arrived returns the earliest and the latest second of arrival; last < first when there is no record.
func (x *Index) Arrived() (first, last uint32) { return 1, 0 }

// Memory returns about how many bytes of memory the index takes while it is open.
func (x *Index) Memory() int { return 0 }

// MayHave reports whether the slice may hold a record of this hash. It never reads, never misses one, and is wrong about less
// than 1 % of other hashes.
func (x *Index) MayHave(h envelope.Hash) bool { return false }

// FindHash appends the ordinals of the records whose hash has the Prefix of h: normally none or one. The caller compares
// the full hash. Call MayHave first.
func (x *Index) FindHash(h envelope.Hash, dst []uint32) ([]uint32, error) { return dst, errUnbuilt }

// Runs appends the runs of those topics that have records. The topics must be in ascending order; a repeated one counts
// once. Each block of the directory is read once at most.
func (x *Index) Runs(topics []envelope.Topic, dst []Run) ([]Run, error) { return dst, errUnbuilt }

// AllRuns appends the runs of all topics that admit takes. It asks about each topic once, in ascending order.
func (x *Index) AllRuns(admit func(envelope.Topic) bool, dst []Run) ([]Run, error) {
	return dst, errUnbuilt
}

// ReadRun appends up to n postings of a run, from position from on. Beyond the run's end there are none.
func (x *Index) ReadRun(run Run, from, n int, dst []Posting) ([]Posting, error) {
	return dst, errUnbuilt
}

// SearchRun returns the first position in a run that is not before (k.Sent, Prefix(k.Hash)), or run.Count.
//
// To go on after k, read from there and leave out the records whose full key is not greater than k. Those are at the
// front: they share k's sent time and prefix, and stand in the order of their full hashes. So nothing is lost or comes
// twice, and normally k's own record is the only one to leave out. A key of a zero Hash is before all of its second:
// SearchRun for {From, 0} and {To+1, 0} bound a range of sent times.
func (x *Index) SearchRun(run Run, k archive.Key) (int, error) { return 0, errUnbuilt }

// Records appends up to n records in the order of arrival, from ordinal from on, holes included.
func (x *Index) Records(from, n int, dst []Rec) ([]Rec, error) { return dst, errUnbuilt }

// Gather appends the records of the given ordinals, in the order given. It reads each block once, and neighbouring blocks
// together. An ordinal out of range is an Invalid fault.
func (x *Index) Gather(ordinals []uint32, dst []Rec) ([]Rec, error) { return dst, errUnbuilt }

// BySent appends up to n ordinals of the order (sent, hash) of all records, from position from on. Positions end at Live.
func (x *Index) BySent(from, n int, dst []uint32) ([]uint32, error) { return dst, errUnbuilt }

// SearchSent is SearchRun for the order of BySent. It returns Live when every record is before k.
func (x *Index) SearchSent(k archive.Key) (int, error) { return 0, errUnbuilt }

// Verify reads the whole index and returns the first damage. It looks at ctx every megabyte.
func (x *Index) Verify(ctx context.Context) error { return errUnbuilt }
