package members_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/members"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// desk is a book with a clock that stands still.
type desk struct {
	*members.Book
	t    testing.TB
	path string
	now  time.Time
}

func newDesk(t testing.TB) *desk {
	d := &desk{t: t, path: filepath.Join(t.TempDir(), "members.json"), now: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)}
	d.restart()
	return d
}

// restart opens the file anew, as after a crash.
func (d *desk) restart() {
	d.t.Helper()
	book, err := members.Open(d.path, nil, func() time.Time { return d.now })
	if err != nil {
		d.t.Fatal(err)
	}
	d.Book = book
}

func (d *desk) invite(name string, o members.InviteOptions) (members.Member, string) {
	d.t.Helper()
	m, token, err := d.Invite(name, o)
	if err != nil {
		d.t.Fatal(err)
	}
	return m, token
}

func (d *desk) join(token string, n byte) members.Member {
	d.t.Helper()
	m, err := d.Join(token, device(n))
	if err != nil {
		d.t.Fatal(err)
	}
	return m
}

func (d *desk) content() string {
	d.t.Helper()
	data, err := os.ReadFile(d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(data)
}

func device(n byte) nodeaddr.ID { return nodeaddr.ID{31: n, 0: 0xd0} }

func wantFault(t *testing.T, what string, err error, kind fault.Kind, part string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(fault.Text(err), part) {
		t.Errorf("%s: %v (%v), want %v with %q", what, fault.Text(err), err, kind, part)
	}
}

func TestFromInvitationToRevocation(t *testing.T) {
	d := newDesk(t)
	wantFault(t, "a stranger", d.Allowed(device(1)), fault.Denied, "ask its operator for an invitation")
	m, token := d.invite("Anna", members.InviteOptions{})
	if m.Name != "Anna" || len(m.ID) != 8 || m.MaxDevices != members.DefaultDevices || m.BytesPerDay != 0 ||
		!m.Created.Equal(d.now) || !m.Invited.Equal(d.now.Add(members.DefaultExpiry)) || len(m.Devices) != 0 {
		t.Errorf("invited: %+v", m)
	}
	if len(token) != 26 {
		t.Errorf("the token has %d characters", len(token))
	}
	d.now = d.now.Add(time.Hour)
	joined := d.join(token, 1)
	if joined.ID != m.ID || len(joined.Devices) != 1 || joined.Devices[0] != (members.Device{Node: device(1), Added: d.now}) {
		t.Errorf("joined: %+v", joined)
	}
	if err := d.Allowed(device(1)); err != nil {
		t.Error(err)
	}
	wantFault(t, "another device", d.Allowed(device(2)), fault.Denied, "members only")

	revoked, err := d.Revoke("aNNa")
	if err != nil || !revoked.Revoked.Equal(d.now) || !revoked.Invited.IsZero() || len(revoked.Devices) != 1 {
		t.Errorf("revoked: %+v, %v", revoked, err)
	}
	wantFault(t, "a revoked member", d.Allowed(device(1)), fault.Denied, "was revoked")
	_, err = d.Join(token, device(2))
	wantFault(t, "the revoked invitation", err, fault.NotFound, "not valid here, or not any more")
	_, err = d.Join(token, device(1))
	wantFault(t, "the revoked device", err, fault.NotFound, "")
	d.now = d.now.Add(time.Hour)
	if again, err := d.Revoke(m.ID); err != nil || !again.Revoked.Equal(revoked.Revoked) {
		t.Errorf("revoked twice: %+v, %v", again, err)
	}
	_, _, err = d.AddDevice("Anna", device(3))
	wantFault(t, "a device for a revoked member", err, fault.Denied, "revoked on 2026-11-22")
	_, _, err = d.AddDevice("Anna", device(1))
	wantFault(t, "an old device for a revoked member", err, fault.Denied, "revoked on 2026-11-22")
	_, _, err = d.Invite("anna", members.InviteOptions{})
	wantFault(t, "a revoked name", err, fault.Exists, "remove the member first")
	_, _, err = d.Invite("anna", members.InviteOptions{Again: true})
	wantFault(t, "a revoked member again", err, fault.Denied, "then invite anew")

	if was, err := d.Remove("anna"); err != nil || was.ID != m.ID {
		t.Errorf("removed %+v, %v", was, err)
	}
	wantFault(t, "a removed member", d.Allowed(device(1)), fault.Denied, "members only")
	if _, ok := d.Find(device(1)); ok || len(d.List()) != 0 {
		t.Error("the removed member is still there")
	}
	d.invite("Anna", members.InviteOptions{})
}

func TestTokensAreNotKept(t *testing.T) {
	d := newDesk(t)
	_, first := d.invite("Anna", members.InviteOptions{})
	_, second := d.invite("Bela", members.InviteOptions{})
	if first == second {
		t.Error("two invitations have one token")
	}
	for _, token := range []string{first, second} {
		if strings.Contains(strings.ToLower(d.content()), token[:6]) {
			t.Errorf("the file holds a token:\n%s", d.content())
		}
		for _, wrong := range []string{token + "a", token[1:], token[:25] + "!", "1" + token[1:], token[2:] + "aa"} {
			_, err := d.Join(wrong, device(1))
			if err == nil || strings.Contains(err.Error(), token[4:12]) {
				t.Errorf("%v", err)
			}
		}
	}
}

// TestWrongTokens: each letter counts, case does not.
func TestWrongTokens(t *testing.T) {
	d := newDesk(t)
	_, token := d.invite("Anna", members.InviteOptions{})
	for i := range token {
		for _, c := range "abcdefghijklmnopqrstuvwxyz234567" {
			if rune(token[i]) == c {
				continue
			}
			if _, err := d.Join(token[:i]+string(c)+token[i+1:], device(1)); !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Invalid) {
				t.Fatalf("letter %d changed: %v", i, err)
			}
		}
	}
	for _, wrong := range []string{"", "a", strings.Repeat("a", 27), strings.Repeat("ä", 13), strings.Repeat("=", 26), strings.Repeat("\x00", 26)} {
		_, err := d.Join(wrong, device(1))
		wantFault(t, wrong, err, fault.Invalid, "copy the whole link")
	}
	_, err := d.Join(strings.ToUpper(token), nodeaddr.ID{})
	wantFault(t, "no key", err, fault.Invalid, "no key")
	if m, err := d.Join(strings.ToUpper(token), device(1)); err != nil || m.Name != "Anna" {
		t.Errorf("in capitals: %+v, %v", m, err)
	}
}

