package segment_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/archive/segment"
	"github.com/restante-im/restante/internal/envelope"
)

// rig is an archive in a directory of the real file system, whose calls can be made to fail or to wait.
type rig struct {
	*segment.Archive
	t      *testing.T
	dir    string
	o      segment.Options
	fs     *hookFS
	clock  *archivetest.Clock
	serial uint64
	all    []archive.Record // what should be there, by arrival
}

func newRig(t *testing.T, sliceBytes int64) *rig {
	t.Helper()
	clock := archivetest.NewClock()
	fs := &hookFS{FS: segment.OS()}
	r := &rig{t: t, dir: t.TempDir(), fs: fs, clock: clock, o: segment.Options{FS: fs, Now: clock.Now, SliceBytes: sliceBytes}}
	r.start()
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *rig) start() {
	r.t.Helper()
	a, err := segment.Open(r.dir, r.o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Archive = a
}

func (r *rig) stop() {
	r.t.Helper()
	if err := r.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// mail makes new envelopes of 10 topics and some hundred bytes.
func (r *rig) mail(n int) (list []*envelope.Envelope) {
	for range n {
		r.serial++
		list = append(list, archivetest.Mail(r.serial, uint32(r.clock.Now().Unix()-int64(r.serial%7)), archivetest.Topic(int(r.serial%10)), 100))
	}
	return list
}

// put stores envelopes and remembers them.
func (r *rig) put(list ...*envelope.Envelope) {
	r.t.Helper()
	receipts, err := r.Put(r.t.Context(), list)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, e := range list {
		if receipts[i].Duplicate {
			r.t.Fatalf("envelope %d is a duplicate of arrival %d", i, receipts[i].Arrival)
		}
		r.all = append(r.all, archive.Record{
			Arrival: receipts[i].Arrival, Arrived: receipts[i].Arrived, Sent: e.Sent(), Topic: e.Topic(), Hash: e.Hash(), Raw: e.Raw(),
		})
	}
}

// fill puts envelopes ten at a time.
func (r *rig) fill(n int) {
	r.t.Helper()
	for ; n > 0; n -= 10 {
		r.put(r.mail(min(n, 10))...)
	}
}

// lose forgets what was stored with an arrival.
func (r *rig) lose(arrival uint64) {
	r.all = slices.DeleteFunc(r.all, func(k archive.Record) bool { return k.Arrival == arrival })
}

// holds compares what is stored with what should be, in both orders and by hash.
func (r *rig) holds() {
	r.t.Helper()
	same(r.t, "by arrival", read(r.t, r.Archive, archive.Query{Order: archive.ByArrival}), r.all)
	bySent := slices.Clone(r.all)
	slices.SortFunc(bySent, func(a, b archive.Record) int {
		if a.Sent != b.Sent {
			return int(int64(a.Sent) - int64(b.Sent))
		}
		return bytes.Compare(a.Hash[:], b.Hash[:])
	})
	same(r.t, "by sent", read(r.t, r.Archive, archive.Query{}), bySent)
	var hashes []envelope.Hash
	for _, k := range r.all {
		hashes = append(hashes, k.Hash)
	}
	found, err := r.Find(r.t.Context(), hashes, true)
	if err != nil {
		r.t.Fatal(err)
	}
	same(r.t, "find", found, r.all)
}

func same(t *testing.T, what string, got, want []archive.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		if g.Arrival != w.Arrival || g.Arrived != w.Arrived || g.Sent != w.Sent || g.Topic != w.Topic || g.Hash != w.Hash || !bytes.Equal(g.Raw, w.Raw) {
			t.Fatalf("%s: record %d is arrival %d of %s, want arrival %d of %s", what, i, g.Arrival, g.Hash, w.Arrival, w.Hash)
		}
	}
}

func read(t *testing.T, a archive.Archive, q archive.Query) (list []archive.Record) {
	t.Helper()
	w, err := a.Walk(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for {
		p, err := w.Next(t.Context(), archive.Bound{Count: 7, Bytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if list = append(list, p.Records...); p.Done {
			return list
		}
	}
}

// files lists the archive's files of a kind, in order.
func (r *rig) files(suffix string) []string {
	r.t.Helper()
	names, err := filepath.Glob(filepath.Join(r.dir, "*"+suffix))
	if err != nil {
		r.t.Fatal(err)
	}
	return names
}

// edit changes a file while the archive is closed.
func edit(t *testing.T, name string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// unindex removes all indexes, as if the process had been killed before they were written.
func (r *rig) unindex() {
	r.t.Helper()
	for _, name := range r.files(".index") {
		if err := os.Remove(name); err != nil {
			r.t.Fatal(err)
		}
	}
}

// hookFS asks before it writes or syncs.
type hookFS struct {
	segment.FS
	mu     sync.Mutex
	before func(op, name string) error // op is "write", "sync", "create"
	free   int64                       // 0: the system's
}

func (h *hookFS) hook(before func(op, name string) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = before
}

func (h *hookFS) ask(op, name string) error {
	h.mu.Lock()
	before := h.before
	h.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(op, filepath.Base(name))
}

func (h *hookFS) Create(name string) (segment.File, error) {
	if err := h.ask("create", name); err != nil {
		return nil, err
	}
	return h.wrap(name)(h.FS.Create(name))
}

func (h *hookFS) Open(name string) (segment.File, error) { return h.wrap(name)(h.FS.Open(name)) }

func (h *hookFS) OpenReadWrite(name string) (segment.File, error) {
	return h.wrap(name)(h.FS.OpenReadWrite(name))
}

func (h *hookFS) Free(dir string) (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free > 0 {
		return h.free, nil
	}
	return h.FS.Free(dir)
}

func (h *hookFS) wrap(name string) func(segment.File, error) (segment.File, error) {
	return func(f segment.File, err error) (segment.File, error) {
		if err != nil {
			return nil, err
		}
		return &hookFile{f, h, name}, nil
	}
}

type hookFile struct {
	segment.File
	fs   *hookFS
	name string
}

func (f *hookFile) WriteAt(b []byte, offset int64) (int, error) {
	if err := f.fs.ask("write", f.name); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], offset)
		return n, err
	}
	return f.File.WriteAt(b, offset)
}

func (f *hookFile) Sync() error {
	if err := f.fs.ask("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

// failing makes operations of one kind on some files fail.
func failing(op, suffix string, err error) func(string, string) error {
	return func(o, name string) error {
		if o == op && strings.HasSuffix(name, suffix) {
			return err
		}
		return nil
	}
}

var ctx = context.Background()

// archivetestMail is one envelope of its own, of some hundred bytes or of a given size.
func archivetestMail(serial uint64, size ...int) []*envelope.Envelope {
	return []*envelope.Envelope{archivetest.Mail(serial, 1_700_000_000, archivetest.Topic(1), append(size, 100)[0])}
}
