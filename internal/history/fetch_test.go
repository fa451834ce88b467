package history_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
)

// script steps a job by hand and notes what it asks and how it ends.
type script struct {
	t      *testing.T
	fetch  history.Job
	now    time.Time
	asks   []history.Ask
	grants int64
	got    []*envelope.Envelope
	hold   bool // do not keep what is delivered
	shares []float64
	pages  []history.Page

	have    map[envelope.Hash]bool // what a lookup finds, and what was delivered
	lookups []history.Lookup
	dark    bool // do not answer lookups

	report *history.Report
}

func begin(t *testing.T, p history.Plan, c history.Caps) *script {
	t.Helper()
	f, err := history.New(p, c)
	if err != nil {
		t.Fatal(err)
	}
	return stepping(t, f)
}

func stepping(t *testing.T, job history.Job) *script {
	s := &script{t: t, fetch: job, now: start, have: map[envelope.Hash]bool{}}
	s.step(history.Tick{})
	return s
}

func (s *script) step(ev history.Event) {
	var again []history.Event
	for _, action := range s.fetch.Step(s.now, ev) {
		switch a := action.(type) {
		case history.Ask:
			s.asks = append(s.asks, a)
		case history.Grant:
			s.grants += a.Bytes
		case history.Deliver:
			s.pages = append(s.pages, a.Page)
			s.got = append(s.got, a.Page.Envelopes...)
			for _, env := range a.Page.Envelopes {
				s.have[env.Hash()] = true
			}
			s.shares = append(s.shares, a.Page.Progress.Share)
			if !s.hold {
				again = append(again, history.Delivered{})
			}
		case history.Lookup:
			if s.lookups = append(s.lookups, a); !s.dark {
				again = append(again, s.found(a))
			}
		case history.Finish:
			s.report = &a.Report
		}
	}
	for _, ev := range again {
		s.step(ev)
	}
}

// found is the answer to a lookup.
func (s *script) found(l history.Lookup) history.Looked {
	have := make([]bool, len(l.Entries))
	for i, e := range l.Entries {
		have[i] = s.have[e.Hash]
	}
	return history.Looked{Lookup: l.Lookup, Have: have}
}

func (s *script) answer(ans ...history.Answer) {
	for _, a := range ans {
		s.step(history.Answered{Ask: len(s.asks), Answer: a})
	}
}

// wait lets time pass until something is due.
func (s *script) wait() time.Duration {
	s.t.Helper()
	at, ok := s.fetch.Deadline()
	if !ok {
		s.t.Fatal("nothing is due")
	}
	passed := at.Sub(s.now)
	s.now = at
	s.step(history.Tick{})
	return passed
}

func (s *script) last() history.Ask { return s.asks[len(s.asks)-1] }

func envelopeAt(sent uint32, topic envelope.Topic, size int) *envelope.Envelope {
	return envelope.New(sent+50, 50, topic, make([]byte, size), uint64(sent))
}

func packet(list ...*envelope.Envelope) history.Got { return history.Got{Envelopes: list} }

func TestWhatIsNotAskedForIsDiscardedByReason(t *testing.T) {
	like := envelope.Topic{} // resembles topic 1 in a filter
	for filter := topics[0].WideBloom(); !filter.AdmitsTopic(like) || like == topics[0]; {
		if like[3]++; like[3] == 0 {
			if like[2]++; like[2] == 0 {
				like[1]++
			}
		}
	}
	far := envelope.Topic{0xff, 0xff, 0xff, 0xff}
	list := packet(
		envelopeAt(1005, topics[0], 10), envelopeAt(1000, topics[0], 10), envelopeAt(1010, topics[0], 10), envelopeAt(1005, topics[0], 10),
		envelopeAt(999, topics[0], 10), envelopeAt(1011, topics[0], 10), envelopeAt(1005, far, 10), envelopeAt(1005, like, 10),
		envelopeAt(1006, topics[0], 1001))
	for form, want := range map[history.Form][history.Reasons]uint64{
		history.Paged:     {history.NotAsked: 1, history.ByFilter: 1, history.OutOfRange: 2, history.TooLarge: 1},
		history.ByArrival: {history.NotAsked: 2, history.OutOfRange: 2, history.TooLarge: 1},
	} {
		s := begin(t, history.Plan{Topics: topics[:1], From: 1000, To: 1010, MaxSize: 1000}, history.Caps{Forms: forms(form)})
		s.answer(list, history.Ended{Through: 9})
		if r := s.report; r.End.String() != "complete" || len(s.got) != 3 || r.Duplicates != 1 || r.Discarded != want {
			t.Errorf("%v: %d delivered, report %+v", form, len(s.got), r)
		}
	}
	s := begin(t, history.Plan{MinPoW: 1e9, From: 1000, To: 1010}, history.Caps{Forms: forms(history.Paged)})
	s.answer(list, history.Ended{})
	if s.report.Discarded[history.LowWork] != 7 || len(s.got) != 0 {
		t.Errorf("report %+v", s.report)
	}
}

