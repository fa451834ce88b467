package catchup_test

import (
	"slices"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
)

// pairOf is a client that waits for three topics, and two servers that have the same mail.
func pairOf(t *testing.T, mails int) *world {
	w := newWorld(t, 1)
	a, b := w.server(), w.server()
	w.want(24*time.Hour, 1, 2, 3)
	w.post(9, 48*time.Hour, a, b) // they are older than what is asked of them
	for i := range mails {
		w.post(1+i%3, time.Hour, a, b)
	}
	return w
}

func TestTwoServersAgree(t *testing.T) {
	w := pairOf(t, 300)
	w.boot()
	w.run(5 * time.Second)
	if len(w.own) != 1 || w.own[0].End != catchup.EndAgreed || w.own[0].New != 300 {
		t.Fatalf("%d rounds: %+v", len(w.own), w.own)
	}
	a, b := w.servers[0], w.servers[1]
	if a.bodies != 300 || b.bodies != 0 {
		t.Errorf("%d and %d bodies", a.bodies, b.bodies)
	}
	if b.sentBytes > 300*48 {
		t.Errorf("the second server sent %d bytes", b.sentBytes)
	}
	// The next time each gets one question, and nothing comes.
	asked := w.questions()
	r := w.sync(catchup.Options{})
	if n := w.questions() - asked; n != 2 || r.End != catchup.EndAgreed || r.Bytes != 0 {
		t.Errorf("%d questions, %+v", n, r)
	}
	if gaps := w.machine.Gaps(w.now); len(gaps) > 0 {
		t.Errorf("gaps: %+v", gaps)
	}
	asked = w.questions()
	w.run(24 * time.Hour)
	if n := w.questions() - asked; n > 0 {
		t.Errorf("%d questions while idle", n)
	}
}

// first is the report of the machine's first round of its own.
func (w *world) first() catchup.Report {
	w.t.Helper()
	if len(w.own) == 0 {
		w.t.Fatalf("no round: %+v", w.machine.State())
	}
	return w.own[0]
}

// forms lists how a server was asked.
func (s *mailServer) forms() (list []history.Form) {
	for _, a := range s.asks {
		list = append(list, a.Form)
	}
	return list
}

func TestUnionOfTwoServers(t *testing.T) {
	w := pairOf(t, 60)
	a, b := w.servers[0], w.servers[1]
	for range 20 {
		w.post(1, 30*time.Minute, a)
		w.post(2, 30*time.Minute, b)
	}
	w.boot()
	w.run(5 * time.Second)
	r := w.first()
	if len(w.mail) != 100 || r.End != catchup.EndAgreed || a.bodies != 80 || b.bodies != 20 || w.repeated != 0 {
		t.Fatalf("%d kept, %d again; %d and %d bodies; %v", len(w.mail), w.repeated, a.bodies, b.bodies, r.End)
	}
	for _, s := range []*mailServer{a, b} {
		if !slices.Contains(w.notes[s.id], directory.Event(directory.Lacked{Lacked: 20, Of: 100})) {
			t.Errorf("notes about %v: %v", s.id.Short(), w.notes[s.id])
		}
		if len(w.seen[s.id]) != 80 {
			t.Errorf("%d were seen at %v", len(w.seen[s.id]), s.id.Short())
		}
	}
	for _, l := range w.machine.Summary(w.now) {
		if l.Agreed == 0 || len(l.By) != 2 || len(l.Gaps) != 0 {
			t.Errorf("%+v", l)
		}
	}
}

func TestPrimaryFailsOnTheWay(t *testing.T) {
	w := pairOf(t, 100)
	a, b := w.servers[0], w.servers[1]
	a.half = true
	w.boot()
	w.run(20 * time.Second)
	r := w.first()
	if len(w.mail) != 100 || r.End == catchup.EndFailed || w.repeated > 5 {
		t.Fatalf("%d kept, %d again: %+v", len(w.mail), w.repeated, r)
	}
	if a.bodies+b.bodies > 110 {
		t.Errorf("%d and %d bodies", a.bodies, b.bodies)
	}
	if !slices.ContainsFunc(w.notes[a.id], func(e directory.Event) bool { _, ok := e.(directory.Failed); return ok }) {
		t.Errorf("the failure is not noted: %v", w.notes[a.id])
	}
}

