package directory_test

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/nodeaddr"
)

func sameNode(a, b nodeaddr.Node) bool { return a.String() == b.String() }

// reloaded is the directory after it was stored and read back; both must say the same.
func reloaded(t interface {
	Helper()
	Fatalf(string, ...any)
}, d *directory.Directory) *directory.Directory {
	t.Helper()
	fresh := directory.New()
	if errs := fresh.Load(d.Records()); len(errs) > 0 {
		t.Fatalf("%v", errs)
	}
	if diff := cmp.Diff(d.Records(), fresh.Records()); diff != "" {
		t.Fatalf("stored anew it is another one:\n%s", diff)
	}
	if len(fresh.Changed()) > 0 {
		t.Fatalf("what was only read counts as changed")
	}
	return fresh
}

// What was written once is read for ever: testdata/record-1.json is not to be edited.
func TestOldRecord(t *testing.T) {
	data, err := os.ReadFile("testdata/record-1.json")
	if err != nil {
		t.Fatal(err)
	}
	n := node(t, 1, "10.0.1.1")
	d := directory.New()
	if errs := d.Load([]directory.Record{{ID: n.ID().String(), Data: data}}); len(errs) > 0 {
		t.Fatal(errs)
	}
	v, _ := d.View(start, n.ID())
	v.Sentences = nil
	want := directory.View{
		Entry: directory.Entry{Node: n, Name: "Ann's home", Origin: directory.Link, Preferred: true, Added: start.Add(-24 * time.Hour), Token: token, Password: "secret", Note: "by the sea"},
		Used:  directory.Primary, Client: "x/1", CallsItself: "ann", LastSuccess: start.Add(-time.Hour), LastFailure: start.Add(-time.Minute), LastError: "it stalled",
		// It is cooling down, but nobody else is left.
		Answered: 1, Asked: 2, FirstP50: 100 * time.Millisecond, FirstP95: 100 * time.Millisecond, LastP50: time.Second,
		Completeness: 0.5, Compared: 3, Lacked: 1, Withheld: 1, Keep: 72 * time.Hour, Age: 720 * time.Hour, MembersOnly: true, Closing: start.Add(24 * time.Hour),
		BytesToday: 10, BytesTotal: 20, Envelopes: 2,
	}
	if diff := cmp.Diff(want, v, cmp.Comparer(sameNode)); diff != "" {
		t.Error(diff)
	}
}

