package mailserver_test

import (
	"bytes"
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/archive/mem"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mailserver"
)

// waiter is a reader outside of a bubble.
type waiter struct {
	reader
	done chan mailserver.Outcome
}

func (w *waiter) End(o mailserver.Outcome) { w.done <- o }

func askAndWait(s *mailserver.Server, req mailserver.Request) (mailserver.Outcome, *waiter) {
	w := &waiter{done: make(chan mailserver.Outcome, 1)}
	s.Ask(friend, prepared(req), w)
	return <-w.done, w
}

func size(req *mailserver.Request, r archive.Record) int64 {
	if req.Bare {
		return mailserver.BareSize
	}
	return int64(len(r.Raw))
}

// expect is the answer to a request over everything stored, by arrival.
func expect(req *mailserver.Request, stored []archive.Record) (list []archive.Record, o mailserver.Outcome) {
	q := &req.Query
	var matching []archive.Record
	if req.Hashes != nil {
		for _, h := range req.Hashes {
			if i := slices.IndexFunc(stored, func(r archive.Record) bool { return r.Hash == h }); i >= 0 {
				matching = append(matching, stored[i])
			}
		}
	} else {
		for _, r := range stored {
			after := r.Arrival > q.AfterArrival && (q.UntilArrival == 0 || r.Arrival <= q.UntilArrival)
			inTime := r.Sent >= q.From && r.Sent <= q.Last() && (r.Sent > q.After.Sent || r.Sent == q.After.Sent && string(r.Hash[:]) > string(q.After.Hash[:]))
			if after && inTime && (len(q.Topics) == 0 || slices.Contains(q.Topics, r.Topic)) {
				matching = append(matching, r)
			}
		}
		if q.Order == archive.BySent {
			slices.SortFunc(matching, func(a, b archive.Record) int {
				return cmp.Or(cmp.Compare(a.Sent, b.Sent), cmp.Compare(string(a.Hash[:]), string(b.Hash[:])))
			})
		}
	}
	bytes := int64(0)
	for _, r := range matching {
		if req.Limit > 0 && len(list) == req.Limit || req.Budget > 0 && len(list) > 0 && bytes+size(req, r) > req.Budget {
			o.More = true
			if q.Order == archive.ByArrival {
				o.Through = r.Arrival - 1
			}
			break
		}
		bytes += size(req, r)
		list = append(list, r)
	}
	if o.Count = len(list); o.Count > 0 {
		o.Last = list[o.Count-1]
		o.Last.Raw = nil
	}
	if q.Order == archive.ByArrival && !o.More {
		o.Through = uint64(len(stored))
		if q.UntilArrival != 0 {
			o.Through = min(o.Through, q.UntilArrival)
		}
		o.Through = max(o.Through, q.AfterArrival)
	}
	return list, o
}

