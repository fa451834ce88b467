package segment_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/archive/segment"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

const frameHead = 20 // bytes before an envelope

// where returns the offset of a record's envelope in a slice.
func where(t *testing.T, b []byte, k archive.Record) int {
	t.Helper()
	at := bytes.Index(b, k.Raw)
	if at < 0 {
		t.Fatalf("arrival %d is not in the slice", k.Arrival)
	}
	return at
}

func TestTornEnd(t *testing.T) {
	for name, tear := range map[string]func([]byte) []byte{
		"garbage":       func(b []byte) []byte { return append(b, bytes.Repeat([]byte{0x5a}, 1000)...) },
		"zeros":         func(b []byte) []byte { return append(b, make([]byte, 1000)...) },
		"half a frame":  func(b []byte) []byte { return append(b, b[len(b)-150:len(b)-70]...) },
		"within a head": func(b []byte) []byte { return append(b, 1, 2, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 0)
			r.fill(30)
			next := r.Stats().Next
			r.stop()
			r.unindex()
			edit(t, r.files(".slice")[0], tear)
			r.start()
			r.holds()
			if got := r.Stats(); got.Damaged != 0 || got.Next <= next {
				t.Errorf("%+v; the number %d may have been given", got, next)
			}
			r.fill(10)
			r.stop()
			r.start()
			r.holds()
		})
	}
}

func TestCutEnd(t *testing.T) {
	r := newRig(t, 0)
	r.fill(30)
	next := r.Stats().Next
	r.stop()
	r.unindex()
	edit(t, r.files(".slice")[0], func(b []byte) []byte { return b[:len(b)-50] })
	r.start()
	r.lose(next - 1)
	r.holds()
	if got := r.Stats().Next; got < next {
		t.Errorf("arrival %d comes again", got)
	}
	r.fill(10)
	r.holds()
}

func TestDamageCostsNoOther(t *testing.T) {
	for _, indexed := range []bool{false, true} {
		for name, at := range map[string]int{"size": -frameHead, "ordinal": -16, "sum": -4, "body": 30} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, 0)
				r.fill(50)
				r.stop()
				if !indexed {
					r.unindex()
				}
				edit(t, r.files(".slice")[0], func(b []byte) []byte {
					b[where(t, b, r.all[20])+at] ^= 0x10
					return b
				})
				r.start()
				again := r.all[20]
				r.lose(21)
				r.holds()
				if n := r.Stats().Damaged; n != 1 {
					t.Errorf("%d damaged", n)
				}
				problems := 0
				checked, err := r.Check(ctx, func(p archive.Problem) { problems++ })
				if err != nil || problems != 1 || checked.Problems != 1 || checked.Envelopes != 49 {
					t.Errorf("check: %+v, %d problems, %v", checked, problems, err)
				}
				e, err := envelope.Decode(again.Raw)
				if err != nil {
					t.Fatal(err)
				}
				r.put(e) // it is not there any more, so it is welcome
				r.stop()
				r.start()
				r.holds()
			})
		}
	}
}

func TestDamageInASealedSlice(t *testing.T) {
	r := newRig(t, 4<<10)
	r.fill(200)
	r.stop()
	edit(t, r.files(".slice")[1], func(b []byte) []byte { clear(b[1000:2000]); return b })
	r.start()
	n := len(read(t, r.Archive, archive.Query{}))
	if n >= 200 || n < 190 || r.Stats().Damaged == 0 {
		t.Errorf("%d are left of 200, %d damaged", n, r.Stats().Damaged)
	}
	same(t, "again", read(t, r.Archive, archive.Query{}), read(t, r.Archive, archive.Query{}))
	r.fill(10)
}

