package outbox_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/outbox"
)

// world is what is around a machine: a store, a node, peers and mail servers, all of which may fail.
type world struct {
	t     *rapid.T
	now   time.Time
	m     *outbox.Machine
	store map[string][]byte

	seals []outbox.Seal
	posts []outbox.Post
	asks  []outbox.AskHeld

	letters  map[string]outbox.Letter
	ended    map[string]bool // given up or forgotten by the user
	accepted map[envelope.Hash]int
	held     map[nodeaddr.ID]map[envelope.Hash]time.Time
	told     map[string]bool // letters of which a server has said or shown that it holds them
	of       map[envelope.Hash]string
	current  map[string]*envelope.Envelope // posted last
	nonce    uint64
}

const seals = 2

func (w *world) restart() {
	var records [][]byte
	for _, id := range sortedKeys(w.store) {
		records = append(records, w.store[id])
	}
	m, errs := outbox.New(outbox.Config{Seals: seals}, records)
	if len(errs) > 0 {
		w.t.Fatal(errs)
	}
	w.m, w.seals, w.posts, w.asks = m, nil, nil, nil
}

func (w *world) step(ev outbox.Event) { w.perform(w.m.Step(w.now, ev)) }

func (w *world) perform(actions []outbox.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case outbox.Save:
			w.store[a.ID] = a.Data
		case outbox.Delete:
			delete(w.store, a.ID)
		case outbox.Seal:
			w.stored(a.Letter.ID)
			w.seals = append(w.seals, a)
			if len(w.seals) > seals {
				w.t.Fatalf("%d letters are sealed at a time", len(w.seals))
			}
		case outbox.Post:
			w.stored(a.ID)
			if old := w.current[a.ID]; old != nil && old.Hash() != a.Envelope.Hash() && int64(old.Expiry()) > w.now.Unix() {
				w.t.Fatalf("%s is sent in a second envelope while the first one lives", a.ID)
			}
			if int64(a.Envelope.Expiry()) <= w.now.Unix() {
				w.t.Fatalf("%s is sent in a dead envelope", a.ID)
			}
			w.current[a.ID] = a.Envelope
			w.posts = append(w.posts, a)
		case outbox.AskHeld:
			for _, open := range w.asks {
				if open.Server == a.Server {
					w.t.Fatalf("two questions are open")
				}
			}
			w.asks = append(w.asks, a)
		case outbox.Changed:
			w.truth(a.Entry)
		}
	}
}

// stored: nothing is done for a letter that a crash would lose.
func (w *world) stored(id string) {
	if w.store[id] == nil {
		w.t.Fatalf("%s is not stored", id)
	}
}

// truth: what is claimed was said.
func (w *world) truth(e outbox.Entry) {
	best := 0
	for _, a := range e.Attempts {
		best = max(best, w.accepted[a.Hash])
	}
	switch {
	case e.State == outbox.StateHeld && !w.told[e.ID]:
		w.t.Fatalf("%s is called held, and nobody said so", e.ID)
	case e.State != outbox.StateHeld && w.told[e.ID] && !w.ended[e.ID]:
		w.t.Fatalf("%s is called %s, and a server said that it holds it", e.ID, e.State)
	case e.State == outbox.StateAccepted && best == 0:
		w.t.Fatalf("%s is called accepted, and nobody said so", e.ID)
	case e.Text == "":
		w.t.Fatalf("%s has no sentence", e.ID)
	}
}

func servers(n int) (list []nodeaddr.ID) {
	for i := range n {
		list = append(list, serverID(fmt.Sprint("s", i)))
	}
	return list
}

func take[T any](t *rapid.T, list *[]T) (v T, ok bool) {
	if len(*list) == 0 {
		return v, false
	}
	i := rapid.IntRange(0, len(*list)-1).Draw(t, "which")
	v = (*list)[i]
	*list = append((*list)[:i:i], (*list)[i+1:]...)
	return v, true
}

func (w *world) answerSeal(bad bool) {
	a, ok := take(w.t, &w.seals)
	if !ok {
		return
	}
	if bad {
		w.step(outbox.Sealed{ID: a.ID, Err: fault.E("", fault.Timeout, nil, "too long")})
		return
	}
	w.nonce++
	env := seal(a.Letter, w.now, w.nonce)
	w.of[env.Hash()] = a.Letter.ID
	w.step(outbox.Sealed{ID: a.ID, Envelope: env})
}

func (w *world) answerPost(bad bool) {
	a, ok := take(w.t, &w.posts)
	if !ok {
		return
	}
	if bad {
		w.step(outbox.Posted{ID: a.ID, Hash: a.Envelope.Hash(), Err: fault.E("", fault.Unavailable, nil, "no peer")})
		return
	}
	w.step(outbox.Posted{ID: a.ID, Hash: a.Envelope.Hash()})
}

func (w *world) answerAsk(bad bool) {
	a, ok := take(w.t, &w.asks)
	if !ok {
		return
	}
	ev := outbox.HeldAnswer{Server: a.Server, Hashes: a.Hashes, Until: make([]time.Time, len(a.Hashes))}
	if bad {
		ev.Err = fault.E("", fault.Busy, nil, "busy")
	}
	for i, h := range a.Hashes {
		ev.Until[i] = w.held[a.Server][h]
		if !bad && ev.Until[i].After(w.now) {
			w.told[w.of[h]] = true
		}
	}
	w.step(ev)
}