func TestSlowPrimaryIsHedged(t *testing.T) {
	w := pairOf(t, 100)
	a, b := w.servers[0], w.servers[1]
	a.latency = 4 * time.Second
	w.boot()
	w.run(time.Second)
	if len(w.mail) != 100 {
		t.Fatalf("%d kept after a second", len(w.mail))
	}
	w.run(20 * time.Second)
	if r := w.first(); r.End != catchup.EndAgreed || a.bodies != 0 || b.bodies != 100 {
		t.Errorf("%d and %d bodies: %+v", a.bodies, b.bodies, r)
	}
}

func TestFasterThanItsHedge(t *testing.T) {
	w := pairOf(t, 100)
	a, b := w.servers[0], w.servers[1]
	a.latency, b.latency = 600*time.Millisecond, 900*time.Millisecond // both above 500 ms
	w.boot()
	w.run(10 * time.Second)
	if r := w.first(); r.End != catchup.EndAgreed || a.bodies != 100 || b.bodies > 5 {
		t.Errorf("%d and %d bodies: %+v", a.bodies, b.bodies, r)
	}
}

func TestDeafServers(t *testing.T) {
	w := pairOf(t, 50)
	for _, s := range w.servers {
		s.deaf = true
	}
	c := w.server()
	w.post(9, 48*time.Hour, c)
	for _, e := range w.servers[0].list[1:] {
		c.put(e.env, time.Hour)
	}
	w.boot()
	r := w.sync(catchup.Options{})
	if len(w.mail) != 50 || r.End != catchup.EndComplete || r.Took > 40*time.Second {
		t.Fatalf("%d kept: %+v", len(w.mail), r)
	}
}

func TestSecondIsNotWaitedForLong(t *testing.T) {
	w := pairOf(t, 30)
	b := w.servers[1]
	b.dial = 5 * time.Second
	w.boot()
	r := w.sync(catchup.Options{})
	if r.End != catchup.EndComplete || r.Took < 2900*time.Millisecond || r.Took > 3100*time.Millisecond {
		t.Fatalf("%+v", r)
	}
	w.run(10 * time.Second) // the check follows when it is up
	if last := w.own[len(w.own)-1]; last.End != catchup.EndAgreed || len(b.asks) == 0 || b.bodies > 0 {
		t.Fatalf("%+v", last)
	}
}

func TestServerThatListsIsPrimary(t *testing.T) {
	w := newWorld(t, 1)
	older, lister := w.server(), w.server()
	older.older = true
	w.want(time.Hour, 1)
	for range 30 {
		w.post(1, 10*time.Minute, older, lister)
	}
	older.dial, lister.dial = time.Second, time.Second
	w.boot()
	w.run(10 * time.Second)
	if older.bodies+lister.bodies != 30 || w.repeated != 0 {
		t.Errorf("%d and %d bodies", older.bodies, lister.bodies)
	}
}

func TestBudgetStopsCleanly(t *testing.T) {
	w := pairOf(t, 300)
	w.config.MaxBytes = 20_000
	for i := range w.wants {
		w.wants[i].Rank = 3 - i // the third topic comes first
	}
	w.boot()
	w.run(5 * time.Second)
	r := w.first()
	if r.End != catchup.EndOverBudget || r.Bytes > 20_000+4_000 || r.Bytes < 15_000 {
		t.Fatalf("%+v", r)
	}
	for _, env := range w.mail {
		if env.Topic() != topic(3) {
			t.Fatalf("%v came before what should come first", env.Topic())
		}
	}
	if !slices.ContainsFunc(r.Gaps, func(g coverage.Gap) bool { return g.Cause == coverage.OverBudget && !g.Closed }) {
		t.Errorf("gaps: %+v", r.Gaps)
	}
	asked := len(w.servers[0].asks)
	r = w.sync(catchup.Options{MaxBytes: 1 << 20, First: []envelope.Topic{topic(1)}})
	if r.End != catchup.EndAgreed || len(w.mail) != 300 || len(r.Gaps) != 0 {
		t.Fatalf("%d kept: %+v", len(w.mail), r)
	}
	if n := w.servers[0].bodies; n > 310 || w.repeated > 10 {
		t.Errorf("%d bodies, %d again", n, w.repeated)
	}
	if want := []envelope.Topic{topic(1)}; !slices.Equal(w.servers[0].asks[asked].Question.Topics, want) {
		t.Errorf("asked for %v first", w.servers[0].asks[asked].Question.Topics)
	}
}