func TestInvitationEnds(t *testing.T) {
	d := newDesk(t)
	m, token := d.invite("Anna", members.InviteOptions{MaxDevices: 2, Expires: time.Hour})
	d.join(token, 1)
	if again := d.join(token, 1); len(again.Devices) != 1 {
		t.Errorf("the same device twice: %+v", again)
	}
	if m := d.join(token, 2); len(m.Devices) != 2 || !m.Invited.IsZero() {
		t.Errorf("all have joined: %+v", m)
	}
	_, err := d.Join(token, device(3))
	wantFault(t, "used up", err, fault.Limit, "used up")
	d.join(token, 2) // an answer was lost, perhaps

	_, renewed := d.invite(m.ID, members.InviteOptions{MaxDevices: 3, Expires: time.Hour, Again: true})
	_, err = d.Join(token, device(3))
	wantFault(t, "the replaced token", err, fault.NotFound, "new one")
	d.now = d.now.Add(time.Hour)
	_, err = d.Join(renewed, device(3))
	wantFault(t, "expired", err, fault.Denied, "ended on 2026-11-22")
	d.join(renewed, 1) // a member is a member
	if got := d.List()[0]; len(got.Devices) != 2 || !got.Invited.IsZero() {
		t.Errorf("%+v", got)
	}
	d.restart()
	_, err = d.Join(renewed, device(3))
	wantFault(t, "expired, after a restart", err, fault.Denied, "")
}

func TestDeviceOfAnother(t *testing.T) {
	d := newDesk(t)
	_, anna := d.invite("Anna", members.InviteOptions{})
	_, bela := d.invite("Bela", members.InviteOptions{})
	d.join(anna, 1)
	_, err := d.Join(bela, device(1))
	wantFault(t, "Anna's device for Bela", err, fault.Exists, "another member")
	if strings.Contains(fault.Text(err), "Anna") {
		t.Error("Bela learns who Anna is")
	}
	_, _, err = d.AddDevice("Bela", device(1))
	wantFault(t, "Anna's device for Bela by hand", err, fault.Exists, "another member")
	if _, err := d.Revoke("Anna"); err != nil {
		t.Fatal(err)
	}
	d.join(bela, 1) // what Anna left behind
	d.restart()
	if m, ok := d.Find(device(1)); !ok || m.Name != "Bela" {
		t.Errorf("%+v", m)
	}
	if m := d.List()[0]; m.Name != "Anna" || len(m.Devices) != 0 {
		t.Errorf("%+v", m)
	}
}