func TestFormsAreTriedInOrder(t *testing.T) {
	all := history.Caps{Forms: forms(history.ByArrival, history.Paged, history.Bare), Epoch: [8]byte{1}}
	s := begin(t, history.Plan{From: 5}, all)
	if q := s.last().Question; q.To != 0 || q.Epoch != all.Epoch || q.Credit != history.Window || q.Budget <= 0 {
		t.Errorf("by arrival asks %+v", q)
	}
	if d := s.wait(); d != 10*time.Second || s.last().Form != history.Paged {
		t.Errorf("after %v asks in the form %v", d, s.last().Form)
	}
	if q := s.last().Question; q.From != 5 || int64(q.To) <= start.Unix() || q.Limit != 1000 || q.Cursor != nil {
		t.Errorf("paged asks %+v", q)
	}
	s.answer(history.Ended{Err: fault.E("", fault.Invalid, nil, "Undersized p2p request")})
	to := s.last().Question.To
	if s.last().Form != history.Bare || int64(to) <= start.Unix() {
		t.Errorf("bare asks %+v", s.last())
	}
	s.answer(packet(envelopeAt(6, topics[0], 1)))
	if d := s.wait(); d != 3*time.Second || s.report == nil || s.report.End != history.EndAssumed || s.report.Form != history.Bare {
		t.Errorf("after %v: %+v", d, s.report)
	}
	if !s.report.Resume.IsZero() || s.report.To != rangeEnd || s.report.Asked != 3 {
		t.Errorf("report %+v", s.report)
	}
}

func TestWhereItGoesOn(t *testing.T) {
	epoch := [8]byte{1, 2}
	cursor := []byte{7, 8, 9}
	paged := history.Position{Form: history.Paged, From: 10, To: 20, Cursor: cursor}
	byArrival := history.Position{Form: history.ByArrival, Epoch: epoch, Arrival: 77}
	tests := map[string]struct {
		after     history.Position
		caps      history.Caps
		form      history.Form
		want      history.Question
		restarted bool
	}{
		"arrival": {byArrival, history.Caps{Forms: forms(history.ByArrival, history.Paged), Epoch: epoch}, history.ByArrival,
			history.Question{From: 3, Epoch: epoch, After: 77, Budget: 64 << 20, Credit: history.Window}, false},
		"another epoch": {byArrival, history.Caps{Forms: forms(history.ByArrival), Epoch: [8]byte{9}}, history.ByArrival,
			history.Question{From: 3, Epoch: [8]byte{9}, Budget: 64 << 20, Credit: history.Window}, true},
		"no arrivals any more": {byArrival, history.Caps{Forms: forms(history.Paged)}, history.Paged,
			history.Question{From: 3, To: rangeEnd + 60, Limit: 1000}, false},
		"cursor": {paged, history.Caps{Forms: forms(history.ByArrival, history.Paged), Epoch: epoch}, history.Paged,
			history.Question{From: 10, To: 20, Cursor: cursor, Limit: 1000}, false},
		"no pages any more": {paged, history.Caps{Forms: forms(history.Bare)}, history.Bare, history.Question{From: 10, To: 20}, false},
		"piece": {history.Position{Form: history.Bare, From: 15, To: 20}, history.Caps{Forms: forms(history.Bare)}, history.Bare,
			history.Question{From: 15, To: 20}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := begin(t, history.Plan{From: 3, After: tt.after}, tt.caps)
			if s.last().Form != tt.form {
				t.Errorf("form %v", s.last().Form)
			}
			if d := cmp.Diff(tt.want, s.last().Question); d != "" {
				t.Error(d)
			}
			s.step(history.Stop{Err: fault.E("", fault.Closed, nil, "enough")})
			if s.report.Restarted != tt.restarted || s.report.Resume.Form != tt.form {
				t.Errorf("report %+v", s.report)
			}
		})
	}
}

