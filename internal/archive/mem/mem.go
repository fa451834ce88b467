// Package mem is an archive in memory, for tests and for trying things out. It keeps what package archive promises except
// that nothing outlives it: its disk is memory, and Rules.Cap counts bytes of RLP. Start with Open.
//
// It is meant to be obviously right rather than fast: one lock, one list by arrival, one by (sent, hash). 100,000 small
// envelopes are no burden.
package mem

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Options open an archive. The zero Options are usable.
type Options struct {
	Now   func() time.Time // nil: the system's clock
	Rules archive.Rules    // MinFree is ignored
	Rand  io.Reader        // where the epoch comes from; nil: the system's randomness
}

// Archive is an archive.Archive, Dropper and Checker. It is safe for concurrent use.
type Archive struct {
	now func() time.Time

	mu      sync.Mutex
	rules   archive.Rules
	closed  bool
	walks   int
	records []*record // by arrival
	bySent  []*record // those that are not dropped, by (sent, hash)
	byHash  map[envelope.Hash]*record
	stats   archive.Stats // all but Disk, First, Oldest and Newest
}

type record struct {
	archive.Record
	dropped bool // Raw is gone; the record stays to refuse the envelope when it comes again
}

// Open returns an empty archive. It fails when o.Rand does.
func Open(o Options) (*Archive, error) {
	a := &Archive{now: o.Now, rules: o.Rules, byHash: make(map[envelope.Hash]*record)}
	if a.now == nil {
		a.now = time.Now
	}
	random := o.Rand
	if random == nil {
		random = rand.Reader
	}
	if _, err := io.ReadFull(random, a.stats.Epoch[:]); err != nil {
		return nil, fault.E("mem: open", fault.Unavailable, err, "no randomness for the archive's epoch")
	}
	a.stats.Next = 1
	return a, nil
}

// ready must be called under the lock.
func (a *Archive) ready(ctx context.Context, op string) error {
	if a.closed {
		return fault.E(op, fault.Closed, nil, "the archive is closed")
	}
	if err := ctx.Err(); err != nil {
		return fault.E(op, fault.Closed, err, "the caller went away")
	}
	return nil
}

