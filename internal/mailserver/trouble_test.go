package mailserver_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/nodeaddr"
)

func TestASlowReaderHoldsNobodyUp(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		r.fill(2000, 1000)
		slow := make([]*reader, 4)
		for i := range slow {
			slow[i] = &reader{slow: true}
			r.server.Ask(friend, prepared(mailserver.Request{}), slow[i])
		}
		synctest.Wait()
		fast := &reader{}
		r.server.Ask(mailserver.Asker{Conn: 2, Source: friend.Source}, prepared(mailserver.Request{}), fast)
		if o := fast.end(t); o.Count != 2000 {
			t.Errorf("the other got %+v", o)
		}
		for _, s := range slow {
			if s.ended() || s.most == 0 || s.most > mailserver.WindowBytes {
				t.Errorf("a slow reader has %d bytes under way", s.most)
			}
		}
		if st := r.server.Stats(); st.Running != 4 || st.UnderWay == 0 {
			t.Errorf("%+v", st)
		}
		pass(mailserver.StallTimeout + 2*time.Second)
		for _, s := range slow {
			wantKind(t, s.end(t).Err, fault.Timeout)
			for s.take(errors.New("closed")) {
			}
		}
		if st := r.server.Stats(); st.Running != 0 || st.UnderWay != 0 || st.Stalled != 4 {
			t.Errorf("%+v", st)
		}
	})
}

// TestAReaderThatPausesGetsEverything lets walks be closed and opened again while a reader rests.
func TestAReaderThatPausesGetsEverything(t *testing.T) {
	for _, order := range []archive.Order{archive.BySent, archive.ByArrival} {
		inBubble(t, nil, func(r *rig) {
			r.fill(1000, 2000)
			opened := 0
			r.archive.set(func(f *faulty) { f.starting = func() { opened++ } })
			out := &reader{slow: true}
			r.server.Ask(friend, prepared(mailserver.Request{Query: archive.Query{Order: order}, Limit: 900}), out)
			for !out.ended() {
				synctest.Wait()
				pass(5 * time.Second)
				for out.take(nil) {
				}
			}
			seen := map[envelope.Hash]bool{}
			for _, rec := range out.records() {
				if seen[rec.Hash] {
					t.Fatalf("arrival %d came twice", rec.Arrival)
				}
				seen[rec.Hash] = true
			}
			if o := out.end(t); len(seen) != 900 || o.Count != 900 || !o.More {
				t.Errorf("got %d, %+v", len(seen), o)
			}
			if opened < 3 {
				t.Errorf("the walk was opened %d times", opened)
			}
		})
	}
}

func TestCancelLeftAndLossReleaseEverything(t *testing.T) {
	ways := map[string]func(*rig, uint64, *reader){
		"cancel": func(r *rig, ticket uint64, out *reader) {
			r.server.Cancel(ticket)
			for out.take(nil) {
			}
		},
		"left": func(r *rig, _ uint64, _ *reader) { r.server.Left(friend.Conn) },
		"loss": func(_ *rig, _ uint64, out *reader) {
			for out.take(errors.New("lost")) {
			}
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(r *rig) {
				r.fill(1000, 2000)
				out := &reader{slow: true}
				ticket := r.server.Ask(friend, prepared(mailserver.Request{}), out)
				synctest.Wait()
				if r.archive.open != 1 {
					t.Fatalf("%d walks open", r.archive.open)
				}
				way(r, ticket, out)
				synctest.Wait()
				st := r.server.Stats()
				if r.archive.open != 0 || st.Running != 0 || st.UnderWay != 0 || st.Gone != 1 || out.ended() {
					t.Errorf("%d walks open, ended %v, %+v", r.archive.open, out.ended(), st)
				}
			})
		})
	}
}

