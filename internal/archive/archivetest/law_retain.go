package archivetest

import (
	"context"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// What is younger than Age stays, what is older goes, but for what shares a slice with younger.
func testAge(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{Age: 24 * time.Hour})
	for range 200 {
		r.put(r.batch(5, 400)...)
		r.clock.Advance(20 * time.Minute)
		before := r.model.stored()
		p := r.retain()
		r.prunedOnly(before, p, 24*time.Hour)
		r.nothingOlder(24 * time.Hour)
	}
	r.agreesOnAll()
	r.countsAgree()
	r.clock.Advance(24*time.Hour - 25*time.Minute)
	r.retain()
	if r.Stats().Envelopes == 0 {
		t.Error("younger than the limit, but gone")
	}
	r.clock.Advance(26 * time.Minute)
	old := r.batch(1, 10)
	r.retain()
	r.agreesOnAll()
	if got := r.Stats(); got.Envelopes != 0 || got.Bytes != 0 || got.First != 0 {
		t.Errorf("all are too old, and %d are left: %+v", got.Envelopes, got)
	}
	r.countsAgree()
	r.put(old...)
	r.put(Mail(1, start, Topic(0), 400)) // forgotten, so new
	r.agreesOnAll()
	r.SetRules(archive.Rules{})
	r.clock.Advance(365 * 24 * time.Hour)
	if p := r.retain(); p != (archive.Pruned{}) {
		t.Errorf("without rules %+v was pruned", p)
	}
}

// prunedOnly checks that what went was older than an age, and that the count is right.
func (r *rig) prunedOnly(before []archive.Record, p archive.Pruned, age time.Duration) {
	r.t.Helper()
	n := uint64(0)
	for _, k := range before {
		if k.Arrival > p.Arrival {
			break
		}
		n++
		if old := r.clock.Now().Sub(time.Unix(int64(k.Arrived), 0)); old < age {
			r.t.Fatalf("%s was pruned at the age of %v", brief(k), old)
		}
	}
	if n != p.Envelopes || p.Envelopes > 0 && p.Bytes <= 0 {
		r.t.Fatalf("pruned %+v, which is %d envelopes", p, n)
	}
}

// nothingOlder checks that no more than about two slices' worth is left of what is older than an age.
func (r *rig) nothingOlder(age time.Duration) {
	r.t.Helper()
	left := 0
	for _, k := range r.model.stored() {
		if r.clock.Now().Sub(time.Unix(int64(k.Arrived), 0)) > age {
			left += len(k.Raw)
		}
	}
	if left > 2*sliceBytes {
		r.t.Fatalf("%d bytes are left that are too old", left)
	}
}

// What is younger than Min stays, whatever the age and the cap.
func testFloor(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{Age: time.Minute, Min: 3 * time.Hour, Cap: 300 << 10})
	refused := 0
	for range 300 {
		before := r.model.stored()
		list := r.batch(5, 400)
		_, err := r.Put(t.Context(), list)
		if err == nil {
			r.model.put(list, uint32(r.clock.Now().Unix()))
		} else {
			wantKind(t, "put", err, fault.Limit)
			refused++
		}
		gone := r.model.pruneThrough(r.prunedByPut())
		r.prunedOnly(before, archive.Pruned{Arrival: lastArrival(gone), Envelopes: uint64(len(gone)), Bytes: 1}, 3*time.Hour)
		before = r.model.stored()
		r.prunedOnly(before, r.retain(), 3*time.Hour)
		r.clock.Advance(time.Minute)
	}
	r.agreesOnAll()
	if refused == 0 || refused == 300 {
		t.Errorf("%d of 300 puts were refused: this test shows nothing", refused)
	}
}

// prunedByPut returns the last arrival that is gone.
func (r *rig) prunedByPut() uint64 {
	s := r.Stats()
	if s.First == 0 {
		return s.Next - 1
	}
	return s.First - 1
}

func lastArrival(list []archive.Record) uint64 {
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].Arrival
}