// TestLostPhone: the device goes, and the invitation it may hold.
func TestLostPhone(t *testing.T) {
	d := newDesk(t)
	_, token := d.invite("Anna", members.InviteOptions{})
	d.join(token, 1)
	d.join(token, 2)
	m, err := d.RemoveDevice(device(1))
	if err != nil || len(m.Devices) != 1 || m.Devices[0].Node != device(2) || !m.Invited.IsZero() {
		t.Errorf("%+v, %v", m, err)
	}
	_, err = d.Join(token, device(1))
	wantFault(t, "the lost phone", err, fault.NotFound, "")
	_, err = d.RemoveDevice(device(1))
	wantFault(t, "removed twice", err, fault.NotFound, "no member has this device")
	if err := d.Allowed(device(2)); err != nil {
		t.Error(err)
	}
}

func TestDevicesByHand(t *testing.T) {
	d := newDesk(t)
	m, made, err := d.AddDevice("Clara", device(0))
	if err != nil || !made || m.Name != "Clara" || len(m.Devices) != 1 || !m.Invited.IsZero() {
		t.Errorf("%+v, made %v, %v", m, made, err)
	}
	if m, made, err = d.AddDevice("clara", device(0)); err != nil || made || len(m.Devices) != 1 {
		t.Errorf("again: %+v, made %v, %v", m, made, err)
	}
	for n := range byte(members.DefaultDevices - 1) {
		if _, made, err = d.AddDevice(m.ID, device(n+1)); err != nil || made {
			t.Errorf("device %d: made %v, %v", n+1, made, err)
		}
	}
	_, _, err = d.AddDevice("Clara", device(9))
	wantFault(t, "one too many", err, fault.Limit, "Clara has 4 devices")
	_, _, err = d.AddDevice("Clara", nodeaddr.ID{})
	wantFault(t, "no key", err, fault.Invalid, "no key")
	_, made, err = d.AddDevice(" Dora", device(9))
	wantFault(t, "a wrong name", err, fault.Invalid, "begins or ends with a blank")
	if made {
		t.Error("a refused member counts as made")
	}
	_, _, err = d.AddDevice("Dora", device(0))
	wantFault(t, "Clara's device for a new member", err, fault.Exists, "")
	if len(d.List()) != 1 {
		t.Errorf("%+v", d.List())
	}
}

func TestTerms(t *testing.T) {
	d := newDesk(t)
	for want, o := range map[string]members.InviteOptions{
		"less than nothing":    {BytesPerDay: -1},
		"-1 devices":           {MaxDevices: -1},
		"17 devices":           {MaxDevices: 17},
		"open for -1s":         {Expires: -time.Second},
		"give up to 366 days":  {Expires: members.MaxExpiry + 1},
		"open for 8784h0m1s: ": {Expires: members.MaxExpiry + time.Second},
	} {
		_, _, err := d.Invite("Anna", o)
		wantFault(t, want, err, fault.Invalid, want)
	}
	_, _, err := d.Invite("Anna", members.InviteOptions{Again: true})
	wantFault(t, "again without a first time", err, fault.NotFound, `no member "Anna"`)
	d.invite("Anna", members.InviteOptions{BytesPerDay: 10, MaxDevices: 16, Expires: members.MaxExpiry})
	_, _, err = d.Invite("ANNA", members.InviteOptions{})
	wantFault(t, "twice", err, fault.Exists, "Anna is a member already")
	if m, _ := d.invite("Anna", members.InviteOptions{Again: true}); m.BytesPerDay != 10 || m.MaxDevices != 16 {
		t.Errorf("the terms changed: %+v", m)
	}
	m, token := d.invite("Anna", members.InviteOptions{Again: true, BytesPerDay: members.Unlimited, MaxDevices: 2})
	if m.BytesPerDay != 0 || m.MaxDevices != 2 {
		t.Errorf("the terms did not change: %+v", m)
	}
	d.join(token, 1)
	d.join(token, 2)
	_, _, err = d.Invite("Anna", members.InviteOptions{Again: true, MaxDevices: 1})
	wantFault(t, "fewer devices than there are", err, fault.Limit, "Anna has 2 devices already")
	d.join(token, 2) // the refused change left the invitation alone
}