// TestHistories runs random histories with crashes; in the end everything works, and then every letter that was not ended
// is held or was given up in time.
func TestHistories(t *testing.T) {
	sym := symKey(t)
	rapid.Check(t, func(t *rapid.T) {
		w := &world{
			t: t, now: start, store: map[string][]byte{}, letters: map[string]outbox.Letter{}, ended: map[string]bool{}, accepted: map[envelope.Hash]int{},
			held: map[nodeaddr.ID]map[envelope.Hash]time.Time{}, told: map[string]bool{}, of: map[envelope.Hash]string{}, current: map[string]*envelope.Envelope{},
		}
		for _, id := range servers(4) {
			w.held[id] = map[envelope.Hash]time.Time{}
		}
		w.restart()
		id := func() string { return fmt.Sprint("letter", rapid.IntRange(0, 5).Draw(t, "letter")) }
		reach := func() { // an envelope that is out reaches peers and a server
			if env := w.current[id()]; env != nil {
				w.accepted[env.Hash()]++
				w.step(outbox.Accepted{Hash: env.Hash(), Peers: w.accepted[env.Hash()]})
				s := rapid.SampledFrom(servers(4)).Draw(t, "server")
				w.held[s][env.Hash()] = start.Add(10 * 24 * time.Hour)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"send": func(*rapid.T) {
				l := outbox.Letter{ID: id(), Sym: sym, Topic: topic, TTL: time.Duration(rapid.IntRange(1, 4000).Draw(t, "ttl")) * time.Second}
				l.Payload = []byte(l.ID)
				_, actions, err := w.m.Send(w.now, l)
				if err != nil {
					t.Fatal(err)
				}
				if _, old := w.letters[l.ID]; old != (len(actions) == 0) {
					t.Fatalf("%s: %v", l.ID, actions)
				}
				w.letters[l.ID] = l
				w.perform(actions)
			},
			"sealed": func(*rapid.T) { w.answerSeal(rapid.IntRange(0, 4).Draw(t, "bad") == 0) },
			"posted": func(*rapid.T) { w.answerPost(rapid.IntRange(0, 4).Draw(t, "bad") == 0) },
			"asked":  func(*rapid.T) { w.answerAsk(rapid.Bool().Draw(t, "bad")) },
			"reach":  func(*rapid.T) { reach() },
			"seen": func(*rapid.T) {
				s := rapid.SampledFrom(servers(4)).Draw(t, "server")
				var list []envelope.Hash
				for h := range w.held[s] {
					list = append(list, h)
					if _, ok := w.letters[w.of[h]]; ok {
						w.told[w.of[h]] = w.told[w.of[h]] || w.remembers(h)
					}
				}
				w.step(outbox.Seen{Server: s, Hashes: list})
			},
			"servers": func(*rapid.T) {
				w.step(outbox.Servers{Known: 4, List: servers(rapid.IntRange(0, 4).Draw(t, "n"))})
			},
			"online": func(*rapid.T) { w.step(outbox.Online{}) },
			"crash":  func(*rapid.T) { w.restart() },
			"give up": func(*rapid.T) {
				id := id()
				w.ended[id] = true
				w.step(outbox.GiveUp{ID: id})
			},
			"time": func(*rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(-30, 600).Draw(t, "seconds")) * time.Second)
				w.forgetLate()
				w.step(outbox.Tick{})
			},
			"due": func(*rapid.T) {
				if at, ok := w.m.Deadline(); ok && at.After(w.now) && at.Sub(start) < 6*24*time.Hour {
					w.now = at
					w.forgetLate()
					w.step(outbox.Tick{})
				}
			},
			"": func(*rapid.T) {
				for id := range w.letters {
					e, ok := w.m.Find(id)
					if !ok {
						t.Fatalf("%s is lost", id)
					}
					if e.State != outbox.StateFailed {
						w.truth(e)
					}
				}
			},
		})
		w.settle()
	})
}

// remembers reports whether the envelope is one of those that the machine still knows.
func (w *world) remembers(h envelope.Hash) bool {
	_, ok := w.m.FindHash(h)
	return ok
}

// forgetLate lets questions go that the machine has given up: a late answer is another test's.
func (w *world) forgetLate() { w.seals, w.posts, w.asks = w.seals[:0:0], w.posts[:0:0], w.asks[:0:0] }

// settle lets everything work until nothing is open.
func (w *world) settle() {
	w.restart()
	w.step(outbox.Servers{Known: 4, List: servers(4)})
	for range 10_000 {
		for len(w.seals)+len(w.posts)+len(w.asks) > 0 {
			w.answerSeal(false)
			for _, p := range w.posts {
				for _, id := range servers(4) {
					w.held[id][p.Envelope.Hash()] = w.now.Add(10 * 24 * time.Hour)
				}
			}
			w.answerPost(false)
			w.answerAsk(false)
		}
		at, ok := w.m.Deadline()
		if w.m.Open() == 0 || !ok {
			break
		}
		if at.After(w.now) {
			w.now = at
		}
		w.step(outbox.Tick{})
	}
	for id := range w.letters {
		if e, _ := w.m.Find(id); !e.Done || e.State != outbox.StateHeld && !w.ended[id] && w.now.Before(e.Until) {
			w.t.Fatalf("in the end %s is %s", id, e.Text)
		}
	}
}
