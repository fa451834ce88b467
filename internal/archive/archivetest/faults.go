package archivetest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

// Files tells the files of an engine apart, by name. What neither function claims holds envelopes, and its damage costs
// only what it held.
type Files struct {
	Derived func(name string) bool // their loss or damage loses nothing
	Vital   func(name string) bool // without them the archive may be refused
}

// Faults runs every law about broken disks. The engine must do all its work through Options.FS.
//
// -archive.clones says how many crash clones and how many damaged archives are opened, and how many disks fail.
func Faults(t *testing.T, open Opener, files Files) {
	t.Run("Crash", func(t *testing.T) { testCrash(t, open) })
	t.Run("CrashWithoutSyncIsSeen", func(t *testing.T) { testCrashWithoutSyncIsSeen(t, open) })
	t.Run("FailingWrites", func(t *testing.T) { testFailingWrites(t, open) })
	t.Run("FailingReads", func(t *testing.T) { testFailingReads(t, open) })
	t.Run("EveryOperationFailsOnce", func(t *testing.T) { testEveryOperationFailsOnce(t, open) })
	t.Run("SlowDisk", func(t *testing.T) { testSlowDisk(t, open) })
	t.Run("FullDisk", func(t *testing.T) { testFullDisk(t, open) })
	t.Run("FreeSpace", func(t *testing.T) { testFreeSpace(t, open) })
	t.Run("DropOverwrites", func(t *testing.T) { testDropOverwrites(t, open) })
	t.Run("BackupIsDurable", func(t *testing.T) { testBackupIsDurable(t, open) })
	t.Run("DamagedFiles", func(t *testing.T) { testDamagedFiles(t, open, files) })
}

// archiveDir is where archives live on file systems in memory. Its parent exists, itself it does not at first.
const archiveDir = "/archive"

// ledger is what an archive has promised. It is safe for concurrent use.
type ledger struct {
	mu       sync.Mutex
	kept     []archive.Record       // acknowledged, in the order of acknowledgement
	dropping map[envelope.Hash]bool // false once they are dropped
}

func newLedger() *ledger { return &ledger{dropping: make(map[envelope.Hash]bool)} }

// acknowledge notes what receipts promise.
func (l *ledger) acknowledge(list []*envelope.Envelope, receipts []archive.Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range receipts {
		if !r.Duplicate {
			l.kept = append(l.kept, recordOf(list[i], r.Arrival, r.Arrived))
		}
	}
}

func (l *ledger) drops(hashes []envelope.Hash, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range hashes {
		l.dropping[h] = !done
	}
}

// due is what must be found in an archive, and what must not.
type due struct {
	kept []archive.Record
	gone []envelope.Hash
	last uint64 // the largest arrival that was ever acknowledged
}

// due returns what is promised at this moment.
func (l *ledger) due() (d due) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.kept {
		d.last = max(d.last, r.Arrival)
		if busy, dropped := l.dropping[r.Hash]; !dropped {
			d.kept = append(d.kept, r)
		} else if !busy {
			d.gone = append(d.gone, r.Hash)
		}
	}
	return d
}

// holds checks that an archive has all that is due, byte for byte and under its arrival, and that all that it has is
// honest, in order and there once. It returns everything by arrival.
func holds(ctx context.Context, a archive.Archive, d due) ([]archive.Record, error) {
	all, byHash, err := readHonest(ctx, a)
	if err != nil {
		return nil, err
	}
	for _, want := range d.kept {
		if got, ok := byHash[want.Hash]; !ok {
			return all, fmt.Errorf("%s was acknowledged and is lost; %d of %d are there", brief(want), len(all), len(d.kept))
		} else if err := differs(got, want); err != nil {
			return all, fmt.Errorf("after its acknowledgement: %w", err)
		}
	}
	for _, h := range d.gone {
		if got, ok := byHash[h]; ok {
			return all, fmt.Errorf("%s was dropped and came back", brief(got))
		}
	}
	return all, foundOneByOne(ctx, a, all, d.gone)
}

