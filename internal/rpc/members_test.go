package rpc

// Internal: the namespace is asked here without a node around it.

import (
	"errors"
	"strings"
	"testing"
	"time"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const deviceKey = "6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0"

// club notes what it is asked and answers with anna, or fails.
type club struct {
	asked []any
	err   error
}

var anna = Member{ID: "1f0c2a9b", Name: "Anna", Devices: []MemberDevice{}, MaxDevices: 4,
	Created: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)}

func (c *club) note(what ...any) (Member, error) {
	c.asked = what
	return anna, c.err
}

func (c *club) Invite(req NewInvitation) (Invitation, error) {
	m, err := c.note("invite", req)
	return Invitation{Member: m, Link: "restante://join"}, err
}

func (c *club) Add(who string, device nodeaddr.ID) (Addition, error) {
	m, err := c.note("add", who, device)
	return Addition{Member: m, Made: true}, err
}

func (c *club) List() []Member                    { return nil }
func (c *club) Revoke(who string) (Member, error) { return c.note("revoke", who) }
func (c *club) Remove(who string) (Member, error) { return c.note("remove", who) }
func (c *club) RemoveDevice(device nodeaddr.ID) (Member, error) {
	return c.note("removeDevice", device)
}

func serveMembers(t *testing.T, m Members) *gethrpc.Client {
	t.Helper()
	s := gethrpc.NewServer()
	if err := s.RegisterName("members", &membersAPI{members: m}); err != nil {
		t.Fatal(err)
	}
	c := gethrpc.DialInProc(s)
	t.Cleanup(func() { c.Close(); s.Stop() })
	return c
}

func TestMembersAreAsked(t *testing.T) {
	n, err := nodeaddr.ParseIdentity(deviceKey)
	if err != nil {
		t.Fatal(err)
	}
	own := &club{}
	c := serveMembers(t, own)
	for _, tt := range []struct {
		method string
		args   []any
		asked  []any
		want   string
	}{
		{"members_invite", []any{map[string]any{"name": "Anna", "bytesPerDay": NoQuota, "devices": 2, "expires": 3600, "again": true}},
			[]any{"invite", NewInvitation{Name: "Anna", BytesPerDay: -1, Devices: 2, Expires: 3600, Again: true}},
			`{"member":MEMBER,"link":"restante://join"}`},
		{"members_add", []any{"Anna", "enode://" + deviceKey}, []any{"add", "Anna", n.ID()}, `{"member":MEMBER,"made":true}`},
		{"members_add", []any{"Anna", deviceKey}, []any{"add", "Anna", n.ID()}, `{"member":MEMBER,"made":true}`},
		{"members_revoke", []any{"Anna"}, []any{"revoke", "Anna"}, "MEMBER"},
		{"members_remove", []any{"1f0c2a9b"}, []any{"remove", "1f0c2a9b"}, "MEMBER"},
		{"members_removeDevice", []any{n.ID().String()}, []any{"removeDevice", n.ID()}, "MEMBER"},
		{"members_removeDevice", []any{"enode://" + deviceKey + "@192.0.2.1:30303"}, []any{"removeDevice", n.ID()}, "MEMBER"},
		{"members_list", nil, nil, "[]"},
	} {
		own.asked = nil
		const member = `{"id":"1f0c2a9b","name":"Anna","devices":[],"maxDevices":4,"bytesPerDay":0,"usedToday":0,"created":"2026-11-22T18:00:00Z"}`
		var got rawText
		if err := c.Call(&got, tt.method, tt.args...); err != nil {
			t.Errorf("%s: %v", tt.method, err)
		}
		if want := strings.ReplaceAll(tt.want, "MEMBER", member); string(got) != want {
			t.Errorf("%s:\n%s, want\n%s", tt.method, got, want)
		}
		if diff := cmp.Diff(tt.asked, own.asked); diff != "" {
			t.Errorf("%s asks otherwise:\n%s", tt.method, diff)
		}
	}
}

type rawText string

func (r *rawText) UnmarshalJSON(b []byte) error {
	*r = rawText(b)
	return nil
}

// TestMembersErrors: what people read says what is wrong; causes stay inside.
func TestMembersErrors(t *testing.T) {
	const refusal = "Anna is a member already"
	own := &club{err: fault.E("x", fault.Exists, errors.New("secret"), refusal)}
	with, without := serveMembers(t, own), serveMembers(t, nil)
	id := strings.Repeat("0a", 32)
	for method, args := range map[string][]any{
		"members_invite": {NewInvitation{Name: "Anna"}}, "members_add": {"Anna", deviceKey}, "members_revoke": {"Anna"},
		"members_remove": {"Anna"}, "members_removeDevice": {id}, "members_list": {},
	} {
		if err := without.Call(nil, method, args...); err == nil || !strings.Contains(err.Error(), "this node keeps no members: set mode") {
			t.Errorf("%s without members: %v", method, err)
		}
		if err := with.Call(nil, method, args...); method != "members_list" && (err == nil || err.Error() != refusal) {
			t.Errorf("%s: %v", method, err)
		}
	}
	for method, args := range map[string][]any{
		"members_add": {"Anna", id}, "members_removeDevice": {id[1:]},
	} {
		if err := with.Call(nil, method, args...); err == nil || !strings.Contains(err.Error(), "node") {
			t.Errorf("%s with no key: %v", method, err)
		}
	}
}