// Put implements archive.Archive.
func (a *Archive) Put(ctx context.Context, list []*envelope.Envelope) ([]archive.Receipt, error) {
	const op = "mem: put"
	for _, e := range list {
		if e == nil || len(e.Raw()) == 0 {
			return nil, fault.E(op, fault.Invalid, nil, "one of the envelopes is empty")
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.ready(ctx, op); err != nil {
		return nil, err
	}
	if err := a.makeRoom(list); err != nil {
		return nil, err
	}
	receipts := make([]archive.Receipt, len(list))
	for i, e := range list {
		r, duplicate := a.byHash[e.Hash()]
		if duplicate {
			a.stats.Duplicates++
		} else {
			r = a.add(e)
		}
		receipts[i] = archive.Receipt{Arrival: r.Arrival, Arrived: r.Arrived, Duplicate: duplicate}
	}
	return receipts, nil
}

func (a *Archive) sizeOfNew(list []*envelope.Envelope) (size int64) {
	seen := make(map[envelope.Hash]bool, len(list))
	for _, e := range list {
		h := e.Hash()
		if _, stored := a.byHash[h]; !stored && !seen[h] {
			seen[h] = true
			size += int64(len(e.Raw()))
		}
	}
	return size
}

// makeRoom prunes until the new ones of the list fit below the cap. What it prunes may be in the list, and new again.
func (a *Archive) makeRoom(list []*envelope.Envelope) error {
	for a.rules.Cap > 0 {
		size := a.sizeOfNew(list)
		if size == 0 || a.stats.Bytes+size <= a.rules.Cap {
			break
		}
		if size > a.rules.Cap || a.prune(a.now(), a.rules.Cap-size).Arrival == 0 {
			a.stats.Refusing = "the archive is full, and what it holds is too young to be removed; raise its cap or wait"
			return fault.E("mem: put", fault.Limit, nil, a.stats.Refusing)
		}
	}
	return nil
}

func (a *Archive) add(e *envelope.Envelope) *record {
	r := &record{Record: archive.Record{
		Arrival: a.stats.Next,
		Arrived: uint32(a.now().Unix()),
		Sent:    e.Sent(),
		Topic:   e.Topic(),
		Hash:    e.Hash(),
		Raw:     e.Detach().Raw(),
	}}
	a.records = append(a.records, r)
	a.byHash[r.Hash] = r
	a.bySent = slices.Insert(a.bySent, a.search(r.Key()), r)
	a.stats.Refusing = ""
	a.stats.Next++
	a.stats.Puts++
	a.stats.Envelopes++
	a.stats.Bytes += int64(len(r.Raw))
	return r
}

// search returns the first place in bySent whose key is k or beyond it.
func (a *Archive) search(k archive.Key) int {
	return sort.Search(len(a.bySent), func(i int) bool { return compareKeys(a.bySent[i].Key(), k) >= 0 })
}

func compareKeys(a, b archive.Key) int {
	return cmp.Or(cmp.Compare(a.Sent, b.Sent), bytes.Compare(a.Hash[:], b.Hash[:]))
}

// Find implements archive.Archive.
func (a *Archive) Find(ctx context.Context, hashes []envelope.Hash, bodies bool) ([]archive.Record, error) {
	const op = "mem: find"
	if len(hashes) > archive.MaxFind {
		return nil, fault.Errorf(op, fault.Invalid, "%d hashes were asked for; %d are the most", len(hashes), archive.MaxFind)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.ready(ctx, op); err != nil {
		return nil, err
	}
	found := make([]archive.Record, len(hashes))
	for i, h := range hashes {
		if r := a.byHash[h]; r != nil && !r.dropped {
			found[i] = r.Record
			if !bodies {
				found[i].Raw = nil
			}
		}
	}
	return found, nil
}

// Retain implements archive.Archive.
func (a *Archive) Retain(ctx context.Context, now time.Time) (archive.Pruned, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.ready(ctx, "mem: retain"); err != nil {
		return archive.Pruned{}, err
	}
	return a.prune(now, a.rules.Cap), nil
}

// prune removes the oldest as long as age demands it, or as the archive is larger than room.
func (a *Archive) prune(now time.Time, room int64) (p archive.Pruned) {
	n := 0
	for ; n < len(a.records); n++ {
		r := a.records[n]
		age := now.Sub(time.Unix(int64(r.Arrived), 0))
		tooOld := a.rules.Age > 0 && age > a.rules.Age
		tooMuch := a.rules.Cap > 0 && a.stats.Bytes > room
		if age < a.rules.Min || !tooOld && !tooMuch {
			break
		}
		p.Arrival = r.Arrival
		delete(a.byHash, r.Hash)
		if !r.dropped {
			p.Envelopes++
			p.Bytes += int64(len(r.Raw))
			a.stats.Bytes -= int64(len(r.Raw))
		}
	}
	if n == 0 {
		return p
	}
	a.records = slices.Delete(a.records, 0, n)
	a.bySent = slices.DeleteFunc(a.bySent, func(r *record) bool { return r.Arrival <= p.Arrival })
	a.stats.Envelopes -= p.Envelopes
	a.stats.Pruned += p.Envelopes
	a.stats.Refusing = "" // the next Put finds out
	return p
}

// SetRules implements archive.Archive.
func (a *Archive) SetRules(rules archive.Rules) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rules = rules
	a.stats.Refusing = ""
}

// Stats implements archive.Archive. Disk is Bytes, and there are no slices and no syncs.
func (a *Archive) Stats() archive.Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stats
	s.Disk = s.Bytes
	for _, r := range a.records {
		if !r.dropped {
			s.First = r.Arrival
			s.Oldest = time.Unix(int64(r.Arrived), 0)
			break
		}
	}
	for _, r := range slices.Backward(a.records) {
		if !r.dropped {
			s.Newest = time.Unix(int64(r.Arrived), 0)
			break
		}
	}
	return s
}

// Drop implements archive.Dropper.
func (a *Archive) Drop(ctx context.Context, hashes []envelope.Hash) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.ready(ctx, "mem: drop"); err != nil {
		return 0, err
	}
	n := 0
	for _, h := range hashes {
		r := a.byHash[h]
		if r == nil || r.dropped {
			continue
		}
		n++
		i := a.search(r.Key())
		a.bySent = slices.Delete(a.bySent, i, i+1)
		a.stats.Envelopes--
		a.stats.Bytes -= int64(len(r.Raw))
		r.Raw, r.dropped = nil, true
	}
	return n, nil
}

// Check implements archive.Checker: it compares every envelope with its hash.
func (a *Archive) Check(ctx context.Context, report func(archive.Problem)) (c archive.Checked, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.ready(ctx, "mem: check"); err != nil {
		return c, err
	}
	for _, r := range a.bySent {
		c.Envelopes++
		c.Bytes += int64(len(r.Raw))
		if envelope.Keccak256(r.Raw) != r.Hash {
			c.Problems++
			report(archive.Problem{Text: "envelope " + r.Hash.String() + " was changed in memory"})
		}
	}
	return c, nil
}

// Close implements archive.Archive. Everything is gone.
func (a *Archive) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.records, a.bySent, a.byHash = nil, nil, nil
	return nil
}
