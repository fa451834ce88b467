package archivetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// failing is an archive on a disk with trouble.
type failing struct {
	open    Opener
	o       Options
	clock   *Clock
	disk    *vfs.MemFS
	trouble *trouble
	a       archive.Archive
	ledger  *ledger
	fresh   atomic.Uint64
}

func newFailing(open Opener, seed uint64, kinds func(errorfs.Op) bool, cause error) (*failing, error) {
	rng := rand.New(rand.NewPCG(seed, 9))
	f := &failing{open: open, clock: NewClock(), disk: vfs.NewCrashableMem(), ledger: newLedger()}
	f.trouble = &trouble{kinds: kinds, err: cause, rng: rng}
	f.o = Options{Dir: archiveDir, Now: f.clock.Now, Slice: 1 << (11 + rng.IntN(6))}
	f.o.FS = f.trouble.onDisk(f.disk)
	a, err := open(f.o)
	f.a = a
	return f, err
}

// testFailingWrites: a put that fails leaves nothing visible, reads go on, and all is well when the disk is.
func testFailingWrites(t *testing.T, open Opener) {
	for i := range uint64(2 + *clones/100) {
		if err := failingRun(t.Context(), open, *seed+i, writes, errorfs.ErrInjected); err != nil {
			t.Fatalf("seed %d: %v", *seed+i, err)
		}
	}
}

// testFullDisk is the same for a disk that has no room.
func testFullDisk(t *testing.T, open Opener) {
	for i := range uint64(1 + *clones/100) {
		if err := failingRun(t.Context(), open, *seed+i, space, syscall.ENOSPC); err != nil {
			t.Fatalf("seed %d: %v", *seed+i, err)
		}
	}
}

func failingRun(ctx context.Context, open Opener, seed uint64, kinds func(errorfs.Op) bool, cause error) error {
	f, err := newFailing(open, seed, kinds, cause)
	if err != nil {
		return err
	}
	defer func() { f.a.Close() }()
	for _, percent := range []int32{0, 100, 3, 40, 100, 10} {
		if err := f.round(ctx, percent); err != nil {
			return fmt.Errorf("while %d %% of operations fail: %w", percent, err)
		}
	}
	if err := f.a.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	o := f.o
	o.FS = f.disk
	b, err := open(o)
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	defer b.Close()
	if _, err := holds(ctx, b, f.ledger.due()); err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	return nil
}

// round lets writers and a reader work while the disk fails, and then without.
func (f *failing) round(ctx context.Context, percent int32) error {
	f.trouble.percent.Store(percent)
	f.trouble.on.Store(true)
	var wg sync.WaitGroup
	problems := make([]error, 3)
	failed := make([][]*envelope.Envelope, 3)
	for i := range failed {
		wg.Go(func() { failed[i], problems[i] = f.write(ctx, 6) })
	}
	wg.Wait()
	_, err := holds(ctx, f.a, f.ledger.due())
	if err != nil {
		problems = append(problems, fmt.Errorf("reads must go on: %w", err))
	}
	_, err = f.a.Retain(ctx, f.clock.Now())
	if err != nil && percent == 0 {
		problems = append(problems, err)
	}
	f.trouble.on.Store(false)
	if err := errors.Join(problems...); err != nil {
		return err
	}
	if err := f.crash(ctx); err != nil {
		return fmt.Errorf("a crash before it recovers: %w", err)
	}
	if err := f.recovers(ctx, percent, failed); err != nil {
		return err
	}
	if err := f.crash(ctx); err != nil {
		return fmt.Errorf("a crash after it recovered: %w", err)
	}
	return nil
}

// crash opens what a crash would leave: as little as possible, as much as possible, and something between.
func (f *failing) crash(ctx context.Context) error {
	for _, percent := range []int{0, 50, 100} {
		f.trouble.mu.Lock()
		clone := f.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: f.trouble.rng})
		f.trouble.mu.Unlock()
		o := f.o
		o.FS = clone
		a, err := f.open(o)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		_, err = holds(ctx, a, f.ledger.due())
		if err := errors.Join(err, a.Close()); err != nil {
			return fmt.Errorf("with %d %% of what was not synced: %w", percent, err)
		}
	}
	return nil
}

// write puts some batches, and returns those that failed.
func (f *failing) write(ctx context.Context, batches int) (failed []*envelope.Envelope, err error) {
	serial := f.fresh.Add(1) << 32
	rng := rand.New(rand.NewPCG(serial, 3))
	for range batches {
		list := randomBatch(rng, &serial)
		if err := f.ledger.putSome(ctx, f.a, list); err != nil {
			if !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Limit) || fault.Text(err) == "" {
				return nil, fmt.Errorf("put failed with %w: kind %v, text %q", err, fault.KindOf(err), fault.Text(err))
			}
			failed = append(failed, list...)
			if err := f.invisible(ctx, list); err != nil {
				return nil, err
			}
		}
	}
	return failed, nil
}

