package outbox_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/outbox"
)

// start is when all tests begin.
var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var topic = envelope.Topic{1, 2, 3, 4}

func symKey(t testing.TB) *message.SymKey {
	t.Helper()
	k, err := message.NewSymKey([]byte(strings.Repeat("k", message.SymKeySize)))
	if err != nil {
		t.Fatal(err)
	}
	return &k
}

// seal makes an envelope for a letter; no two are equal.
func seal(l outbox.Letter, now time.Time, nonce uint64) *envelope.Envelope {
	ttl := uint32(l.TTL / time.Second)
	return envelope.New(uint32(now.Unix())+ttl, ttl, l.Topic, []byte(l.ID), nonce)
}

// TestStories runs scripts of what happens to letters and shows what is done about them and what people read. The commands
// are those of story.line; "!" before one hides what it prints.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := &story{t: t}
		s.reset()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				s.reset()
			}
			s.out.Reset()
			for line := range strings.Lines(d.Input) {
				hidden := strings.HasPrefix(line, "!")
				before := s.out.String()
				s.line(strings.Fields(strings.TrimPrefix(line, "!")))
				if hidden {
					s.out.Reset()
					s.out.WriteString(before)
				}
			}
			return s.out.String()
		})
	})
}

type story struct {
	t     testing.TB
	now   time.Time
	m     *outbox.Machine
	store map[string][]byte
	seals map[string]outbox.Seal        // by letter, the last
	posts map[string]*envelope.Envelope // by letter, the last
	asks  map[string]outbox.AskHeld     // by server, the last
	names map[envelope.Hash]string      // "a#1"
	nonce uint64
	out   strings.Builder
}

func (s *story) reset() {
	s.now, s.store, s.names = start, map[string][]byte{}, map[envelope.Hash]string{}
	s.restart()
}

// restart is a new machine with what was stored.
func (s *story) restart() {
	var records [][]byte
	for _, id := range sortedKeys(s.store) {
		records = append(records, s.store[id])
	}
	m, errs := outbox.New(outbox.Config{Rand: strings.NewReader(strings.Repeat("r", 1000))}, records)
	for _, err := range errs {
		s.t.Error(err)
	}
	s.m, s.seals, s.posts, s.asks = m, map[string]outbox.Seal{}, map[string]*envelope.Envelope{}, map[string]outbox.AskHeld{}
}

func sortedKeys(m map[string][]byte) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func serverID(name string) (id nodeaddr.ID) {
	copy(id[:], name)
	return id
}

func (s *story) line(f []string) {
	switch f[0] {
	case "send": // ID [ttl=D] [until=D] [text=T]
		l := outbox.Letter{ID: f[1], Topic: topic, Sym: symKey(s.t), Payload: []byte("hello")}
		for _, a := range f[2:] {
			switch key, value, _ := strings.Cut(a, "="); key {
			case "ttl":
				l.TTL = s.duration(value)
			case "until":
				l.Until = s.now.Add(s.duration(value))
			case "text":
				l.Payload = []byte(value)
			}
		}
		e, actions, err := s.m.Send(s.now, l)
		if err != nil {
			s.print("error: %s", fault.Text(err))
		} else if len(actions) == 0 {
			s.print("%s is there already: %s", e.ID, e.State)
		}
		s.show(actions)
	case "sealed": // ID [invalid|timeout|dead]
		l := s.seals[f[1]]
		ev := outbox.Sealed{ID: l.ID, Err: failure(f[2:])}
		if len(f) > 2 && f[2] == "dead" {
			ev.Envelope = seal(l.Letter, s.now.Add(-48*time.Hour), 0)
		} else if ev.Err == nil {
			s.nonce++
			ev.Envelope = seal(l.Letter, s.now, s.nonce)
			e, _ := s.m.Find(f[1])
			s.names[ev.Envelope.Hash()] = fmt.Sprintf("%s#%d", f[1], len(e.Attempts)+1)
		}
		s.step(ev)
	case "posted": // ID [invalid|full|lowpow|large]
		env := s.posts[f[1]]
		s.step(outbox.Posted{ID: f[1], Hash: env.Hash(), Err: failure(f[2:])})
	case "accepted": // ENVELOPE PEERS
		n, _ := strconv.Atoi(f[2])
		s.step(outbox.Accepted{Hash: s.hash(f[1]), Peers: n})
	case "servers": // KNOWN [SERVER…]
		n, _ := strconv.Atoi(f[1])
		ev := outbox.Servers{Known: n}
		for _, name := range f[2:] {
			ev.List = append(ev.List, serverID(name))
		}
		s.step(ev)
	case "held": // SERVER [ENVELOPE=D…], answers its last question
		a := s.asks[f[1]]
		ev := outbox.HeldAnswer{Server: a.Server, Hashes: a.Hashes, Until: make([]time.Time, len(a.Hashes))}
		for _, arg := range f[2:] {
			name, d, _ := strings.Cut(arg, "=")
			ev.Until[slices.Index(a.Hashes, s.hash(name))] = s.now.Add(s.duration(d))
		}
		s.step(ev)
	case "unanswered": // SERVER
		s.step(outbox.HeldAnswer{Server: s.asks[f[1]].Server, Hashes: s.asks[f[1]].Hashes, Err: failure([]string{"timeout"})})
	case "seen": // SERVER ENVELOPE
		s.step(outbox.Seen{Server: serverID(f[1]), Hashes: []envelope.Hash{{9}, s.hash(f[2])}})
	case "online":
		s.step(outbox.Online{})
	case "giveup":
		s.step(outbox.GiveUp{ID: f[1]})
	case "forget":
		s.step(outbox.Forget{ID: f[1]})
	default:
		s.more(f)
	}
}

