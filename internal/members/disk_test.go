package members_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/members"
)

// TestRestart: everything that was acknowledged is there after each step, and nothing else.
func TestRestart(t *testing.T) {
	d := newDesk(t)
	check := func(step string) {
		t.Helper()
		want := d.List()
		d.restart()
		if diff := cmp.Diff(want, d.List()); diff != "" {
			t.Errorf("after %s:\n%s", step, diff)
		}
	}
	check("nothing")
	if _, err := os.Stat(d.path); err == nil {
		t.Error("an empty book made a file")
	}
	_, token := d.invite("Ælfric the 2nd", members.InviteOptions{BytesPerDay: 500, MaxDevices: 2, Expires: time.Hour})
	check("an invitation")
	d.join(token, 1)
	check("a device joined")
	if _, _, err := d.AddDevice("Béla", device(2)); err != nil {
		t.Fatal(err)
	}
	check("a device was added")
	if _, err := d.Spend(device(1), 321); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveUsage(); err != nil {
		t.Fatal(err)
	}
	check("usage was saved")
	if _, err := d.RemoveDevice(device(1)); err != nil {
		t.Fatal(err)
	}
	check("a device was removed")
	if _, err := d.Revoke("béla"); err != nil {
		t.Fatal(err)
	}
	check("a member was revoked")
	if _, err := d.Remove("Béla"); err != nil {
		t.Fatal(err)
	}
	check("a member was removed")
	if len(d.List()) != 1 || d.List()[0].UsedToday != 321 {
		t.Errorf("%+v", d.List())
	}
	if info, err := os.Stat(d.path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestDiskFails: a failed change leaves the book as it was, on disk and in memory, and the next one works.
func TestDiskFails(t *testing.T) {
	d := newDesk(t)
	_, token := d.invite("Anna", members.InviteOptions{BytesPerDay: 100})
	d.join(token, 1)
	if _, err := d.Spend(device(1), 30); err != nil {
		t.Fatal(err)
	}
	want, file := d.List(), d.content()
	block := filepath.Join(d.path+".new", "in the way")
	if err := os.MkdirAll(block, 0o700); err != nil {
		t.Fatal(err)
	}
	_, _, err := d.Invite("Bela", members.InviteOptions{})
	wantFault(t, "invite", err, fault.Unavailable, d.path)
	_, _, err = d.AddDevice("Anna", device(2))
	wantFault(t, "add", err, fault.Unavailable, "has room")
	_, err = d.Join(token, device(2))
	wantFault(t, "join", err, fault.Unavailable, "try again later")
	if strings.Contains(fault.Text(err), d.path) {
		t.Errorf("a device learns %q", fault.Text(err))
	}
	_, err = d.Revoke("Anna")
	wantFault(t, "revoke", err, fault.Unavailable, "")
	_, err = d.Remove("Anna")
	wantFault(t, "remove", err, fault.Unavailable, "")
	wantFault(t, "usage", d.SaveUsage(), fault.Unavailable, "")
	if diff := cmp.Diff(want, d.List()); diff != "" || d.content() != file {
		t.Errorf("changed nevertheless:\n%s", diff)
	}
	if err := os.RemoveAll(d.path + ".new"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(d.path), os.Mkdir(d.path, 0o700)); err != nil { // the last step fails
		t.Fatal(err)
	}
	_, err = d.Revoke("Anna")
	wantFault(t, "the new name", err, fault.Unavailable, "")
	if _, err := os.Stat(d.path + ".new"); err == nil {
		t.Error("the other file stays")
	}
	if err := os.Remove(d.path); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveUsage(); err != nil || d.content() == file { // what failed once is still to be written
		t.Error(err)
	}
	d.join(token, 2)
}

// TestCrashBeforeRename: the new file lies there, whole or cut, and the old one counts.
func TestCrashBeforeRename(t *testing.T) {
	d := newDesk(t)
	_, token := d.invite("Anna", members.InviteOptions{})
	old := d.content()
	d.join(token, 1)
	for _, left := range []string{d.content(), d.content()[:100], ""} {
		if err := os.WriteFile(d.path, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.path+".new", []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		d.restart()
		if m := d.List()[0]; len(m.Devices) != 0 {
			t.Errorf("%+v", m)
		}
		d.join(token, 1)
		if _, err := os.Stat(d.path + ".new"); err == nil {
			t.Error("the other file stays")
		}
	}
}

func TestRandomFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "members.json")
	for _, rand := range []string{"", strings.Repeat("r", 18)} {
		book, err := members.Open(path, strings.NewReader(rand), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = book.Invite("Anna", members.InviteOptions{})
		wantFault(t, "no randomness", err, fault.Unavailable, "random")
	}
	book, err := members.Open(path, constant{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := book.Invite("Anna", members.InviteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, _, err = book.Invite("Bela", members.InviteOptions{}) // would get Anna's id
	wantFault(t, "a generator that stands still", err, fault.Unavailable, "random")
}

type constant struct{}

func (constant) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 7
	}
	return len(p), nil
}

func TestFullBook(t *testing.T) {
	d := newDesk(t)
	var list []string
	for i := range members.MaxMembers {
		var devices []string
		for n := range members.MaxDevices {
			devices = append(devices, fmt.Sprintf(`{"node":"%064x","added":"2026-11-22T00:00:00Z"}`, i*members.MaxDevices+n+1))
		}
		list = append(list, fmt.Sprintf(`{"id":"%08x","name":"member %d","created":"2026-11-22T00:00:00Z","maxDevices":16,"devices":[%s]}`,
			i, i, strings.Join(devices, ",")))
	}
	text := `{"version":1,"members":[` + strings.Join(list, ",") + "]}"
	if err := os.WriteFile(d.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.restart()
	_, _, err := d.Invite("one more", members.InviteOptions{})
	wantFault(t, "a full book", err, fault.Limit, "10000 members")
	_, _, err = d.AddDevice("one more", device(1))
	wantFault(t, "a full book", err, fault.Limit, "10000 members")
	if _, err := d.Remove("member 5000"); err != nil {
		t.Fatal(err)
	}
	d.invite("one more", members.InviteOptions{}) // the largest file that can be is read again
	d.restart()
	if n := len(d.List()); n != members.MaxMembers {
		t.Errorf("%d members", n)
	}
}

func TestConcurrently(t *testing.T) {
	d := newDesk(t)
	_, token := d.invite("Anna", members.InviteOptions{MaxDevices: 8, BytesPerDay: 1 << 40})
	var wg sync.WaitGroup
	for n := range byte(12) {
		wg.Go(func() {
			_, err := d.Join(token, device(n))
			if err != nil && !fault.Is(err, fault.Limit) {
				t.Error(err)
			}
			if err == nil {
				for range 100 {
					if _, err := d.Spend(device(n), 10); err != nil {
						t.Error(err)
					}
				}
			}
			d.invite(fmt.Sprint("member ", n), members.InviteOptions{})
			d.List()
			if err := d.SaveUsage(); err != nil {
				t.Error(err)
			}
			if _, err := d.Remove(fmt.Sprint("member ", n)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := d.SaveUsage(); err != nil {
		t.Fatal(err)
	}
	d.restart()
	list := d.List()
	if len(list) != 1 || len(list[0].Devices) != 8 || list[0].UsedToday != 8*100*10 {
		t.Errorf("%+v", list)
	}
}

func TestWhereThereIsNoFile(t *testing.T) {
	dir := t.TempDir()
	_, err := members.Open(dir, nil, nil)
	wantFault(t, "a folder", err, fault.Denied, "is not a file")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = members.Open(filepath.Join(file, "members.json"), nil, nil)
	wantFault(t, "below a file", err, fault.Unavailable, "could not be read")
	book, err := members.Open(filepath.Join(dir, "none", "members.json"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = book.Invite("Anna", members.InviteOptions{})
	wantFault(t, "no folder", err, fault.Unavailable, "folder")
	if runtime.GOOS != "windows" {
		for _, mode := range []fs.FileMode{0o644, 0o640, 0o602} {
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
			_, err = members.Open(file, nil, nil)
			wantFault(t, mode.String(), err, fault.Denied, "chmod 600")
		}
	}
}
