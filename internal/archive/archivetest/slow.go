package archivetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

// gate holds up syncs while it is shut.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil: open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

func (g *gate) pass(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut != nil {
			<-shut
		}
	}
	return nil
}

// testSlowDisk: while a sync hangs, reads go on, callers may give up, and those who wait share the next sync.
func testSlowDisk(t *testing.T, open Opener) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		clock := NewClock()
		o := Options{Dir: archiveDir, Now: clock.Now, Slice: 1 << 20}
		o.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(g.pass))
		a, err := open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		l := newLedger()
		serial := uint64(0)
		one := func() []*envelope.Envelope {
			serial++
			return []*envelope.Envelope{Mail(serial, start, Topic(1), 100)}
		}
		if err := l.putSome(t.Context(), a, one()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // whatever else there was to do is done
		g.close()
		before := a.Stats().Syncs
		var wg sync.WaitGroup
		for range 20 {
			list := one()
			wg.Go(func() {
				if err := l.putSome(t.Context(), a, list); err != nil {
					t.Errorf("put: %v", err)
				}
			})
			synctest.Wait()
		}
		giveUp(t, a, one())
		if found, err := readAll(t.Context(), a, archive.Query{}, everything()); err != nil || len(found) != 1 {
			t.Errorf("while the disk hangs %d records are read, error %v; one is durable", len(found), err)
		}
		if d := l.due(); len(d.kept) != 1 {
			t.Errorf("%d envelopes were acknowledged while the disk hangs", len(d.kept)-1)
		}
		g.open()
		wg.Wait()
		if _, err := holds(t.Context(), a, l.due()); err != nil {
			t.Error(err)
		}
		if n := a.Stats().Syncs - before; n < 1 || n > 4 {
			t.Errorf("20 puts at once took %d syncs", n)
		}
	})
}

// giveUp cancels a put that hangs.
func giveUp(t *testing.T, a archive.Archive, list []*envelope.Envelope) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := a.Put(ctx, list)
		done <- err
	}()
	synctest.Wait()
	cancel()
	synctest.Wait()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a put whose caller gave up: error %v", err)
		}
	default:
		t.Error("a put goes on although its caller gave up")
	}
}