func TestAFailingArchiveIsAnswered(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		list := r.fill(10, 100)
		corrupt := fault.E("", fault.Corrupt, nil, "the index is damaged")
		busy := fault.E("", fault.Busy, nil, "too many walks")
		look := mailserver.Request{Hashes: []envelope.Hash{list[0].Hash()}}
		for _, tt := range []struct {
			fail  func(*faulty)
			req   mailserver.Request
			kind  fault.Kind
			retry bool
			alarm string
		}{
			{func(f *faulty) { f.walk = errDisk }, mailserver.Request{}, fault.Unavailable, true, "archive-unreadable"},
			{func(f *faulty) { f.next = corrupt }, mailserver.Request{}, fault.Corrupt, false, "archive-damaged"},
			{func(f *faulty) { f.walk = busy }, mailserver.Request{}, fault.Busy, true, ""},
			{func(f *faulty) { f.find = errDisk }, look, fault.Unavailable, true, "archive-unreadable"},
			{func(f *faulty) { f.next = errors.New("a defect") }, mailserver.Request{}, fault.Internal, false, ""},
		} {
			r.archive.set(tt.fail)
			o, _ := r.ask(tt.req)
			if fault.KindOf(o.Err) != tt.kind || (o.RetryAfter > 0) != tt.retry || o.More {
				t.Errorf("want %v: %+v", tt.kind, o)
			}
			if tt.alarm != "" && !r.has(tt.alarm) {
				t.Errorf("%v: conditions %v", tt.kind, r.health.List())
			}
			r.archive.set(func(f *faulty) { f.walk, f.next, f.find = nil, nil, nil })
			if o, _ := r.ask(mailserver.Request{}); o.Err != nil || o.Count != 10 || r.has("archive-unreadable") {
				t.Errorf("after recovery: %+v, %v", o, r.health.List())
			}
		}
	})
}

func (r *rig) has(code string) bool {
	for _, c := range r.health.List() {
		if c.Code == code {
			return true
		}
	}
	return false
}

func TestTooManyAreRefusedWithWords(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		r.fill(1000, 2000)
		var outs []*reader
		for range mailserver.MaxRunning + mailserver.MaxWaiting + 1 {
			out := &reader{slow: true}
			outs = append(outs, out)
			r.server.Ask(friend, prepared(mailserver.Request{}), out)
		}
		synctest.Wait()
		last := outs[len(outs)-1].end(t)
		wantKind(t, last.Err, fault.Busy)
		if last.RetryAfter <= 0 || fault.Text(last.Err) == "" {
			t.Errorf("%+v", last)
		}
		if st := r.server.Stats(); st.Running != mailserver.MaxRunning || st.Waiting != mailserver.MaxWaiting {
			t.Errorf("%+v", st)
		}
		pass(mailserver.QueueTimeout + 5*time.Second) // the four stall, the others waited for too long or stall too
		r.server.Left(friend.Conn)
	})
}

func TestBytesOfTheDay(t *testing.T) {
	inBubble(t, func(o *mailserver.Options) { o.Limits.BytesPerDay = 500_000 }, func(r *rig) {
		r.fill(1000, 1000)
		o, out := r.ask(mailserver.Request{Query: archive.Query{Order: archive.ByArrival}})
		wantKind(t, o.Err, fault.Limit)
		sent := len(out.records()) * len(out.records()[0].Raw)
		if sent < 500_000 || sent > 500_000+4*mailserver.PacketBytes || o.Through != uint64(o.Count) {
			t.Errorf("%d bytes were sent, %+v", sent, o)
		}
		now := time.Now().UTC()
		if midnight := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now); o.RetryAfter != midnight {
			t.Errorf("to be asked again after %v, midnight is in %v", o.RetryAfter, midnight)
		}
		o, _ = r.ask(mailserver.Request{})
		wantKind(t, o.Err, fault.Limit)
		if err := r.server.Housekeep(t.Context()); err != nil || !r.has("bandwidth-used") {
			t.Errorf("%v: %v", err, r.health.List())
		}
		pass(o.RetryAfter)
		if o, _ := r.ask(mailserver.Request{Limit: 10}); o.Err != nil || o.Count != 10 {
			t.Errorf("the next day: %+v", o)
		}
		if err := r.server.Housekeep(t.Context()); err != nil || r.has("bandwidth-used") {
			t.Errorf("%v: %v", err, r.health.List())
		}
		r.server.SetLimits(mailserver.Limits{BytesPerDay: 1})
		o, _ = r.ask(mailserver.Request{})
		wantKind(t, o.Err, fault.Limit)
	})
}