// everything stores a mixture of sizes and times, and returns it by arrival.
func everything(t *testing.T, a archive.Archive) []archive.Record {
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 300 {
		data := 100 + rnd.IntN(900)
		if i%50 == 49 {
			data = 70 << 10
		}
		e := archivetest.Mail(uint64(i), 1000+rnd.Uint32N(100), archivetest.Topic(rnd.IntN(5)), data)
		if _, err := a.Put(context.Background(), []*envelope.Envelope{e}); err != nil {
			t.Fatal(err)
		}
	}
	w, err := a.Walk(context.Background(), archive.Query{Order: archive.ByArrival})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var list []archive.Record
	for done := false; !done; {
		p, err := w.Next(context.Background(), archive.Bound{Count: 1000, Bytes: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		list, done = append(list, p.Records...), p.Done
	}
	return list
}

func sameRecord(a, b archive.Record) bool {
	return a.Arrival == b.Arrival && a.Hash == b.Hash && bytes.Equal(a.Raw, b.Raw)
}

func drawRequest(r *rapid.T, stored []archive.Record) mailserver.Request {
	zeroOr := func(name string, from, to int) int {
		if rapid.Bool().Draw(r, "no "+name) {
			return 0
		}
		return rapid.IntRange(from, to).Draw(r, name)
	}
	req := mailserver.Request{
		Limit: zeroOr("limit", 1, 320), Budget: int64(zeroOr("budget", 1, 200_000)),
		Packet: archive.Bound{Count: zeroOr("count", 1, 20), Bytes: zeroOr("bytes", 1, 100_000)},
	}
	if rapid.IntRange(0, 3).Draw(r, "hashes") == 0 {
		req.Hashes = []envelope.Hash{}
		for range rapid.IntRange(0, 100).Draw(r, "how many") {
			i := rapid.IntRange(0, len(stored)).Draw(r, "which")
			if i == len(stored) {
				req.Hashes = append(req.Hashes, envelope.Hash{1})
			} else {
				req.Hashes = append(req.Hashes, stored[i].Hash)
			}
		}
		return req
	}
	q := &req.Query
	q.Order = archive.Order(rapid.IntRange(0, 1).Draw(r, "order"))
	req.Bare = rapid.Bool().Draw(r, "bare")
	for range zeroOr("topics", 1, 3) {
		q.Topics = append(q.Topics, archivetest.Topic(rapid.IntRange(0, 6).Draw(r, "topic")))
	}
	q.From, q.To = uint32(zeroOr("from", 990, 1110)), uint32(zeroOr("to", 990, 1110))
	q.AfterArrival, q.UntilArrival = uint64(zeroOr("after", 1, 310)), uint64(zeroOr("until", 1, 310))
	if q.Order == archive.BySent && rapid.Bool().Draw(r, "key") {
		q.After = stored[rapid.IntRange(0, len(stored)-1).Draw(r, "key of")].Key()
	}
	return req
}

// TestAnswersAreExact holds answers of all shapes against a naive reading of what was asked.
func TestAnswersAreExact(t *testing.T) {
	a, err := mem.Open(mem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stored := everything(t, a)
	s := mailserver.New(mailserver.Options{Archive: a, Now: time.Now})
	defer s.Close()
	rapid.Check(t, func(r *rapid.T) {
		req := drawRequest(r, stored)
		want, wantOutcome := expect(&req, stored)
		got, w := askAndWait(s, req)
		got.Looked = 0
		if diff := gocmp.Diff(wantOutcome, got); diff != "" {
			r.Errorf("outcome (-want +got):\n%s", diff)
		}
		if got := w.records(); !slices.EqualFunc(want, got, sameRecord) {
			r.Errorf("got %d records, want %d, or others", len(got), len(want))
		}
		for _, p := range w.packets {
			bytes := int64(0)
			for _, rec := range p {
				bytes += size(&req, rec)
			}
			if most := int64(cmp.Or(req.Packet.Bytes, mailserver.PacketBytes)); len(p) > 1 && bytes > most {
				r.Errorf("a packet of %d records and %d bytes", len(p), bytes)
			}
			if len(p) > cmp.Or(req.Packet.Count, mailserver.MaxCount) {
				r.Errorf("a packet of %d records", len(p))
			}
		}
		if w.most > mailserver.WindowBytes && !req.Bare {
			r.Errorf("%d bytes were under way", w.most)
		}
	})
}

// TestPagesTogetherAreEverything follows More to the end, by either cursor.
func TestPagesTogetherAreEverything(t *testing.T) {
	a, err := mem.Open(mem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stored := everything(t, a)
	s := mailserver.New(mailserver.Options{Archive: a, Now: time.Now})
	defer s.Close()
	for _, order := range []archive.Order{archive.BySent, archive.ByArrival} {
		req := mailserver.Request{Query: archive.Query{Order: order, Topics: []envelope.Topic{archivetest.Topic(1)}}, Limit: 7}
		whole := req
		whole.Limit = 0
		want, _ := expect(&whole, stored)
		var got []archive.Record
		for more := true; more; {
			o, w := askAndWait(s, req)
			if o.Err != nil || o.More != (len(got)+o.Count < len(want)) {
				t.Fatalf("after %d of %d: %+v", len(got), len(want), o)
			}
			got = append(got, w.records()...)
			more = o.More
			if req.Query.After = o.Last.Key(); order == archive.ByArrival {
				req.Query.After, req.Query.AfterArrival = archive.Key{}, o.Through
			}
		}
		if !slices.EqualFunc(want, got, sameRecord) {
			t.Errorf("order %d: got %d records, want %d, or others", order, len(got), len(want))
		}
	}
}

func TestLookedSaysWhereToGoOn(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		var hashes []envelope.Hash
		for _, e := range r.fill(100, 5000) {
			hashes = append(hashes, e.Hash(), envelope.Hash{1})
		}
		got := 0
		for len(hashes) > 0 {
			o, out := r.ask(mailserver.Request{Kind: mailserver.Look, Hashes: hashes, Budget: 100_000})
			if o.Err != nil || o.Looked == 0 || o.More != (o.Looked < len(hashes)) {
				t.Fatalf("of %d: %+v", len(hashes), o)
			}
			got += len(out.records())
			hashes = hashes[o.Looked:]
		}
		if got != 100 {
			t.Errorf("got %d of 100", got)
		}
	})
}

// TestLookingForNothingFindsNothing guards against an answer of everything.
func TestLookingForNothingFindsNothing(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		r.fill(3, 500)
		for _, req := range []mailserver.Request{{Kind: mailserver.Look}, {Hashes: []envelope.Hash{}}} {
			if o, _ := r.ask(req); o.Err != nil || o.Count != 0 || o.More {
				t.Errorf("%+v", o)
			}
		}
	})
}

func TestBareLookHasNoBodies(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		list := r.fill(3, 500)
		o, out := r.ask(mailserver.Request{Hashes: []envelope.Hash{list[2].Hash(), {9}, list[0].Hash()}, Bare: true})
		got := out.records()
		if o.Err != nil || len(got) != 2 || got[0].Hash != list[2].Hash() || got[1].Hash != list[0].Hash() {
			t.Fatalf("%+v: %+v", o, got)
		}
		if got[0].Raw != nil {
			t.Error("there is a body")
		}
	})
}

func TestOneRecordAPacket(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		r.fill(200, 500)
		o, out := r.ask(mailserver.Request{Packet: archive.Bound{Count: 1}})
		if o.Count != 200 || len(out.packets) != 200 {
			t.Errorf("%d records in %d packets", o.Count, len(out.packets))
		}
	})
}

func TestRequestsBeyondTheBoundsAreRefused(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		o, _ := r.ask(mailserver.Request{Query: archive.Query{Topics: make([]envelope.Topic, archive.MaxTopic+1)}})
		wantKind(t, o.Err, fault.Limit)
		if o.RetryAfter != 0 {
			t.Errorf("to be asked again after %v", o.RetryAfter)
		}
		o, _ = r.ask(mailserver.Request{Hashes: make([]envelope.Hash, archive.MaxFind+1)})
		wantKind(t, o.Err, fault.Limit)
		out := &reader{}
		r.server.Ask(friend, func() (mailserver.Request, error) {
			return mailserver.Request{}, fault.E("", fault.Invalid, nil, "the request cannot be opened")
		}, out)
		if o := out.end(t); fault.Text(o.Err) != "the request cannot be opened" || o.RetryAfter != 0 {
			t.Errorf("%+v", o)
		}
	})
}