// invisible checks that nothing of a put that failed can be read.
func (f *failing) invisible(ctx context.Context, list []*envelope.Envelope) error {
	var hashes []envelope.Hash
	for _, e := range list {
		hashes = append(hashes, e.Hash())
	}
	found, err := f.a.Find(ctx, hashes, true)
	if err == nil {
		err = sameFound(found, make([]archive.Record, len(list)))
	}
	if err != nil {
		return fmt.Errorf("after a put that failed: %w", err)
	}
	return nil
}

// recovers checks that the first put after the trouble succeeds, and that what failed can be put again.
func (f *failing) recovers(ctx context.Context, percent int32, failed [][]*envelope.Envelope) error {
	if again, err := f.write(ctx, 2); err != nil || len(again) > 0 {
		return fmt.Errorf("the disk works again, and puts of %d envelopes fail: %w", len(again), err)
	}
	tried, refused := 0, 0
	for _, list := range failed {
		tried++
		if len(list) == 0 {
			continue
		}
		refused++
		receipts, err := f.a.Put(ctx, list)
		if err != nil {
			return fmt.Errorf("put again: %w", err)
		}
		for i, r := range receipts {
			if r.Duplicate {
				return fmt.Errorf("envelope %s failed, and is a duplicate at %+v", list[i].Hash(), r)
			}
		}
		f.ledger.acknowledge(list, receipts)
	}
	if percent == 100 && refused < tried || percent == 0 && refused > 0 {
		return fmt.Errorf("%d of %d writers had puts refused", refused, tried)
	}
	all, err := holds(ctx, f.a, f.ledger.due())
	if s := f.a.Stats(); err == nil && (s.Refusing != "" || s.Envelopes != uint64(len(all))) {
		return fmt.Errorf("%d envelopes are there, and stats say %+v", len(all), s)
	}
	return err
}

// testFailingReads: what cannot be read now is an error, never missing in silence, and back when the disk is.
func testFailingReads(t *testing.T, open Opener) {
	for i := range uint64(10) {
		if err := failingReads(t.Context(), open, *seed+i); err != nil {
			t.Fatalf("seed %d: %v", *seed+i, err)
		}
	}
}

func failingReads(ctx context.Context, open Opener, seed uint64) error {
	f, err := newFailing(open, seed, reads, syscall.EIO)
	if err != nil {
		return err
	}
	defer f.a.Close()
	if _, err := f.write(ctx, 60); err != nil {
		return err
	}
	for _, percent := range []int32{2, 20, 100} {
		f.trouble.percent.Store(percent)
		for range 20 {
			f.trouble.on.Store(true)
			found, err := readAll(ctx, f.a, archive.Query{Order: archive.ByArrival}, archive.Bound{Count: 50, Bytes: 1 << 20})
			if err == nil && len(found) != len(f.ledger.kept) {
				return fmt.Errorf("a walk without an error returned %d of %d", len(found), len(f.ledger.kept))
			}
			if err := f.eitherOr(ctx); err != nil {
				return err
			}
			f.trouble.on.Store(false)
		}
		if _, err := holds(ctx, f.a, f.ledger.due()); err != nil {
			return fmt.Errorf("the disk reads again: %w", err)
		}
	}
	if s := f.a.Stats(); s.Damaged > 0 {
		return fmt.Errorf("nothing is damaged, and stats count %d", s.Damaged)
	}
	return nil
}

// eitherOr finds and puts: with an error, or rightly.
func (f *failing) eitherOr(ctx context.Context) error {
	want := f.ledger.kept[len(f.ledger.kept)/2:]
	want = want[:min(len(want), 10)]
	found, err := f.a.Find(ctx, hashesOf(want), true)
	if err == nil {
		if err := sameFound(found, want); err != nil {
			return fmt.Errorf("find without an error: %w", err)
		}
	}
	same, err := sameEnvelopes(want)
	if err != nil {
		return err
	}
	receipts, err := f.a.Put(ctx, same)
	for i := range receipts {
		if err == nil && (!receipts[i].Duplicate || receipts[i].Arrival != want[i].Arrival) {
			return fmt.Errorf("%s came again and got %+v", brief(want[i]), receipts[i])
		}
	}
	return nil
}

// testFreeSpace: what is to stay free on the disk stays free.
func testFreeSpace(t *testing.T, open Opener) {
	f, err := newFailing(open, *seed, writes, errorfs.ErrInjected)
	if err != nil {
		t.Fatal(err)
	}
	defer f.a.Close()
	f.a.SetRules(archive.Rules{MinFree: 1 << 20})
	for _, free := range []uint64{10 << 20, 1 << 10, 0, 5 << 20, 1<<20 - 1, 10 << 20} {
		f.disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: free, TotalBytes: 1 << 30, UsedBytes: 1<<30 - free})
		f.clock.Advance(time.Minute)
		failed, err := f.write(t.Context(), 3)
		s := f.a.Stats()
		if short := free < 1<<20; err != nil || short != (len(failed) > 0) || short != (s.Refusing != "") {
			t.Errorf("%d bytes are free: %d envelopes failed, error %v, refusing %q", free, len(failed), err, s.Refusing)
		}
		if _, err := holds(t.Context(), f.a, f.ledger.due()); err != nil {
			t.Error(err)
		}
	}
}
