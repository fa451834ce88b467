package store_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/store"
	"github.com/restante-im/restante/internal/store/storetest"
)

var (
	clones = flag.Int("store.clones", 200, "how many power cuts TestCrash makes")
	seed   = flag.Uint64("store.seed", 1, "of TestCrash and TestFailingDisk")
)

const inbox = "/inbox.db" // on a test's disk

// content is all that a store has to say.
type content struct {
	Mail    []string
	Known   []bool
	Claims  []coverage.Claim
	Missing []coverage.Missing
	Records []store.Record
}

// history is a random life of a store: what was done to it, and what it held after each step.
type history struct {
	steps  []func(*store.Store) error // each is one transaction
	mail   []*envelope.Envelope       // of all of them
	hashes []envelope.Hash            // of mail
	states []content                  // states[n] after n steps
}

func (h *history) content(t testing.TB, s *store.Store) content {
	t.Helper()
	ctx := context.Background()
	var c content
	for _, m := range all(t, s, 0) {
		c.Mail = append(c.Mail, fmt.Sprint(m.Seq, m.Envelope.Hash(), m.Server))
	}
	var err [4]error
	c.Known, err[0] = s.Known(ctx, h.hashes)
	c.Claims, err[1] = s.Claims(ctx)
	c.Missing, err[2] = s.Missing(ctx)
	c.Records, err[3] = s.Records(ctx, "step")
	if err := errors.Join(err[:]...); err != nil {
		t.Fatal(err)
	}
	return c
}

// invent makes a random history of n steps.
func invent(rng *rand.Rand, n int) *history {
	h := &history{}
	for step := range n {
		if step%7 == 6 {
			topic, through := envelope.Topic{byte(rng.IntN(4))}, uint64(len(h.hashes)/2)
			h.steps = append(h.steps, func(s *store.Store) error {
				return s.Forget(context.Background(), []envelope.Topic{topic}, through)
			})
			continue
		}
		d := store.Delivery{Server: node(byte(step)), Claims: []coverage.Replace{claim(byte(rng.IntN(4)), byte(rng.IntN(3)), uint64(step))},
			Missing: []coverage.Missing{{Hash: envelope.Hash{byte(step)}, Sent: 5}}, Found: []envelope.Hash{{byte(step - 2)}},
			Put:    []store.Record{{"step", fmt.Sprint(step % 9), []byte{byte(step)}}},
			Delete: []store.Record{{Kind: "step", ID: fmt.Sprint((step + 3) % 9)}}}
		for range rng.IntN(30) {
			id := rng.IntN(50 + 20*step) // some were there before
			e := mail(byte(id%4), id, 8+id*37%3000)
			d.Envelopes = append(d.Envelopes, e)
			h.mail, h.hashes = append(h.mail, e), append(h.hashes, e.Hash())
		}
		h.steps = append(h.steps, func(s *store.Store) error {
			_, err := s.Deliver(context.Background(), d)
			return err
		})
	}
	return h
}

// span is where a step began and ended in a disk's record; how many steps came before.
type span struct{ steps, begun, ended int }

// restart is the step that begins with an orderly end and a start anew.
const restart = 19

