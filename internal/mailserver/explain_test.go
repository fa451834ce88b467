package mailserver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mailserver"
)

func (r *rig) explain(h envelope.Hash) mailserver.Explanation {
	r.t.Helper()
	x, err := r.server.Explain(r.t.Context(), h)
	if err != nil {
		r.t.Fatal(err)
	}
	return x
}

func TestExplain(t *testing.T) {
	rules := archive.Rules{Min: 72 * time.Hour}
	inBubble(t, func(o *mailserver.Options) { o.Rules = rules }, func(r *rig) {
		list := mails(2, 100)
		r.keep("s", list...)
		r.verdicts()
		for range 3 {
			r.ask(mailserver.Request{Hashes: []envelope.Hash{list[1].Hash()}})
		}
		x := r.explain(list[1].Hash())
		if x.State != mailserver.Stored || x.Arrival != 2 || x.Served != 3 || !x.HeldUntil.Equal(x.Arrived.Add(rules.Min)) || x.From != "" {
			t.Errorf("%+v", x)
		}
		if want := "Stored as arrival 2 at 2000-01-01 00:00:00 UTC; it is held at least until 2000-01-04 00:00:00 UTC and was sent 3 times since the start."; x.Text != want {
			t.Errorf("%q", x.Text)
		}
		pass(100 * time.Hour)
		if x = r.explain(list[0].Hash()); !x.HeldUntil.Equal(time.Now()) || !strings.Contains(x.Text, "may be removed at any time and has not been sent") {
			t.Errorf("%+v", x)
		}

		refused := envelope.Hash{1}
		r.server.Refused(refused, "the proof of work is too low", "s")
		if x = r.explain(refused); x.State != mailserver.Refused || x.Reason != "the proof of work is too low" || !x.When.Equal(time.Now()) {
			t.Errorf("%+v", x)
		}
		if x = r.explain(envelope.Hash{2}); x.State != mailserver.Unknown || x.Text == "" {
			t.Errorf("%+v", x)
		}
		pass(25 * time.Hour)
		if x = r.explain(refused); x.State != mailserver.Unknown {
			t.Errorf("a day later: %+v", x)
		}
		r.server.Refused(refused, strings.Repeat("very long ", 100), "s")
		if x = r.explain(refused); len(x.Reason) > 210 {
			t.Errorf("a reason of %d bytes", len(x.Reason))
		}
		r.archive.set(func(f *faulty) { f.find = errDisk })
		_, err := r.server.Explain(t.Context(), refused)
		wantKind(t, err, fault.Unavailable)
	})
}

func TestSourcesAreSaltedAnewEveryDay(t *testing.T) {
	inBubble(t, func(o *mailserver.Options) { o.ExplainSources = true }, func(r *rig) {
		list := mails(3, 100)
		from := func(e *envelope.Envelope, source string) string {
			r.keep(source, e)
			r.verdicts()
			return r.explain(e.Hash()).From
		}
		a, b := from(list[0], "10.1.2"), from(list[1], "10.1.2")
		if a == "" || a != b || strings.Contains(a, "10.1") {
			t.Errorf("ids %q and %q", a, b)
		}
		r.server.Refused(envelope.Hash{1}, "no", "10.1.3")
		if c := r.explain(envelope.Hash{1}).From; c == "" || c == a {
			t.Errorf("another source is %q", c)
		}
		pass(24 * time.Hour)
		if d := from(list[2], "10.1.2"); d == "" || d == a {
			t.Errorf("id %q on the next day, was %q", d, a)
		}
	})
}

// TestMemoryOfRefusalsIsBounded refuses more than are remembered: the latest are.
func TestMemoryOfRefusalsIsBounded(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		name := func(i int) envelope.Hash { return envelope.Hash{byte(i), byte(i >> 8), byte(i >> 16)} }
		for i := range 70_000 {
			r.server.Refused(name(i), "no", "")
		}
		if r.explain(name(0)).State != mailserver.Unknown || r.explain(name(69_999)).State != mailserver.Refused || r.explain(name(70_000-1<<16)).State != mailserver.Refused {
			t.Error("not the latest refusals are remembered")
		}
	})
}

func TestAnnounceAndHousekeep(t *testing.T) {
	rules := archive.Rules{Min: time.Hour, Age: 2 * time.Hour}
	inBubble(t, func(o *mailserver.Options) { o.Rules, o.Gate = rules, mailserver.Members{} }, func(r *rig) {
		r.keep("s", mails(3, 100)...)
		r.verdicts()
		closing := time.Now().Add(24 * time.Hour)
		r.server.SetClosing(closing)
		a := r.server.Announce()
		if a.Next != 4 || a.Keep != time.Hour || a.Age != 2*time.Hour || !a.Closing.Equal(closing) || !a.MembersOnly || a.Epoch == [8]byte{} || a.Oldest.IsZero() {
			t.Errorf("%+v", a)
		}
		pass(3 * time.Hour)
		if err := r.server.Housekeep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if a = r.server.Announce(); a.Next != 4 || !a.Oldest.IsZero() {
			t.Errorf("after their time: %+v", a)
		}
		r.server.SetRules(archive.Rules{Min: time.Minute})
		if a = r.server.Announce(); a.Keep != time.Minute || a.Age != 0 {
			t.Errorf("with other rules: %+v", a)
		}
	})
}
