package archivetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

// Both orders ascend, also where sent times are equal or lie ages apart.
func testOrders(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	rng := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		var list []*envelope.Envelope
		for range 25 {
			sent := []uint32{0, 1, start, start, start + rng.Uint32N(3), start - 86400*rng.Uint32N(100), 1 << 31, math.MaxUint32 - 1, math.MaxUint32}
			list = append(list, r.mail(sent[rng.IntN(len(sent))], rng.IntN(4), rng.IntN(200)))
		}
		r.put(list...)
	}
	r.agreesOnAll()
	for _, sent := range []uint32{0, 1, start, 1 << 31, math.MaxUint32} {
		for _, order := range []archive.Order{archive.BySent, archive.ByArrival} {
			r.agrees(archive.Query{Order: order, From: sent})
			r.agrees(archive.Query{Order: order, To: sent})
			r.agrees(archive.Query{Order: order, From: sent, To: sent})
			r.agrees(archive.Query{Order: order, From: sent, To: sent, Topics: []envelope.Topic{Topic(1)}})
		}
	}
}

// Every kind of query in every combination with every kind of bound.
func testQueries(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	for i := range 60 {
		var list []*envelope.Envelope
		for j := range 20 {
			list = append(list, r.mail(start+uint32((i*7+j*3)%50), (i+j*j)%23, 10+j))
		}
		r.put(list...)
		r.clock.Advance(time.Second)
	}
	bloom := Topic(3).Bloom()
	bloom.Or(Topic(8).Bloom())
	full, none := envelope.FullBloom(), envelope.Bloom{}
	kinds := []archive.Query{
		{},
		{Topics: []envelope.Topic{Topic(5)}},
		{Topics: []envelope.Topic{Topic(5), Topic(1), Topic(22), Topic(777)}},
		{Topics: []envelope.Topic{Topic(777)}},
		{Topics: []envelope.Topic{Topic(5)}, Bloom: &none}, // topics win
		{Bloom: &bloom}, {Bloom: &full}, {Bloom: &none},
	}
	all := r.model.walk(archive.Query{})
	middle, between := all[len(all)/2].Key(), all[len(all)/3].Key()
	between.Hash[31]++ // surely not stored
	bounds := []archive.Query{
		{},
		{From: start + 10}, {To: start + 10}, {From: start + 10, To: start + 30}, {From: start + 20, To: start + 20},
		{From: start + 1000}, {To: 1}, {From: start + 30, To: start + 10},
		{After: middle}, {After: between}, {After: archive.Key{Sent: start + 25}}, {After: archive.Key{Sent: math.MaxUint32}},
		{After: all[0].Key()}, {After: all[len(all)-1].Key()}, {After: middle, From: start, To: start + 40},
		{AfterArrival: 1}, {AfterArrival: 600}, {AfterArrival: 1200}, {AfterArrival: math.MaxUint64}, {UntilArrival: 1}, {UntilArrival: 600},
		{UntilArrival: math.MaxUint64}, {AfterArrival: 300, UntilArrival: 900}, {AfterArrival: 599, UntilArrival: 600}, {AfterArrival: 600, UntilArrival: 600},
		{AfterArrival: 900, UntilArrival: 300}, {AfterArrival: 300, UntilArrival: 900, From: start + 10, To: start + 30},
		{AfterArrival: 300, UntilArrival: 900, After: middle},
	}
	for _, kind := range kinds {
		for _, q := range bounds {
			q.Topics, q.Bloom = kind.Topics, kind.Bloom
			for _, q.Order = range []archive.Order{archive.BySent, archive.ByArrival} {
				r.agrees(q)
			}
		}
	}
}