// live takes steps from..to on a disk and returns where they are in its record.
func (h *history) live(t testing.TB, d *storetest.Disk, s *store.Store, o store.Options, from, to int) (spans []span) {
	t.Helper()
	defer func() {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	for n := from; n < to; n++ {
		if n == restart {
			err := s.Close()
			if err == nil {
				s, err = store.Open(inbox, o)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		begun := d.Now()
		if err := h.steps[n](s); err != nil {
			t.Fatal(err)
		}
		spans = append(spans, span{n, begun, d.Now()})
		if len(h.states) == n+1 {
			h.states = append(h.states, h.content(t, s))
		}
	}
	return spans
}

// standing returns how many steps had returned when a disk's record was at a point, and how many had begun. Of none of
// the spans, it is from.
func standing(spans []span, from, at int) (returned, begun int) {
	returned, begun = from, from
	for _, s := range spans {
		if s.ended <= at {
			returned = s.steps + 1
		}
		if s.begun < at {
			begun = s.steps + 1
		}
	}
	return returned, max(returned, begun)
}

// TestCrash cuts the power at random points of a store's life. Every step that had returned is there whole, the one under
// way is there whole or not at all, nothing that is there counts as new again, and the file is sound. Every other
// store lives on for a step and loses power again.
func TestCrash(t *testing.T) {
	rng := rand.New(rand.NewPCG(*seed, 7))
	const steps = 40
	h := invent(rng, steps)
	d, o := storetest.NewDisk(), store.WithShortLog(options(), 100)
	o.On = d.Mount(t)
	s, err := store.Open(inbox, o)
	if err != nil {
		t.Fatal(err)
	}
	h.states = []content{h.content(t, s)}
	spans := h.live(t, d, s, o, 0, steps)
	size, twice := d.Now(), 0
	if n := d.Rewinds(); n < steps/5 {
		t.Errorf("the log was read back and begun anew only %d times", n)
	}
	for clone := range *clones {
		at := rng.IntN(size + 1)
		low, high := standing(spans, 0, at)
		where := fmt.Sprintf("seed %d, clone %d at %d of %d", *seed, clone, at, size)
		after := d.Crash(at, rng)
		if clone%2 == 0 {
			twice++
			boot := after.Now()
			o.On = after.Mount(t)
			s, n := h.revive(t, o, low, high, where)
			more := h.live(t, after, s, o, n, min(n+1, steps))
			at := boot + rng.IntN(min(after.Now()-boot, 80)+1) // soon: the first that is written after a crash matters most
			low, high = standing(more, n, at)
			where += fmt.Sprintf(", again at %d of %d..%d", at, boot, after.Now())
			after = after.Crash(at, rng)
		}
		o.On = after.Mount(t)
		s, n := h.revive(t, o, low, high, where)
		h.repeat(t, s, h.states[n], where)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d power cuts in %d changes of the disk, %d of them twice", *clones, size, twice)
}

// revive opens a store after a crash and returns how many steps it knows.
func (h *history) revive(t *testing.T, o store.Options, low, high int, where string) (*store.Store, int) {
	t.Helper()
	s, err := store.Open(inbox, o)
	if err != nil {
		t.Fatalf("%s: %+v", where, err)
	}
	got := h.content(t, s)
	n := high
	for n > low && !reflect.DeepEqual(got, h.states[n]) {
		n--
	}
	if !reflect.DeepEqual(got, h.states[n]) {
		t.Fatalf("%s: what is there is neither what %d nor what %d steps left: %s", where, low, high, cmp.Diff(h.states[n], got))
	}
	if err := s.Check(context.Background()); err != nil {
		t.Fatalf("%s: %+v", where, err)
	}
	return s, n
}

// repeat delivers all mail of the history again, as mail servers would.
func (h *history) repeat(t *testing.T, s *store.Store, had content, where string) {
	t.Helper()
	kept, err := s.Deliver(context.Background(), store.Delivery{Envelopes: h.mail})
	if err != nil {
		t.Fatalf("%s: again: %v", where, err)
	}
	for i, fresh := range kept.Fresh {
		if fresh && had.Known[i] {
			t.Errorf("%s: %v is new a second time", where, h.mail[i].Hash())
		}
	}
}

// TestFailingDisk lets a disk fail at random: a step then fails with a fault that says so and leaves nothing behind, and
// when the disk works again so does the store. After a power cut in such a life every step that had returned is there too.
func TestFailingDisk(t *testing.T) {
	rng := rand.New(rand.NewPCG(*seed, 8))
	const steps = 24
	h := invent(rng, steps)
	healthy, o := storetest.NewDisk(), store.WithShortLog(options(), 100)
	o.On = healthy.Mount(t)
	s, err := store.Open(inbox, o)
	if err != nil {
		t.Fatal(err)
	}
	h.states = []content{h.content(t, s)}
	h.live(t, healthy, s, o, 0, steps)

	d := storetest.NewDisk()
	o.On = d.Mount(t)
	if s, err = store.Open(inbox, o); err != nil {
		t.Fatal(err)
	}
	failed := 0
	var spans []span
	for n, step := range h.steps {
		begun := d.Now()
		for try := 1; ; try++ {
			d.FailAfter(rng.IntN(20*try), rng.IntN(2) == 0)
			err := step(s)
			d.Heal()
			if err == nil {
				break
			}
			failed++
			if !fault.Is(err, fault.Unavailable) {
				t.Fatalf("seed %d, step %d: %+v", *seed, n, err)
			}
			if diff := cmp.Diff(h.states[n], h.content(t, s)); diff != "" {
				t.Fatalf("seed %d, step %d failed (%v) and left something behind: %s", *seed, n, err, diff)
			}
		}
		spans = append(spans, span{n, begun, d.Now()})
	}
	if diff := cmp.Diff(h.states[steps], h.content(t, s)); diff != "" {
		t.Errorf("after all failures it holds something else than without: %s", diff)
	}
	if err := errors.Join(s.Check(context.Background()), s.Close()); err != nil {
		t.Error(err)
	}
	for clone := range *clones / 8 {
		at := rng.IntN(d.Now() + 1)
		low, high := standing(spans, 0, at)
		o.On = d.Crash(at, rng).Mount(t)
		s, _ := h.revive(t, o, low, high, fmt.Sprintf("seed %d, clone %d at %d of %d", *seed, clone, at, d.Now()))
		_ = s.Close()
	}
	if failed < steps {
		t.Errorf("only %d steps failed", failed)
	}
}
