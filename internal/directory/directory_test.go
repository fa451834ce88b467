package directory_test

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// start is when all tests begin.
var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// enode is the address of a node whose key follows from n.
func enode(t testing.TB, n int, host string) string {
	t.Helper()
	k, err := message.ParsePrivateKey(append(make([]byte, 30), byte(n>>8), byte(n)))
	if err != nil {
		t.Fatal(err)
	}
	public := k.Public()
	return fmt.Sprintf("enode://%s@%s:30303", hex.EncodeToString(public[1:]), host)
}

func node(t testing.TB, n int, host string) nodeaddr.Node {
	t.Helper()
	node, err := nodeaddr.Parse(enode(t, n, host))
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// TestStories runs scripts of what happened with servers and shows whom Choose wants and what people read. The commands
// are those of story.line.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := &story{t: t, now: start, d: directory.New(), ids: map[string]nodeaddr.ID{}, names: map[nodeaddr.ID]string{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				s.d, s.now = directory.New(), start
				clear(s.ids)
				clear(s.names)
			}
			s.out.Reset()
			for line := range strings.Lines(d.Input) {
				s.line(strings.Fields(line))
			}
			return s.out.String()
		})
	})
}

type story struct {
	t     testing.TB
	now   time.Time
	d     *directory.Directory
	ids   map[string]nodeaddr.ID
	names map[nodeaddr.ID]string
	out   strings.Builder
}

func (s *story) line(f []string) {
	switch f[0] {
	case "add": // NAME HOST [preferred] [suggested] [invited]
		n := node(s.t, 1000+len(s.ids), f[1+1])
		s.ids[f[1]], s.names[n.ID()] = n.ID(), f[1]
		e := directory.Entry{Node: n, Name: f[1], Preferred: has(f, "preferred"), Suggested: has(f, "suggested")}
		if has(f, "invited") {
			e.Token = "token"
		}
		if _, err := s.d.Add(s.now, e); err != nil {
			s.print("error: %s", fault.Text(err))
		}
	case "after": // DURATION
		s.now = s.now.Add(duration(s.t, f[1]))
	case "choose":
		var list []string
		for _, c := range s.d.Choose(s.now) {
			list = append(list, fmt.Sprintf("%s (%v)", s.names[c.Server], c.HedgeAfter))
		}
		s.print("ask: %s", strings.Join(list, ", "))
	case "next":
		at, ok := s.d.NextChange(s.now)
		if !ok {
			s.print("next: never")
			return
		}
		s.print("next: in %v", at.Sub(s.now))
	case "online":
		s.d.Online()
	case "all":
		if err := s.d.SetUse(directory.Preferred, nodeaddr.ID{}); err != nil {
			s.t.Fatal(err)
		}
	case "reload":
		fresh := directory.New()
		for _, err := range fresh.Load(s.d.Records()) {
			s.t.Error(err)
		}
		s.d = fresh
	default:
		s.server(s.ids[f[0]], f[1], f[2:])
	}
}

// server is a line about one server: NAME WORD ARGUMENT…
func (s *story) server(id nodeaddr.ID, word string, args []string) {
	yes, no := true, false
	var err error
	switch word {
	case "view":
		v, _ := s.d.View(s.now, id)
		s.print("-- %s, %s", v.Name, v.Used)
		for _, text := range v.Sentences {
			s.print("%s: %s", text.Topic, text.Text)
		}
	case "paused":
		err = s.d.Change(id, directory.Change{Paused: &yes})
	case "resumed":
		err = s.d.Change(id, directory.Change{Paused: &no})
	case "preferred":
		err = s.d.Change(id, directory.Change{Preferred: &yes})
	case "only":
		err = s.d.SetUse(directory.Only, id)
	case "confirmed":
		err = s.d.Confirm(id)
	case "removed":
		err = s.d.Remove(id)
	default:
		s.d.Note(s.now, id, s.event(word, args))
	}
	if err != nil {
		s.print("error: %s", fault.Text(err))
	}
}

func (s *story) event(word string, args []string) directory.Event {
	switch word {
	case "connected": // keep=D age=D closing=D members member
		var c history.Caps
		for _, a := range args {
			key, value, _ := strings.Cut(a, "=")
			switch key {
			case "keep":
				c.Keep = duration(s.t, value)
			case "age":
				c.Age = duration(s.t, value)
			case "closing":
				c.Closing = s.now.Add(duration(s.t, value))
			case "members":
				c.MembersOnly = true
			case "member":
				c.Member = true
			}
		}
		return directory.Connected{Caps: c}
	case "lost":
		return directory.ConnectionLost{Err: failure(args)}
	case "unreachable":
		return directory.ConnectFailed{Err: fault.E("", fault.Unavailable, nil, "connection refused")}
	case "answered": // FIRST LAST [BYTES ENVELOPES]
		ev := directory.Answered{First: duration(s.t, args[0]), Last: duration(s.t, args[1])}
		if len(args) > 2 {
			ev.Bytes, ev.Envelopes = int64(number(s.t, args[2])), number(s.t, args[3])
		}
		return ev
	case "failed":
		return directory.Failed{Err: failure(args)}
	case "lacked": // N OF
		return directory.Lacked{Lacked: number(s.t, args[0]), Of: number(s.t, args[1])}
	case "withheld":
		return directory.Withheld{N: number(s.t, args[0])}
	case "joined":
		return directory.Joined{Err: failure(args)}
	}
	s.t.Fatalf("what is %q?", word)
	return nil
}

// failure is an error of the kind that the word says; nil for none.
func failure(args []string) error {
	if len(args) == 0 {
		return nil
	}
	kinds := map[string]fault.Kind{
		"lied": fault.Corrupt, "stalled": fault.Timeout, "denied": fault.Denied, "quota": fault.Limit, "busy": fault.Busy,
		"stopped": fault.Closed, "broken": fault.Unavailable,
	}
	return fault.E("", kinds[args[0]], nil, "it "+args[0])
}

func (s *story) print(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func has(f []string, word string) bool {
	for _, x := range f {
		if x == word {
			return true
		}
	}
	return false
}

func duration(t testing.TB, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func number(t testing.TB, text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