func TestDamagedRecords(t *testing.T) {
	d := directory.New()
	for i := range 3 {
		if _, err := d.Add(start, directory.Entry{Node: node(t, 1+i, "10.0.1.1"), Origin: directory.Own}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.SetUse(directory.Only, node(t, 3, "10.0.1.1").ID()); err != nil {
		t.Fatal(err)
	}
	good := d.Records()
	for _, c := range []struct {
		name string
		spot func(*directory.Record)
		kind fault.Kind
	}{
		{"no JSON", func(r *directory.Record) { r.Data = []byte("x") }, fault.Corrupt},
		{"empty", func(r *directory.Record) { r.Data = nil }, fault.Corrupt},
		{"no version", func(r *directory.Record) { r.Data = []byte("{}") }, fault.Corrupt},
		{"newer", func(r *directory.Record) { replace(r, `"version":1`, `"version":2`) }, fault.Invalid},
		{"another's id", func(r *directory.Record) { r.ID = strings.Repeat("0", 64) }, fault.Corrupt},
		{"no node", func(r *directory.Record) { replace(r, "enode://", "enode://zz") }, fault.Corrupt},
		{"bad name", func(r *directory.Record) { replace(r, `"origin"`, `"name":"\u0007","origin"`) }, fault.Corrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := append([]directory.Record(nil), good...)
			c.spot(&list[0])
			fresh := directory.New()
			errs := fresh.Load(list)
			lostOnly := good[0].ID == node(t, 3, "10.0.1.1").ID().String()
			if len(errs) == 0 || !fault.Is(errs[0], c.kind) || fresh.Len() != 2 || len(errs) != 1 && !lostOnly {
				t.Fatalf("%v, %d left", errors.Join(errs...), fresh.Len())
			}
		})
	}
	t.Run("the only one", func(t *testing.T) {
		var rest []directory.Record
		for _, r := range good {
			if r.ID != node(t, 3, "10.0.1.1").ID().String() {
				rest = append(rest, r)
			}
		}
		fresh := directory.New()
		if errs := fresh.Load(rest); len(errs) != 1 || len(fresh.Choose(start)) != 0 {
			t.Errorf("others are asked although only one may be: %v, %v", errs, fresh.Choose(start))
		}
	})
	for _, text := range []string{"x", `{"version":1,"only":"12"}`, `{"version":9}`} {
		if errs := directory.New().Load([]directory.Record{{ID: "settings", Data: []byte(text)}}); len(errs) != 1 {
			t.Errorf("settings %s: %v", text, errs)
		}
	}
}

func replace(r *directory.Record, old, new string) {
	r.Data = []byte(strings.Replace(string(r.Data), old, new, 1))
}

// A record's numbers are kept within bounds, whatever they are.
func TestWildNumbers(t *testing.T) {
	n := node(t, 1, "10.0.1.1")
	data := `{"version":1,"node":"` + n.String() + `","origin":"?","added":"9999-12-31T23:59:59Z","said":{"keep":-1,"age":-1,"closing":"0001-01-02T00:00:00Z"},
		"cool":{"until":"9000-01-01T00:00:00Z","cause":77,"dials":-5,"failures":99999},"first":[-1],"last":[-1],
		"compared":[{"lacked":9,"of":-3,"withheld":-1},{"lacked":9,"of":3}],"bytesToday":-1,"bytesTotal":-1,"answers":[` + strings.Repeat("true,", 99) + `true]}`
	d := directory.New()
	if errs := d.Load([]directory.Record{{ID: n.ID().String(), Data: []byte(data)}}); len(errs) > 0 {
		t.Fatal(errs)
	}
	v, _ := d.View(start, n.ID())
	if !v.CoolUntil.IsZero() || v.Asked != 32 || v.Compared != 3 || v.Lacked != 3 || v.Completeness != 0 || v.Keep != 0 || v.FirstP50 != 0 || v.BytesTotal != 0 {
		t.Errorf("%+v", v)
	}
	reloaded(t, d)
}

// What a server says of itself may be anything.
func TestWildWords(t *testing.T) {
	d := directory.New()
	n := node(t, 1, "10.0.1.1")
	if _, err := d.Add(start, directory.Entry{Node: n}); err != nil {
		t.Fatal(err)
	}
	d.Note(start, n.ID(), directory.Connected{Client: "\x00\xff" + strings.Repeat("z", 1000), Caps: history.Caps{
		Name: "\x1b[31m" + strings.Repeat("é", 999), Keep: -5, Age: math.MaxInt64, Closing: time.Unix(math.MaxInt64, 0),
	}})
	d.Note(start, n.ID(), directory.Answered{First: -1, Last: math.MaxInt64, Bytes: math.MaxInt64, Envelopes: -1})
	d.Note(start, n.ID(), directory.Lacked{Lacked: math.MaxInt, Of: math.MaxInt})
	d.Note(start, n.ID(), directory.Lacked{Lacked: -1, Of: -1})
	d.Note(start, n.ID(), directory.Withheld{N: math.MaxInt})
	d.Note(start, n.ID(), directory.Failed{Err: errors.New(strings.Repeat("\n", 1000))})
	d.Note(start, nodeaddr.ID{1}, directory.Withheld{N: 1})
	v, _ := d.View(start, n.ID())
	if len(v.CallsItself) > directory.MaxName || len(v.Client) > directory.MaxName || len(v.LastError) > 200 || !v.Closing.IsZero() || v.Completeness < 0 || v.Completeness > 1 {
		t.Errorf("%+v", v)
	}
	reloaded(t, d)
}

// TestHistories runs random histories against a simple model of who may be asked, and stores and reloads in between.
func TestHistories(t *testing.T) {
	var nodes []nodeaddr.Node
	for i, host := range []string{"10.0.1.1", "10.0.1.2", "10.0.2.1", "host.example", "127.0.0.1"} {
		nodes = append(nodes, node(t, 1+i, host))
	}
	rapid.Check(t, func(t *rapid.T) {
		d, stored := directory.New(), map[string]string{}
		now := start
		type state struct{ suggested, paused, preferred bool }
		model := map[nodeaddr.ID]*state{}
		var only nodeaddr.ID
		errs := []error{nil, fault.E("", fault.Corrupt, nil, "lied"), fault.E("", fault.Timeout, nil, "stalled"), fault.E("", fault.Denied, nil, "denied"), errors.New("?")}
		pick := func(t *rapid.T) nodeaddr.Node {
			return nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "server")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				n, s := pick(t), rapid.Bool().Draw(t, "suggested")
				added, err := d.Add(now, directory.Entry{Node: n, Suggested: s})
				if m := model[n.ID()]; err != nil || added != (m == nil) {
					t.Fatalf("%v, %v", added, err)
				} else if m == nil {
					model[n.ID()] = &state{suggested: s}
				} else {
					m.suggested = m.suggested && s
				}
			},
			"remove": func(t *rapid.T) {
				id := pick(t).ID()
				if err := d.Remove(id); (err == nil) != (model[id] != nil && only != id) {
					t.Fatal(err)
				} else if err == nil {
					delete(model, id)
				}
			},
			"change": func(t *rapid.T) {
				id := pick(t).ID()
				paused, preferred, one := rapid.Bool().Draw(t, "paused"), rapid.Bool().Draw(t, "preferred"), rapid.Bool().Draw(t, "only")
				m := model[id]
				err := d.Change(id, directory.Change{Paused: &paused, Preferred: &preferred, Only: &one})
				if (err == nil) != (m != nil && !(one && m.suggested)) {
					t.Fatal(err)
				}
				if err != nil {
					return
				}
				m.paused, m.preferred = paused, preferred
				if one {
					only = id
				} else if only == id {
					only = nodeaddr.ID{}
				}
			},
			"note": func(t *rapid.T) {
				err := errs[rapid.IntRange(0, len(errs)-1).Draw(t, "err")]
				ms := time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond
				d.Note(now, pick(t).ID(), rapid.SampledFrom([]directory.Event{
					directory.Connected{}, directory.ConnectionLost{Err: err}, directory.ConnectFailed{Err: err}, directory.Failed{Err: err},
					directory.Answered{First: ms, Last: 2 * ms, Bytes: int64(ms)}, directory.Lacked{Lacked: int(ms) % 7, Of: 7}, directory.Withheld{N: 1}, directory.Joined{Err: err},
				}).Draw(t, "event"))
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(-100, 4000).Draw(t, "seconds")) * time.Second)
			},
			"next": func(t *rapid.T) {
				before := d.Choose(now)
				at, ok := d.NextChange(now)
				if ok && !at.After(now) {
					t.Fatalf("the next change was at %v", at)
				}
				if !ok {
					at = now.Add(48 * time.Hour)
				}
				if diff := cmp.Diff(before, d.Choose(at.Add(-1))); diff != "" {
					t.Fatalf("changed before it was said:\n%s", diff)
				}
				now = at
			},
			"reload": func(t *rapid.T) { d = reloaded(t, d) },
			"": func(t *rapid.T) {
				for _, r := range d.Changed() {
					if stored[r.ID] = string(r.Data); r.Data == nil {
						delete(stored, r.ID)
					}
				}
				for _, r := range d.Records() {
					if s, ok := stored[r.ID]; r.ID != "settings" && s != string(r.Data) || ok && s != string(r.Data) {
						t.Fatalf("%s was not said to have changed", r.ID)
					}
				}
				seen, preferred := map[nodeaddr.ID]bool{}, true
				for _, c := range d.Choose(now) {
					m := model[c.Server]
					if seen[c.Server] || m == nil || m.suggested || m.paused || only != (nodeaddr.ID{}) && c.Server != only {
						t.Fatalf("%s must not be asked", c.Server)
					}
					if m.preferred && !preferred {
						t.Fatalf("%s is preferred and comes late", c.Server)
					}
					if c.HedgeAfter < directory.HedgeLeast || c.HedgeAfter > directory.HedgeMost {
						t.Fatalf("hedge after %v", c.HedgeAfter)
					}
					seen[c.Server], preferred = true, m.preferred
				}
				roles := 0
				for _, v := range d.Views(now) {
					if (v.Used != directory.Unused) != seen[v.ID()] {
						t.Fatalf("%s is %v", v.ID(), v.Used)
					}
					if v.Used == directory.Primary || v.Used == directory.Second {
						roles++
					}
				}
				if roles != min(2, len(seen)) || d.Len() != len(model) {
					t.Fatalf("%d of %d have a role, %d of %d are there", roles, len(seen), d.Len(), len(model))
				}
			},
		})
	})
}