// An envelope may hold the frames of another archive, or of its own slice. Neither is taken for a frame.
func TestPlantedFrames(t *testing.T) {
	r := newRig(t, 0)
	r.fill(5)
	r.stop()
	own, err := os.ReadFile(r.files(".slice")[0])
	if err != nil {
		t.Fatal(err)
	}
	other := newRig(t, 0)
	other.serial = 1 << 40
	other.fill(20)
	other.stop()
	theirs, err := os.ReadFile(other.files(".slice")[0])
	if err != nil {
		t.Fatal(err)
	}
	r.start()
	r.put(envelope.New(1_700_000_060, 60, envelope.Topic{1}, append(bytes.Clone(own), theirs...), 1))
	r.fill(10)
	r.stop()
	r.unindex()
	edit(t, r.files(".slice")[0], func(b []byte) []byte { b[where(t, b, r.all[5])-1] ^= 1; return b })
	r.start()
	r.lose(6)
	r.holds()
}

func TestIndexIsMadeAgain(t *testing.T) {
	for _, how := range []string{"removed", "cut", "footer", "another's"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, 4<<10)
			r.fill(200)
			r.stop()
			names := r.files(".index")
			switch how {
			case "removed":
				r.unindex()
			case "cut":
				edit(t, names[1], func(b []byte) []byte { return b[:len(b)/2] })
			case "footer":
				edit(t, names[1], func(b []byte) []byte { b[len(b)-100] ^= 1; return b })
			case "another's":
				b, err := os.ReadFile(names[2])
				if err != nil {
					t.Fatal(err)
				}
				edit(t, names[1], func([]byte) []byte { return b })
			}
			r.start()
			r.holds()
			r.stop()
			if n := len(r.files(".index")); n != len(names) {
				t.Errorf("%d indexes, want %d", n, len(names))
			}
			r.start()
			r.holds()
			if n := r.Stats().Damaged; n != 0 {
				t.Errorf("%d damaged", n)
			}
		})
	}
}

// Damage of an index that shows only when its blocks are read.
func TestIndexIsMadeAgainWhileReading(t *testing.T) {
	for _, q := range []archive.Query{
		{}, {Order: archive.ByArrival},
		{Topics: []envelope.Topic{archivetest.Topic(3)}}, {Order: archive.ByArrival, Topics: []envelope.Topic{archivetest.Topic(3)}},
	} {
		r := newRig(t, 4<<10)
		r.fill(200)
		want := read(t, r.Archive, q)
		r.stop()
		for _, name := range r.files(".index") {
			edit(t, name, func(b []byte) []byte {
				for i := 0; i < len(b)/2; i += 64 {
					b[i] ^= 0xff
				}
				return b
			})
		}
		r.start()
		same(t, "walk", read(t, r.Archive, q), want)
		if r.Stats().Damaged == 0 {
			t.Error("damage was not counted")
		}
		r.holds()
		r.stop()
		r.start()
		r.holds()
		if checked, err := r.Check(ctx, func(p archive.Problem) { t.Errorf("%+v", p) }); err != nil || checked.Envelopes != 200 {
			t.Errorf("%+v, %v", checked, err)
		}
	}
}

func TestCheckMakesIndexAgain(t *testing.T) {
	r := newRig(t, 4<<10)
	r.fill(200)
	r.stop()
	edit(t, r.files(".index")[1], func(b []byte) []byte { b[10] ^= 1; return b })
	r.start()
	var problems []archive.Problem
	if _, err := r.Check(ctx, func(p archive.Problem) { problems = append(problems, p) }); err != nil {
		t.Fatal(err)
	}
	if len(problems) != 1 || !strings.HasSuffix(problems[0].File, ".index") {
		t.Errorf("%+v", problems)
	}
	if c, err := r.Check(ctx, func(archive.Problem) {}); err != nil || c.Problems != 0 {
		t.Errorf("the second check: %+v, %v", c, err)
	}
	r.holds()
}

func TestDamagedHeader(t *testing.T) {
	r := newRig(t, 4<<10)
	r.fill(200)
	r.stop()
	r.unindex()
	for _, name := range r.files(".slice") {
		edit(t, name, func(b []byte) []byte { clear(b[:64]); return b })
	}
	r.start()
	if n := r.Stats().Damaged; n != uint64(len(r.files(".slice"))) {
		t.Errorf("%d damaged", n)
	}
	r.holds()
	r.fill(20)
	r.holds()
	r.stop()
	edit(t, filepath.Join(r.dir, "ARCHIVE"), func(b []byte) []byte { return b[:20] })
	names := r.files(".slice")
	for _, name := range names {
		edit(t, name, func(b []byte) []byte { clear(b[:64]); return b })
	}
	_, err := segment.Open(r.dir, r.o)
	wantKind(t, err, fault.Corrupt)
}

