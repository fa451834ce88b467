package rpc

// Internal: the namespace is asked here without a node around it.

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/mem"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// full is an archive whose engine can do everything, as far as it is asked here.
type full struct {
	archive.Archive
	dropped []envelope.Hash
	err     error
}

func (f *full) Drop(_ context.Context, hashes []envelope.Hash) (int, error) {
	f.dropped = hashes
	return len(hashes), f.err
}

func (f *full) Check(_ context.Context, report func(archive.Problem)) (archive.Checked, error) {
	for i := range MaxProblems + 1 {
		report(archive.Problem{File: "a.slice", Offset: int64(i), Text: "torn"})
	}
	return archive.Checked{Envelopes: 5, Bytes: 99, Problems: MaxProblems + 1}, f.err
}

func (f *full) Backup(_ context.Context, dir string) error {
	if f.err != nil {
		return f.err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "a.slice"), make([]byte, 77), 0o600)
}

var archiveNow = time.Unix(1_700_000_000, 0).UTC()

// shelf is an archive of three envelopes, with its namespace.
type shelf struct {
	*full
	store  *ArchiveStore
	client *gethrpc.Client
	list   []*envelope.Envelope
	dir    string
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	rules := archive.Rules{Age: 30 * 24 * time.Hour, Min: 24 * time.Hour, Cap: 1 << 20}
	m, err := mem.Open(mem.Options{Now: func() time.Time { return archiveNow }, Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{full: &full{Archive: m}, dir: t.TempDir()}
	for i := range 3 {
		s.list = append(s.list, envelope.New(1000+uint32(i), 10, envelope.Topic{byte(i)}, []byte("x"), 0))
	}
	if _, err := s.Put(t.Context(), s.list); err != nil {
		t.Fatal(err)
	}
	s.store = &ArchiveStore{Dir: "/srv/archive", Store: s.full, Rules: func() archive.Rules { return rules },
		Now: func() time.Time { return archiveNow }}
	s.client = serveArchive(t, s.store)
	return s
}

func serveArchive(t *testing.T, a Archive) *gethrpc.Client {
	t.Helper()
	server := gethrpc.NewServer()
	if err := server.RegisterName("archive", &archiveAPI{archive: a}); err != nil {
		t.Fatal(err)
	}
	c := gethrpc.DialInProc(server)
	t.Cleanup(func() { c.Close(); server.Stop() })
	return c
}

// ask calls a method and compares its result.
func ask[T any](t *testing.T, s *shelf, want T, method string, args ...any) {
	t.Helper()
	var got T
	if err := s.client.Call(&got, method, args...); err != nil {
		t.Errorf("%s: %v", method, err)
	} else if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: %s", method, d)
	}
}

func (s *shelf) fails(t *testing.T, want, method string, args ...any) {
	t.Helper()
	var got any
	if err := s.client.Call(&got, method, args...); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", method, err, want)
	}
}

func TestArchiveStats(t *testing.T) {
	s := newShelf(t)
	var st ArchiveStats
	if err := s.client.Call(&st, "archive_stats"); err != nil {
		t.Fatal(err)
	}
	if st.Dir != "/srv/archive" || st.Envelopes != 3 || st.Next != 4 || len(st.Epoch) != 16 || !st.Newest.Equal(archiveNow) ||
		st.MinAge != 86400 || st.Cap != 1<<20 {
		t.Errorf("%+v", st)
	}
}

