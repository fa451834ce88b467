package history_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
)

var lister = history.Caps{Forms: forms(history.ByArrival), Lists: true, Epoch: [8]byte{1}, Next: 1001}

func beginCheck(t *testing.T, p history.Plan, c history.Caps) *script {
	t.Helper()
	k, err := history.NewCheck(p, c)
	if err != nil {
		t.Fatal(err)
	}
	return stepping(t, k)
}

// named is a packet of a list, whose last entry has the arrival through.
func named(through uint64, list ...*envelope.Envelope) history.Named {
	n := history.Named{Bytes: int64(44 * len(list)), Through: through}
	for _, env := range list {
		n.List = append(n.List, entryOf(env))
	}
	return n
}

// entries are so many that nobody has, numbered from a first one.
func entries(first, n int) (list []history.Entry) {
	for i := range n {
		e := history.Entry{Sent: 1000, Size: 100}
		binary.BigEndian.PutUint64(e.Hash[:], uint64(first+i))
		list = append(list, e)
	}
	return list
}

func arrival(n uint64) history.Position {
	return history.Position{Form: history.ByArrival, Epoch: lister.Epoch, Arrival: n}
}

// TestWhatIsKnownCostsOneRoundTrip, no leave to fetch, and one page to keep.
func TestWhatIsKnownCostsOneRoundTrip(t *testing.T) {
	s := beginCheck(t, history.Plan{Topics: topics[:1]}, lister)
	list := entries(0, 1000)
	for _, e := range list {
		s.have[e.Hash] = true
	}
	if a := s.last(); a.Form != history.Listing || a.Question.Credit != a.Question.Budget || a.Question.Budget < 1000*48 || a.Question.Epoch != lister.Epoch {
		t.Fatalf("asks %+v", a)
	}
	s.answer(history.Named{List: list[:700], Bytes: 700 * 44, Through: 700}, history.Named{List: list[700:], Bytes: 300 * 44, Through: 1000},
		history.Ended{Through: 1004})
	r := s.report
	if r == nil || r.End != history.EndComplete || len(s.asks) != 1 || len(s.pages) != 1 || r.Resume.Arrival != 1004 || r.LastArrival != 1004 {
		t.Fatalf("%d questions, %d pages, %+v", len(s.asks), len(s.pages), r)
	}
	if r.Listed != 1000 || r.Fetched != 0 || r.ListBytes != 44_000 || r.Received != 44_000 || r.Form != history.Listing {
		t.Errorf("%+v", r)
	}
}

// TestSomebodyElseMayBringIt: what is lacking is looked up again before it is fetched.
func TestSomebodyElseMayBringIt(t *testing.T) {
	a, b, c := envelopeAt(1000, topics[0], 10), envelopeAt(1001, topics[0], 10), envelopeAt(1002, topics[0], 10)
	s := beginCheck(t, history.Plan{Topics: topics[:1]}, lister)
	s.have[a.Hash()] = true
	s.answer(named(7, a, b, c), history.Ended{Through: 9})
	if _, due := s.fetch.Deadline(); len(s.asks) != 1 || len(s.lookups) != 1 || s.report != nil || due {
		t.Fatalf("asked %d times and looked up %d times before it may proceed", len(s.asks), len(s.lookups))
	}
	s.have[b.Hash()] = true
	s.step(history.Proceed{})
	if q := s.last(); q.Form != history.ByHash || len(q.Question.Hashes) != 1 || q.Question.Hashes[0] != c.Hash() || q.Question.Credit != history.Window {
		t.Fatalf("asks %+v", q)
	}
	s.answer(packet(c), history.Ended{})
	if r := s.report; r.End != history.EndComplete || len(s.got) != 1 || r.Fetched != 1 || r.Listed != 3 || r.Resume.Arrival != 9 {
		t.Errorf("%d delivered, %+v", len(s.got), r)
	}
}

