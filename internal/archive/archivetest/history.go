package archivetest

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

// History compares the engine with the model over random histories of puts, walks, finds, drops, retention, restarts and
// time. Run it with -rapid.checks and -rapid.seed for more and for others.
func History(t *testing.T, open Opener, traits Traits) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t, open, traits)
		defer func() { h.a.Close() }()
		actions := map[string]func(*rapid.T){
			"":        h.compareStats,
			"put":     h.put,
			"put2":    h.put,
			"repeat":  h.putAgain,
			"walk":    h.walk,
			"walk2":   h.walk,
			"find":    h.find,
			"retain":  h.retain,
			"advance": h.advance,
		}
		if _, ok := h.a.(archive.Dropper); ok {
			actions["drop"] = h.drop
		}
		if !traits.Volatile {
			actions["reopen"] = h.reopen
		}
		t.Repeat(actions)
		h.compareAll(t)
	})
}

// history is one archive beside its model.
type history struct {
	a      archive.Archive
	open   Opener
	o      Options
	age    time.Duration
	clock  *Clock
	model  *model
	ever   []*envelope.Envelope // put at any time
	serial uint64
}

func newHistory(t *rapid.T, open Opener, traits Traits) *history {
	h := &history{open: open, clock: NewClock(), model: newModel()}
	h.age = rapid.SampledFrom([]time.Duration{0, time.Hour, 24 * time.Hour}).Draw(t, "age")
	h.o = Options{Now: h.clock.Now, Rules: archive.Rules{Age: h.age}}
	h.o.Slice = rapid.SampledFrom([]int64{2 << 10, 16 << 10, 1 << 20}).Draw(t, "slice")
	if !traits.Volatile {
		h.o.FS, h.o.Dir = vfs.NewMem(), "/archive"
	}
	h.start(t)
	return h
}

func (h *history) start(t *rapid.T) {
	a, err := h.open(h.o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	h.a = a
}

func (h *history) reopen(t *rapid.T) {
	if err := h.a.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	h.start(t)
}

func (h *history) advance(t *rapid.T) {
	h.clock.Advance(time.Duration(rapid.IntRange(1, 20000).Draw(t, "seconds")) * time.Second)
}

// put stores new envelopes, some of them sent at the same time, some long ago.
func (h *history) put(t *rapid.T) {
	list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *envelope.Envelope {
		h.serial++
		now := uint32(h.clock.Now().Unix())
		sent := rapid.OneOf(rapid.Just(now), rapid.Uint32Range(now-10, now+10), rapid.Uint32Range(now-100000, now), rapid.Uint32()).Draw(t, "sent")
		size := rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(0, 3000)).Draw(t, "size")
		return Mail(h.serial, sent, Topic(rapid.IntRange(0, 12).Draw(t, "topic")), size)
	}), 0, 40).Draw(t, "envelopes")
	h.store(t, list)
}

// putAgain stores what was stored before, dropped or pruned ones too.
func (h *history) putAgain(t *rapid.T) {
	if len(h.ever) == 0 {
		return
	}
	h.store(t, rapid.SliceOfN(rapid.SampledFrom(h.ever), 1, 20).Draw(t, "again"))
}

func (h *history) store(t *rapid.T, list []*envelope.Envelope) {
	got, err := h.a.Put(t.Context(), list)
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	want := h.model.put(list, uint32(h.clock.Now().Unix()))
	if !slices.Equal(got, want) {
		t.Fatalf("receipts %+v, want %+v", got, want)
	}
	h.ever = append(h.ever, list...)
}

// query draws any query, its bounds often at or near what is stored.
func (h *history) query(t *rapid.T) (q archive.Query) {
	stored := h.model.stored()
	near := func(label string) archive.Record {
		if len(stored) == 0 || rapid.IntRange(0, 5).Draw(t, label+" anywhere") == 0 {
			return archive.Record{Sent: rapid.Uint32().Draw(t, label+" sent"), Arrival: rapid.Uint64().Draw(t, label+" arrival")}
		}
		r := rapid.SampledFrom(stored).Draw(t, label)
		r.Sent += rapid.SampledFrom([]uint32{0, 0, 0, 1, math.MaxUint32}).Draw(t, label+" off")
		return r
	}
	q.Order = archive.Order(rapid.IntRange(0, 1).Draw(t, "order"))
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, 14), 1, 5).Draw(t, "topics") {
			q.Topics = append(q.Topics, Topic(i))
		}
	case 1:
		q.Bloom = new(envelope.Bloom)
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, 14), 0, 5).Draw(t, "bloom") {
			q.Bloom.Or(Topic(i).Bloom())
		}
	}
	bound := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }
	if bound("from") {
		q.From = near("from").Sent
	}
	if bound("to") {
		q.To = near("to").Sent
	}
	if bound("after") {
		r := near("after")
		q.After = r.Key()
	}
	if bound("after arrival") {
		q.AfterArrival = near("after arrival").Arrival
	}
	if bound("until arrival") {
		q.UntilArrival = near("until arrival").Arrival
	}
	return q
}