// A drop that fails in the middle, or is cut short, serves nothing of what it dropped and is finished at the next start.
func TestUnfinishedDrop(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		r := newRig(t, 0)
		r.fill(40)
		if sealed {
			r.clock.Advance(25 * 3600e9)
			r.fill(10)
			r.stop()
			r.start()
		}
		victim := r.all[7]
		writes := 0
		r.fs.hook(func(op, name string) error {
			if op == "write" && strings.HasSuffix(name, ".slice") {
				if writes++; writes == 2 { // the flag was the first
					return syscall.EIO
				}
			}
			return nil
		})
		_, err := r.Drop(ctx, []envelope.Hash{victim.Hash})
		wantKind(t, err, fault.Unavailable)
		r.fs.hook(nil)
		r.lose(8)
		r.holds()
		r.stop()
		if !sealed {
			r.unindex()
		}
		r.start()
		r.holds()
		if got := r.Stats(); got.Envelopes != uint64(len(r.all)) || got.Damaged > 1 {
			t.Errorf("%+v", got)
		}
		r.stop()
		b, err := os.ReadFile(r.files(".slice")[0])
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, victim.Raw[20:]) {
			t.Error("the envelope is still on the disk")
		}
		r.start()
	}
}

func TestDropLeavesNoTrace(t *testing.T) {
	r := newRig(t, 4<<10)
	r.fill(100)
	small := envelope.New(61, 60, envelope.Topic{1}, []byte{1}, 0)
	r.put(small)
	r.fill(100)
	for _, i := range []int{3, 50, 98, 150, 190} {
		victim := r.all[i]
		if n, err := r.Drop(ctx, []envelope.Hash{victim.Hash}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		r.all = append(r.all[:i:i], r.all[i+1:]...)
		r.holds()
		r.stop()
		for _, name := range r.files(".slice") {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(victim.Raw) > 60 && bytes.Contains(b, victim.Raw[20:60]) {
				t.Errorf("envelope %d is still on the disk", i)
			}
		}
		if i == 98 { // the small one
			r.unindex()
		}
		r.start()
		r.holds()
		e, err := envelope.Decode(victim.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Put(ctx, []*envelope.Envelope{e}); err != nil || !got[0].Duplicate || got[0].Arrival != victim.Arrival {
			t.Errorf("put again: %+v, %v", got, err)
		}
		if n := r.Stats().Envelopes; n != uint64(len(r.all)) {
			t.Errorf("%d envelopes, want %d", n, len(r.all))
		}
	}
}

// A sealed slice that lost its end: what is gone is left out, and is welcome when it comes again.
func TestCutSealedSlice(t *testing.T) {
	r := newRig(t, 4<<10)
	r.fill(100)
	r.stop()
	edit(t, r.files(".slice")[0], func(b []byte) []byte { return b[:len(b)/2] })
	r.start()
	left := read(t, r.Archive, archive.Query{Order: archive.ByArrival})
	if len(left) >= 100 || len(left) < 70 {
		t.Errorf("%d are left", len(left))
	}
	var list []*envelope.Envelope
	for _, k := range r.all {
		e, err := envelope.Decode(k.Raw)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	receipts, err := r.Put(ctx, list)
	if err != nil {
		t.Fatal(err)
	}
	fresh := 0
	for _, got := range receipts {
		if !got.Duplicate {
			fresh++
		}
	}
	if fresh != 100-len(left) {
		t.Errorf("%d were stored again, want %d", fresh, 100-len(left))
	}
	problems := 0
	if _, err := r.Check(ctx, func(archive.Problem) { problems++ }); err != nil || problems == 0 {
		t.Errorf("%d problems, %v", problems, err)
	}
}
