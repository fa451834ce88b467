package inbox_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/outbox"
	"github.com/restante-im/restante/internal/watch"
)

func TestMissedMailComesFromBothServersOnce(t *testing.T) {
	a, b := newServer(1), newServer(2)
	for n := range 60 {
		e := letterOf(t, n, topic)
		if n%3 != 0 {
			a.keep(e)
		}
		if n%3 != 1 {
			b.keep(e)
		}
	}
	r := newRig(t, a, b).start()
	w := r.watch(watch.Spec{Name: "club"})
	report := r.sync(catchup.Options{})
	if report.End != catchup.EndAgreed || len(report.Gaps) != 0 {
		t.Errorf("report = %+v", report)
	}
	got := r.numbers(w.ID)
	slices.Sort(got)
	want := make([]int, 60)
	for n := range want {
		want[n] = n
	}
	if !slices.Equal(got, want) {
		t.Errorf("messages = %v", got)
	}
	lines, err := r.inbox.Coverage(r.ctx(), w.ID)
	if err != nil || len(lines) != 1 || len(lines[0].By) != 2 || lines[0].Agreed == 0 {
		t.Errorf("coverage = %+v, %v", lines, err)
	}
	r.stop()
	r.start()
	if again := r.sync(catchup.Options{}); again.New != 0 {
		t.Errorf("after a restart %d are new", again.New)
	}
	if n := len(r.numbers(w.ID)); n != 60 {
		t.Errorf("%d messages after a restart", n)
	}
	st, err := r.inbox.Status(r.ctx())
	if err != nil || st.Mail != 60 || st.Watches != 1 || st.Servers != 2 || st.Gaps != 0 || st.LastSync.IsZero() || !strings.HasPrefix(st.Text, "Nothing is known to be lacking") {
		t.Errorf("status = %+v, %v", st, err)
	}
}

func TestLiveMailIsKeptOnce(t *testing.T) {
	r := newRig(t, newServer(1)).start()
	w := r.watch(watch.Spec{})
	r.sync(catchup.Options{})
	came := make(chan inbox.Event, 8)
	defer r.inbox.Subscribe(func(ev inbox.Event) {
		if ev.Kind == inbox.MailEvent {
			came <- ev
		}
	})()
	e := letterOf(t, 7, topic)
	r.inbox.Offer(letterOf(t, 8, envelope.Topic{9}), 1, false)
	r.inbox.Offer(e, 1, false)
	if ev := <-came; ev.New != 1 || !ev.Live || ev.First != ev.Last {
		t.Errorf("event = %+v", ev)
	}
	r.inbox.Offer(e, 1, false)
	r.servers[0].keep(e) // and the mail server has it too
	r.sync(catchup.Options{})
	if got := r.numbers(w.ID); !slices.Equal(got, []int{7}) {
		t.Errorf("messages = %v", got)
	}
	x, err := r.inbox.Explain(r.ctx(), e.Hash())
	if err != nil || x.State != "kept" || !strings.Contains(x.Text, "came live") || !slices.Equal(x.Watches, []string{w.ID}) {
		t.Errorf("explanation = %+v, %v", x, err)
	}
	if x, err := r.inbox.Explain(r.ctx(), envelope.Hash{1}); err != nil || x.State != "unknown" {
		t.Errorf("explanation = %+v, %v", x, err)
	}
}