func TestCreditFollowsTheConsumer(t *testing.T) {
	s := begin(t, history.Plan{}, history.Caps{Forms: forms(history.ByArrival), Epoch: [8]byte{1}, Next: 101})
	s.hold = true
	s.answer(history.Got{Envelopes: []*envelope.Envelope{envelopeAt(1, topics[0], 3<<20)}, Through: 50})
	s.answer(history.Got{Envelopes: []*envelope.Envelope{envelopeAt(2, topics[0], 3<<20)}, Through: 100})
	if s.grants != 0 || len(s.got) != 1 || s.shares[0] != 0.5 {
		t.Fatalf("granted %d, delivered %d, share %v", s.grants, len(s.got), s.shares)
	}
	if at, ok := s.fetch.Deadline(); ok {
		t.Fatalf("the server has until %v, but may not send", at)
	}
	s.now = s.now.Add(time.Hour)
	s.step(history.Delivered{})
	if s.grants != 0 { // 3 of 4 MiB are with the consumer again
		t.Fatalf("granted %d", s.grants)
	}
	s.step(history.Delivered{})
	if held := int64(6<<20) + 100; s.grants < 6<<20 || s.grants > held {
		t.Fatalf("granted %d", s.grants)
	}
	if d := s.wait(); d != 30*time.Second || s.report == nil || !fault.Is(s.report.Err, fault.Timeout) {
		t.Errorf("after %v: %+v", d, s.report)
	}
	if want := (history.Position{Form: history.ByArrival, Epoch: [8]byte{1}, Arrival: 100}); !cmp.Equal(s.report.Resume, want) {
		t.Errorf("resume at %+v", s.report.Resume)
	}
}

func TestLimitsEndAFetch(t *testing.T) {
	list := packet(envelopeAt(10, topics[0], 100), envelopeAt(11, topics[0], 100), envelopeAt(12, topics[0], 100))
	list.Through = 30
	plan := history.Plan{From: 1, To: 20, Limit: 2}
	s := begin(t, plan, history.Caps{Forms: forms(history.ByArrival)})
	s.answer(list)
	if s.report.End != history.EndLimited || len(s.got) != 2 || s.report.Resume.Arrival != 0 {
		t.Errorf("by arrival: %d delivered, %+v", len(s.got), s.report)
	}
	s = begin(t, plan, history.Caps{Forms: forms(history.Paged)})
	if s.last().Question.Limit != 2 {
		t.Errorf("asks %+v", s.last().Question)
	}
	s.answer(packet(list.Envelopes[:2]...), history.Ended{Cursor: []byte{1}})
	if s.report.End != history.EndLimited || len(s.got) != 2 || string(s.report.Resume.Cursor) != "\x01" {
		t.Errorf("paged: %d delivered, %+v", len(s.got), s.report)
	}
	s = begin(t, history.Plan{From: 1, To: 20, Budget: 250}, history.Caps{Forms: forms(history.Paged)})
	s.answer(list, history.Ended{Cursor: []byte{1}})
	if s.report.End != history.EndLimited || len(s.got) != 3 {
		t.Errorf("budget: %d delivered, %+v", len(s.got), s.report)
	}
	s = begin(t, plan, history.Caps{Forms: forms(history.Bare)})
	s.answer(list)
	if s.report.End != history.EndLimited || len(s.got) != 2 {
		t.Errorf("bare: %d delivered, %+v", len(s.got), s.report)
	}
}

func TestBusyServersAreAskedAgain(t *testing.T) {
	busy := fault.E("", fault.Busy, nil, "rate limit exceeded")
	s := begin(t, history.Plan{To: 9}, history.Caps{Forms: forms(history.Paged)})
	s.answer(history.Ended{Err: busy, RetryAfter: 7 * time.Second})
	if d := s.wait(); d != 7*time.Second || len(s.asks) != 2 {
		t.Fatalf("asked again after %v", d)
	}
	for _, want := range []time.Duration{4, 8, 16, 32} {
		s.answer(history.Ended{Err: busy})
		if d := s.wait(); d != want*time.Second {
			t.Fatalf("asked again after %v, want %v s", d, want)
		}
	}
	s.answer(history.Ended{Err: busy})
	if !fault.Is(s.report.Err, fault.Busy) || !strings.Contains(fault.Text(s.report.Err), "rate limit exceeded") || s.report.Answered {
		t.Errorf("report %+v", s.report)
	}
}

