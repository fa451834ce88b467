package outbox_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/outbox"
)

func newMachine(t testing.TB, records ...[]byte) *outbox.Machine {
	t.Helper()
	m, errs := outbox.New(outbox.Config{}, records)
	for _, err := range errs {
		t.Fatal(err)
	}
	return m
}

func TestLetters(t *testing.T) {
	private, err := message.GeneratePrivateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	public := private.Public()
	for _, c := range []struct {
		name  string
		spot  func(*outbox.Letter)
		wrong string
	}{
		{"all defaults", func(l *outbox.Letter) {}, ""},
		{"for a public key, signed", func(l *outbox.Letter) { l.Sym, l.To, l.Sign = nil, &public, private }, ""},
		{"all bounds", func(l *outbox.Letter) {
			l.ID, l.TTL, l.Until, l.Payload, l.PoW = strings.Repeat("x", 64), outbox.MaxTTL, start.Add(outbox.MaxUntil), make([]byte, outbox.MaxPayload), outbox.MaxPoW
		}, ""},
		{"long id", func(l *outbox.Letter) { l.ID = strings.Repeat("x", 65) }, "a letter's id is printable text of at most 64 bytes"},
		{"unprintable id", func(l *outbox.Letter) { l.ID = "a\n" }, "a letter's id is printable text"},
		{"no text as id", func(l *outbox.Letter) { l.ID = "\xff" }, "a letter's id is printable text"},
		{"no key", func(l *outbox.Letter) { l.Sym = nil }, "give one of them"},
		{"two keys", func(l *outbox.Letter) { l.To = &public }, "give one of them"},
		{"empty key", func(l *outbox.Letter) { l.Sym = new(message.SymKey) }, "the symmetric key is empty"},
		{"key off the curve", func(l *outbox.Letter) { l.Sym, l.To = nil, &message.PublicKey{4, 1} }, "key"},
		{"large", func(l *outbox.Letter) { l.Payload = make([]byte, outbox.MaxPayload+1) }, "a letter carries at most 1044480 bytes, not 1044481: send it in parts"},
		{"short TTL", func(l *outbox.Letter) { l.TTL = 999 * time.Millisecond }, "an envelope lives for 1 s to 7 days"},
		{"long TTL", func(l *outbox.Letter) { l.TTL = outbox.MaxTTL + time.Second }, "an envelope lives for 1 s to 7 days"},
		{"negative work", func(l *outbox.Letter) { l.PoW = -1 }, "the proof of work is a number from 0 to 1000"},
		{"over", func(l *outbox.Letter) { l.Until = start }, "a letter is given up in the future, within 30 days"},
		{"far", func(l *outbox.Letter) { l.Until = start.Add(outbox.MaxUntil + time.Second) }, "a letter is given up in the future, within 30 days"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := outbox.Letter{Topic: topic, Sym: symKey(t), Payload: []byte("hello")}
			c.spot(&l)
			m := newMachine(t)
			e, actions, err := m.Send(start, l)
			if c.wrong != "" {
				if err == nil || !strings.Contains(fault.Text(err), c.wrong) || len(actions) != 0 || m.Open() != 0 {
					t.Fatalf("%v, %v", err, actions)
				}
				return
			}
			if err != nil || e.ID == "" || e.TTL == 0 || e.Until.IsZero() || m.Open() != 1 {
				t.Fatalf("%+v, %v", e, err)
			}
			save, ok := actions[0].(outbox.Save)
			if !ok {
				t.Fatalf("the first action is %T", actions[0])
			}
			again, _ := newMachine(t, save.Data).Find(e.ID)
			if string(again.Payload) != string(l.Payload) {
				t.Error("the payload was not stored")
			}
			again.Payload, e.Payload = nil, nil // large
			again.Next, again.Text, e.Text = time.Time{}, "", ""
			if diff := cmp.Diff(e, again, cmp.Comparer(sameSym), cmp.Comparer(samePrivate)); diff != "" {
				t.Error(diff)
			}
			same := l
			same.ID = e.ID
			if _, actions, err := newMachine(t, save.Data).Send(start, same); err != nil || len(actions) != 0 {
				t.Errorf("after a restart it is another letter: %v, %v", actions, err)
			}
		})
	}
}

func sameSym(a, b *message.SymKey) bool { return a == b || a != nil && b != nil && a.Equal(*b) }

func samePrivate(a, b *message.PrivateKey) bool { return a == b || a != nil && b != nil && a.Equal(b) }