// TestThePositionWaits for what is not kept, and not for what is withheld and recorded.
func TestThePositionWaits(t *testing.T) {
	list := []*envelope.Envelope{envelopeAt(1000, topics[0], 10), envelopeAt(1001, topics[0], 10), envelopeAt(1002, topics[0], 10)}
	s := beginCheck(t, history.Plan{}, lister)
	s.hold = true
	s.step(history.Proceed{})
	s.answer(named(5, list[0]), named(6, list[1]), named(7, list[2]), history.Ended{Through: 9})
	s.answer(packet(list[2]), history.Ended{Missing: []envelope.Hash{list[0].Hash()}})
	if p := s.pages[0]; len(s.pages) != 1 || len(p.Envelopes) != 1 || p.Resume.Arrival != 0 {
		t.Fatalf("pages %+v", s.pages)
	}
	if q := s.last().Question; len(q.Hashes) != 1 || q.Hashes[0] != list[1].Hash() {
		t.Fatalf("asks again %+v", q)
	}
	s.step(history.Delivered{})
	if p := s.pages[1]; len(p.Envelopes) != 0 || !cmp.Equal(p.Withheld, []history.Entry{entryOf(list[0])}) || p.Resume.Arrival != 5 {
		t.Fatalf("pages %+v", s.pages)
	}
	s.answer(history.Ended{})
	s.step(history.Delivered{})
	if p := s.pages[2]; !cmp.Equal(p.Withheld, []history.Entry{entryOf(list[1])}) || p.Resume.Arrival != 9 {
		t.Fatalf("pages %+v", s.pages)
	}
	s.step(history.Delivered{})
	want := []history.Entry{entryOf(list[0]), entryOf(list[1])}
	if r := s.report; r.End != history.EndAssumed || !cmp.Equal(r.Withheld, want) || r.WithheldCount != 2 || r.Fetched != 1 {
		t.Errorf("%+v", r)
	}
}

func TestACheckEndsWithTheConsumersError(t *testing.T) {
	a, b := envelopeAt(1000, topics[0], 10), envelopeAt(1001, topics[0], 10)
	s := beginCheck(t, history.Plan{}, lister)
	s.hold = true
	s.step(history.Proceed{})
	s.answer(named(7, a, b), history.Ended{Through: 9})
	s.answer(packet(a), packet(b))
	s.step(history.Delivered{Err: fault.E("", fault.Unavailable, nil, "the disk is full")})
	if r := s.report; r == nil || r.End != history.EndFailed || r.Resume.Arrival != 0 || r.Envelopes != 0 || len(s.pages) != 1 {
		t.Errorf("%d pages, %+v", len(s.pages), r)
	}
}

func TestAListPausesUntilItMayProceed(t *testing.T) {
	s := beginCheck(t, history.Plan{}, lister)
	n := 0
	for len(s.asks) < 20 && n < 1<<20 {
		before := len(s.asks)
		for budget := s.last().Question.Budget; budget > 0; budget -= 1000 * 48 {
			s.answer(history.Named{List: entries(n, 1000), Bytes: 44_000, Through: uint64(n + 1000)})
			n += 1000
		}
		if s.answer(history.Ended{Through: uint64(n), More: true}); len(s.asks) == before {
			break
		}
	}
	if open := s.fetch.(*history.Check).Open(); open != n || n < 14_000 || n > history.MaxOpen || s.report != nil {
		t.Fatalf("%d of %d entries are kept account of, %d questions", open, n, len(s.asks))
	}
	s.step(history.Proceed{})
	if q := s.last(); q.Form != history.ByHash || len(q.Question.Hashes) != history.MaxHashes {
		t.Errorf("asks %v for %d", q.Form, len(q.Question.Hashes))
	}
	s.step(history.Stop{Err: fault.E("", fault.Closed, nil, "enough")})
	if r := s.report; r.Lacking != n || r.LackingBytes != int64(n)*100 || r.Resume.Arrival != 0 {
		t.Errorf("%+v", r)
	}
}

