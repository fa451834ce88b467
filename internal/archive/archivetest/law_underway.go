package archivetest

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Callers that give up at any moment harm nobody: what they put again is there once.
func testCancelledWriters(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	var wg sync.WaitGroup
	for i := range uint64(4) {
		wg.Go(func() {
			serial := (i + 1) << 32
			rng := rand.New(rand.NewPCG(i, 8))
			for range 60 {
				list := randomBatch(rng, &serial)
				ctx, cancel := context.WithCancel(t.Context())
				wg.Go(cancel)
				if _, err := r.Put(ctx, list); err == nil {
					continue
				}
				receipts, err := r.Put(t.Context(), list)
				if err != nil {
					t.Errorf("put again: %v", err)
					return
				}
				for j := range receipts {
					if j > 0 && receipts[j].Arrival <= receipts[j-1].Arrival {
						t.Errorf("receipt %d is %+v, after %+v", j, receipts[j], receipts[j-1])
					}
				}
			}
		})
	}
	wg.Wait()
	all, byHash, err := readHonest(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for i := range uint64(4) {
		serial := (i + 1) << 32
		rng := rand.New(rand.NewPCG(i, 8))
		for range 60 {
			for _, e := range randomBatch(rng, &serial) {
				want++
				if _, ok := byHash[e.Hash()]; !ok {
					t.Fatalf("envelope %x was put and is not there", e.Nonce())
				}
			}
		}
	}
	if len(all) != want {
		t.Errorf("%d envelopes are there, want %d", len(all), want)
	}
}

// Close may come at any moment. Whoever is under way is served, or told.
func testCloseUnderWay(t *testing.T, s suite) {
	for round := range uint64(10) {
		r := s.rig(t, archive.Rules{})
		r.put(r.batch(200, 200)...)
		l := newLedger()
		var wg sync.WaitGroup
		begun := make(chan struct{}, 100)
		toldClosed := func(what string, err error) bool {
			if err != nil {
				wantKind(t, what, err, fault.Closed)
			}
			return err != nil
		}
		for i := range uint64(3) {
			wg.Go(func() {
				serial := (i + 1) << 32
				rng := rand.New(rand.NewPCG(i, round))
				for !toldClosed("put", l.putSome(t.Context(), r, randomBatch(rng, &serial))) {
					begin(begun)
				}
			})
			wg.Go(func() {
				q := archive.Query{Order: archive.Order(i % 2)}
				for {
					_, err := readAll(t.Context(), r, q, archive.Bound{Count: 9, Bytes: 9000})
					if toldClosed("walk", err) {
						return
					}
					begin(begun)
				}
			})
		}
		for range 2 + round*3 {
			<-begun
		}
		for range 2 {
			wg.Go(func() {
				if err := r.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
		}
		wg.Wait()
		if !s.traits.Volatile {
			r.start()
			if _, err := holds(t.Context(), r, l.due()); err != nil {
				t.Error(err)
			}
		}
	}
}

// begin counts without waiting.
func begin(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// A clock that is set back confuses neither order nor retention.
func testClockSetBack(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{Age: 10 * time.Hour})
	for _, step := range []time.Duration{time.Hour, -3 * time.Hour, time.Minute, -time.Minute, 5 * time.Hour, -30 * time.Minute} {
		for range 10 {
			r.put(r.batch(10, 400)...)
			r.clock.Advance(step / 10)
		}
		r.retain()
		r.agreesOnAll()
		if !s.traits.Volatile {
			r.reopen()
			r.agreesOnAll()
		}
	}
	if len(r.model.list) != 600 {
		t.Errorf("%d of 600 are left, none of which is too old", len(r.model.list))
	}
	r.clock.Advance(20 * time.Hour)
	r.retain()
	if got := r.Stats().Envelopes; got != 0 {
		t.Errorf("%d are left, and all are too old", got)
	}
}

// Check, Drop and Backup work beside everything else.
func (r *rig) maintain(ctx context.Context) {
	for i := uint64(0); ctx.Err() == nil; i++ {
		if c, ok := r.Archive.(archive.Checker); ok {
			_, err := c.Check(r.t.Context(), func(p archive.Problem) { r.t.Errorf("problem: %+v", p) })
			if err != nil {
				r.t.Errorf("check: %v", err)
			}
		}
		if d, ok := r.Archive.(archive.Dropper); ok {
			e := Mail(1<<50+i, start, Topic(1), 100)
			if _, err := r.Put(r.t.Context(), []*envelope.Envelope{e}); err != nil {
				r.t.Errorf("put: %v", err)
			}
			if n, err := d.Drop(r.t.Context(), []envelope.Hash{e.Hash()}); err != nil || n > 1 {
				r.t.Errorf("dropped %d, error %v", n, err)
			}
			if found, err := r.Find(r.t.Context(), []envelope.Hash{e.Hash()}, true); err != nil || found[0].Arrival != 0 {
				r.t.Errorf("what was just dropped is found: %+v, error %v", found, err)
			}
		}
	}
}
