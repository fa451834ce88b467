package members_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/members"
)

// zeroToken is the token of sixteen zero bytes, which the fixture's member was invited with.
var zeroToken = strings.Repeat("a", 26)

func fixture(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "members-1.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func open(t testing.TB, content string) (*members.Book, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "members.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	book, err := members.Open(path, nil, func() time.Time { return time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC) })
	return book, path, err
}

// TestVersion1: the first form of the file is read for ever.
func TestVersion1(t *testing.T) {
	book, _, err := open(t, fixture(t))
	if err != nil {
		t.Fatal(err)
	}
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 11, day, hour, minute, 0, 0, time.UTC) }
	want := []members.Member{
		{ID: "1f0c2a9b", Name: "Anna", Devices: []members.Device{{Node: device(1), Added: at(22, 18, 30)}}, MaxDevices: 4,
			BytesPerDay: 500_000_000, UsedToday: 123_456, Created: at(22, 18, 0), Invited: at(29, 18, 0)},
		{ID: "7e57ab1e", Name: "Béla", MaxDevices: 1, Created: at(20, 9, 0), Revoked: at(21, 9, 0)},
	}
	if diff := cmp.Diff(want, book.List()); diff != "" {
		t.Error(diff)
	}
	if m, err := book.Join(zeroToken, device(2)); err != nil || m.Name != "Anna" {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestWritesVersion1: what is written has not changed either; a change needs a new version and its own fixture.
func TestWritesVersion1(t *testing.T) {
	book, path, err := open(t, fixture(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := book.Revoke("7e57ab1e"); err != nil { // changes nothing, and writes
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fixture(t), string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestDamagedFile(t *testing.T) {
	good := fixture(t)
	edit := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("the fixture lacks %s", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	for name, content := range map[string]string{
		"empty":              "",
		"zeros":              strings.Repeat("\x00", 100),
		"no object":          "[]",
		"no version":         edit(`"version": 1`, `"version": 0`),
		"more behind":        good + "{}",
		"an unknown key":     edit(`"maxDevices": 1`, `"maxDevices": 1, "admin": true`),
		"an id twice":        edit("7e57ab1e", "1f0c2a9b"),
		"a name twice":       edit("Béla", "ANNA"),
		"a wrong id":         edit("7e57ab1e", "7e57ab1x"),
		"a short id":         edit("7e57ab1e", "7e57ab1"),
		"a name to obey":     edit("Béla", `\u001b[2J`),
		"no name":            edit("Béla", ""),
		"no devices allowed": edit(`"maxDevices": 1`, `"maxDevices": 0`),
		"too many allowed":   edit(`"maxDevices": 1`, `"maxDevices": 17`),
		"a device too many":  edit(`"maxDevices": 4`, `"maxDevices": 0`),
		"a short key":        edit(`000001"`, `00001"`),
		"a wrong key":        edit(`000001"`, `00000g"`),
		"the zero key":       edit("d0"+strings.Repeat("0", 61)+"1", strings.Repeat("0", 64)),
		"a negative quota":   edit("500000000", "-1"),
		"negative usage":     edit("123456", "-1"),
		"nobody's usage":     edit("\"1f0c2a9b\": {", "\"1f0c2a9c\": {"),
		"a year too far":     edit("2026-11-20", "9999-11-20"),
		"no time":            edit("2026-11-20T09", "2026-11-20 09"),
		"no creation":        edit(`"created": "2026-11-20T09:00:00Z",`, ""),
		"a device twice": edit(`"maxDevices": 1`, `"maxDevices": 1, "devices": [{"node": "d0`+strings.Repeat("0", 61)+
			`1", "added": "2026-11-22T18:30:00Z"}]`),
		"too many members": `{"version":1,"members":[` + strings.Repeat("{},", members.MaxMembers) + `{}]}`,
	} {
		_, path, err := open(t, content)
		if !fault.Is(err, fault.Corrupt) || !strings.Contains(fault.Text(err), "restore it from a backup") || !strings.Contains(fault.Text(err), path) {
			t.Errorf("%s: %v", name, fault.Text(err))
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != content {
			t.Errorf("%s: the file was changed", name)
		}
	}
	for n := range len(good) - 2 { // without the last line end it is whole
		if _, _, err := open(t, good[:n]); !fault.Is(err, fault.Corrupt) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestNewerFile(t *testing.T) {
	_, path, err := open(t, `{"version":2,"people":[{"unheard":"of"}]}`)
	wantFault(t, "version 2", err, fault.Invalid, path+" was written by a newer version")
}

func TestHugeFile(t *testing.T) {
	_, path, err := open(t, "")
	if !fault.Is(err, fault.Corrupt) {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<40); err != nil { // takes no room
		t.Fatal(err)
	}
	_, err = members.Open(path, nil, nil)
	wantFault(t, "a terabyte", err, fault.Corrupt, "1099511627776 bytes")
}