func (s *story) more(f []string) {
	switch f[0] {
	case "after": // DURATION: that passes without anybody doing anything
		s.now = s.now.Add(s.duration(f[1]))
		s.step(outbox.Tick{})
	case "wait": // until the deadline
		at, ok := s.m.Deadline()
		if !ok {
			s.print("nothing is due")
			return
		}
		s.print("%v later", max(at.Sub(s.now), 0))
		s.now = maxTime(at, s.now)
		s.step(outbox.Tick{})
	case "clock": // DURATION: it is set back
		s.now = s.now.Add(-s.duration(f[1]))
		s.step(outbox.Tick{})
	case "restart":
		s.restart()
		s.step(outbox.Tick{})
	case "look": // ID
		e, ok := s.m.Find(f[1])
		if !ok {
			s.print("%s is not there", f[1])
			return
		}
		s.print("%s %s done=%v open=%d kept=%d: %s", e.ID, e.State, e.Done, s.m.Open(), len(e.Payload), e.Text)
	default:
		s.t.Fatalf("what is %q?", f[0])
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (s *story) step(ev outbox.Event) { s.show(s.m.Step(s.now, ev)) }

// show does what can be done at once, and prints the rest.
func (s *story) show(actions []outbox.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case outbox.Seal:
			s.seals[a.Letter.ID] = a
			s.print("seal %s", a.Letter.ID)
		case outbox.Post:
			s.posts[a.ID] = a.Envelope
			s.print("post %s", s.names[a.Envelope.Hash()])
		case outbox.AskHeld:
			name := strings.TrimRight(string(a.Server[:]), "\x00")
			s.asks[name] = a
			var list []string
			for _, h := range a.Hashes {
				list = append(list, s.names[h])
			}
			s.print("ask %s about %s", name, strings.Join(list, ", "))
		case outbox.Save:
			s.store[a.ID] = a.Data
			s.print("save %s", a.ID)
		case outbox.Delete:
			delete(s.store, a.ID)
			s.print("delete %s", a.ID)
		case outbox.Changed:
			s.print("%s %s: %s", a.Entry.ID, a.Entry.State, a.Entry.Text)
		}
	}
}

func failure(args []string) error {
	if len(args) == 0 {
		return nil
	}
	switch args[0] {
	case "invalid":
		return fault.E("", fault.Invalid, nil, "its key is wrong")
	case "timeout":
		return fault.E("", fault.Timeout, nil, "it took too long")
	case "full":
		return fault.E("", fault.Limit, nil, "the pool is full")
	case "lowpow":
		return fault.E("", fault.Invalid, &envelope.Refusal{Reason: envelope.LowPoW}, "too little work")
	case "large":
		return fault.E("", fault.Invalid, &envelope.Refusal{Reason: envelope.TooLarge}, "too large")
	}
	return nil
}

func (s *story) hash(name string) envelope.Hash {
	for h, n := range s.names {
		if n == name {
			return h
		}
	}
	s.t.Fatalf("there is no envelope %s", name)
	return envelope.Hash{}
}

func (s *story) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *story) print(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }
