package archivetest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// All that was put is there after a restart, with the same arrivals, and is a duplicate.
func testReopen(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	epoch := r.Stats().Epoch
	for i := range 12 {
		list := append(r.batch(1+i*i*3, 150), r.mail(0, 1, 0), r.mail(1<<32-1, 2, 70_000))
		r.put(list...)
		r.clock.Advance(7 * time.Hour)
		r.reopen()
		r.countsAgree()
		r.agreesOnAll()
		r.put(list...)
		r.put(r.mail(start, 3, 10))
		r.agrees(archive.Query{Topics: []envelope.Topic{Topic(1)}})
	}
	r.reopen()
	r.reopen()
	r.agreesOnAll()
	if got := r.Stats(); got.Epoch != epoch || got.Puts != 0 {
		t.Errorf("after a restart: %+v; the epoch was %x", got, epoch)
	}
}

// An arrival never names another envelope, also when all of a time are pruned.
func testArrivalsNeverReturn(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{Age: time.Hour})
	epoch := r.Stats().Epoch
	for range 5 {
		r.put(r.batch(100, 300)...)
		r.clock.Advance(2 * time.Hour)
		if p := r.retain(); p.Envelopes != 100 {
			t.Errorf("pruned %+v, want all 100", p)
		}
		r.reopen()
		r.countsAgree()
		r.put(r.mail(start, 1, 10))
		r.reopen()
		r.agreesOnAll()
		r.clock.Advance(2 * time.Hour)
		r.retain()
	}
	if r.Stats().Epoch != epoch {
		t.Error("the epoch changed")
	}
}

// What is dropped stays so after a restart.
func testDropSurvives(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	dropper, ok := r.Archive.(archive.Dropper)
	if !ok {
		return
	}
	list := r.batch(500, 200)
	r.put(list...)
	for round := range 3 {
		var hashes []envelope.Hash
		for i := round; i < len(list); i += 20 {
			hashes = append(hashes, list[i].Hash())
		}
		got, err := dropper.Drop(t.Context(), hashes)
		if want := r.model.drop(hashes); err != nil || got != want {
			t.Fatalf("dropped %d, error %v; want %d", got, err, want)
		}
		r.reopen()
		dropper = r.Archive.(archive.Dropper)
		r.agreesOnAll()
		r.countsAgree()
		r.finds(hashes, make([]archive.Record, len(hashes)))
		r.put(list...)
	}
	if c, ok := r.Archive.(archive.Checker); ok {
		got, err := c.Check(t.Context(), func(p archive.Problem) { t.Errorf("problem: %+v", p) })
		if err != nil || got.Envelopes != r.Stats().Envelopes {
			t.Errorf("checked %+v, error %v", got, err)
		}
	}
}

// A backup is an archive of its own epoch that holds all there was.
func testBackup(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	backuper, ok := r.Archive.(archive.Backuper)
	if !ok {
		return
	}
	dir := filepath.Join(t.TempDir(), "new", "backup")
	r.put(r.batch(700, 200)...)
	var dropped []envelope.Hash
	if d, ok := r.Archive.(archive.Dropper); ok {
		dropped = hashesOf(r.model.stored()[100:110])
		if n, err := d.Drop(t.Context(), dropped); err != nil || n != r.model.drop(dropped) {
			t.Fatalf("dropped %d, error %v", n, err)
		}
	}
	if err := backuper.Backup(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "backup over a backup", backuper.Backup(t.Context(), dir), fault.Exists, fault.Invalid)
	epoch := r.Stats().Epoch

	c := *r
	c.o.Dir, c.model = dir, &model{list: append([]kept(nil), r.model.list...), next: r.model.next}
	c.start()
	t.Cleanup(func() { c.Close() })
	if c.Stats().Epoch == epoch {
		t.Error("the backup vouches for the original's arrivals")
	}
	c.agreesOnAll()
	c.countsAgree()
	if d, ok := c.Archive.(archive.Dropper); ok { // the copies share nothing that can be changed
		gone := hashesOf(c.model.stored()[:200])
		if n, err := d.Drop(t.Context(), gone); err != nil || n != c.model.drop(gone) {
			t.Fatalf("dropped %d, error %v", n, err)
		}
	}
	c.put(c.batch(50, 100)...)
	c.reopen()
	c.agreesOnAll()
	r.agreesOnAll()
	r.put(r.batch(300, 100)...)
	r.reopen()
	r.agreesOnAll()
	if r.Stats().Epoch != epoch {
		t.Error("the original's epoch changed")
	}
	c.finds(dropped, make([]archive.Record, len(dropped)))
	c.agreesOnAll()
}

// A backup while others write holds all that was acknowledged before.
func testBackupWhileWriting(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	backuper, ok := r.Archive.(archive.Backuper)
	if !ok {
		return
	}
	list := r.batch(300, 200)
	r.put(list...)
	ctx, stop := context.WithCancel(t.Context())
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		for i := range 200 {
			if _, err := r.Put(t.Context(), []*envelope.Envelope{Mail(1<<40+uint64(i), start, Topic(1), 300)}); err != nil {
				t.Errorf("put: %v", err)
			}
			if ctx.Err() != nil {
				return
			}
		}
	}()
	o := r.o
	o.Dir = filepath.Join(t.TempDir(), "backup")
	err := backuper.Backup(t.Context(), o.Dir)
	stop()
	<-wrote
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	q := archive.Query{Order: archive.ByArrival}
	found, err := readAll(t.Context(), b, q, everything())
	if err != nil {
		t.Fatal(err)
	}
	if err := difference(found[:min(300, len(found))], r.model.walk(q)); err != nil {
		t.Error(err)
	}
	for _, rec := range found {
		if err := honest(q, rec); err != nil {
			t.Error(err)
		}
	}
}