func TestALetterIsFollowedUntilItIsHeld(t *testing.T) {
	a, b := newServer(1), newServer(2)
	r := newRig(t, a, b).start()
	r.sync(catchup.Options{}) // both are connected
	states := make(chan outbox.Entry, 32)
	defer r.inbox.Subscribe(func(ev inbox.Event) {
		if ev.Kind == inbox.LetterEvent {
			states <- *ev.Letter
		}
	})()
	sent, err := r.inbox.Send(r.ctx(), outbox.Letter{Topic: topic, Sym: &key, Payload: []byte("hi")})
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.inbox.Send(r.ctx(), outbox.Letter{ID: sent.ID, Topic: topic, Sym: &key, Payload: []byte("hi")})
	if err != nil || again.ID != sent.ID {
		t.Errorf("sent again: %+v, %v", again, err)
	}
	timeout := time.After(patience)
	for held := false; !held; {
		select {
		case e := <-states:
			held = e.State == outbox.StateHeld && len(e.Holders) == 2
		case <-timeout:
			t.Fatal("nobody holds it")
		}
	}
	r.stop()
	r.start()
	e, err := r.inbox.Letter(r.ctx(), sent.ID)
	if err != nil || e.State != outbox.StateHeld || len(e.Attempts) != 1 {
		t.Errorf("after a restart: %+v, %v", e, err)
	}
	x, err := r.inbox.Explain(r.ctx(), e.Attempts[0].Hash)
	if err != nil || x.State != "sent" || x.Letter != sent.ID {
		t.Errorf("explanation = %+v, %v", x, err)
	}
	if err := r.inbox.Forget(r.ctx(), sent.ID); err != nil {
		t.Error(err)
	}
	if list, err := r.inbox.Letters(r.ctx(), "", 10); err != nil || len(list) != 0 {
		t.Errorf("letters = %v, %v", list, err)
	}
}

func TestAServerIsGoneAndComesBack(t *testing.T) {
	a := newServer(1)
	a.cut()
	r := newRig(t, a)
	a.cut()
	r.start()
	w := r.watch(watch.Spec{})
	a.keep(letterOf(t, 1, topic))
	a.connect()
	r.inbox.Online()
	r.sync(catchup.Options{})
	if got := r.numbers(w.ID); !slices.Equal(got, []int{1}) {
		t.Errorf("messages = %v", got)
	}
	a.cut()
	a.keep(letterOf(t, 2, topic))
	a.connect()
	r.sync(catchup.Options{})
	if got := r.numbers(w.ID); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("messages = %v", got)
	}
}

func TestAnIdleInboxAsksNothing(t *testing.T) {
	a, b := newServer(1), newServer(2)
	r := newRig(t, a, b).start()
	r.watch(watch.Spec{})
	r.sync(catchup.Options{})
	before := a.questions() + b.questions()
	r.inbox.DialFailed(nodeOf(9).ID(), "of somebody else")
	if _, err := r.inbox.Status(r.ctx()); err != nil {
		t.Error(err)
	}
	if after := a.questions() + b.questions(); after != before {
		t.Errorf("%d questions more", after-before)
	}
	if a.asked[history.ByArrival]+b.asked[history.ByArrival] == 0 || a.asked[history.Listing]+b.asked[history.Listing] == 0 {
		t.Errorf("asked %v and %v", a.asked, b.asked)
	}
}

func TestWatchesAndAcknowledgements(t *testing.T) {
	a := newServer(1)
	a.keep(letterOf(t, 1, topic), letterOf(t, 2, topic))
	r := newRig(t, a)
	r.set.Since = time.Hour
	r.start()
	w := r.watch(watch.Spec{})
	other := stranger(r)
	r.sync(catchup.Options{})
	if since := time.Since(w.Since); since < time.Hour-time.Minute || since > time.Hour+time.Minute {
		t.Errorf("since = %v", w.Since)
	}
	if got := r.numbers(other); len(got) != 0 {
		t.Errorf("another key opens %v", got)
	}
	list, next, err := r.inbox.Messages(r.ctx(), inbox.Query{Watch: w.ID, Limit: 1})
	if err != nil || len(list) != 1 || next != list[0].Seq {
		t.Fatalf("messages = %v, %d, %v", list, next, err)
	}
	for _, through := range []uint64{next, 0} {
		if err := r.inbox.Acknowledge(r.ctx(), w.ID, through); err != nil {
			t.Error(err)
		}
	}
	for _, err := range []error{
		r.inbox.Acknowledge(r.ctx(), "no", 1), r.inbox.Unwatch(r.ctx(), "no"), r.inbox.GiveUp(r.ctx(), "no"), r.inbox.RemoveServer(r.ctx(), nodeOf(9).ID()),
	} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("of what is not there: %v", err)
		}
	}
	if err := r.inbox.Unwatch(r.ctx(), w.ID); err != nil {
		t.Fatal(err)
	}
	if watches, err := r.inbox.Watches(r.ctx()); err != nil || len(watches) != 1 {
		t.Errorf("watches = %v, %v", watches, err)
	}
	if len(r.relay.wanted) != 1 {
		t.Errorf("wanted = %v", r.relay.wanted)
	}
}