// readHonest reads everything in both orders.
func readHonest(ctx context.Context, a archive.Archive) ([]archive.Record, map[envelope.Hash]archive.Record, error) {
	q := archive.Query{Order: archive.ByArrival}
	all, err := readAll(ctx, a, q, archive.Bound{Count: 1000, Bytes: 1 << 20})
	if err != nil {
		return nil, nil, fmt.Errorf("walk by arrival: %w", err)
	}
	byHash := make(map[envelope.Hash]archive.Record, len(all))
	for i, r := range all {
		if err := honest(q, r); err != nil {
			return nil, nil, err
		}
		if other, twice := byHash[r.Hash]; twice {
			return nil, nil, fmt.Errorf("%s is there twice, as %s too", brief(r), brief(other))
		}
		if i > 0 && r.Arrival <= all[i-1].Arrival {
			return nil, nil, fmt.Errorf("%s comes after %s", brief(r), brief(all[i-1]))
		}
		byHash[r.Hash] = r
	}
	sorted, err := readAll(ctx, a, archive.Query{}, archive.Bound{Count: 333, Bytes: 1 << 20})
	if err != nil {
		return nil, nil, fmt.Errorf("walk by sent: %w", err)
	}
	for i, r := range sorted {
		if err := differs(r, byHash[r.Hash]); err != nil {
			return nil, nil, fmt.Errorf("the two orders differ: %w", err)
		}
		if i > 0 && byKey(sorted[i-1].Key(), r.Key()) >= 0 {
			return nil, nil, fmt.Errorf("%s comes after %s", brief(r), brief(sorted[i-1]))
		}
	}
	if len(sorted) != len(all) {
		return nil, nil, fmt.Errorf("%d records by sent, %d by arrival", len(sorted), len(all))
	}
	return all, byHash, nil
}

// foundOneByOne asks for records by hash and by topic.
func foundOneByOne(ctx context.Context, a archive.Archive, all []archive.Record, gone []envelope.Hash) error {
	for rest := all; len(rest) > 0; {
		n := min(len(rest), archive.MaxFind)
		got, err := a.Find(ctx, hashesOf(rest[:n]), true)
		if err == nil {
			err = sameFound(got, rest[:n])
		}
		if err != nil {
			return fmt.Errorf("find: %w", err)
		}
		rest = rest[n:]
	}
	got, err := a.Find(ctx, gone, false)
	if err == nil {
		err = sameFound(got, make([]archive.Record, len(gone)))
	}
	if err != nil {
		return fmt.Errorf("find what was dropped: %w", err)
	}
	q := archive.Query{Topics: []envelope.Topic{Topic(1), Topic(2)}}
	some, err := readAll(ctx, a, q, archive.Bound{Count: 50, Bytes: 1 << 20})
	if err != nil {
		return fmt.Errorf("walk %s: %w", describe(q), err)
	}
	want := 0
	for _, r := range all {
		if admits(q, r) {
			want++
		}
	}
	for _, r := range some {
		if err := honest(q, r); err != nil {
			return err
		}
	}
	if len(some) != want {
		return fmt.Errorf("%d records of two topics, want %d", len(some), want)
	}
	return nil
}

// putSome stores a list and notes the promise.
func (l *ledger) putSome(ctx context.Context, a archive.Archive, list []*envelope.Envelope) error {
	receipts, err := a.Put(ctx, list)
	if err != nil {
		return err
	}
	if len(receipts) != len(list) {
		return fmt.Errorf("%d receipts for %d envelopes", len(receipts), len(list))
	}
	l.acknowledge(list, receipts)
	return nil
}

// sameEnvelopes decodes records, so that they can be put again.
func sameEnvelopes(list []archive.Record) ([]*envelope.Envelope, error) {
	var same []*envelope.Envelope
	for _, r := range list {
		e, err := envelope.Decode(bytes.Clone(r.Raw))
		if err != nil {
			return nil, err
		}
		same = append(same, e)
	}
	return same, nil
}
