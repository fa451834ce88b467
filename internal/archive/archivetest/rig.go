package archivetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// rig is an open archive, the model of what it should hold, and a supply of envelopes.
type rig struct {
	archive.Archive
	t      *testing.T
	open   Opener
	o      Options
	clock  *Clock
	model  *model
	serial uint64
}

// sliceBytes keeps slices small.
const sliceBytes = 32 << 10

// everything is a bound that most walks of tests fit in.
func everything() archive.Bound { return archive.Bound{Count: 1 << 20, Bytes: 1 << 30} }

func (s suite) rig(t *testing.T, rules archive.Rules) *rig {
	t.Helper()
	clock := NewClock()
	r := &rig{t: t, open: s.open, clock: clock, model: newModel()}
	r.o = Options{Now: clock.Now, Rules: rules, Slice: sliceBytes}
	if !s.traits.Volatile {
		r.o.Dir = t.TempDir()
	}
	r.start()
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *rig) start() {
	r.t.Helper()
	a, err := r.open(r.o)
	if err != nil {
		r.t.Fatalf("open: %v", err)
	}
	r.Archive = a
}

// reopen closes the archive and opens it again.
func (r *rig) reopen() {
	r.t.Helper()
	if err := r.Close(); err != nil {
		r.t.Fatalf("close: %v", err)
	}
	r.start()
}

// mail makes a new envelope of some sent time, topic and size of its data.
func (r *rig) mail(sent uint32, topic, size int) *envelope.Envelope {
	r.serial++
	return Mail(r.serial, sent, Topic(topic), size)
}

// batch makes n envelopes that were sent now, of 10 topics.
func (r *rig) batch(n, size int) (list []*envelope.Envelope) {
	for range n {
		list = append(list, r.mail(uint32(r.clock.Now().Unix()), int(r.serial%10), size))
	}
	return list
}

// put stores envelopes here and in the model, and compares the receipts.
func (r *rig) put(list ...*envelope.Envelope) []archive.Receipt {
	r.t.Helper()
	got, err := r.Put(r.t.Context(), list)
	if err != nil {
		r.t.Fatalf("put: %v", err)
	}
	want := r.model.put(list, uint32(r.clock.Now().Unix()))
	if len(got) != len(want) {
		r.t.Fatalf("%d receipts for %d envelopes", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			r.t.Fatalf("receipt %d of %d is %+v, want %+v", i, len(got), got[i], want[i])
		}
	}
	return got
}

// retain prunes here and in the model.
func (r *rig) retain() archive.Pruned {
	r.t.Helper()
	p, err := r.Retain(r.t.Context(), r.clock.Now())
	if err != nil {
		r.t.Fatalf("retain: %v", err)
	}
	gone := r.model.pruneThrough(p.Arrival)
	if uint64(len(gone)) > p.Envelopes {
		r.t.Fatalf("retain says that %d went, but arrival %d means %d", p.Envelopes, p.Arrival, len(gone))
	}
	return p
}

// read walks through a query in pages of a bound.
func (r *rig) read(q archive.Query, b archive.Bound) []archive.Record {
	r.t.Helper()
	found, err := readAll(r.t.Context(), r, q, b)
	if err != nil {
		r.t.Fatalf("walk %s: %v", describe(q), err)
	}
	return found
}

// agrees compares a query's whole result with the model's.
func (r *rig) agrees(q archive.Query) {
	r.t.Helper()
	if err := difference(r.read(q, everything()), r.model.walk(q)); err != nil {
		r.t.Fatalf("walk %s: %v", describe(q), err)
	}
}

// agreesOnAll compares everything, in both orders, and by hash.
func (r *rig) agreesOnAll() {
	r.t.Helper()
	r.agrees(archive.Query{Order: archive.ByArrival})
	r.agrees(archive.Query{Order: archive.BySent})
	stored := r.model.stored()
	for len(stored) > 0 {
		n := min(len(stored), archive.MaxFind)
		r.finds(hashesOf(stored[:n]), stored[:n])
		stored = stored[n:]
	}
}

func (r *rig) finds(hashes []envelope.Hash, want []archive.Record) {
	r.t.Helper()
	got, err := r.Find(r.t.Context(), hashes, true)
	if err != nil {
		r.t.Fatalf("find: %v", err)
	}
	if err := sameFound(got, want); err != nil {
		r.t.Fatalf("find: %v", err)
	}
}

// sameFound is difference for the results of Find, which say of what is missing only that it is.
func sameFound(got, want []archive.Record) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d records for %d hashes", len(got), len(want))
	}
	for i := range got {
		if want[i].Arrival == 0 {
			if got[i].Arrival != 0 || got[i].Raw != nil {
				return fmt.Errorf("hash %d is not stored, but was found: %s", i, brief(got[i]))
			}
		} else if err := differs(got[i], want[i]); err != nil {
			return fmt.Errorf("hash %d: %w", i, err)
		}
	}
	return nil
}

// readAll reads a whole walk and checks that every page keeps within its bound.
func readAll(ctx context.Context, a archive.Archive, q archive.Query, b archive.Bound) ([]archive.Record, error) {
	w, err := a.Walk(ctx, q)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var found []archive.Record
	for range 1 << 20 {
		p, err := w.Next(ctx, b)
		if err != nil {
			return found, err
		}
		if err := within(p, b); err != nil {
			return found, err
		}
		found = append(found, p.Records...)
		if p.Done {
			return found, nil
		}
	}
	return found, fmt.Errorf("a million pages and no end")
}

// within tells whether a page keeps within its bound.
func within(p archive.Page, b archive.Bound) error {
	size := 0
	for _, r := range p.Records {
		size += len(r.Raw)
	}
	switch {
	case len(p.Records) > b.Count:
		return fmt.Errorf("a page of %d records, where %d were allowed", len(p.Records), b.Count)
	case size > b.Bytes && len(p.Records) > 1:
		return fmt.Errorf("a page of %d records and %d bytes, where %d bytes were allowed", len(p.Records), size, b.Bytes)
	}
	return nil
}

func hashesOf(list []archive.Record) (hashes []envelope.Hash) {
	for _, r := range list {
		hashes = append(hashes, r.Hash)
	}
	return hashes
}

// describe prints a query on one line.
func describe(q archive.Query) string {
	order := "by sent"
	if q.Order == archive.ByArrival {
		order = "by arrival"
	}
	return fmt.Sprintf("{%s, %d topics, bloom %t, sent %d..%d, after %d/%x, arrivals (%d, %d]}", order, len(q.Topics), q.Bloom != nil,
		q.From, q.To, q.After.Sent, q.After.Hash[:4], q.AfterArrival, q.UntilArrival)
}

// wantKind fails unless the error is a fault of one of the kinds, with a text.
func wantKind(t *testing.T, what string, err error, kinds ...fault.Kind) {
	t.Helper()
	for _, k := range kinds {
		if fault.Is(err, k) && fault.Text(err) != "" {
			return
		}
	}
	t.Errorf("%s: error %v, want a fault of %v", what, err, kinds)
}