func TestNewTopicsBecomeOneQuestion(t *testing.T) {
	w := pairOf(t, 30)
	a := w.servers[0]
	w.boot()
	w.run(5 * time.Second)
	w.post(4, time.Minute, w.servers...)
	w.want(time.Hour, 4)
	w.run(5 * time.Second)
	if len(w.mail) != 31 {
		t.Fatalf("%d kept", len(w.mail))
	}
	w.post(1, 0, w.servers...)
	asked := len(a.asks)
	r := w.sync(catchup.Options{})
	if len(a.asks)-asked > 2 || r.End != catchup.EndAgreed { // by hash too: it was online
		t.Fatalf("%v, %+v", a.forms(), r)
	}
	if q := a.asks[asked].Question; len(q.Topics) != 4 {
		t.Errorf("asked for %v", q.Topics)
	}
}

func TestLaggingTopicsAreAskedUpToTheOthers(t *testing.T) {
	w := pairOf(t, 30)
	a := w.servers[0]
	w.boot()
	w.run(5 * time.Second)
	w.post(1, 0, a)
	w.sync(catchup.Options{Only: []envelope.Topic{topic(1)}})
	w.post(2, 0, a)
	asked := len(a.asks)
	w.sync(catchup.Options{Alone: true})
	q := a.asks[asked].Question
	if q.Until != 32 || len(q.Topics) != 2 || len(w.mail) != 32 {
		t.Errorf("asked until %d for %v; %d kept", q.Until, q.Topics, len(w.mail))
	}
	if q := a.asks[asked+1].Question; q.Until != 0 || q.After != 32 || len(q.Topics) != 3 {
		t.Errorf("then %+v", q)
	}
}

func TestAfterLiveTimeServersAreCompared(t *testing.T) {
	w := pairOf(t, 30)
	a := w.servers[0]
	w.boot()
	w.run(5 * time.Second)
	env := w.post(1, 0, w.servers...)
	w.mail[env.Hash()] = env // it came live
	asked := w.questions()
	w.step(catchup.Live{Topics: []envelope.Topic{env.Topic()}})
	w.run(5 * time.Minute)
	if w.questions() != asked {
		t.Fatalf("asked too soon after the last round")
	}
	w.run(6 * time.Minute)
	if n := w.questions() - asked; n != 2 || a.asks[len(a.asks)-1].Form != history.Listing || a.bodies != 30 {
		t.Errorf("%d questions, %v, %d bodies", n, a.forms(), a.bodies)
	}
}

func TestOlderServers(t *testing.T) {
	w := newWorld(t, 1)
	s := w.server()
	s.older = true
	w.want(24*time.Hour, 1)
	for range 20 {
		w.post(1, 3*time.Hour, s)
	}
	w.boot()
	w.run(time.Minute)
	r := w.first()
	if r.End != catchup.EndAnswered || len(w.mail) != 20 {
		t.Fatalf("%d kept: %+v", len(w.mail), r)
	}
	l := w.machine.Summary(w.now)[0]
	if l.Complete != 0 || l.Agreed != 0 || l.Answered == 0 || len(l.AnsweredBy) != 1 {
		t.Errorf("%+v", l)
	}
	w.post(1, 2*time.Hour, s) // late, within the overlap
	w.sync(catchup.Options{})
	if len(w.mail) != 21 || s.bodies != 21 {
		t.Errorf("%d kept, %d bodies", len(w.mail), s.bodies)
	}
	if from := s.asks[len(s.asks)-1].Question.From; w.now.Unix()-int64(from) > 8500 {
		t.Errorf("asked from %d on", from)
	}
}
