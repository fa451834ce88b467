package segment_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/archive/segment"
	"github.com/restante-im/restante/internal/fault"
)

func wantKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Fatalf("error %v, want one that is %q", err, k)
	}
}

func TestFullSliceIsSealed(t *testing.T) {
	r := newRig(t, 8<<10)
	r.fill(500)
	if n := r.Stats().Slices; n < 5 || n > 20 {
		t.Errorf("%d slices", n)
	}
	r.holds()
	r.stop()
	if slices, indexes := len(r.files(".slice")), len(r.files(".index")); indexes != slices {
		t.Errorf("%d slices and %d indexes after a clean stop", slices, indexes)
	}
	r.start()
	r.holds()
}

func TestOldSliceIsSealed(t *testing.T) {
	r := newRig(t, 0)
	r.fill(10)
	r.clock.Advance(24 * time.Hour)
	r.fill(10)
	if n := len(r.files(".slice")); n != 2 {
		t.Errorf("%d slices", n)
	}
	r.clock.Advance(24 * time.Hour)
	if _, err := r.Retain(ctx, r.clock.Now()); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r.clock.Advance(25 * time.Hour)
	r.start()
	r.fill(10)
	if n := len(r.files(".slice")); n != 3 {
		t.Errorf("%d slices", n)
	}
	r.holds()
}

func TestSmallSliceIsReopened(t *testing.T) {
	r := newRig(t, 64<<10)
	for range 4 {
		r.fill(20)
		r.stop()
		r.start()
		r.holds()
	}
	if n := len(r.files(".slice")); n != 1 {
		t.Errorf("%d slices", n)
	}
	r.fill(100) // beyond a quarter
	r.stop()
	r.start()
	r.fill(10)
	r.holds()
	if n := len(r.files(".slice")); n != 2 {
		t.Errorf("%d slices", n)
	}
}

func TestWritersShareSyncs(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fs := &hookFS{FS: segment.OS()}
		a, err := segment.Open(dir, segment.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		release := make(chan struct{})
		var wg sync.WaitGroup
		put := func(i uint64) {
			if _, err := a.Put(ctx, archivetestMail(i)); err != nil {
				t.Error(err)
			}
		}
		put(0) // begins the slice
		fs.hook(func(op, _ string) error {
			if op == "sync" {
				<-release
			}
			return nil
		})
		before := a.Stats().Syncs
		wg.Go(func() { put(1) })
		synctest.Wait() // in its sync
		for i := range 50 {
			wg.Go(func() { put(uint64(i + 2)) })
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if n := a.Stats().Syncs - before; n != 2 {
			t.Errorf("51 calls took %d syncs, want 2", n)
		}
	})
}

func TestFailedSyncEndsTheSlice(t *testing.T) {
	for _, op := range []string{"sync", "write"} {
		t.Run(op, func(t *testing.T) {
			r := newRig(t, 0)
			r.fill(20)
			lost := r.mail(10)
			r.fs.hook(failing(op, ".slice", syscall.EIO))
			_, err := r.Put(ctx, lost)
			wantKind(t, err, fault.Unavailable)
			if r.Stats().Refusing == "" {
				t.Error("nothing says that mail is refused")
			}
			r.holds()
			r.fs.hook(nil)
			r.fill(20)
			if got := r.Stats(); got.Refusing != "" || got.Slices != 2 {
				t.Errorf("%+v", got)
			}
			r.put(lost...)
			r.holds()
			r.stop()
			r.unindex() // what the failed write left must not come back
			r.start()
			r.holds()
			r.fill(10)
			r.holds()
		})
	}
}

func TestFirstWriteFails(t *testing.T) {
	r := newRig(t, 0)
	for _, op := range []string{"create", "sync", "write"} {
		r.fs.hook(failing(op, "", syscall.ENOSPC))
		_, err := r.Put(ctx, r.mail(5))
		wantKind(t, err, fault.Unavailable)
		if why := r.Stats().Refusing; op != "create" && !strings.Contains(why, "full") && why != "" {
			t.Errorf("refusing says %q", why)
		}
	}
	r.fs.hook(nil)
	r.fill(5)
	if n := len(r.files(".slice")); n != 1 {
		t.Errorf("%d slices", n)
	}
	r.holds()
}

