package archivetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

// clonesPerRun is how many clones are taken of one archive before the next is begun.
const clonesPerRun = 10

// testCrash pulls the plug at the moments at which puts return, and between the operations of the disk that they are made
// of, and opens what is left.
func testCrash(t *testing.T, open Opener) {
	for i := range (*clones + clonesPerRun - 1) / clonesPerRun {
		s := *seed + uint64(i)
		if err := crashRun(t.Context(), open, s, func(fs vfs.FS) vfs.FS { return fs }); err != nil {
			t.Fatalf("seed %d: %v\nrepeat with: go test -count=1 -run '%s' . -archive.seed=%d -archive.clones=%d", s, err, t.Name(), s, clonesPerRun)
		}
	}
}

// testCrashWithoutSyncIsSeen shows that testCrash can see: disks that forget to sync fail it.
func testCrashWithoutSyncIsSeen(t *testing.T, open Opener) {
	for _, lame := range []lameFS{{files: true}, {dirs: true}, {files: true, dirs: true}} {
		seen := false
		for i := uint64(0); i < 10 && !seen; i++ {
			err := crashRun(t.Context(), open, *seed+i, func(fs vfs.FS) vfs.FS { return lameFS{fs, lame.files, lame.dirs} })
			seen = err != nil
		}
		if !seen {
			t.Errorf("without syncs of files (%t) or directories (%t) nothing is lost: the test is blind", lame.files, lame.dirs)
		}
	}
}

// crasher is one archive with several writers, of which clones are taken.
type crasher struct {
	open   Opener
	o      Options
	clock  *Clock
	disk   *vfs.MemFS
	a      archive.Archive
	ledger *ledger

	mu    sync.Mutex
	left  int // clones to take
	first error
}

// crashRun returns the first promise that a crash has broken.
func crashRun(ctx context.Context, open Opener, seed uint64, wrap func(vfs.FS) vfs.FS) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	c := &crasher{open: open, clock: NewClock(), disk: vfs.NewCrashableMem(), ledger: newLedger(), left: clonesPerRun}
	c.o = Options{Dir: archiveDir, Now: c.clock.Now, Slice: 1 << (10 + rng.IntN(8))}
	if rng.IntN(3) == 0 {
		c.o.Rules.Age = 12 * time.Hour
	}
	c.o.FS = errorfs.Wrap(wrap(c.disk), c.hook(ctx, rand.New(rand.NewPCG(seed, 0))))
	a, err := open(c.o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	c.a = a
	var wg sync.WaitGroup
	for i := range uint64(1 + rng.IntN(4)) {
		wg.Go(func() {
			if err := c.write(ctx, rand.New(rand.NewPCG(seed, 2+i)), (i+1)<<32); err != nil {
				c.fail(err)
			}
		})
	}
	wg.Wait()
	err = c.a.Close()
	if c.first != nil {
		return c.first
	}
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return c.check(ctx, c.disk.CrashClone(vfs.CrashCloneCfg{}), c.young(c.ledger.due()), rng, 0)
}

// young drops from what is due the envelopes that may be pruned by now.
func (c *crasher) young(d due) due {
	if age := c.o.Rules.Age; age > 0 {
		now := c.clock.Now()
		d.kept = slices.DeleteFunc(d.kept, func(r archive.Record) bool { return now.Sub(time.Unix(int64(r.Arrived), 0)) >= age })
	}
	return d
}

func (c *crasher) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first = errors.Join(c.first, err)
	c.left = 0
}

// take tells whether another clone is to be taken, and whether the run goes on.
func (c *crasher) take(wanted bool) (now, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left > 0 && wanted {
		c.left--
		return true, true
	}
	return false, c.left > 0
}

// write puts batch after batch, and now and then pulls the plug as a put returns.
func (c *crasher) write(ctx context.Context, rng *rand.Rand, serial uint64) error {
	for {
		list := randomBatch(rng, &serial)
		if err := c.ledger.putSome(ctx, c.a, list); err != nil {
			return fmt.Errorf("put: %w", err)
		}
		now, more := c.take(rng.IntN(6) == 0)
		if now {
			if err := c.crash(ctx, rng); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		if rng.IntN(8) == 0 {
			if err := c.drop(ctx, list[:1]); err != nil {
				return err
			}
		}
		c.clock.Advance(time.Duration(rng.IntN(10000)) * time.Second)
		if rng.IntN(10) == 0 {
			c.clock.Advance(24 * time.Hour)
		}
		if rng.IntN(4) == 0 {
			if _, err := c.a.Retain(ctx, c.clock.Now()); err != nil {
				return fmt.Errorf("retain: %w", err)
			}
		}
	}
}

// hook pulls the plug before some operations of the disk.
func (c *crasher) hook(ctx context.Context, rng *rand.Rand) errorfs.Injector {
	var one sync.Mutex
	return errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsRead && op.Kind != errorfs.OpOpenDir {
			return nil
		}
		one.Lock()
		defer one.Unlock()
		if now, _ := c.take(rng.IntN(4) == 0); now {
			if err := c.crash(ctx, rng); err != nil {
				c.fail(fmt.Errorf("before %v of %s: %w", op.Kind, op.Path, err))
			}
		}
		return nil
	})
}

