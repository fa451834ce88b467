package members_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/members"
)

// model is a book without a file: what each call is to do, in the plainest way.
type model struct {
	now     time.Time
	members map[string]*entry // by name
	tokens  map[string]string // names by token
	given   []string          // tokens, in their order
}

type entry struct {
	devices       []byte
	most          int
	quota, spent  int64
	day           string
	until         time.Time
	token         string
	gone          bool // revoked
	created, left time.Time
}

func (m *model) owner(n byte) (string, *entry) {
	for name, e := range m.members {
		if slices.Contains(e.devices, n) {
			return name, e
		}
	}
	return "", nil
}

func (m *model) join(token string, n byte) fault.Kind {
	name, e := m.tokens[token], m.members[m.tokens[token]]
	owner, other := m.owner(n)
	switch {
	case e == nil || e.token != token || e.gone:
		return fault.NotFound
	case owner == name:
		return none
	case !m.now.Before(e.until):
		return fault.Denied
	case len(e.devices) >= e.most:
		return fault.Limit
	case other != nil && !other.gone:
		return fault.Exists
	}
	if other != nil {
		other.devices = slices.DeleteFunc(other.devices, func(d byte) bool { return d == n })
	}
	e.devices = append(e.devices, n)
	return none
}

func (m *model) spend(n byte, bytes int64) fault.Kind {
	_, e := m.owner(n)
	if e == nil || e.gone {
		return fault.Denied
	}
	if today := m.now.Format(time.DateOnly); e.day != today {
		e.day, e.spent = today, 0
	}
	if e.quota > 0 && e.spent >= e.quota {
		return fault.Limit
	}
	e.spent += bytes
	return none
}

// none is no kind of fault.
const none = fault.Kind(255)

func kindOf(err error) fault.Kind {
	if err == nil {
		return none
	}
	return fault.KindOf(err)
}

// list is what the book is to list, but for the ids, which are random.
func (m *model) list() []string {
	var out []string
	for name, e := range m.members {
		spent := e.spent
		if e.day != m.now.Format(time.DateOnly) {
			spent = 0
		}
		until := e.until
		if !m.now.Before(until) || len(e.devices) >= e.most || e.token == "" {
			until = time.Time{}
		}
		out = append(out, line(name, e.devices, e.most, e.quota, spent, e.created, e.left, until))
	}
	slices.Sort(out)
	return out
}

func line(name string, devices []byte, most int, quota, spent int64, created, revoked, invited time.Time) string {
	return fmt.Sprint(name, devices, most, quota, spent, created.Unix(), revoked.Unix(), invited.Unix())
}

func lines(list []members.Member) []string {
	var out []string
	for _, m := range list {
		var devices []byte
		for _, d := range m.Devices {
			devices = append(devices, d.Node[31])
		}
		out = append(out, line(m.Name, devices, m.MaxDevices, m.BytesPerDay, m.UsedToday, m.Created, m.Revoked, m.Invited))
	}
	slices.Sort(out)
	return out
}

// TestRandomHistories: whatever happens in whatever order, restarts included, the book says what the model says.
func TestRandomHistories(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(r *rapid.T) {
		runs++
		d := &desk{t: t, path: fmt.Sprintf("%s/%d.json", dir, runs), now: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)}
		d.restart()
		m := &model{now: d.now, members: make(map[string]*entry), tokens: make(map[string]string), given: []string{zeroToken}}
		name := rapid.SampledFrom([]string{"anna", "bela", "clara"})
		node := rapid.ByteRange(1, 5)
		want := func(what string, err error, kind fault.Kind) {
			if got := kindOf(err); got != kind {
				r.Fatalf("%s: %v (%v), want %v", what, err, got, kind)
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"invite": func(r *rapid.T) {
				who, again := name.Draw(r, "name"), rapid.Bool().Draw(r, "again")
				o := members.InviteOptions{MaxDevices: rapid.IntRange(1, 3).Draw(r, "devices"), Again: again,
					BytesPerDay: rapid.Int64Range(1, 100).Draw(r, "quota"), Expires: time.Hour}
				_, token, err := d.Invite(who, o)
				want("invite", err, m.invite(who, o, token))
			},
			"join": func(r *rapid.T) {
				token, n := rapid.SampledFrom(m.given).Draw(r, "token"), node.Draw(r, "node")
				_, err := d.Join(token, device(n))
				want("join", err, m.join(token, n))
			},
			"spend": func(r *rapid.T) {
				n, bytes := node.Draw(r, "node"), rapid.Int64Range(0, 60).Draw(r, "bytes")
				_, err := d.Spend(device(n), bytes)
				want("spend", err, m.spend(n, bytes))
			},
			"revoke": func(r *rapid.T) {
				who := name.Draw(r, "name")
				_, err := d.Revoke(who)
				want("revoke", err, m.revoke(who))
			},
			"remove": func(r *rapid.T) {
				who := name.Draw(r, "name")
				_, err := d.Remove(who)
				if m.members[who] == nil {
					want("remove", err, fault.NotFound)
				}
				delete(m.members, who)
			},
			"remove device": func(r *rapid.T) {
				n := node.Draw(r, "node")
				_, err := d.RemoveDevice(device(n))
				want("remove device", err, m.removeDevice(n))
			},
			"wait": func(r *rapid.T) {
				d.now = d.now.Add(time.Duration(rapid.IntRange(1, 240).Draw(r, "minutes")) * time.Minute)
				m.now = d.now
			},
			"restart": func(*rapid.T) {
				if err := d.SaveUsage(); err != nil {
					r.Fatal(err)
				}
				d.restart()
			},
			"": func(r *rapid.T) {
				if diff := cmp.Diff(m.list(), lines(d.List())); diff != "" {
					r.Fatalf("model (-), book (+):\n%s", diff)
				}
				for n := range byte(6) {
					want("allowed", d.Allowed(device(n)), m.spend(n, 0))
					owner, _ := m.owner(n)
					if got, ok := d.Find(device(n)); ok != (owner != "") || got.Name != owner {
						r.Fatalf("device %d is %q's, want %q's", n, got.Name, owner)
					}
				}
			},
		})
	})
}

func (m *model) invite(who string, o members.InviteOptions, token string) fault.Kind {
	e := m.members[who]
	switch {
	case o.Again && e == nil:
		return fault.NotFound
	case o.Again && e.gone:
		return fault.Denied
	case o.Again && len(e.devices) > o.MaxDevices:
		return fault.Limit
	case !o.Again && e != nil:
		return fault.Exists
	case e == nil:
		e = &entry{created: m.now}
		m.members[who] = e
	}
	e.most, e.quota, e.until, e.token = o.MaxDevices, o.BytesPerDay, m.now.Add(o.Expires), token
	m.tokens[token], m.given = who, append(m.given, token)
	return none
}

func (m *model) revoke(who string) fault.Kind {
	e := m.members[who]
	if e == nil {
		return fault.NotFound
	}
	if !e.gone {
		e.gone, e.left, e.token = true, m.now, ""
	}
	return none
}

func (m *model) removeDevice(n byte) fault.Kind {
	_, e := m.owner(n)
	if e == nil {
		return fault.NotFound
	}
	e.devices = slices.DeleteFunc(e.devices, func(d byte) bool { return d == n })
	e.token = ""
	return none
}