// stranger adds a watch of the same topic with another key, and returns its id.
func stranger(r *rig) string {
	other := message.PasswordKey("other")
	return r.watch(watch.Spec{Topics: []envelope.Topic{topic}, Sym: &other}).ID
}

func TestServersAreChanged(t *testing.T) {
	a, b := newServer(1), newServer(2)
	r := newRig(t, a)
	r.start()
	view, err := r.inbox.AddServer(r.ctx(), b.node.String(), false)
	if err != nil || !view.Suggested {
		t.Fatalf("added: %+v, %v", view, err)
	}
	r.servers = append(r.servers, b)
	yes := true
	if err := r.inbox.ConfirmServer(r.ctx(), b.node.ID()); err != nil {
		t.Error(err)
	}
	if view, err = r.inbox.ChangeServer(r.ctx(), b.node.ID(), directory.Change{Paused: &yes}); err != nil || !view.Paused {
		t.Errorf("changed: %+v, %v", view, err)
	}
	if _, err := r.inbox.AddServer(r.ctx(), "nonsense", true); !fault.Is(err, fault.Invalid) {
		t.Errorf("nonsense: %v", err)
	}
	if n, err := r.inbox.ImportFleet(r.ctx(), []byte(nodeOf(5).String()+"\n"), ""); err != nil || n != 1 {
		t.Errorf("imported %d, %v", n, err)
	}
	r.stop()
	r.set.Servers, r.servers = nil, net{a, b}
	r.start()
	views, err := r.inbox.Servers(r.ctx())
	if err != nil || len(views) != 3 || !views[1].Paused && !views[0].Paused && !views[2].Paused {
		t.Errorf("after a restart: %+v, %v", views, err)
	}
	if b, err := r.inbox.Budget(r.ctx()); err != nil || b.Relayed != 7 || b.RelayedLimit != 100 {
		t.Errorf("budget = %+v, %v", b, err)
	}
	r.inbox.Apply(inbox.Settings{Servers: []string{nodeOf(6).String()}, Only: true})
	views, err = r.inbox.Servers(r.ctx())
	if err != nil || len(views) != 4 {
		t.Errorf("after a reload: %+v, %v", views, err)
	}
}

func TestAFullInboxSaysSoAndLosesNothing(t *testing.T) {
	a := newServer(1)
	for n := range 40 {
		a.keep(letterOf(t, n, topic))
	}
	r := newRig(t, a)
	r.options.Cap = 3000 // about ten
	r.start()
	w := r.watch(watch.Spec{})
	if report := r.sync(catchup.Options{}); report.End != catchup.EndFailed || report.Err == nil {
		t.Errorf("into a full inbox: %+v", report)
	}
	full := func() bool {
		return slices.ContainsFunc(r.health.List(), func(c health.Condition) bool { return c.Code == inbox.NotKept })
	}
	if !full() {
		t.Errorf("conditions: %+v", r.health.List())
	}
	if gaps, err := r.inbox.Gaps(r.ctx()); err != nil || len(gaps) == 0 {
		t.Errorf("gaps: %+v, %v", gaps, err)
	}
	r.stop()
	r.options.Cap = 0
	r.start()
	r.sync(catchup.Options{})
	if n := len(r.numbers(w.ID)); n != 40 {
		t.Errorf("%d messages once there was room", n)
	}
	if full() {
		t.Errorf("conditions: %+v", r.health.List())
	}
}
