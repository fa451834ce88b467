package catchup_test

import (
	"slices"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

func TestExpiredHole(t *testing.T) {
	w := pairOf(t, 30)
	for _, s := range w.servers {
		s.keep = 24 * time.Hour
	}
	w.boot()
	w.run(5 * time.Second)
	for _, s := range w.servers {
		s.away = true
		s.cut()
	}
	w.run(3 * 24 * time.Hour)
	lost := w.post(2, 0, w.servers...)
	w.run(25 * time.Hour)
	for _, s := range w.servers {
		s.prune(w.now.Add(-s.keep))
		w.post(3, 0, s)
		s.away = false
	}
	w.run(time.Hour)
	if len(w.mail) != 32 || w.mail[lost.Hash()] != nil {
		t.Fatalf("%d kept", len(w.mail))
	}
	gaps := w.machine.Gaps(w.now)
	if len(gaps) != 1 || gaps[0].Cause != coverage.Expired || !gaps[0].Closed || len(gaps[0].Topics) != 3 ||
		gaps[0].From > lost.Sent() || gaps[0].To < lost.Sent() || gaps[0].Text == "" {
		t.Errorf("%+v", gaps)
	}
	if again := w.machine.Gaps(w.now.Add(time.Hour)); again[0].ID != gaps[0].ID {
		t.Errorf("the gap changed its name")
	}
	for _, l := range w.machine.Summary(w.now) {
		if l.Agreed == 0 || w.now.Unix()-int64(l.Agreed) > 3700 {
			t.Errorf("%+v", l)
		}
	}
}

func TestArchiveBeginsAnew(t *testing.T) {
	w := pairOf(t, 30)
	a := w.servers[0]
	w.boot()
	w.run(5 * time.Second)
	w.run(time.Hour)
	a.reset()
	w.run(time.Hour)
	w.post(1, 0, a)
	r := w.sync(catchup.Options{Server: &a.id})
	if len(w.mail) != 31 || r.End != catchup.EndComplete || len(r.Servers) != 1 {
		t.Fatalf("%d kept: %+v", len(w.mail), r)
	}
	if len(r.Gaps) != 0 { // live time is no gap
		t.Errorf("%+v", r.Gaps)
	}
	p, ok := coverage.NewBook(w.claims[claimKey{topic(1), a.id}]).Position(topic(1), a.id, a.caps().Epoch)
	if !ok || p.Arrival != 1 {
		t.Errorf("%+v", p)
	}
}

func TestMissingIsAskedForAgain(t *testing.T) {
	w := pairOf(t, 30)
	a, b := w.servers[0], w.servers[1]
	env := w.post(1, time.Hour, b)
	b.withholds = func(h envelope.Hash) bool { return h == env.Hash() }
	w.boot()
	w.run(5 * time.Second)
	gaps := w.machine.Gaps(w.now)
	if len(gaps) != 1 || gaps[0].Cause != coverage.Withheld || gaps[0].Envelopes != 1 || gaps[0].Closed || !slices.Equal(gaps[0].Holders, []nodeaddr.ID{b.id}) {
		t.Fatalf("%+v", gaps)
	}
	if l := w.machine.Summary(w.now)[0]; l.Complete >= env.Sent() || len(l.Gaps) != 1 {
		t.Errorf("%+v", l)
	}
	w.boot() // it is remembered
	w.run(time.Minute)
	if len(w.missing) != 1 {
		t.Fatalf("%d missing", len(w.missing))
	}
	a.put(env, 0) // the other one got it meanwhile, and lists it
	w.run(time.Hour)
	if len(w.mail) != 31 || len(w.missing) != 0 || len(w.machine.Gaps(w.now)) != 0 {
		t.Errorf("%d kept, missing: %+v", len(w.mail), w.missing)
	}
}

func TestMissingIsGoneInTheEnd(t *testing.T) {
	w := pairOf(t, 30)
	b := w.servers[1]
	env := w.post(1, time.Hour, b)
	b.withholds = func(h envelope.Hash) bool { return h == env.Hash() }
	w.boot()
	w.run(31 * 24 * time.Hour)
	gaps := w.machine.Gaps(w.now)
	if len(gaps) != 1 || !gaps[0].Closed || gaps[0].Envelopes != 1 || gaps[0].Cause != coverage.Expired {
		t.Fatalf("%+v", gaps)
	}
	if want := "1 message expired before anyone handed it over"; gaps[0].Text[:len(want)] != want {
		t.Errorf("%q", gaps[0].Text)
	}
	asked := w.questions()
	w.run(3 * 24 * time.Hour)
	if w.questions() != asked {
		t.Errorf("it is asked for though it is gone")
	}
}

func TestRetriesByItself(t *testing.T) {
	w := pairOf(t, 30)
	for _, s := range w.servers {
		s.away = true
	}
	w.boot()
	w.run(90 * time.Second)
	if n := len(w.own); n < 3 || n > 5 || w.own[0].End != catchup.EndFailed || w.own[0].Err == nil {
		t.Fatalf("%d rounds", n)
	}
	if g := w.machine.Gaps(w.now); len(g) != 1 || g[0].Cause != coverage.NotAsked || len(g[0].Holders) != 2 {
		t.Errorf("%+v", g)
	}
	for _, s := range w.servers {
		s.away = false
	}
	before := w.now
	w.step(catchup.Online{}) // the network is there again
	w.run(time.Second)
	if len(w.servers[0].asks) == 0 || len(w.mail) != 30 {
		t.Fatalf("nothing is asked within %v", w.now.Sub(before))
	}
}

func TestStopAndJoin(t *testing.T) {
	w := pairOf(t, 30)
	w.boot()
	w.run(5 * time.Second)
	one := w.start(catchup.Options{})
	two := w.start(catchup.Options{})
	three := w.start(catchup.Options{})
	w.step(catchup.Stop{ID: three})
	w.step(catchup.Stop{ID: one})
	if w.finished[three].End != catchup.EndStopped || fault.KindOf(w.finished[three].Err) != fault.Closed {
		t.Errorf("%+v", w.finished[three])
	}
	w.run(time.Minute)
	if w.finished[one].End != catchup.EndStopped || w.finished[two].End != catchup.EndAgreed {
		t.Errorf("%v and %v", w.finished[one].End, w.finished[two].End)
	}
	for range 100 {
		w.start(catchup.Options{})
	}
	w.run(time.Minute)
	if len(w.finished) != 103 {
		t.Errorf("%d of 103 are finished", len(w.finished))
	}
}

func TestStoreFails(t *testing.T) {
	w := pairOf(t, 30)
	w.fail = fault.E("", fault.Limit, nil, "the inbox is full")
	w.boot()
	w.run(2 * time.Second)
	if r := w.first(); r.End != catchup.EndFailed || fault.KindOf(r.Err) != fault.Limit {
		t.Fatalf("%+v", r)
	}
	for id, list := range w.notes {
		for _, ev := range list {
			if _, ok := ev.(directory.Failed); ok {
				t.Errorf("%v is blamed", id.Short())
			}
		}
	}
	w.fail = nil
	w.run(time.Minute)
	if len(w.mail) != 30 || len(w.machine.Gaps(w.now)) != 0 {
		t.Errorf("%d kept", len(w.mail))
	}
}

func TestForgottenTopicsComeAgain(t *testing.T) {
	w := pairOf(t, 30)
	w.boot()
	w.run(5 * time.Second)
	all := w.wants
	w.wants = all[:1]
	w.step(catchup.Wanted{List: w.wants})
	w.run(time.Second)
	for k, list := range w.claims {
		if k.topic != topic(1) && len(list) > 0 {
			t.Errorf("claims of %v are left", k.topic)
		}
	}
	for h, env := range w.mail {
		if env.Topic() != topic(1) {
			delete(w.mail, h)
		}
	}
	w.wants = all
	w.step(catchup.Wanted{List: all})
	w.run(5 * time.Second)
	if len(w.mail) != 30 {
		t.Errorf("%d kept", len(w.mail))
	}
}

// TestStartIsMoved lets the user wait for less of some topics, and then for all of it again.
func TestStartIsMoved(t *testing.T) {
	w := pairOf(t, 30)
	w.boot()
	w.run(5 * time.Second)
	all := w.wants
	w.wants = all[:1:1]
	w.run(2 * time.Hour)
	w.want(time.Hour, 2, 3)
	w.boot() // so that nothing came live meanwhile
	for i := range 30 {
		w.post(1+i%3, time.Duration(i)*4*time.Minute, w.servers...)
	}
	w.sync(catchup.Options{})
	w.wants = all
	w.step(catchup.Wanted{List: all})
	w.run(5 * time.Second)
	w.sync(catchup.Options{})
	if gaps := w.machine.Gaps(w.now); len(w.mail) != 60 || len(gaps) != 0 {
		t.Errorf("%d kept, gaps: %+v", len(w.mail), gaps)
	}
}

// TestForgettingFails lets the store fail when a topic is to be forgotten.
func TestForgettingFails(t *testing.T) {
	w := pairOf(t, 30)
	w.boot()
	w.run(5 * time.Second)
	w.fail = fault.E("", fault.Unavailable, nil, "the disk fails")
	w.wants = w.wants[:1]
	w.step(catchup.Wanted{List: w.wants})
	w.run(time.Second)
	w.fail = nil
	w.sync(catchup.Options{})
	w.run(time.Second)
	for k, list := range w.claims {
		if k.topic != topic(1) && len(list) > 0 {
			t.Errorf("claims of %v are left", k.topic)
		}
	}
}
