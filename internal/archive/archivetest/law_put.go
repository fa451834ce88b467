package archivetest

import (
	"context"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Arrivals start at 1 and ascend in the order of the list, whatever the senders' clocks say.
func testReceipts(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	got := r.put(r.mail(start+100, 1, 40), r.mail(start-1000, 2, 0), r.mail(start, 1, 1000))
	if got[0].Arrival != 1 || got[2].Arrival != 3 {
		t.Errorf("the first arrivals are %d..%d, want 1..3", got[0].Arrival, got[2].Arrival)
	}
	r.clock.Advance(90 * time.Second)
	if got := r.put(r.mail(start, 1, 40)); got[0].Arrived != start+90 {
		t.Errorf("arrived at %d, want the archive's clock: %d", got[0].Arrived, start+90)
	}
	if got := r.put(); len(got) != 0 {
		t.Errorf("%d receipts for an empty list", len(got))
	}
	r.put(r.batch(2000, 30)...)
	r.agreesOnAll()
}

// A duplicate names the first arrival, within a list as across calls.
func testDuplicates(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	a, b, c := r.mail(start, 1, 10), r.mail(start, 1, 10), r.mail(0, 1, 10)
	r.put(a, a, b, a)
	r.clock.Advance(time.Hour)
	r.put(b, c, a, c)
	r.put(r.batch(1500, 100)...) // several slices
	r.clock.Advance(time.Hour)
	r.put(a, b, c, Mail(2, start, Topic(1), 10), r.mail(start, 1, 10))
	for _, k := range r.model.stored()[:500] {
		raw := append([]byte(nil), k.Raw...)
		same, err := envelope.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		r.put(same)
	}
	r.agreesOnAll()
	if got := r.Stats(); got.Puts != 1504 || got.Duplicates != 509 {
		t.Errorf("%d puts and %d duplicates, want 1504 and 509", got.Puts, got.Duplicates)
	}
}

// An envelope without bytes can never be right.
func testInvalidEnvelope(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	good := r.mail(start, 1, 10)
	_, err := r.Put(t.Context(), []*envelope.Envelope{good, nil})
	wantKind(t, "put nil", err, fault.Invalid)
	_, err = r.Put(t.Context(), []*envelope.Envelope{good, {}})
	wantKind(t, "put the zero envelope", err, fault.Invalid)
	r.agreesOnAll()
	r.put(good)
	r.agreesOnAll()
}

// A put whose caller is gone may have stored, and may be repeated.
func testCancelledPut(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	list := r.batch(10, 50)
	if _, err := r.Put(ctx, list); err == nil {
		t.Error("a cancelled put succeeds")
	}
	receipts, err := r.Put(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for i, got := range receipts {
		if got.Arrival == 0 || seen[got.Arrival] {
			t.Errorf("receipt %d is %+v", i, got)
		}
		seen[got.Arrival] = true
	}
	found, err := readAll(t.Context(), r, archive.Query{}, everything())
	if err != nil || len(found) != len(list) {
		t.Errorf("%d records, error %v; want %d", len(found), err, len(list))
	}
}

// Envelopes that are larger than a slice and a page are stored like others.
func testLargeEnvelopes(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	for _, size := range []int{0, 1, 55, 56, 4095, 4096, 1 << 16, sliceBytes - 200, sliceBytes, 3 * sliceBytes, envelope.MaxSizeDefault - envelope.Overhead, 5 << 20} {
		r.put(r.mail(start, 1, size))
		r.put(r.mail(start, 1, 20), r.mail(start, 1, size))
	}
	r.put(r.batch(40, 100_000)...)
	r.agreesOnAll()
	q := archive.Query{Order: archive.ByArrival}
	for _, bytes := range []int{0, 1000, 1 << 20} {
		if err := difference(r.read(q, archive.Bound{Count: 7, Bytes: bytes}), r.model.walk(q)); err != nil {
			t.Errorf("pages of %d bytes: %v", bytes, err)
		}
	}
}

// Every topic of very many is found alone.
func testManyTopics(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	var list []*envelope.Envelope
	for i := range 3000 {
		list = append(list, r.mail(start+uint32(i%7), i, 10), r.mail(start+uint32(i%5), i/100, 10))
	}
	r.put(list...)
	for i := 0; i < 3000; i += 97 {
		r.agrees(archive.Query{Topics: []envelope.Topic{Topic(i)}})
		r.agrees(archive.Query{Topics: []envelope.Topic{Topic(i), Topic(i + 1), Topic(i), Topic(9999)}, Order: archive.ByArrival})
	}
	var all []envelope.Topic
	for i := range archive.MaxTopic {
		all = append(all, Topic(i))
	}
	r.agrees(archive.Query{Topics: all})
	r.agrees(archive.Query{Topics: all[2000:], From: start + 3, Order: archive.ByArrival})
}

// Drop removes for good, and keeps out what comes again.
func testDrop(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	dropper, ok := r.Archive.(archive.Dropper)
	if !ok {
		return
	}
	list := r.batch(800, 100)
	r.put(list...)
	w, err := r.Walk(t.Context(), archive.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	hashes := []envelope.Hash{{1, 2, 3}}
	for i := 0; i < len(list); i += 9 {
		hashes = append(hashes, list[i].Hash(), list[i].Hash())
	}
	hashes = append(hashes, list[len(list)-1].Hash())
	for range 2 { // the second time nothing is there
		got, err := dropper.Drop(t.Context(), hashes)
		if want := r.model.drop(hashes); err != nil || got != want {
			t.Fatalf("dropped %d, error %v; want %d", got, err, want)
		}
		r.agreesOnAll()
	}
	p, err := w.Next(t.Context(), everything())
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range p.Records {
		if i := r.model.index(rec.Hash); r.model.list[i].dropped {
			t.Fatalf("a walk from before returned %s, which is dropped", brief(rec))
		}
	}
	r.put(list...) // every one a duplicate
	r.finds(hashes, make([]archive.Record, len(hashes)))
	r.countsAgree()
	r.put(r.batch(10, 10)...)
	r.agreesOnAll()
}

// Check reads everything and finds nothing wrong.
func testCheck(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	checker, ok := r.Archive.(archive.Checker)
	if !ok {
		return
	}
	r.put(r.batch(1000, 100)...)
	got, err := checker.Check(t.Context(), func(p archive.Problem) { t.Errorf("problem: %+v", p) })
	if s := r.Stats(); err != nil || got.Problems != 0 || got.Envelopes != s.Envelopes || got.Bytes != s.Bytes {
		t.Errorf("checked %+v, error %v; stored are %d envelopes, %d bytes", got, err, s.Envelopes, s.Bytes)
	}
}