// The cap holds at every moment, and makes room by taking the oldest.
func testCap(t *testing.T, s suite) {
	const limit = 1 << 20
	r := s.rig(t, archive.Rules{Cap: limit})
	for i := range 400 {
		list := r.batch(20, 100+i%7*100)
		if i%50 == 49 {
			list = r.batch(2, 60_000)
		}
		r.put(list...)
		r.model.pruneThrough(r.prunedByPut())
		r.withinCap(limit)
		r.clock.Advance(time.Second)
	}
	r.agreesOnAll()
	r.countsAgree()
	if got := r.Stats(); got.Bytes < limit/2 {
		t.Errorf("of %d bytes only %d are used: %+v", limit, got.Bytes, got)
	}
	if _, err := r.Put(t.Context(), r.batch(3, limit)); !fault.Is(err, fault.Limit) {
		t.Errorf("three times the cap at once: error %v", err)
	}
	r.model.pruneThrough(r.prunedByPut())
	r.withinCap(limit)
	r.put(r.batch(5, 10)...)
	r.model.pruneThrough(r.prunedByPut())
	r.agreesOnAll()
}

// withinCap compares Stats and the files themselves with the cap.
func (r *rig) withinCap(limit int64) {
	r.t.Helper()
	if got := r.Stats(); got.Disk > limit {
		r.t.Fatalf("%d bytes on disk, where %d are allowed", got.Disk, limit)
	}
	if got := filesSize(r.o.Dir); got > limit {
		r.t.Fatalf("files of %d bytes, where %d are allowed; stats say %d", got, limit, r.Stats().Disk)
	}
}

// filesSize adds up a directory; a file that goes away meanwhile counts nothing.
func filesSize(dir string) (size int64) {
	if dir == "" {
		return 0
	}
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}

// When the floor fills the cap, Put refuses and says so, reads go on, and time or a higher cap end it.
func testCapRefuses(t *testing.T, s suite) {
	const limit = 512 << 10
	r := s.rig(t, archive.Rules{Cap: limit, Min: time.Hour})
	refused := func() []*envelope.Envelope {
		t.Helper()
		for range 10_000 {
			list := r.batch(5, 300)
			if _, err := r.Put(t.Context(), list); err != nil {
				wantKind(t, "put into a full archive", err, fault.Limit)
				return list
			}
			r.model.put(list, uint32(r.clock.Now().Unix()))
			r.withinCap(limit)
		}
		t.Fatal("the cap is never reached")
		return nil
	}
	list := refused()
	if got := r.Stats(); got.Refusing == "" || got.Bytes < limit/2 {
		t.Errorf("refused at %+v", got)
	}
	if _, err := r.Put(t.Context(), list); !fault.Is(err, fault.Limit) {
		t.Errorf("put again at once: error %v", err)
	}
	stored := r.model.stored()
	got, err := r.Put(t.Context(), r.envelopes(stored[:3]))
	if err != nil || !got[0].Duplicate || got[2].Arrival != 3 {
		t.Errorf("duplicates need no room, but got %+v, error %v", got, err)
	}
	r.agreesOnAll()
	r.SetRules(archive.Rules{Cap: limit + 256<<10, Min: time.Hour})
	r.put(list...)
	if got := r.Stats(); got.Refusing != "" {
		t.Errorf("there is room, and still: %s", got.Refusing)
	}
	r.SetRules(archive.Rules{Cap: limit, Min: time.Hour})
	list = refused()
	r.agreesOnAll()
	r.clock.Advance(time.Hour + time.Second)
	r.put(list...)
	r.model.pruneThrough(r.prunedByPut())
	if got := r.Stats(); got.Refusing != "" || got.Disk > limit {
		t.Errorf("room was made, and still: %+v", got)
	}
	r.agreesOnAll()
}

// envelopes decodes records.
func (r *rig) envelopes(list []archive.Record) (envelopes []*envelope.Envelope) {
	for _, k := range list {
		e, err := envelope.Decode(k.Raw)
		if err != nil {
			r.t.Fatalf("%s: %v", brief(k), err)
		}
		envelopes = append(envelopes, e)
	}
	return envelopes
}

// A lower cap takes effect with the next Retain.
func testCapLowered(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	for range 100 {
		r.put(r.batch(30, 300)...)
	}
	r.clock.Advance(time.Minute)
	const limit = 300 << 10
	r.SetRules(archive.Rules{Cap: limit})
	p := r.retain()
	r.withinCap(limit)
	if got := r.Stats(); p.Envelopes == 0 || got.Envelopes != 3000-p.Envelopes || got.Bytes < limit/2 {
		t.Errorf("pruned %+v, left %+v", p, got)
	}
	r.agreesOnAll()
	r.put(r.batch(10, 100)...)
	r.model.pruneThrough(r.prunedByPut())
	r.agreesOnAll()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Retain(ctx, r.clock.Now()); err != nil && r.Stats().Envelopes == 0 {
		t.Error("a cancelled retain removed everything")
	}
	r.model.pruneThrough(r.prunedByPut())
	r.agreesOnAll()
}