// walk reads a query in random pages, now and then with a new walk from the cursor.
func (h *history) walk(t *rapid.T) {
	q := h.query(t)
	want := h.model.walk(q)
	var got []archive.Record
	at := q
	for done := false; !done; {
		w, err := h.a.Walk(t.Context(), at)
		if err != nil {
			t.Fatalf("walk %s: %v", describe(at), err)
		}
		for again := true; again && !done; {
			b := archive.Bound{Count: rapid.IntRange(1, 60).Draw(t, "count"), Bytes: rapid.IntRange(0, 20000).Draw(t, "bytes")}
			p, err := w.Next(t.Context(), b)
			if err == nil {
				err = within(p, b)
			}
			if err != nil || len(got)+len(p.Records) > len(want) {
				t.Fatalf("walk %s: error %v, %d records of %d", describe(at), err, len(got)+len(p.Records), len(want))
			}
			for _, r := range p.Records {
				at = after(at, r)
			}
			got, done = append(got, p.Records...), p.Done
			again = rapid.IntRange(0, 3).Draw(t, "resume") != 0 || len(p.Records) == 0
		}
		w.Close()
	}
	if err := difference(got, want); err != nil {
		t.Fatalf("walk %s: %v", describe(q), err)
	}
}

func (h *history) find(t *rapid.T) {
	hashes := append(h.someHashes(t), envelope.Hash{9})
	bodies := rapid.Bool().Draw(t, "bodies")
	got, err := h.a.Find(t.Context(), hashes, bodies)
	if err == nil {
		err = sameFound(got, h.model.find(hashes, bodies))
	}
	if err != nil {
		t.Fatalf("find: %v", err)
	}
}

func (h *history) someHashes(t *rapid.T) (hashes []envelope.Hash) {
	if len(h.ever) == 0 {
		return nil
	}
	for _, e := range rapid.SliceOfN(rapid.SampledFrom(h.ever), 0, 10).Draw(t, "hashes") {
		hashes = append(hashes, e.Hash())
	}
	return hashes
}

func (h *history) drop(t *rapid.T) {
	hashes := h.someHashes(t)
	got, err := h.a.(archive.Dropper).Drop(t.Context(), hashes)
	if want := h.model.drop(hashes); err != nil || got != want {
		t.Fatalf("dropped %d, error %v; want %d", got, err, want)
	}
}

// retain prunes, and checks that only what is too old went, and that it all went.
func (h *history) retain(t *rapid.T) {
	now := h.clock.Now()
	p, err := h.a.Retain(t.Context(), now)
	if err != nil {
		t.Fatalf("retain: %v", err)
	}
	tooOld := func(r archive.Record) bool {
		return h.age > 0 && now.Sub(time.Unix(int64(r.Arrived), 0)) > h.age
	}
	for _, r := range h.model.pruneThrough(p.Arrival) {
		if !tooOld(r) {
			t.Fatalf("%s was pruned at %d", brief(r), now.Unix())
		}
	}
	stored := h.model.stored()
	if len(stored) > 0 && tooOld(stored[len(stored)-1]) {
		t.Fatalf("all are too old, and %d are left", len(stored))
	}
}

func (h *history) compareStats(t *rapid.T) {
	s := h.a.Stats()
	stored := h.model.stored()
	size := int64(0)
	for _, r := range stored {
		size += int64(len(r.Raw))
	}
	if s.Envelopes != uint64(len(stored)) || s.Bytes != size || s.Next != h.model.next || s.Damaged != 0 {
		t.Fatalf("stats %+v, want %d envelopes of %d bytes and next %d", s, len(stored), size, h.model.next)
	}
}

func (h *history) compareAll(t *rapid.T) {
	for _, order := range []archive.Order{archive.BySent, archive.ByArrival} {
		q := archive.Query{Order: order}
		got, err := readAll(t.Context(), h.a, q, everything())
		if err == nil {
			err = difference(got, h.model.walk(q))
		}
		if err != nil {
			t.Fatalf("at the end, order %d: %v", order, err)
		}
	}
	if c, ok := h.a.(archive.Checker); ok {
		got, err := c.Check(t.Context(), func(p archive.Problem) { t.Errorf("problem: %+v", p) })
		if err != nil || got.Envelopes != uint64(len(h.model.stored())) {
			t.Fatalf("checked %+v, error %v", got, err)
		}
	}
}