// TestSlowConsumers: what older servers send cannot be held back, so what there is no room for is asked for again, less at
// a time.
func TestSlowConsumers(t *testing.T) {
	big := make([]*envelope.Envelope, 6)
	for i := range big {
		big[i] = envelopeAt(uint32(100+i), topics[0], 1<<20)
	}
	for _, form := range forms(history.Paged, history.Bare) {
		s := begin(t, history.Plan{From: 100, To: 119}, history.Caps{Forms: forms(form)})
		s.hold = true
		for _, env := range big {
			s.answer(packet(env))
		}
		if form == history.Paged {
			s.answer(history.Ended{Last: big[5].Hash(), Cursor: []byte{1}})
		} else {
			s.wait()
		}
		for len(s.got) < 4 {
			if len(s.asks) != 1 {
				t.Fatalf("%v: asked again with %d kept", form, len(s.got))
			}
			s.step(history.Delivered{})
		}
		s.hold = false
		s.step(history.Delivered{})
		q := s.last().Question
		if len(s.asks) != 2 || q.Cursor != nil || q.From != 100 || form == history.Paged && q.Limit != 500 || form == history.Bare && q.To != 108 {
			t.Fatalf("%v: asks again for %+v", form, q)
		}
		s.answer(packet(big...), history.Ended{Last: big[5].Hash()})
		if form == history.Bare {
			if q := s.last().Question; q.From != 109 || q.To != 117 {
				t.Errorf("the next piece is %+v", q)
			}
			s.answer(history.Ended{})
			if q := s.last().Question; q.From != 118 || q.To != 119 {
				t.Errorf("the last piece is %+v", q)
			}
			s.answer(history.Ended{})
		}
		if r := s.report; r == nil || len(s.got) != 6 || r.Discarded[history.NoRoom] != 2 || r.Duplicates != 4 || !r.Resume.IsZero() {
			t.Errorf("%v: %d delivered, %+v", form, len(s.got), r)
		}
	}
}

// TestTheBudgetCountsEnvelopes: what packets add around them is the credit's business. A server fills the budget to the brim.
func TestTheBudgetCountsEnvelopes(t *testing.T) {
	s := begin(t, history.Plan{Budget: 1000}, history.Caps{Forms: forms(history.ByArrival)})
	for i := range 3 {
		p := packet(envelopeAt(uint32(100+i), topics[0], 250))
		p.Bytes, p.Through = 500, uint64(i+1)
		s.answer(p)
	}
	s.answer(history.Ended{Through: 3})
	if r := s.report; r == nil || r.End != history.EndComplete || len(s.got) != 3 {
		t.Errorf("%d delivered, %+v", len(s.got), r)
	}
}

// TestABareAnswerThatWasCut: a server with a limit says so by a cursor, which the form Bare has no place for.
func TestABareAnswerThatWasCut(t *testing.T) {
	a, b := envelopeAt(100, topics[0], 10), envelopeAt(101, topics[0], 10)
	s := begin(t, history.Plan{From: 100, To: 101}, history.Caps{Forms: forms(history.Bare)})
	s.answer(packet(a), history.Ended{Last: a.Hash(), Cursor: []byte{1}})
	if q := s.last().Question; len(s.asks) != 2 || q.From != 100 || q.To >= 101 {
		t.Fatalf("after a cut answer it asks for %+v", q)
	}
	s.answer(packet(a), history.Ended{Last: a.Hash()})
	s.answer(packet(b), history.Ended{Last: b.Hash(), Cursor: []byte{2}}) // one second is the least to ask for
	if s.report == nil || s.report.End != history.EndAssumed || len(s.got) != 2 {
		t.Errorf("%d delivered, %+v", len(s.got), s.report)
	}
}

// TestWhatWasNamedButNotSent is asked for once more.
func TestWhatWasNamedButNotSent(t *testing.T) {
	a, b := envelopeAt(5, topics[0], 1), envelopeAt(6, topics[0], 1)
	short := []history.Answer{packet(a), history.Ended{Last: b.Hash(), Cursor: []byte{1}}}
	s := begin(t, history.Plan{To: 9}, history.Caps{Forms: forms(history.Paged)})
	s.answer(short...)
	if q := s.last().Question; len(s.asks) != 2 || q.Cursor != nil {
		t.Fatalf("asks %+v", s.asks)
	}
	s.answer(packet(a, b), history.Ended{Last: b.Hash()})
	if r := s.report; r.End != history.EndComplete || r.Unsent != 1 || len(s.got) != 2 {
		t.Errorf("%d delivered, %+v", len(s.got), r)
	}
	s = begin(t, history.Plan{To: 9}, history.Caps{Forms: forms(history.Paged)})
	s.answer(short...)
	s.answer(short...)
	if q := s.last().Question; string(q.Cursor) != "\x01" {
		t.Fatalf("asks %+v", q)
	}
	s.answer(history.Ended{})
	if r := s.report; r.End != history.EndAssumed || r.Unsent != 2 {
		t.Errorf("%+v", r)
	}
}