func TestNames(t *testing.T) {
	d := newDesk(t)
	for name, want := range map[string]string{
		"":                         "is empty",
		" a":                       "blank",
		"a\n":                      "blank",
		"a\x1b[31m":                "U+001B",
		"a\u202eb":                 "U+202E",
		"\xff":                     "not UTF-8",
		"DEADbeef":                 "taken for an id",
		strings.Repeat("x", 65):    "has 65 characters",
		"two\u2028lines":           "U+2028",
		strings.Repeat("x", 1<<20): "characters, more than 64",
	} {
		_, _, err := d.Invite(name, members.InviteOptions{})
		wantFault(t, fmt.Sprintf("%.20q", name), err, fault.Invalid, want)
	}
	for _, name := range []string{"deadbee", "deadbeef0", "12345678x", strings.Repeat("ü", 64), "Anna-Bela (Büro) 3", "安娜", `"`, "a b"} {
		d.invite(name, members.InviteOptions{})
	}
	d.restart()
	if len(d.List()) != 8 {
		t.Errorf("%d members", len(d.List()))
	}
	for _, who := range []string{"", "nobody", "00000000", strings.Repeat("x", 1<<20)} {
		_, err := d.Revoke(who)
		wantFault(t, "revoke", err, fault.NotFound, "there is no member")
		_, err = d.Remove(who)
		wantFault(t, "remove", err, fault.NotFound, "there is no member")
		if len(fault.Text(err)) > 200 {
			t.Errorf("a text of %d bytes", len(fault.Text(err)))
		}
	}
}

func TestQuota(t *testing.T) {
	d := newDesk(t)
	m, token := d.invite("Anna", members.InviteOptions{BytesPerDay: 1000})
	d.join(token, 1)
	d.join(token, 2)
	spend := func(n byte, bytes, want int64) {
		t.Helper()
		if left, err := d.Spend(device(n), bytes); err != nil || left != want {
			t.Errorf("spent %d: %d left, %v; want %d", bytes, left, err, want)
		}
	}
	spend(1, 0, 1000)
	spend(1, 400, 600)
	spend(2, 599, 1) // one quota for all devices
	spend(1, 5000, 0)
	_, err := d.Spend(device(2), 1)
	wantFault(t, "used up", err, fault.Limit, "the quota of 1000 bytes a day is used up: ask again after midnight UTC")
	wantFault(t, "used up", d.Allowed(device(1)), fault.Limit, "midnight UTC")
	if got, _ := d.Find(device(1)); got.UsedToday != 5999 {
		t.Errorf("%+v", got)
	}

	d.now = time.Date(2026, 11, 22, 23, 59, 59, 999, time.FixedZone("", 3600)) // 22:59 UTC
	wantFault(t, "the same day", d.Allowed(device(1)), fault.Limit, "")
	d.now = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	if err := d.Allowed(device(1)); err != nil {
		t.Errorf("the next day: %v", err)
	}
	spend(1, 999, 1)
	if err := d.SaveUsage(); err != nil {
		t.Fatal(err)
	}
	d.restart()
	spend(1, 1, 0)
	d.now = d.now.AddDate(0, 0, -1) // a clock that is put right locks nobody out
	spend(1, 1, 999)

	if _, _, err := d.Invite(m.ID, members.InviteOptions{Again: true, BytesPerDay: members.Unlimited}); err != nil {
		t.Fatal(err)
	}
	spend(1, 1<<62, members.Unlimited)
	spend(1, 1<<62, members.Unlimited) // no overflow
	spend(1, 1<<62, members.Unlimited)
	_, err = d.Spend(device(1), -1)
	wantFault(t, "a refund", err, fault.Internal, "")
	_, err = d.Spend(device(9), 1)
	wantFault(t, "a stranger", err, fault.Denied, "members only")
}

// TestUsageIsWrittenSparingly: usage alone does not write; any change takes it along.
func TestUsageIsWrittenSparingly(t *testing.T) {
	d := newDesk(t)
	if err := d.SaveUsage(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.path); err == nil {
		t.Error("nothing was spent and a file was written")
	}
	_, token := d.invite("Anna", members.InviteOptions{BytesPerDay: 1000})
	d.join(token, 1)
	before := d.content()
	if _, err := d.Spend(device(1), 700); err != nil {
		t.Fatal(err)
	}
	if d.content() != before {
		t.Error("spending wrote the file")
	}
	d.join(token, 2)
	if d.content() == before {
		t.Fatal("joining did not write the file")
	}
	after := d.content()
	d.restart()
	if left, err := d.Spend(device(2), 1); err != nil || left != 299 {
		t.Errorf("%d left, %v", left, err)
	}
	if err := d.SaveUsage(); err != nil || d.content() == after {
		t.Errorf("not saved: %v", err)
	}
	if _, err := d.Remove("Anna"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(d.content(), "usage") {
		t.Errorf("what a removed member spent is kept:\n%s", d.content())
	}
	if info, err := os.ReadDir(filepath.Dir(d.path)); err != nil || len(info) != 1 {
		t.Errorf("the folder holds %v, %v", info, err)
	}
}
