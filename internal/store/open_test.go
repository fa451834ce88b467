package store_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/store"
)

var writeFixture = flag.Bool("store.fixture", false, "write the file of the present format among the fixtures, where there is none")

// refused opens a file that must be refused, and checks that the sentence says so in these words.
func refused(t *testing.T, path string, o store.Options, kind fault.Kind, words ...string) {
	t.Helper()
	s, err := store.Open(path, o)
	if err == nil {
		s.Close()
		t.Fatal("it was opened")
	}
	if !fault.Is(err, kind) {
		t.Errorf("kind %v, want %v: %+v", fault.KindOf(err), kind, err)
	}
	for _, w := range append(words, path) {
		if !strings.Contains(fault.Text(err), w) {
			t.Errorf("%q does not say %q", fault.Text(err), w)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestWrongKeyKeepsTheLog: a crash left a log; opening with another key must not tidy it up.
func TestWrongKeyKeepsTheLog(t *testing.T) {
	dir := t.TempDir()
	path, crashed := filepath.Join(dir, "inbox.db"), filepath.Join(dir, "crashed.db")
	s := open(t, path, options())
	deliver(t, s, store.Delivery{Envelopes: mails(1, 0, 100, 500)})
	copyFile(t, path, crashed)
	copyFile(t, path+"-wal", crashed+"-wal")
	other := options()
	other.Key = [32]byte{9}
	refused(t, crashed, other, fault.Denied, "key")
	refused(t, crashed, other, fault.Denied, "inbox.key")
	if got := len(all(t, open(t, crashed, options()), 0)); got != 100 {
		t.Errorf("%d of 100 envelopes are left", got)
	}
}

func TestModes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "inbox.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, options())
	deliver(t, s, store.Delivery{Envelopes: mails(1, 0, 10, 500)})
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("files: %v, %v; want the inbox and its log", files, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil || bytes.Contains(data, []byte("SQLite format")) || bytes.Contains(data, mail(1, 3, 500).Raw()[30:200]) {
			t.Errorf("%s is not encrypted", f.Name())
		}
	}
	refused(t, path, options(), fault.Exists, "another")
	refused(t, dir, options(), fault.Unavailable, "check")
	refused(t, filepath.Join(dir, "none", "inbox.db"), options(), fault.Unavailable, "folder")
}

// TestDamage garbles each block of a file in turn: what is opened is never wrong, and Check finds all of it.
func TestDamage(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	path := filepath.Join(dir, "inbox.db")
	s, err := store.Open(path, options())
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, s, fixture())
	want := all(t, s, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for at := 0; at < len(sound); at += 4096 {
		data := bytes.Clone(sound)
		data[at+rng.IntN(4096)] ^= 1 << rng.IntN(8)
		damaged := filepath.Join(dir, fmt.Sprint(at))
		if err := os.WriteFile(damaged, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(damaged, options())
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Corrupt && kind != fault.Denied {
				t.Errorf("block %d: %+v", at/4096, err)
			}
			continue
		}
		if err := s.Check(ctx); !fault.Is(err, fault.Corrupt) || !strings.Contains(fault.Text(err), "backup") {
			t.Errorf("block %d: the check found %v", at/4096, err)
		}
		for _, m := range want {
			if got, err := s.Mail(ctx, store.MailQuery{After: m.Seq - 1, Limit: 1}); err == nil &&
				(len(got) == 0 || got[0].Seq == m.Seq && !bytes.Equal(got[0].Envelope.Raw(), m.Envelope.Raw())) {
				t.Errorf("block %d: envelope %d is wrong, and nothing says so", at/4096, m.Seq)
			}
		}
		_ = s.Close()
	}
}

// fixture is what the fixtures of all formats hold. It never changes.
func fixture() store.Delivery {
	return store.Delivery{
		Envelopes: append(mails(1, 0, 20, 300), mail(2, 20, 40_000), mail(3, 21, 8)),
		Server:    node(5),
		Claims:    []coverage.Replace{claim(1, 5, 77), claim(2, 6, 1<<63+1)},
		Missing: []coverage.Missing{{Hash: envelope.Hash{1}, Sent: 3, Size: 4, Topics: []envelope.Topic{{1}, {2}}, Noticed: start, Tried: 2,
			Next: start.Add(time.Hour), Cause: coverage.Withheld}},
		Put: []store.Record{{"watch", "a", []byte("one")}, {"letter", "b", []byte("two")}},
	}
}

// TestFormats opens a file of each format that was ever released.
func TestFormats(t *testing.T) {
	s := newStore(t, options())
	now, err := s.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if path := fmt.Sprintf("testdata/format-%d.db", now.Format); *writeFixture {
		s, err := store.Open(path, options())
		if err != nil {
			t.Fatal(err)
		}
		if st, _ := s.Stats(context.Background()); st.Mail == 0 {
			deliver(t, s, fixture())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for format := 1; format <= now.Format; format++ {
		old := filepath.Join(t.TempDir(), "inbox.db")
		copyFile(t, fmt.Sprintf("testdata/format-%d.db", format), old)
		checkFixture(t, open(t, old, options()), now.Format)
	}
}

func checkFixture(t *testing.T, s *store.Store, format int) {
	t.Helper()
	ctx, f := context.Background(), fixture()
	list := all(t, s, 0)
	if len(list) != len(f.Envelopes) {
		t.Fatalf("%d envelopes, want %d", len(list), len(f.Envelopes))
	}
	for i, m := range list {
		if !bytes.Equal(m.Envelope.Raw(), f.Envelopes[i].Raw()) || m.Server != f.Server || !m.Came.Equal(start) || m.Seq != uint64(i+1) {
			t.Errorf("envelope %d: %+v", i, m)
		}
	}
	claims, err := s.Claims(ctx)
	if diff := cmp.Diff(append(f.Claims[0].Claims, f.Claims[1].Claims...), claims); err != nil || diff != "" {
		t.Error(err, diff)
	}
	missing, err := s.Missing(ctx)
	if diff := cmp.Diff(f.Missing, missing); err != nil || diff != "" {
		t.Error(err, diff)
	}
	records, err := s.Records(ctx, "watch")
	if diff := cmp.Diff(f.Put[:1], records); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if st, err := s.Stats(ctx); err != nil || st.Format != format {
		t.Errorf("%+v, %v", st, err)
	}
	if kept := deliver(t, s, f); kept.New != 0 {
		t.Errorf("%d are new again", kept.New)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

// TestUpgrade goes to a format of a version to come and is refused by the present one. A step that fails changes nothing.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inbox.db")
	copyFile(t, "testdata/format-1.db", path)
	now := newStore(t, options())
	st, err := now.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	fails := store.WithLater(options(), "CREATE TABLE later (x INTEGER) STRICT; INSERT INTO later VALUES ('no number')")
	if s, err := store.Open(path, fails); err == nil {
		s.Close()
		t.Fatal("opened though the upgrade failed")
	}
	later := store.WithLater(options(), "CREATE TABLE later (x INTEGER) STRICT", "ALTER TABLE record ADD COLUMN more TEXT")
	s, err := store.Open(path, later)
	if err != nil {
		t.Fatal(err)
	}
	checkFixture(t, s, st.Format+2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, path, options(), fault.Invalid, "newer version", fmt.Sprintf("format %d", st.Format+2))
	checkFixture(t, open(t, path, later), st.Format+2)
}