func TestBounds(t *testing.T) {
	sym := symKey(t)
	t.Run("count", func(t *testing.T) {
		m := newMachine(t)
		for i := range outbox.MaxOpen {
			if _, _, err := m.Send(start, outbox.Letter{ID: fmt.Sprint(i), Sym: sym}); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := m.Send(start, outbox.Letter{Sym: sym})
		if !fault.Is(err, fault.Limit) {
			t.Fatal(err)
		}
		if list := m.List("", 5); len(list) != 5 || list[4].ID != "4" {
			t.Errorf("%v", list)
		}
		if list := m.List("9990", 100); len(list) != 9 || list[0].ID != "9991" {
			t.Errorf("%v", list)
		}
		if list := m.List("?", -1); len(list) != 0 {
			t.Errorf("%v", list)
		}
		for i := range outbox.MaxOpen {
			m.Step(start, outbox.GiveUp{ID: fmt.Sprint(i)})
		}
		if _, _, err := m.Send(start, outbox.Letter{ID: "one more", Sym: sym}); err != nil || m.Open() != 1 {
			t.Fatal(err)
		}
		actions := m.Step(start, outbox.GiveUp{ID: "one more"})
		if a, ok := actions[len(actions)-1].(outbox.Delete); !ok || a.ID != "0" {
			t.Errorf("the oldest was not forgotten: %v", actions)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		m := newMachine(t)
		l := outbox.Letter{Sym: sym, Payload: make([]byte, outbox.MaxPayload)}
		n := 0
		for ; n < 1000; n++ {
			l.ID = fmt.Sprint(n)
			if _, _, err := m.Send(start, l); err != nil {
				if !fault.Is(err, fault.Limit) {
					t.Fatal(err)
				}
				break
			}
		}
		if n != outbox.MaxBytes/outbox.MaxPayload {
			t.Errorf("%d letters", n)
		}
		m.Step(start, outbox.Forget{ID: "0"})
		if _, _, err := m.Send(start, l); err != nil {
			t.Error(err)
		}
	})
}

// Questions are cut to what a server takes, and nobody is asked twice at a time.
func TestManyQuestions(t *testing.T) {
	const letters = 300
	m := newMachine(t)
	sym := symKey(t)
	server := serverID("s1")
	m.Step(start, outbox.Servers{Known: 1, List: []nodeaddr.ID{server}})
	var open []outbox.AskHeld
	asked := 0
	var perform func(now time.Time, actions []outbox.Action)
	perform = func(now time.Time, actions []outbox.Action) {
		for _, a := range actions {
			switch a := a.(type) {
			case outbox.Seal:
				perform(now, m.Step(now, outbox.Sealed{ID: a.ID, Envelope: seal(a.Letter, now, 0)}))
			case outbox.Post:
				perform(now, m.Step(now, outbox.Posted{ID: a.ID, Hash: a.Envelope.Hash()}))
			case outbox.AskHeld:
				if open = append(open, a); len(open) > 1 || len(a.Hashes) > outbox.MaxHashes {
					t.Fatalf("%d questions are open; the last has %d hashes", len(open), len(a.Hashes))
				}
				asked += len(a.Hashes)
			}
		}
	}
	for i := range letters {
		_, actions, err := m.Send(start, outbox.Letter{ID: fmt.Sprint(i), Sym: sym, Topic: topic})
		if err != nil {
			t.Fatal(err)
		}
		perform(start, actions)
	}
	now := start.Add(2 * time.Second)
	perform(now, m.Step(now, outbox.Tick{}))
	for len(open) > 0 {
		a := open[0]
		open = nil
		until := make([]time.Time, len(a.Hashes))
		for i := range until {
			until[i] = now.Add(time.Hour)
		}
		perform(now, m.Step(now, outbox.HeldAnswer{Server: server, Hashes: a.Hashes, Until: until}))
	}
	if asked != letters {
		t.Errorf("%d of %d letters were asked about", asked, letters)
	}
	for _, e := range m.List("", letters) {
		if e.State != outbox.StateHeld {
			t.Fatalf("%s is %s", e.ID, e.Text)
		}
	}
}

// Answers may be anything.
func TestWildAnswers(t *testing.T) {
	s := &story{t: t}
	s.reset()
	for _, line := range []string{"servers 1 s1", "send a", "sealed a", "posted a", "wait"} {
		s.line(strings.Fields(line))
	}
	h := s.hash("a#1")
	for _, ev := range []outbox.Event{
		outbox.Sealed{ID: 99}, outbox.Sealed{}, outbox.Posted{}, outbox.Posted{ID: "a", Hash: h}, outbox.Accepted{Hash: h, Peers: -5},
		outbox.Accepted{Peers: 1}, outbox.HeldAnswer{}, outbox.HeldAnswer{Server: serverID("s1"), Hashes: []envelope.Hash{h}},
		outbox.HeldAnswer{Server: serverID("s1"), Hashes: []envelope.Hash{h}, Until: make([]time.Time, 2)},
		outbox.HeldAnswer{Server: serverID("s1"), Hashes: []envelope.Hash{h}, Until: []time.Time{start}},
		outbox.HeldAnswer{Server: serverID("s1"), Hashes: []envelope.Hash{h}, Until: []time.Time{time.Unix(1<<50, 0)}},
		outbox.Seen{Hashes: []envelope.Hash{h}}, outbox.GiveUp{ID: "?"}, outbox.Forget{},
	} {
		s.m.Step(s.now, ev)
		if e, _ := s.m.Find("a"); e.State != outbox.StateSending || e.Done {
			t.Fatalf("%#v made it %s", ev, e.Text)
		}
	}
	s.m.Step(s.now, outbox.Sealed{})
	for i := range 100 {
		s.m.Step(s.now, outbox.Seen{Server: serverID(fmt.Sprint(i)), Hashes: []envelope.Hash{h}})
	}
	if e, _ := s.m.Find("a"); e.State != outbox.StateHeld || len(e.Holders) != outbox.MaxHolders {
		t.Errorf("%d servers are said to hold it", len(e.Holders))
	}
}

// The names of those who hold a letter are in the sentence.
func TestNames(t *testing.T) {
	m, _ := outbox.New(outbox.Config{Name: func(id nodeaddr.ID) string { return strings.TrimRight(string(id[:]), "\x00") }}, nil)
	_, actions, err := m.Send(start, outbox.Letter{ID: "a", Sym: symKey(t), Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	var env *envelope.Envelope
	for _, a := range actions {
		if a, ok := a.(outbox.Seal); ok {
			env = seal(a.Letter, start, 1)
			m.Step(start, outbox.Sealed{ID: a.ID, Envelope: env})
		}
	}
	m.Step(start, outbox.Seen{Server: serverID("home"), Hashes: []envelope.Hash{env.Hash()}})
	m.Step(start, outbox.HeldAnswer{Server: serverID("ann"), Hashes: []envelope.Hash{env.Hash()}, Until: []time.Time{start.AddDate(0, 2, 0)}})
	if e, _ := m.Find("a"); e.Text != "held by 2 mail servers (home, ann), by one of them until 22 Jan 2027" {
		t.Error(e.Text)
	}
	if id, ok := m.FindHash(env.Hash()); !ok || id != "a" {
		t.Error(id, ok)
	}
	if _, ok := m.FindHash(envelope.Hash{}); ok {
		t.Error("found what nobody sent")
	}
}

// What was written once is read for ever: testdata/record-1.json is not to be edited.
func TestOldRecord(t *testing.T) {
	data, err := os.ReadFile("testdata/record-1.json")
	if err != nil {
		t.Fatal(err)
	}
	e, ok := newMachine(t, data).Find("a")
	if !ok || e.State != outbox.StateHeld || e.Peers != 3 || len(e.Holders) != 1 || e.Holders[0].How != outbox.HowTold || len(e.Attempts) != 1 ||
		string(e.Payload) != "hello" || !sameSym(e.Sym, symKey(t)) || e.TTL != 24*time.Hour || !e.Created.Equal(start) {
		t.Errorf("%+v", e)
	}
}

func TestDamagedRecords(t *testing.T) {
	good, err := os.ReadFile("testdata/record-1.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, old, new string
		kind           fault.Kind
	}{
		{"no JSON", `{`, `[`, fault.Corrupt},
		{"no version", `"version":1,`, ``, fault.Corrupt},
		{"newer", `"version":1,`, `"version":2,`, fault.Invalid},
		{"no id", `"id":"a"`, `"id":""`, fault.Corrupt},
		{"no such state", `"held"`, `"lost"`, fault.Corrupt},
		{"held by nobody", `"holders"`, `"nobody"`, fault.Corrupt},
		{"no key", `"sym"`, `"cym"`, fault.Corrupt},
		{"bad key", `"sym":"6b`, `"sym":"`, fault.Corrupt},
		{"another size", `"size":5`, `"size":6`, fault.Corrupt},
		{"no TTL", `"ttl":86400`, `"ttl":0`, fault.Corrupt},
		{"no server", `"server":"73`, `"server":"`, fault.Corrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(string(good), c.old, c.new, 1)
			other := strings.Replace(string(good), `"id":"a"`, `"id":"b"`, 1)
			m, errs := outbox.New(outbox.Config{}, [][]byte{[]byte(bad), []byte(other)})
			if bad == string(good) || len(errs) != 1 || !fault.Is(errs[0], c.kind) || m.Open() != 1 {
				t.Errorf("%v, %d left", errs, m.Open())
			}
		})
	}
	t.Run("envelope", func(t *testing.T) {
		bad := strings.Replace(string(good), `"envelope":"`, `"envelope":"AAAA`, 1)
		if m := newMachine(t, []byte(bad), []byte(bad)); m.Open() != 1 {
			t.Error("a letter without its envelope is sealed anew")
		}
	})
}
