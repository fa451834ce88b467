package segment_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/envelope"
)

var writeFixture = flag.Bool("segment.fixture", false, "write testdata/v1 anew, which is only right while nobody has an archive of version 1")

const fixture = "testdata/v1"

// fixtureRig fills an archive as the fixture was filled: four slices, all with an index but one; arrivals 1 to 40, of which
// 7 and 33 are dropped.
func fixtureRig(t *testing.T, dir string) *rig {
	r := newRig(t, 2<<10)
	r.dir = dir
	r.o.Rand = bytes.NewReader(bytes.Repeat([]byte("fixture!"), 3))
	r.stop()
	r.start()
	for range 4 {
		r.fill(10)
		r.clock.Advance(24 * time.Hour)
	}
	if n, err := r.Drop(ctx, []envelope.Hash{r.all[6].Hash, r.all[32].Hash}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	r.lose(7)
	r.lose(33)
	return r
}

// An archive of version 1 opens for ever, and holds what was put.
func TestFixtureOfVersion1(t *testing.T) {
	if *writeFixture {
		r := fixtureRig(t, t.TempDir())
		r.stop()
		if err := os.RemoveAll(fixture); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(fixture, os.DirFS(r.dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(fixture, "LOCK")); err != nil {
			t.Fatal(err)
		}
	}
	want := fixtureRig(t, t.TempDir())
	want.stop()
	for _, indexed := range []bool{true, false} {
		r := newRig(t, 2<<10)
		r.stop()
		r.dir = t.TempDir()
		if err := os.CopyFS(r.dir, os.DirFS(fixture)); err != nil {
			t.Fatal(err)
		}
		if !indexed {
			r.unindex()
		}
		r.clock.Advance(4 * 24 * time.Hour)
		r.start()
		r.serial, r.all = want.serial, want.all
		st := r.Stats()
		if st.Epoch != [8]byte([]byte("fixture!")) || st.Next != 41 || st.Envelopes != 38 || st.Damaged != 0 {
			t.Errorf("%+v", st)
		}
		r.holds()
		for _, serial := range []uint64{7, 33} {
			e := archivetest.Mail(serial, want.sentOf(serial), archivetest.Topic(int(serial%10)), 100)
			if got, err := r.Put(ctx, []*envelope.Envelope{e}); err != nil || !got[0].Duplicate || got[0].Arrival != serial {
				t.Errorf("what was dropped comes again: %+v, %v", got, err)
			}
		}
		r.fill(10)
		r.holds()
		r.stop()
	}
}

// sentOf returns when the fixture's envelope of a serial was sent.
func (r *rig) sentOf(serial uint64) uint32 {
	day := (serial - 1) / 10
	return uint32(uint64(archivetest.NewClock().Now().Unix()) + day*86400 - serial%7)
}

// What this version writes is version 1, byte for byte.
func TestFormatStays(t *testing.T) {
	r := fixtureRig(t, t.TempDir())
	r.stop()
	for _, pattern := range []string{"ARCHIVE", "*.slice", "*.index"} {
		names, err := filepath.Glob(filepath.Join(fixture, pattern))
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		for _, name := range names {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(r.dir, filepath.Base(name)))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is written differently now: give the format a new version", filepath.Base(name))
			}
		}
	}
}