func TestLimitsEndACheck(t *testing.T) {
	list := []*envelope.Envelope{envelopeAt(1000, topics[0], 400), envelopeAt(1001, topics[0], 400), envelopeAt(1002, topics[0], 400)}
	for name, plan := range map[string]history.Plan{"envelopes": {Limit: 2}, "bytes": {Budget: 3*44 + int64(len(list[0].Raw())+len(list[1].Raw()))}} {
		s := beginCheck(t, plan, lister)
		s.step(history.Proceed{})
		s.answer(named(7, list[0]), named(8, list[1:]...), history.Ended{Through: 9})
		if q := s.last(); len(q.Question.Hashes) != 2 {
			t.Fatalf("%s: asks for %d", name, len(q.Question.Hashes))
		}
		s.answer(packet(list[0], list[1]))
		if r := s.report; r == nil || r.End != history.EndLimited || len(s.got) != 2 || r.Resume.Arrival != 7 || r.Lacking != 1 {
			t.Errorf("%s: %d delivered, %+v", name, len(s.got), r)
		}
	}
	s := beginCheck(t, history.Plan{Budget: 40}, lister)
	s.answer(named(7, list...))
	if r := s.report; r == nil || r.End != history.EndLimited || r.Resume.Arrival != 0 {
		t.Errorf("the list alone: %+v", r)
	}
}

// TestBodiesAreChecked as those of a page are.
func TestBodiesAreChecked(t *testing.T) {
	right, topic, size := envelopeAt(1005, topics[0], 10), envelopeAt(1005, topics[1], 10), envelopeAt(1006, topics[0], 2000)
	late, unasked := envelopeAt(2000, topics[0], 10), envelopeAt(1007, topics[0], 10)
	s := beginCheck(t, history.Plan{Topics: topics[:1], From: 1000, To: 1010, MaxSize: 1000}, lister)
	s.step(history.Proceed{})
	n := named(4, right, topic, size, late)
	n.List[3].Sent = 1010 // a lie
	n.List = append(n.List, n.List[0], history.Entry{Hash: envelope.Hash{9}, Sent: 999, Size: 10})
	s.answer(n, history.Ended{Through: 9})
	if hashes := s.last().Question.Hashes; len(hashes) != 3 {
		t.Fatalf("asks for %d", len(hashes))
	}
	s.answer(packet(right, topic), packet(late, unasked), history.Ended{})
	want := [history.Reasons]uint64{history.NotAsked: 2, history.OutOfRange: 2, history.TooLarge: 1}
	if r := s.report; r.End != history.EndComplete || len(s.got) != 1 || r.Discarded != want || r.Duplicates != 1 || r.Resume.Arrival != 9 || r.Listed != 3 {
		t.Errorf("%d delivered, %+v", len(s.got), r)
	}
}

// TestMoreThanWasNamedIsNotTaken: the bodies of an answer have the size that the list said.
func TestMoreThanWasNamedIsNotTaken(t *testing.T) {
	list := []*envelope.Envelope{envelopeAt(1000, topics[0], 400), envelopeAt(1001, topics[0], 400)}
	s := beginCheck(t, history.Plan{}, lister)
	s.step(history.Proceed{})
	n := named(7, list...)
	n.List[0].Size, n.List[1].Size = 10, 10
	s.answer(n, history.Ended{Through: 9})
	s.answer(packet(list[0]), packet(list[1]))
	if r := s.report; !fault.Is(r.Err, fault.Corrupt) || len(s.got) != 1 {
		t.Errorf("%d delivered, %+v", len(s.got), r)
	}
}

