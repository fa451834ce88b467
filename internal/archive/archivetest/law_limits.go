package archivetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Find answers in the order asked.
func testFind(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	r.put(r.batch(1200, 100)...)
	hashes := hashesOf(r.model.stored())
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		var asked []envelope.Hash
		for range rng.IntN(100) {
			h := hashes[rng.IntN(len(hashes))]
			if rng.IntN(4) == 0 {
				h[31]++ // the same beginning
			}
			asked = append(asked, h)
		}
		asked = append(asked, envelope.Hash{}, hashes[0], hashes[0])
		r.finds(asked, r.model.find(asked, true))
		got, err := r.Find(t.Context(), asked, false)
		if err == nil {
			err = sameFound(got, r.model.find(asked, false))
		}
		if err != nil {
			t.Errorf("without bodies: %v", err)
		}
		for i := range got {
			if got[i].Raw != nil {
				t.Fatal("a body came that was not asked for")
			}
		}
	}
	r.finds(nil, nil)
}

// What can never be answered is refused.
func testBounds(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	r.put(r.batch(10, 10)...)
	ctx := t.Context()
	_, err := r.Find(ctx, make([]envelope.Hash, archive.MaxFind+1), false)
	wantKind(t, "too many hashes", err, fault.Invalid, fault.Limit)
	if _, err = r.Find(ctx, make([]envelope.Hash, archive.MaxFind), false); err != nil {
		t.Errorf("as many hashes as allowed: %v", err)
	}
	_, err = r.Walk(ctx, archive.Query{Topics: make([]envelope.Topic, archive.MaxTopic+1)})
	wantKind(t, "too many topics", err, fault.Invalid, fault.Limit)
	_, err = r.Walk(ctx, archive.Query{Order: 7})
	wantKind(t, "an unknown order", err, fault.Invalid)
	w, err := r.Walk(ctx, archive.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, count := range []int{0, -1} {
		_, err = w.Next(ctx, archive.Bound{Count: count, Bytes: 100})
		wantKind(t, "a page of nothing", err, fault.Invalid)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	w2, err := r.Walk(ctx, archive.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer w2.Close()
	if _, err := w2.Next(cancelled, everything()); !errors.Is(err, context.Canceled) {
		t.Errorf("next for a caller who is gone: error %v", err)
	}
}

// At most MaxWalks walks are open, and a closed one makes room.
func testWalks(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	r.put(r.batch(300, 100)...)
	var open []archive.Walk
	for range archive.MaxWalks {
		w, err := r.Walk(t.Context(), archive.Query{Topics: []envelope.Topic{Topic(1)}})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, w)
	}
	for range 2 {
		_, err := r.Walk(t.Context(), archive.Query{})
		wantKind(t, "one walk too many", err, fault.Busy)
	}
	for _, w := range open[:3] { // closing twice counts once
		open[0].Close()
		if p, err := w.Next(t.Context(), everything()); w != open[0] && (err != nil || len(p.Records) != 30) {
			t.Errorf("%d records, error %v", len(p.Records), err)
		}
	}
	if _, err := open[0].Next(t.Context(), everything()); err == nil {
		t.Error("a closed walk goes on")
	}
	w, err := r.Walk(t.Context(), archive.Query{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Walk(t.Context(), archive.Query{})
	wantKind(t, "one walk too many", err, fault.Busy)
	for _, w := range append(open, w) {
		w.Close()
	}
	r.agreesOnAll()
}

// A closed archive says so everywhere.
func testClosed(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	list := r.batch(300, 100)
	r.put(list...)
	ctx := t.Context()
	w, err := r.Walk(ctx, archive.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(ctx, archive.Bound{Count: 3, Bytes: 1000}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	_, err = w.Next(ctx, everything())
	wantKind(t, "next", err, fault.Closed)
	w.Close()
	_, err = r.Put(ctx, list[:1])
	wantKind(t, "put", err, fault.Closed)
	_, err = r.Put(ctx, []*envelope.Envelope{r.mail(start, 1, 1)})
	wantKind(t, "put", err, fault.Closed)
	_, err = r.Walk(ctx, archive.Query{})
	wantKind(t, "walk", err, fault.Closed)
	_, err = r.Find(ctx, []envelope.Hash{list[0].Hash()}, true)
	wantKind(t, "find", err, fault.Closed)
	_, err = r.Retain(ctx, r.clock.Now())
	wantKind(t, "retain", err, fault.Closed)
	if d, ok := r.Archive.(archive.Dropper); ok {
		_, err = d.Drop(ctx, []envelope.Hash{list[0].Hash()})
		wantKind(t, "drop", err, fault.Closed)
	}
	if c, ok := r.Archive.(archive.Checker); ok {
		_, err = c.Check(ctx, func(archive.Problem) {})
		wantKind(t, "check", err, fault.Closed)
	}
	r.SetRules(archive.Rules{})
	r.Stats()
}

// Stats count what is there.
func testStats(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{Age: time.Hour})
	r.countsAgree()
	first := r.Stats()
	if first.Epoch == [8]byte{} || first.Next != 1 || !first.Oldest.IsZero() || first.Refusing != "" {
		t.Errorf("an empty archive: %+v", first)
	}
	for range 30 {
		r.put(r.batch(50, 100)...)
		r.clock.Advance(time.Minute)
		r.countsAgree()
	}
	if got := r.Stats(); got.Epoch != first.Epoch || got.Puts != 1500 || got.Disk < got.Bytes/2 {
		t.Errorf("after 1500 puts: %+v", got)
	}
	r.clock.Advance(40 * time.Minute)
	p := r.retain()
	if got := r.Stats(); p.Envelopes == 0 || got.Pruned != p.Envelopes {
		t.Errorf("%d of %d were pruned, and stats count %d", p.Envelopes, 1500, got.Pruned)
	}
	r.countsAgree()
	r.agreesOnAll()
}

// countsAgree compares the stats that follow from what is stored. Where something was dropped, the ends may be its.
func (r *rig) countsAgree() {
	r.t.Helper()
	got, stored := r.Stats(), r.model.stored()
	want := archive.Stats{Envelopes: uint64(len(stored)), Next: r.model.next}
	for _, k := range stored {
		want.Bytes += int64(len(k.Raw))
	}
	if len(stored) > 0 {
		want.First = stored[0].Arrival
		want.Oldest = time.Unix(int64(stored[0].Arrived), 0)
		want.Newest = time.Unix(int64(stored[len(stored)-1].Arrived), 0)
	}
	ends := got.First == want.First && got.Oldest.Equal(want.Oldest) && got.Newest.Equal(want.Newest)
	if len(stored) < len(r.model.list) {
		ends = got.First <= want.First && !got.Oldest.After(want.Oldest) && !got.Newest.Before(want.Newest)
	}
	if got.Envelopes != want.Envelopes || got.Bytes != want.Bytes || got.Next != want.Next || got.Damaged != 0 || !ends {
		r.t.Errorf("stats %+v, want %+v", got, want)
	}
}