// crash checks what a power cut leaves now.
func (c *crasher) crash(ctx context.Context, rng *rand.Rand) error {
	d := c.ledger.due()
	clone := randomClone(c.disk, rng)
	return c.check(ctx, clone, c.young(d), rng, 1)
}

func randomBatch(rng *rand.Rand, serial *uint64) (list []*envelope.Envelope) {
	for range 1 + rng.IntN(20) {
		*serial++
		size := rng.IntN(300)
		if rng.IntN(12) == 0 {
			size = rng.IntN(20_000)
		}
		list = append(list, Mail(*serial, start-rng.Uint32N(3), Topic(rng.IntN(5)), size))
	}
	return list
}

func (c *crasher) drop(ctx context.Context, list []*envelope.Envelope) error {
	d, ok := c.a.(archive.Dropper)
	if !ok {
		return nil
	}
	hashes := []envelope.Hash{list[0].Hash()}
	c.ledger.drops(hashes, false)
	n, err := d.Drop(ctx, hashes)
	switch {
	case err != nil:
		return fmt.Errorf("drop: %w", err)
	case n == 1:
		c.ledger.drops(hashes, true)
	case c.o.Rules.Age == 0: // else it may be pruned, and a crash may undo that
		return fmt.Errorf("drop: %s was just put, and is not there", hashes[0])
	}
	return nil
}

// check opens what a crash has left, compares it with what was due, goes on with it, and crashes it again a few times.
func (c *crasher) check(ctx context.Context, disk *vfs.MemFS, d due, rng *rand.Rand, again int) error {
	o := c.o
	o.FS = disk
	a, err := c.open(o)
	if err != nil {
		return fmt.Errorf("open after a crash: %w", err)
	}
	defer a.Close()
	if again > 0 { // the repairs of this opening may be cut short too
		if err := c.check(ctx, randomClone(disk, rng), d, rng, again-1); err != nil {
			return fmt.Errorf("crashed again: %w", err)
		}
	}
	if _, err := holds(ctx, a, d); err != nil {
		return err
	}
	l := newLedger()
	if err := goOn(ctx, a, l, d, rng); err != nil {
		return err
	}
	d.kept = append(d.kept[:len(d.kept):len(d.kept)], l.kept...)
	if rng.IntN(2) == 0 {
		disk = randomClone(disk, rng)
	}
	if err := a.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	o.FS = disk
	b, err := c.open(o)
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	defer b.Close()
	if _, err = holds(ctx, b, d); err != nil {
		return fmt.Errorf("after going on: %w", err)
	}
	return nil
}

// randomClone is a disk as a power cut may leave it now.
func randomClone(disk *vfs.MemFS, rng *rand.Rand) *vfs.MemFS {
	return disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
}

// goOn puts new envelopes and old ones into an archive that was opened after a crash.
func goOn(ctx context.Context, a archive.Archive, l *ledger, d due, rng *rand.Rand) error {
	serial := uint64(1) << 60
	for range 1 + rng.IntN(4) {
		if err := l.putSome(ctx, a, randomBatch(rng, &serial)); err != nil {
			return fmt.Errorf("put after a crash: %w", err)
		}
	}
	for _, r := range l.kept {
		if r.Arrival <= d.last {
			return fmt.Errorf("%s got an arrival from before the crash; the last was %d", brief(r), d.last)
		}
	}
	old, err := sameEnvelopes(d.kept[:min(len(d.kept), 20)])
	if err != nil {
		return err
	}
	receipts, err := a.Put(ctx, old)
	if err != nil {
		return fmt.Errorf("put duplicates after a crash: %w", err)
	}
	for i, r := range receipts {
		if !r.Duplicate || r.Arrival != d.kept[i].Arrival {
			return fmt.Errorf("%s came again and got %+v", brief(d.kept[i]), r)
		}
	}
	return nil
}

// lameFS forgets to sync files or directories.
type lameFS struct {
	vfs.FS
	files, dirs bool
}

type lameFile struct {
	vfs.File
	lame bool
}

// Create implements vfs.FS.
func (l lameFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, c)
	return lameFile{f, l.files}, err
}

// OpenReadWrite implements vfs.FS.
func (l lameFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := l.FS.OpenReadWrite(name, c, opts...)
	return lameFile{f, l.files}, err
}

// OpenDir implements vfs.FS.
func (l lameFS) OpenDir(name string) (vfs.File, error) {
	f, err := l.FS.OpenDir(name)
	return lameFile{f, l.dirs}, err
}

// Sync implements vfs.File.
func (f lameFile) Sync() error {
	if f.lame {
		return nil
	}
	return f.File.Sync()
}

// SyncData implements vfs.File.
func (f lameFile) SyncData() error { return f.Sync() }

// SyncTo implements vfs.File.
func (f lameFile) SyncTo(int64) (bool, error) { return false, nil }
