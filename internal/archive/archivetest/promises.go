package archivetest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

// testDropOverwrites: of what is dropped, no byte is left in any file, nor after a crash.
func testDropOverwrites(t *testing.T, open Opener) {
	disk := vfs.NewCrashableMem()
	o := Options{FS: disk, Dir: archiveDir, Now: NewClock().Now, Slice: damageSlice}
	a, err := open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	dropper, ok := a.(archive.Dropper)
	if !ok {
		return
	}
	var list []*envelope.Envelope
	for i := range 300 {
		list = append(list, Mail(uint64(i), start, Topic(i%3), 200))
		if _, err := a.Put(t.Context(), list[i:]); err != nil {
			t.Fatal(err)
		}
	}
	for i := 3; i < len(list); i += 37 { // some in full slices, the last in the one that is written to
		if n, err := dropper.Drop(t.Context(), []envelope.Hash{list[i].Hash()}); err != nil || n != 1 {
			t.Fatalf("dropped %d, error %v", n, err)
		}
		for _, percent := range []int{0, 50, 100} {
			left := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(*seed, uint64(i)))})
			if name := fileWith(t, left, list[i].Data()); name != "" {
				t.Errorf("envelope %d is dropped, and its data is still in %s, with %d %% of what was not synced", i, name, percent)
			}
		}
	}
	if fileWith(t, disk, list[0].Data()) == "" {
		t.Error("an envelope that is not dropped is in no file: this test shows nothing")
	}
}

// fileWith names the file that holds a part of the data.
func fileWith(t *testing.T, disk *vfs.MemFS, data []byte) string {
	t.Helper()
	w := wreck{files: make(map[string][]byte)}
	if err := w.load(disk); err != nil {
		t.Fatal(err)
	}
	for _, name := range w.names {
		for at := 0; at+16 <= len(data); at += 16 {
			if bytes.Contains(w.files[name], data[at:at+16]) {
				return name
			}
		}
	}
	return ""
}

// testBackupIsDurable: a backup is there after a crash, and one that failed leaves the archive as it was.
func testBackupIsDurable(t *testing.T, open Opener) {
	f, err := newFailing(open, *seed, writes, errorfs.ErrInjected)
	if err != nil {
		t.Fatal(err)
	}
	defer f.a.Close()
	backuper, ok := f.a.(archive.Backuper)
	if !ok {
		return
	}
	if _, err := f.write(t.Context(), 30); err != nil {
		t.Fatal(err)
	}
	f.trouble.on.Store(true)
	for _, percent := range []int32{1, 10, 100} {
		f.trouble.percent.Store(percent)
		if backuper.Backup(t.Context(), "/broken") == nil {
			f.opens(t, "/broken", 100)
		}
		if err := f.disk.RemoveAll("/broken"); err != nil {
			t.Fatal(err)
		}
	}
	f.trouble.on.Store(false)
	if err := backuper.Backup(t.Context(), "/backup"); err != nil {
		t.Fatal(err)
	}
	for _, percent := range []int{0, 50, 100} {
		f.opens(t, "/backup", percent)
	}
	if _, err := holds(t.Context(), f.a, f.ledger.due()); err != nil {
		t.Errorf("after backups: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if backuper.Backup(cancelled, "/late") == nil {
		t.Error("a backup that nobody waits for succeeds")
	}
}

// opens checks that a directory, after a crash, is an archive that holds what is due.
func (f *failing) opens(t *testing.T, dir string, percent int) {
	t.Helper()
	o := f.o
	o.Dir = dir
	o.FS = f.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(*seed, 5))})
	b, err := f.open(o)
	if err != nil {
		t.Errorf("open %s: %v", dir, err)
		return
	}
	defer b.Close()
	if _, err := holds(t.Context(), b, f.ledger.due()); err != nil {
		t.Errorf("%s: %v", dir, err)
	}
}