// book is a list of members with what is left to them.
type book map[nodeaddr.ID]int64

func (b book) Allowed(node nodeaddr.ID) error {
	left, ok := b[node]
	switch {
	case !ok:
		return fault.E("", fault.Denied, nil, "this mail server is for its members")
	case left <= 0:
		return fault.E("", fault.Limit, nil, "your quota for today is used up")
	}
	return nil
}

func (b book) Spend(node nodeaddr.ID, bytes int64) (int64, error) {
	if err := b.Allowed(node); err != nil {
		return 0, err
	}
	b[node] -= bytes
	return b[node], nil
}

func TestGates(t *testing.T) {
	member, stranger := nodeaddr.ID{1}, nodeaddr.ID{2}
	members := mailserver.Members{Book: book{member: 100_000}}
	for _, tt := range []struct {
		gate mailserver.Gate
		who  mailserver.Asker
		kind mailserver.Kind
		want error
	}{
		{nil, mailserver.Asker{}, mailserver.History, nil},
		{nil, mailserver.Asker{}, mailserver.Look, nil},
		{nil, mailserver.Asker{}, mailserver.Sync, fault.E("", fault.Denied, nil, "")},
		{nil, mailserver.Asker{Trusted: true}, mailserver.Sync, nil},
		{members, mailserver.Asker{Node: member}, mailserver.History, nil},
		{members, mailserver.Asker{Node: stranger}, mailserver.History, fault.E("", fault.Denied, nil, "")},
		{members, mailserver.Asker{Node: stranger}, mailserver.Sync, fault.E("", fault.Denied, nil, "")},
		{members, mailserver.Asker{Node: stranger}, mailserver.Look, fault.E("", fault.Denied, nil, "")},
		{members, mailserver.Asker{Node: stranger, Trusted: true}, mailserver.Sync, nil},
	} {
		t.Run(fmt.Sprintf("%T %+v %v", tt.gate, tt.who.Trusted, tt.kind), func(t *testing.T) {
			inBubble(t, func(o *mailserver.Options) { o.Gate = tt.gate }, func(r *rig) {
				req := mailserver.Request{Kind: tt.kind}
				for _, e := range r.fill(5, 100) {
					if tt.kind == mailserver.Look {
						req.Hashes = append(req.Hashes, e.Hash())
					}
				}
				out := &reader{}
				r.server.Ask(tt.who, prepared(req), out)
				o := out.end(t)
				if tt.want == nil && (o.Err != nil || o.Count != 5) || tt.want != nil && (!fault.Is(o.Err, fault.KindOf(tt.want)) || o.Count != 0) {
					t.Errorf("%+v", o)
				}
			})
		})
	}
	if !members.MembersOnly() || (mailserver.Open{}).MembersOnly() {
		t.Error("the gates are not announced as they are")
	}
}

func TestAQuotaEndsAnAnswerWhereItIsUsedUp(t *testing.T) {
	member := nodeaddr.ID{1}
	inBubble(t, func(o *mailserver.Options) { o.Gate = mailserver.Members{Book: book{member: 100_000}} }, func(r *rig) {
		r.fill(1000, 1000)
		out := &reader{}
		r.server.Ask(mailserver.Asker{Conn: 1, Node: member}, prepared(mailserver.Request{Query: archive.Query{Order: archive.ByArrival}}), out)
		o := out.end(t)
		wantKind(t, o.Err, fault.Limit)
		if n := len(out.records()); n < 100 || n > 200 || o.Through != uint64(n) || o.RetryAfter <= 0 {
			t.Errorf("%d were sent, %+v", n, o)
		}
	})
}

func TestCloseEndsWhatIsOpen(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		r.fill(1000, 2000)
		outs := []*reader{}
		for range 6 {
			outs = append(outs, &reader{slow: true})
			r.server.Ask(friend, prepared(mailserver.Request{}), outs[len(outs)-1])
		}
		synctest.Wait()
		r.server.Close()
		late := &reader{}
		r.server.Ask(friend, prepared(mailserver.Request{}), late)
		for _, out := range append(outs, late) {
			wantKind(t, out.end(t).Err, fault.Closed)
			for out.take(nil) {
			}
		}
	})
}
