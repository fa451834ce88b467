package archivetest

import (
	"context"
	"fmt"
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

// mostOperations bounds how many operations of the script are made to fail, one at a time.
const mostOperations = 250

// testEveryOperationFailsOnce plays a life of an archive again and again, and each time another operation of the disk
// fails. Whatever failed is tried once more, and must succeed.
func testEveryOperationFailsOnce(t *testing.T, open Opener) {
	total, err := lifeWithFailure(t.Context(), open, -1)
	if err != nil {
		t.Fatalf("without a failure: %v", err)
	}
	step := max(1, total/mostOperations)
	for at := int64(*seed) % step; at < total; at += step {
		if _, err := lifeWithFailure(t.Context(), open, at); err != nil {
			t.Fatalf("when operation %d of about %d fails: %v", at, total, err)
		}
	}
}

// life is a script that an archive goes through.
type life struct {
	open   Opener
	o      Options
	clock  *Clock
	a      archive.Archive
	ledger *ledger
	failed bool // the failure was noticed
	mu     sync.Mutex
	op     errorfs.Op
}

// lifeWithFailure returns how many operations the script took.
func lifeWithFailure(ctx context.Context, open Opener, at int64) (int64, error) {
	var count atomic.Int64
	disk := vfs.NewMem()
	l := &life{open: open, clock: NewClock(), ledger: newLedger()}
	injector := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileClose || count.Add(1)-1 != at {
			return nil
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.op = op
		return syscall.EIO
	})
	l.o = Options{FS: errorfs.Wrap(disk, injector), Dir: archiveDir, Now: l.clock.Now, Slice: 4 << 10, Rules: archive.Rules{Age: 10 * time.Hour}}
	err := l.play(ctx)
	if err == nil {
		l.o.FS = disk
		if err = l.start(); err == nil {
			defer l.a.Close()
			_, err = holds(ctx, l.a, l.ledger.due())
		}
	}
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		return 0, fmt.Errorf("%v of %s: %w", l.op.Kind, l.op.Path, err)
	}
	return count.Load(), nil
}

// twice does something that may fail once in a life.
func (l *life) twice(what string, do func() error) error {
	err := do()
	if err != nil && !l.failed {
		l.failed = true
		if fault.KindOf(err) == fault.Internal {
			return fmt.Errorf("%s: %w is no fault that says what to do", what, err)
		}
		err = do()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (l *life) start() error {
	return l.twice("open", func() (err error) {
		l.a, err = l.open(l.o)
		return err
	})
}

func (l *life) play(ctx context.Context) error {
	serial := uint64(0)
	for range 3 {
		if err := l.start(); err != nil {
			return err
		}
		for range 8 {
			var list []*envelope.Envelope
			for range 8 {
				serial++
				list = append(list, Mail(serial, start, Topic(int(serial%4)), int(serial*37%300)))
			}
			if err := l.twice("put", func() error { return l.ledger.putSome(ctx, l.a, list) }); err != nil {
				return err
			}
			l.clock.Advance(time.Hour)
		}
		if err := l.drop(ctx); err != nil {
			return err
		}
		err := l.twice("retain", func() error {
			p, err := l.a.Retain(ctx, l.clock.Now())
			l.forget(p.Arrival)
			return err
		})
		if err != nil {
			return err
		}
		if err := l.twice("read", func() error { return l.readEverything(ctx) }); err != nil {
			return err
		}
		if err := l.a.Close(); err != nil && l.failed {
			return fmt.Errorf("close: %w", err)
		} else if err != nil {
			l.failed = true
		}
	}
	return nil
}

func (l *life) drop(ctx context.Context) error {
	d, ok := l.a.(archive.Dropper)
	if !ok {
		return nil
	}
	due := l.ledger.due()
	hashes := hashesOf(due.kept[len(due.kept)-20 : len(due.kept)-17])
	l.ledger.drops(hashes, false)
	err := l.twice("drop", func() error {
		_, err := d.Drop(ctx, hashes)
		return err
	})
	l.ledger.drops(hashes, true)
	return err
}

// forget takes what is pruned off the ledger. A retain that fails may have pruned and not said so.
func (l *life) forget(arrival uint64) {
	first := l.a.Stats().First
	kept := l.ledger.kept[:0]
	for _, r := range l.ledger.kept {
		if r.Arrival > arrival && r.Arrival >= first {
			kept = append(kept, r)
		}
	}
	l.ledger.kept = kept
}

// readEverything passes a failing disk on as a fault, and everything else as none.
func (l *life) readEverything(ctx context.Context) error {
	_, err := holds(ctx, l.a, l.ledger.due())
	return err
}