func TestAnArchiveBeginsAnewUnderAFetch(t *testing.T) {
	s := begin(t, history.Plan{}, history.Caps{Forms: forms(history.ByArrival), Epoch: [8]byte{1}})
	s.answer(history.Got{Envelopes: []*envelope.Envelope{envelopeAt(5, topics[0], 1)}, Through: 9})
	s.answer(history.Ended{Epoch: [8]byte{2}, Through: 10})
	if q := s.last().Question; q.Epoch != [8]byte{2} || q.After != 0 {
		t.Fatalf("asks %+v", q)
	}
	s.answer(history.Ended{Epoch: [8]byte{2}, Through: 4})
	if r := s.report; r.End != history.EndComplete || !r.Restarted || r.Epoch != [8]byte{2} || r.FirstArrival != 0 || r.LastArrival != 4 {
		t.Errorf("%+v", r)
	}
}

// TestABoundedFetch goes up to an arrival and not beyond, whatever the server says of what comes after.
func TestABoundedFetch(t *testing.T) {
	caps := history.Caps{Forms: forms(history.ByArrival), Epoch: [8]byte{1}, Next: 100}
	plan := history.Plan{After: history.Position{Form: history.ByArrival, Epoch: caps.Epoch, Arrival: 10}, Until: 20}
	s := begin(t, plan, caps)
	if q := s.last().Question; q.After != 10 || q.Until != 20 {
		t.Fatalf("asks %+v", q)
	}
	p := packet(envelopeAt(1, topics[0], 10))
	p.Through = 15
	s.answer(p, history.Ended{Through: 99, More: true})
	if r := s.report; r == nil || r.End != history.EndComplete || r.LastArrival != 20 || s.shares[0] != 0.5 {
		t.Fatalf("%+v, shares %v", r, s.shares)
	}
	plan.After = s.report.Resume
	if s = begin(t, plan, caps); s.report == nil || s.report.End != history.EndComplete || len(s.asks) != 0 {
		t.Errorf("where nothing is left to ask: %+v", s.report)
	}
	caps.Epoch = [8]byte{2}
	if s = begin(t, plan, caps); s.last().Question.Until != 0 {
		t.Errorf("the bound of an archive that is no more: %+v", s.last())
	}
}

func TestOldAnswersAreIgnored(t *testing.T) {
	s := begin(t, history.Plan{To: 9}, history.Caps{Forms: forms(history.Paged, history.Bare)})
	s.wait()
	s.step(history.Answered{Ask: 1, Answer: history.Ended{Cursor: []byte{1}}})
	s.step(history.Answered{Ask: 1, Answer: packet(envelopeAt(5, topics[0], 1))})
	if s.report != nil || len(s.got) != 0 || len(s.asks) != 2 {
		t.Errorf("an answer to the question before counted")
	}
}

func TestShareFollowsTheServersOrder(t *testing.T) {
	for name, sents := range map[string][]uint32{"oldest first": {110, 150, 180}, "newest first": {190, 150, 120}} {
		s := begin(t, history.Plan{From: 100, To: 200}, history.Caps{Forms: forms(history.Paged)})
		for i, sent := range sents {
			s.answer(packet(envelopeAt(sent, topics[0], 1)), history.Ended{Cursor: []byte{byte(i)}})
		}
		if got := s.shares[len(s.shares)-1]; got != 0.8 {
			t.Errorf("%s: share %v", name, s.shares)
		}
	}
}

func TestPlansAreChecked(t *testing.T) {
	paged := history.Caps{Forms: forms(history.Paged)}
	tests := map[string]struct {
		plan history.Plan
		caps history.Caps
		kind fault.Kind
	}{
		"no forms":   {history.Plan{}, history.Caps{}, fault.Unavailable},
		"range":      {history.Plan{From: 5, To: 4}, paged, fault.Invalid},
		"topics":     {history.Plan{Topics: make([]envelope.Topic, 10001)}, paged, fault.Limit},
		"its topics": {history.Plan{Topics: topics}, history.Caps{Forms: forms(history.ByArrival), MaxTopics: 4}, fault.Limit},
		"page":       {history.Plan{PageLimit: 1001}, paged, fault.Invalid},
		"negative":   {history.Plan{Limit: -1}, paged, fault.Invalid},
	}
	for name, tt := range tests {
		if _, err := history.New(tt.plan, tt.caps); !fault.Is(err, tt.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"", "a-0102030405060708-77", "p-10-20-070809", "p-10-20-", "b-15-20", "b-20-15", "a-01-1", "p-1-2-0g", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := history.ParsePosition(s)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		again, err := history.ParsePosition(p.String())
		if err != nil || !cmp.Equal(p, again) {
			t.Errorf("%q is %+v, then %+v, %v", s, p, again, err)
		}
	})
}