// However a walk is cut into pages, it returns the same.
func testPages(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	for i := range 300 {
		r.put(r.mail(start+uint32(i*i%31), i%3, i), r.mail(start, i%5, 3))
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, q := range []archive.Query{{}, {Order: archive.ByArrival}, {Topics: []envelope.Topic{Topic(1), Topic(2)}},
		{Topics: []envelope.Topic{Topic(4)}, Order: archive.ByArrival, From: start}} {
		want := r.model.walk(q)
		for _, cut := range [][2]int{{1, 0}, {1, 1 << 20}, {2, 100}, {7, 1000}, {100, 1}, {100, -1}, {math.MaxInt, math.MaxInt}, {rng.IntN(50) + 1, rng.IntN(3000)}} {
			b := archive.Bound{Count: cut[0], Bytes: cut[1]}
			if err := difference(r.read(q, b), want); err != nil {
				t.Errorf("%s in pages of %+v: %v", describe(q), b, err)
			}
		}
	}
	pages, ideal := 0, 0
	b := archive.Bound{Count: 12, Bytes: 2000}
	for rest := r.model.walk(archive.Query{}); len(rest) > 0; ideal++ {
		rest = rest[fits(rest, b):]
	}
	w, err := r.Walk(t.Context(), archive.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for done := false; !done; pages++ {
		p, err := w.Next(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		done = p.Done
	}
	if pages > ideal+ideal/2 {
		t.Errorf("%d pages for what fits into %d", pages, ideal)
	}
}

// fits tells how many of the next records a page can hold.
func fits(list []archive.Record, b archive.Bound) (n int) {
	size := 0
	for n < len(list) && n < b.Count {
		size += len(list[n].Raw)
		if n > 0 && size > b.Bytes {
			break
		}
		n++
	}
	return n
}

// The query may be changed once Walk has returned.
func testQueryBelongsToCaller(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	r.put(r.batch(100, 10)...)
	bloom := Topic(3).Bloom()
	q := archive.Query{Bloom: &bloom}
	want := r.model.walk(q)
	topics := archive.Query{Topics: []envelope.Topic{Topic(1), Topic(2)}}
	wantTopics := r.model.walk(topics)
	w, err := r.Walk(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w2, err := r.Walk(t.Context(), topics)
	if err != nil {
		t.Fatal(err)
	}
	defer w2.Close()
	bloom = envelope.FullBloom()
	topics.Topics[0] = Topic(7)
	for _, pair := range []struct {
		w    archive.Walk
		want []archive.Record
	}{{w, want}, {w2, wantTopics}} {
		var got []archive.Record
		for done := false; !done; {
			p, err := pair.w.Next(t.Context(), everything())
			if err != nil {
				t.Fatal(err)
			}
			got, done = append(got, p.Records...), p.Done
		}
		if err := difference(got, pair.want); err != nil {
			t.Error(err)
		}
	}
}

// Every record is a cursor: a new walk after it goes on with the next one, also after a restart.
func testCursors(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	for i := range 40 {
		r.put(r.mail(start+uint32(i%3), i%2, 700), r.mail(start-uint32(i), i%3, 900), r.mail(start, 1, 10))
	}
	for _, q := range []archive.Query{{}, {Order: archive.ByArrival}, {Topics: []envelope.Topic{Topic(1)}}, {Topics: []envelope.Topic{Topic(1)}, Order: archive.ByArrival}} {
		want := r.model.walk(q)
		for len(want) > 0 {
			q = after(q, want[0])
			want = want[1:]
			if err := difference(r.read(q, everything()), want); err != nil {
				t.Fatalf("%s: %v", describe(q), err)
			}
			if len(want)%40 == 7 && !s.traits.Volatile {
				r.reopen()
			}
		}
	}
}

// after moves a query's cursor behind a record.
func after(q archive.Query, r archive.Record) archive.Query {
	if q.Order == archive.ByArrival {
		q.AfterArrival = r.Arrival
	} else {
		q.After = r.Key()
	}
	return q
}

// A cursor whose record is pruned still stands where it stood: nothing is skipped, nothing comes twice.
func testCursorsAcrossPruning(t *testing.T, s suite) {
	for _, order := range []archive.Order{archive.BySent, archive.ByArrival} {
		for _, resumed := range []bool{false, true} {
			t.Run(fmt.Sprintf("order=%d,resumed=%t", order, resumed), func(t *testing.T) {
				r := s.rig(t, archive.Rules{Age: time.Hour})
				r.prunedWhileRead(archive.Query{Order: order}, resumed)
			})
		}
	}
}

func (r *rig) prunedWhileRead(q archive.Query, resumed bool) {
	t := r.t
	for i := range 100 { // sent runs against arrival
		r.put(r.mail(start-uint32(i), 1, 900), r.mail(start+uint32(i%10), 2, 900), r.mail(start-uint32(i%7), 3, 900))
		r.clock.Advance(time.Minute / 2)
	}
	b := archive.Bound{Count: 20, Bytes: 1 << 20}
	all := r.model.walk(q)
	w, err := r.Walk(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for done := false; !done; {
		p, err := w.Next(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range p.Records {
			if seen[rec.Arrival] {
				t.Fatalf("%s came twice", brief(rec))
			}
			seen[rec.Arrival] = true
			q = after(q, rec)
		}
		done = p.Done
		r.clock.Advance(10 * time.Minute)
		r.retain()
		if resumed && !done {
			w.Close()
			if w, err = r.Walk(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.Close()
	for _, rec := range all {
		if r.model.index(rec.Hash) >= 0 && !seen[rec.Arrival] {
			t.Errorf("%s was skipped", brief(rec))
		}
	}
	if len(seen) == len(all) {
		t.Error("nothing was pruned before it was read: this test shows nothing")
	}
}

// A walk sees all that was there when it started, however much comes in between.
func testWalkSeesWhatWasThere(t *testing.T, s suite) {
	for _, q := range []archive.Query{{}, {Order: archive.ByArrival}, {Topics: []envelope.Topic{Topic(0), Topic(4)}}, {Topics: []envelope.Topic{Topic(3)}, Order: archive.ByArrival}} {
		r := s.rig(t, archive.Rules{})
		r.put(r.batch(300, 100)...)
		want := r.model.walk(q)
		w, err := r.Walk(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		var got []archive.Record
		var last archive.Record
		for done := false; !done; {
			p, err := w.Next(t.Context(), archive.Bound{Count: 10, Bytes: 5000})
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range p.Records {
				if last.Arrival != 0 && !ascends(q.Order, last, rec) {
					t.Fatalf("%s came after %s", brief(rec), brief(last))
				}
				last = rec
				if rec.Arrival <= 300 {
					got = append(got, rec)
				}
			}
			done = p.Done
			if r.serial < 900 {
				r.put(r.batch(30, 200)...)
				r.put(r.mail(start-5, 3, 10), r.mail(start+5, 4, 10))
			}
		}
		if err := difference(got, want); err != nil {
			t.Errorf("%s: %v", describe(q), err)
		}
	}
}

func ascends(o archive.Order, a, b archive.Record) bool {
	if o == archive.ByArrival {
		return a.Arrival < b.Arrival
	}
	return byKey(a.Key(), b.Key()) < 0
}