func TestIndexCannotBeWritten(t *testing.T) {
	r := newRig(t, 4<<10)
	r.fs.hook(failing("create", ".index.new", syscall.ENOSPC))
	var err error
	for i := 0; err == nil && i < 100; i++ {
		var receipts []archive.Receipt
		list := r.mail(10)
		if receipts, err = r.Put(ctx, list); err == nil {
			for k, e := range list {
				r.all = append(r.all, archive.Record{Arrival: receipts[k].Arrival, Arrived: receipts[k].Arrived, Sent: e.Sent(), Topic: e.Topic(), Hash: e.Hash(), Raw: e.Raw()})
			}
		}
	}
	wantKind(t, err, fault.Unavailable)
	if !strings.Contains(r.Stats().Refusing, "full") {
		t.Errorf("refusing says %q", r.Stats().Refusing)
	}
	r.holds()
	r.fs.hook(nil)
	r.fill(100)
	r.holds()
	if r.Stats().Refusing != "" {
		t.Errorf("still refusing: %s", r.Stats().Refusing)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	r := newRig(t, 0)
	r.fill(10)
	r.stop()
	manifest := filepath.Join(r.dir, "ARCHIVE")
	edit(t, manifest, func(b []byte) []byte {
		return []byte(strings.Replace(string(b), `"format": 1`, `"format": 2`, 1))
	})
	_, err := segment.Open(r.dir, r.o)
	wantKind(t, err, fault.Invalid)
	if !strings.Contains(fault.Text(err), "newer version") {
		t.Errorf("the error says %q", fault.Text(err))
	}
	if _, err := os.Stat(filepath.Join(r.dir, "LOCK")); err != nil {
		t.Error(err)
	}
}

func TestManifestIsMadeAgain(t *testing.T) {
	r := newRig(t, 8<<10)
	r.fill(200)
	epoch := r.Stats().Epoch
	for _, change := range []func(name string){
		func(name string) { edit(t, name, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }) },
		func(name string) { os.Remove(name) },
		func(name string) { edit(t, name, func([]byte) []byte { return nil }) },
	} {
		r.stop()
		change(filepath.Join(r.dir, "ARCHIVE"))
		r.start()
		if got := r.Stats(); got.Epoch == epoch || got.Damaged != 1 {
			t.Errorf("%+v", got)
		}
		epoch = r.Stats().Epoch
		r.fill(10)
		r.holds()
	}
}

func TestMinFree(t *testing.T) {
	r := newRig(t, 0)
	r.fill(10)
	r.SetRules(archive.Rules{MinFree: 1 << 20})
	r.fs.free = 1<<20 + 100
	_, err := r.Put(ctx, r.mail(10))
	wantKind(t, err, fault.Limit)
	if !strings.Contains(r.Stats().Refusing, "free") {
		t.Errorf("refusing says %q", r.Stats().Refusing)
	}
	r.holds()
	r.fs.free = 2 << 20
	r.fill(10)
	if why := r.Stats().Refusing; why != "" {
		t.Errorf("still refusing: %s", why)
	}
}

func TestLargePut(t *testing.T) {
	r := newRig(t, 4<<10)
	r.put(r.mail(500)...)
	r.put(r.mail(3)...)
	r.holds()
	big := archivetest.Mail(1<<32, 1_700_000_000, archivetest.Topic(1), 10<<20)
	r.put(big)
	r.stop()
	r.unindex()
	r.start()
	r.holds()
	_, err := r.Put(ctx, archivetestMail(7, 17<<20))
	wantKind(t, err, fault.Invalid)
}

func TestBackup(t *testing.T) {
	r := newRig(t, 8<<10)
	r.fill(300)
	dir := filepath.Join(t.TempDir(), "backup")
	if err := r.Backup(ctx, dir); err != nil {
		t.Fatal(err)
	}
	wantKind(t, r.Backup(ctx, dir), fault.Exists)
	copied := &rig{t: t, dir: dir, o: r.o, clock: r.clock, serial: 1 << 40, all: append([]archive.Record(nil), r.all...)}
	r.fill(50)
	copied.start()
	defer copied.Close()
	if copied.Stats().Epoch == r.Stats().Epoch {
		t.Error("both have one epoch")
	}
	copied.holds()
	copied.fill(50)
	copied.holds()
	r.holds()
	r.SetRules(archive.Rules{Age: time.Second})
	r.clock.Advance(time.Hour)
	if p, err := r.Retain(ctx, r.clock.Now()); err != nil || p.Envelopes != 350 {
		t.Fatal(p, err)
	}
	copied.stop()
	copied.start()
	copied.holds()
}

func TestUnfinishedBackupIsRefused(t *testing.T) {
	r := newRig(t, 8<<10)
	r.fill(100)
	dir := t.TempDir()
	r.fs.hook(failing("write", ".slice", syscall.ENOSPC))
	wantKind(t, r.Backup(ctx, dir), fault.Unavailable)
	r.fs.hook(nil)
	_, err := segment.Open(dir, r.o)
	wantKind(t, err, fault.Invalid)
	if !strings.Contains(fault.Text(err), "not finished") {
		t.Errorf("the error says %q", fault.Text(err))
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	r := newRig(t, 0)
	r.fill(10)
	r.stop()
	r.fs.hook(func(op, _ string) error { return syscall.EROFS })
	r.start()
	r.holds()
	_, err := r.Put(ctx, r.mail(1))
	wantKind(t, err, fault.Unavailable)
	if !strings.Contains(fault.Text(err), "read-only") {
		t.Errorf("the error says %q", fault.Text(err))
	}
	if !errors.Is(err, syscall.EROFS) {
		t.Error("the cause is lost")
	}
}
