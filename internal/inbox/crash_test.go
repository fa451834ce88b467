package inbox_test

import (
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/outbox"
	"github.com/restante-im/restante/internal/store"
	"github.com/restante-im/restante/internal/store/storetest"
	"github.com/restante-im/restante/internal/watch"
)

var (
	clones = flag.Int("inbox.clones", 60, "how many power cuts TestPowerCuts makes")
	seed   = flag.Uint64("inbox.seed", 1, "of TestPowerCuts; 0 is 1")
)

// life is what a client did before the power was cut.
type life struct {
	disk    *storetest.Disk
	watched int             // when the watch was stored, in changes of the disk
	sent    int             // and the letter
	order   []envelope.Hash // of all mail, as it was kept
}

// TestPowerCuts has two clients catch up from the same two mail servers, one of which lacks some, while a letter is sent. Then
// the power is cut at random points of each life, between any two writes. Each client goes on from what its disk has:
// what it had shown stays where it was, everything comes, nothing twice, and a letter that was taken on is not forgotten.
func TestPowerCuts(t *testing.T) {
	const mails = 90
	rng := rand.New(rand.NewPCG(max(*seed, 1), 3))
	a, b := newServer(1), newServer(2)
	var all []envelope.Hash
	for n := range mails {
		e := letterOf(t, n, topic)
		all = append(all, e.Hash())
		if n%3 != 0 {
			a.keep(e)
		}
		if n%3 != 1 {
			b.keep(e)
		}
	}
	lives := []life{live(t, a, b), live(t, a, b)}
	for clone := range *clones {
		for i, l := range lives {
			at := rng.IntN(l.disk.Now() + 1)
			l.revive(t, at, rng, all, a, b)
			if t.Failed() {
				t.Fatalf("seed %d, clone %d, client %d, cut at %d of %d", *seed, clone, i, at, l.disk.Now())
			}
		}
	}
	t.Logf("%d power cuts for each of 2 clients, in %d and %d changes of the disk", *clones, lives[0].disk.Now(), lives[1].disk.Now())
}

const letterID = "report"

// live is a whole life, from the first start on.
func live(t *testing.T, servers ...*server) (l life) {
	l.disk = storetest.NewDisk()
	r := newRig(t, servers...)
	r.relay.to = nil // letters stay where they are: the servers must not change
	r.path, r.options.On = "/inbox.db", l.disk.Mount(t)
	r.start()
	r.watch(watch.Spec{})
	l.watched = l.disk.Now()
	r.sync(catchup.Options{})
	if _, err := r.inbox.Send(r.ctx(), outbox.Letter{ID: letterID, Topic: topic, Sym: &key, Payload: []byte("hi")}); err != nil {
		t.Fatal(err)
	}
	l.sent = l.disk.Now()
	r.sync(catchup.Options{})
	l.order = r.kept()
	r.stop()
	return l
}

// kept is all mail in its order.
func (r *rig) kept() (list []envelope.Hash) {
	r.t.Helper()
	for after := uint64(0); ; {
		mail, err := r.store.Mail(r.ctx(), store.MailQuery{After: after})
		if err != nil {
			r.t.Fatal(err)
		}
		if len(mail) == 0 {
			return list
		}
		for _, m := range mail {
			list, after = append(list, m.Envelope.Hash()), m.Seq
		}
	}
}

func (l *life) revive(t *testing.T, at int, rng *rand.Rand, all []envelope.Hash, servers ...*server) {
	t.Helper()
	r := newRig(t, servers...)
	r.relay.to = nil
	r.path, r.options.On = "/inbox.db", l.disk.Crash(at, rng).Mount(t)
	quiet := store.Options{Key: r.options.Key, On: r.options.On}
	before := prefix(t, r.path, quiet)
	r.start()
	defer r.stop()
	if len(before) > len(l.order) || !slices.Equal(before, l.order[:len(before)]) {
		t.Error("what was there before the cut is not what is there now")
	}
	watches, err := r.inbox.Watches(r.ctx())
	if err != nil || at >= l.watched && len(watches) != 1 {
		t.Errorf("%d watches, %v", len(watches), err)
	}
	if len(watches) == 0 {
		r.watch(watch.Spec{})
	}
	if report := r.sync(catchup.Options{}); report.End != catchup.EndAgreed {
		t.Errorf("the catch-up ended %v: %v", report.End, report.Err)
	}
	got := r.kept()
	if len(got) < len(before) || !slices.Equal(got[:len(before)], before) {
		t.Error("the order has changed")
	}
	slices.SortFunc(got, func(a, b envelope.Hash) int { return slices.Compare(a[:], b[:]) })
	want := slices.SortedFunc(slices.Values(all), func(a, b envelope.Hash) int { return slices.Compare(a[:], b[:]) })
	if !slices.Equal(got, want) {
		t.Errorf("%d envelopes, want %d, each once", len(got), len(want))
	}
	if _, err := r.inbox.Letter(r.ctx(), letterID); at >= l.sent && err != nil {
		t.Errorf("the letter is forgotten: %v", err)
	}
}

// prefix is what the disk has before anything is asked.
func prefix(t *testing.T, path string, o store.Options) []envelope.Hash {
	t.Helper()
	s, err := store.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: s}
	list := r.kept()
	if err := errors.Join(s.Check(r.ctx()), s.Close()); err != nil {
		t.Fatal(err)
	}
	return list
}