func TestAnArchiveBeginsAnewUnderACheck(t *testing.T) {
	a, b := envelopeAt(1000, topics[0], 10), envelopeAt(1001, topics[0], 10)
	s := beginCheck(t, history.Plan{After: arrival(3), Until: 8}, lister)
	if q := s.last().Question; q.After != 3 || q.Until != 8 {
		t.Errorf("asks %+v", q)
	}
	s.answer(named(7, a), history.Ended{Err: fault.E("", fault.NotFound, nil, "began anew"), Epoch: [8]byte{2}})
	if q := s.last().Question; q.Epoch != [8]byte{2} || q.After != 0 || q.Until != 0 {
		t.Fatalf("asks %+v", q)
	}
	s.answer(named(1, a, b), history.Ended{Through: 2, Epoch: [8]byte{2}})
	s.step(history.Proceed{})
	s.answer(packet(a, b), history.Ended{})
	if r := s.report; r.End != history.EndComplete || !r.Restarted || r.Epoch != [8]byte{2} || r.FirstArrival != 0 || r.LastArrival != 2 || len(s.got) != 2 {
		t.Errorf("%+v", r)
	}
	s = beginCheck(t, history.Plan{After: history.Position{Form: history.ByArrival, Epoch: [8]byte{9}, Arrival: 3}, Until: 8}, lister)
	if q := s.last().Question; q.After != 0 || q.Until != 0 || q.Epoch != lister.Epoch {
		t.Errorf("asks %+v", q)
	}
}

func TestLookupsThatDoNotFitAreIgnored(t *testing.T) {
	a := envelopeAt(1000, topics[0], 10)
	s := beginCheck(t, history.Plan{Until: 7}, lister)
	s.dark = true
	s.answer(named(9, a), history.Ended{Through: 9, More: true})
	for _, l := range []history.Looked{{Lookup: 2, Have: []bool{true}}, {Lookup: 1}, {Lookup: 1, Have: []bool{true, true}}} {
		if s.step(l); s.report != nil {
			t.Fatalf("%+v counted", l)
		}
	}
	s.step(history.Looked{Lookup: 1, Have: []bool{true}})
	s.step(history.Looked{Lookup: 1, Have: []bool{false}})
	if r := s.report; r == nil || r.End != history.EndComplete || r.LastArrival != 7 {
		t.Errorf("%+v", r)
	}
}

func TestBusyListersAreAskedAgain(t *testing.T) {
	a := envelopeAt(1000, topics[0], 10)
	busy := history.Ended{Err: fault.E("", fault.Busy, nil, "slow down"), RetryAfter: 7 * time.Second}
	s := beginCheck(t, history.Plan{}, lister)
	s.step(history.Proceed{})
	s.answer(busy)
	if d := s.wait(); d != 7*time.Second || s.last().Form != history.Listing || len(s.asks) != 2 {
		t.Fatalf("asks again after %v", d)
	}
	s.answer(named(5, a), history.Ended{Through: 5}, busy)
	if d := s.wait(); d != 7*time.Second || s.last().Form != history.ByHash || len(s.asks) != 4 {
		t.Fatalf("asks again after %v", d)
	}
	if d := s.wait(); d != 10*time.Second || s.asks[3].Form != history.ByHash {
		t.Fatalf("gave up after %v", d)
	}
	s.wait()
	s.answer(packet(a), history.Ended{})
	if s.report == nil || s.report.End != history.EndComplete || len(s.got) != 1 {
		t.Errorf("%+v", s.report)
	}
}

func TestPlansOfChecksAreChecked(t *testing.T) {
	tests := map[string]struct {
		plan history.Plan
		caps history.Caps
		kind fault.Kind
	}{
		"no lists": {history.Plan{}, history.Caps{Forms: forms(history.Paged)}, fault.Unavailable},
		"position": {history.Plan{After: history.Position{Form: history.Paged, From: 1, To: 2}}, lister, fault.Invalid},
		"range":    {history.Plan{From: 5, To: 4}, lister, fault.Invalid},
		"topics":   {history.Plan{Topics: topics}, history.Caps{Forms: forms(history.ByArrival), Lists: true, MaxTopics: 4}, fault.Limit},
	}
	for name, tt := range tests {
		if _, err := history.NewCheck(tt.plan, tt.caps); !fault.Is(err, tt.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