func TestArchiveExportAndImport(t *testing.T) {
	s := newShelf(t)
	path := filepath.Join(s.dir, "out")
	size := int64(len(s.list[1].Raw()))
	ask(t, s, ArchiveCopied{Envelopes: 1, Bytes: size}, "archive_export",
		ArchiveExport{Path: path, From: 991, To: 992, Topics: []Topic{{1}, {0}}})
	s.fails(t, path+" exists already", "archive_export", ArchiveExport{Path: path})
	s.fails(t, "is not absolute", "archive_export", ArchiveExport{Path: "out"})
	ask(t, s, ArchiveImported{Read: 1, Duplicate: 1}, "archive_import", path)
	s.fails(t, "does not exist", "archive_import", path+"2")
	s.fails(t, "is not absolute", "archive_import", "out")

	cut := append(append([]byte(nil), s.list[0].Raw()...), envelope.New(5, 1, envelope.Topic{}, []byte("new"), 0).Raw()...)
	if err := os.WriteFile(path, append(cut, 0xf8), 0o600); err != nil {
		t.Fatal(err)
	}
	var got ArchiveImported
	if err := s.client.Call(&got, "archive_import", path); err != nil || got.Read != 2 || got.New != 1 || got.Problem == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestArchivePrune(t *testing.T) {
	s := newShelf(t)
	ask(t, s, ArchivePruned{}, "archive_prune")
	s.fails(t, "lower min_age", "archive_prune", 3600)
	s.fails(t, "at least 1", "archive_prune", 0)
	s.store.Now = func() time.Time { return archiveNow.Add(48 * time.Hour) }
	ask(t, s, ArchivePruned{}, "archive_prune")
	var got ArchivePruned
	if err := s.client.Call(&got, "archive_prune", 86400); err != nil || got.Envelopes != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestArchiveRest(t *testing.T) {
	s := newShelf(t)
	hash := s.list[0].Hash()
	ask(t, s, 1, "archive_drop", []envelope.Hash{hash})
	if len(s.dropped) != 1 || s.dropped[0] != hash {
		t.Errorf("dropped %v", s.dropped)
	}
	s.fails(t, "4097 envelopes are named", "archive_drop", make([]envelope.Hash, 4097))
	backup := filepath.Join(s.dir, "backup")
	ask(t, s, ArchiveCopied{Envelopes: 3, Bytes: 77}, "archive_backup", backup)
	s.fails(t, "is not absolute", "archive_backup", "backup")

	var checked ArchiveCheck
	if err := s.client.Call(&checked, "archive_check"); err != nil || checked.Problems != MaxProblems+1 || len(checked.List) != MaxProblems {
		t.Errorf("%d of %d problems, %v", len(checked.List), checked.Problems, err)
	}
	ask(t, s, Explanation{Hash: hash, State: "stored", Arrival: 1, Arrived: archiveNow, HeldUntil: archiveNow.Add(24 * time.Hour),
		Text: "Stored as arrival 1 at 2023-11-14 22:13:20 UTC; it is held at least until 2023-11-15 22:13:20 UTC."}, "archive_explain", hash)
	var unknown Explanation
	if err := s.client.Call(&unknown, "archive_explain", envelope.Hash{1}); err != nil || unknown.State != "unknown" {
		t.Errorf("%+v, %v", unknown, err)
	}
	s.store.Explained = func(_ context.Context, h envelope.Hash) (Explanation, error) {
		return Explanation{Hash: h, State: "refused", Text: "Refused."}, nil
	}
	ask(t, s, Explanation{Hash: hash, State: "refused", Text: "Refused."}, "archive_explain", hash)

	s.err = fault.E("disk", fault.Unavailable, fmt.Errorf("secret"), "the disk fails")
	s.fails(t, "the disk fails", "archive_drop", []envelope.Hash{hash})
	s.fails(t, "the disk fails", "archive_backup", backup)
	s.fails(t, "the disk fails", "archive_check")
}

func TestPlainArchives(t *testing.T) {
	s := newShelf(t)
	s.store.Store = struct{ archive.Archive }{s.Archive} // an engine that can do only what it must
	s.fails(t, "this archive cannot be checked", "archive_check")
	s.fails(t, "this archive cannot drop", "archive_drop", []envelope.Hash{{}})
	s.fails(t, "this archive cannot make a backup", "archive_backup", s.dir)
}

func TestNoArchive(t *testing.T) {
	s := &shelf{client: serveArchive(t, nil)}
	for method, args := range map[string][]any{"archive_stats": nil, "archive_check": nil, "archive_prune": nil,
		"archive_drop": {[]envelope.Hash{}}, "archive_export": {ArchiveExport{}}, "archive_import": {"/x"}, "archive_backup": {"/x"},
		"archive_explain": {envelope.Hash{}}} {
		s.fails(t, errNoArchive.Error(), method, args...)
	}
}
