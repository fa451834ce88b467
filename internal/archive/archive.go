// Package archive is the contract of a mail server's durable store: what goes in, in which orders it comes out, what is
// promised in between. Engines live in its sub-packages and must pass archive/archivetest, which is this text as a test.
//
// An archive numbers what it accepts: the arrival is strictly increasing and starts at 1, whatever the senders' clocks
// say. Arrivals belong to an epoch; where an archive cannot vouch that a number will never name another envelope, as
// after a restored backup, it starts a new epoch.
//
// All methods are safe for concurrent use. Errors are faults: Invalid for a query, list or envelope that can never be right,
// Limit for a full archive, Unavailable for a disk that fails now and may recover, Corrupt for stored data that does not
// check out, Closed after Close.
package archive

import (
	"context"
	"math"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// Archive stores envelopes.
type Archive interface {
	// Put stores envelopes and returns when all of them are durable: fsync has returned, and a power cut from now on
	// loses none. Concurrent calls share one fsync. The receipts are in the order of the list.
	//
	// An envelope that is stored already, or twice in the list, is not an error: its receipt says so and names the first
	// arrival. The list gets ascending arrivals in its order. Envelopes are not validated; what gossip let in is stored
	// byte for byte. After an error none of the call's new envelopes is visible, and all may be put again; that holds
	// too when ctx ends first, except that they may be stored nevertheless.
	Put(ctx context.Context, list []*envelope.Envelope) ([]Receipt, error)

	// Walk starts reading what matches q in q's order. It sees what was durable when it started; of what is stored
	// later it may see some. Walks do not block writers or pruning. What is pruned before it was read is left out.
	// At most MaxWalks walks are open; more is a Busy fault. The caller closes the walk.
	Walk(ctx context.Context, q Query) (Walk, error)

	// Find looks envelopes up by hash, at most MaxFind. Records come in the order asked; one that is not stored has
	// Arrival 0. Without bodies, Raw stays nil and costs nothing.
	Find(ctx context.Context, hashes []envelope.Hash, bodies bool) ([]Record, error)

	// Retain applies the retention rules for the time now, and tells what went. It is called every minute or so, and
	// by Put when the cap is reached.
	Retain(ctx context.Context, now time.Time) (Pruned, error)

	// SetRules replaces the retention rules; they hold from the next Put or Retain on.
	SetRules(Rules)

	// Stats counts without walking anything.
	Stats() Stats

	// Close makes what was put durable, ends walks with a Closed fault, and lets go of the files. A second call does
	// nothing.
	Close() error
}

// Bounds of calls.
const (
	MaxWalks = 1024  // open at a time
	MaxFind  = 4096  // hashes of one Find
	MaxTopic = 10000 // topics of one Query
)

// Receipt says where an envelope is.
type Receipt struct {
	Arrival   uint64
	Arrived   uint32 // Unix second, by the archive's clock
	Duplicate bool   // it was there before, since Arrived
}

// Record is a stored envelope.
type Record struct {
	Arrival uint64
	Arrived uint32 // Unix second at which it was accepted
	Sent    uint32 // Unix second at which the sender says it was sent
	Topic   envelope.Topic
	Hash    envelope.Hash
	Raw     []byte // RLP as received; belongs to the reader and must not be changed
}

// Key returns the record's place in the order BySent.
func (r *Record) Key() Key { return Key{r.Sent, r.Hash} }

// Order is the order of a walk.
type Order uint8

// The orders, both ascending.
const (
	BySent    Order = iota // by (sent, hash): what requests of older protocols page through
	ByArrival              // by arrival: what comes late still comes after every reader's cursor
)

// Key is a place in the order BySent. The zero Key lies before everything.
type Key struct {
	Sent uint32
	Hash envelope.Hash
}

// Query says what to walk through. The zero Query matches everything, by (sent, hash).
type Query struct {
	Order Order

	// Topics, if any, match exactly; the cost follows what matches. Otherwise Bloom, if any, admits topics by
	// envelope.Bloom.AdmitsTopic; no body is read for a miss. With neither, every topic matches.
	Topics []envelope.Topic
	Bloom  *envelope.Bloom

	From, To uint32 // sent, both inclusive; To 0 means no upper bound

	// After is exclusive: a walk BySent starts at the first key beyond it, whether or not it is stored (any more). It means
	// nothing in a walk ByArrival.
	After Key
	// AfterArrival is exclusive, UntilArrival inclusive, 0 for no bound. They hold in both orders.
	AfterArrival, UntilArrival uint64
}

// Last returns the inclusive upper bound of sent times.
func (q *Query) Last() uint32 {
	if q.To == 0 {
		return math.MaxUint32
	}
	return q.To
}

// Bound limits one step of a walk. Page n costs what page 1 costs.
type Bound struct {
	Count int // records, at least 1
	Bytes int // of their Raw together; a first record that is larger comes alone
}

// Page is one step of a walk.
type Page struct {
	Records []Record // may be empty before the end, when much was looked at in vain
	Done    bool     // nothing matches after these
}

// Walk reads page by page. It is used by one goroutine at a time.
type Walk interface {
	// Next returns the next page. A damaged body is left out and counted in Stats.Damaged; any other error ends the
	// walk. It looks at a bounded number of entries, however few match.
	Next(ctx context.Context, b Bound) (Page, error)
	// Close ends the walk. A second call does nothing.
	Close()
}

// Rules say how long envelopes are kept. Time counts from arrival.
type Rules struct {
	Age     time.Duration // pruned when older; 0 for never
	Min     time.Duration // never pruned when younger, whatever the cap; what a mail server promises
	Cap     int64         // bytes on disk, indexes included, never exceeded; 0 for no cap
	MinFree int64         // bytes that stay free on the disk; below, Put refuses
}

// Pruned says what a Retain removed.
type Pruned struct {
	Envelopes uint64
	Bytes     int64  // given back to the disk
	Arrival   uint64 // the largest that is gone; 0 if none
}

// Stats describe an archive at one moment.
type Stats struct {
	Epoch     [8]byte
	Envelopes uint64 // stored now
	Bytes     int64  // their RLP
	Disk      int64  // bytes on disk, all included
	Slices    int
	First     uint64    // smallest arrival stored; 0 when empty
	Next      uint64    // the next arrival
	Oldest    time.Time // when the oldest was accepted; zero when empty
	Newest    time.Time

	Puts       uint64 // envelopes stored since opening
	Duplicates uint64
	Syncs      uint64 // fsyncs: Puts/Syncs is how many share one
	Pruned     uint64 // envelopes
	Damaged    uint64 // bodies and index blocks found damaged
	Refusing   string // why Put refuses now, a sentence for people; "" when it does not
}

// Dropper is an archive that can remove single envelopes for good: what is dropped is overwritten, is never returned
// again, and is refused as a duplicate when it comes again. It returns how many of the hashes were there, each counted once.
type Dropper interface {
	Drop(ctx context.Context, hashes []envelope.Hash) (int, error)
}

// Checker is an archive that can read and verify all that it has, while it works. report is called for each problem, in no
// particular order, from the caller's goroutine.
type Checker interface {
	Check(ctx context.Context, report func(Problem)) (Checked, error)
}

// Checked says what a Check has read.
type Checked struct {
	Envelopes uint64
	Bytes     int64
	Problems  int
}

// Problem is one damage.
type Problem struct {
	File   string // name within the archive
	Offset int64
	Text   string // what is wrong and what was lost, for people
}

// Backuper is an archive that can copy itself into an empty or missing directory while it works. The copy holds all that was durable
// when Backup was called, opens as an archive of its own epoch, and is complete and durable when Backup returns;
// after an error it must not be used.
type Backuper interface {
	Backup(ctx context.Context, dir string) error
}
