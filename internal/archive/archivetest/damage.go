package archivetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// damageSlice is the slice size of archives that are to be damaged.
const damageSlice = 16 << 10

// wreck is an archive as files, before and after what damages them.
type wreck struct {
	files  map[string][]byte
	due    due
	clock  *Clock
	open   Opener
	names  []string
	kinds  Files
	clean  bool // it was closed in order
	small  int  // of single flipped bits, those that cost at most one envelope
	single int
}

// testDamagedFiles opens archives whose files were changed, cut or deleted.
func testDamagedFiles(t *testing.T, open Opener, kinds Files) {
	for _, clean := range []bool{true, false} {
		w, err := newWreck(t.Context(), open, kinds, clean)
		if err != nil {
			t.Fatal(err)
		}
		failures := 0
		for i := uint64(0); i < uint64(*clones) && failures < 5; i++ {
			s := *seed + i
			if err := w.trial(t.Context(), rand.New(rand.NewPCG(s, 11))); err != nil {
				failures++
				t.Errorf("closed before: %t, seed %d: %v\nrepeat with: go test -count=1 -run '%s' . -archive.seed=%d -archive.clones=1", clean, s, err, t.Name(), s)
			}
		}
		if w.small*10 < w.single*9 {
			t.Errorf("closed before: %t: of %d flipped bits only %d cost at most one envelope", clean, w.single, w.small)
		}
	}
}

func newWreck(ctx context.Context, open Opener, kinds Files, clean bool) (*wreck, error) {
	disk := vfs.NewCrashableMem()
	w := &wreck{files: make(map[string][]byte), clock: NewClock(), open: open, kinds: kinds, clean: clean}
	a, err := open(w.options(disk))
	if err != nil {
		return nil, err
	}
	l := newLedger()
	rng := rand.New(rand.NewPCG(1, 1))
	serial := uint64(0)
	for range 60 {
		var list []*envelope.Envelope
		for range 10 {
			serial++
			list = append(list, Mail(serial, start-rng.Uint32N(1000), Topic(rng.IntN(5)), rng.IntN(400)))
		}
		if err := l.putSome(ctx, a, list); err != nil {
			return nil, err
		}
	}
	if d, ok := a.(archive.Dropper); ok {
		gone := hashesOf(l.kept[40:43])
		if _, err := d.Drop(ctx, gone); err != nil {
			return nil, err
		}
		l.drops(gone, true)
	}
	w.due = l.due()
	if !clean {
		disk = disk.CrashClone(vfs.CrashCloneCfg{})
	}
	if err := a.Close(); err != nil {
		return nil, err
	}
	return w, w.load(disk)
}

func (w *wreck) options(disk vfs.FS) Options {
	return Options{FS: disk, Dir: archiveDir, Now: w.clock.Now, Slice: damageSlice}
}

func (w *wreck) load(disk vfs.FS) (err error) {
	w.names, err = disk.List(archiveDir)
	for _, name := range w.names {
		f, openErr := disk.Open(disk.PathJoin(archiveDir, name))
		if openErr != nil {
			return openErr
		}
		info, statErr := f.Stat()
		if statErr != nil {
			return statErr
		}
		data := make([]byte, info.Size())
		if len(data) > 0 {
			_, readErr := f.ReadAt(data, 0)
			err = errors.Join(err, readErr)
		}
		err = errors.Join(err, f.Close())
		w.files[name] = data
	}
	return err
}

// damaged writes the files to a new disk, one of them damaged. A nil slice of bytes deletes it.
func (w *wreck) damaged(name string, data []byte) (vfs.FS, error) {
	disk := vfs.NewMem()
	err := disk.MkdirAll(archiveDir, 0o700)
	for _, n := range w.names {
		content := w.files[n]
		if n == name {
			content = data
		}
		if n == name && data == nil {
			continue
		}
		f, createErr := disk.Create(disk.PathJoin(archiveDir, n), vfs.WriteCategoryUnspecified)
		if createErr != nil {
			return nil, createErr
		}
		_, writeErr := f.Write(append([]byte(nil), content...))
		err = errors.Join(err, writeErr, f.Close())
	}
	return disk, err
}

// harm is one way of damaging a file. Harm in place keeps its length.
type harm struct {
	name    string
	inPlace bool
	do      func(rng *rand.Rand, data []byte) []byte
}

func harms() []harm {
	flip := func(n int) func(*rand.Rand, []byte) []byte {
		return func(rng *rand.Rand, data []byte) []byte {
			for range n {
				data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
			}
			return data
		}
	}
	return []harm{
		{"one flipped bit", true, flip(1)},
		{"one flipped bit", true, flip(1)},
		{"12 flipped bits", true, flip(12)},
		{"300 flipped bits", true, flip(300)},
		{"a block of zeros", true, func(rng *rand.Rand, data []byte) []byte {
			at := rng.IntN(len(data)) &^ 511
			clear(data[at:min(len(data), at+512<<rng.IntN(6))])
			return data
		}},
		{"a block from elsewhere", true, func(rng *rand.Rand, data []byte) []byte {
			copy(data[rng.IntN(len(data)):], append([]byte(nil), data[rng.IntN(len(data)):]...))
			return data
		}},
		{"a cut", false, func(rng *rand.Rand, data []byte) []byte { return data[:rng.IntN(len(data))] }},
		{"garbage at the end", false, func(rng *rand.Rand, data []byte) []byte {
			for range 1 + rng.IntN(5000) {
				data = append(data, byte(rng.Uint32()))
			}
			return data
		}},
		{"the file's own beginning at its end", false, func(rng *rand.Rand, data []byte) []byte {
			return append(data, data[:rng.IntN(len(data))]...)
		}},
		{"emptying", false, func(*rand.Rand, []byte) []byte { return []byte{} }},
		{"deletion", false, func(*rand.Rand, []byte) []byte { return nil }},
	}
}

// trial damages one file and sees what the archive makes of it.
func (w *wreck) trial(ctx context.Context, rng *rand.Rand) error {
	name := w.names[rng.IntN(len(w.names))]
	for len(w.files[name]) == 0 {
		name = w.names[rng.IntN(len(w.names))]
	}
	list := harms()
	h := list[rng.IntN(len(list))]
	data := h.do(rng, append([]byte(nil), w.files[name]...))
	disk, err := w.damaged(name, data)
	if err == nil {
		err = w.survives(ctx, disk, name, h)
	}
	if err == nil && h.inPlace {
		if err = w.survivesOpen(ctx, data, name, h); err != nil {
			err = fmt.Errorf("while it was open: %w", err)
		}
	}
	if err != nil {
		return fmt.Errorf("%s of %s (%d bytes): %w", h.name, name, len(w.files[name]), err)
	}
	return nil
}

// survivesOpen damages a file under an open archive.
func (w *wreck) survivesOpen(ctx context.Context, data []byte, name string, h harm) error {
	disk, err := w.damaged("", nil)
	if err != nil {
		return err
	}
	a, err := w.open(w.options(disk))
	if err != nil {
		return err
	}
	defer a.Close()
	f, err := disk.OpenReadWrite(disk.PathJoin(archiveDir, name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	_, byHash, err := readHonest(ctx, a)
	if err != nil {
		return err
	}
	return w.judge(ctx, a, byHash, name, h)
}

func (w *wreck) survives(ctx context.Context, disk vfs.FS, name string, h harm) error {
	a, err := w.open(w.options(disk))
	if err != nil {
		if !w.kinds.Vital(name) {
			return fmt.Errorf("the archive is refused for it: %w", err)
		}
		if !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.Invalid) || len(fault.Text(err)) < 20 {
			return fmt.Errorf("refused, but not in words that help: %w", err)
		}
		return nil
	}
	defer a.Close()
	_, byHash, err := readHonest(ctx, a)
	if err != nil {
		return err
	}
	if err := w.judge(ctx, a, byHash, name, h); err != nil {
		return err
	}
	if err := w.putAgain(ctx, a); err != nil {
		return fmt.Errorf("afterwards: %w", err)
	}
	if err := a.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	b, err := w.open(w.options(disk))
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	defer b.Close()
	return w.complete(ctx, b)
}

// judge compares what is left with what there was.
func (w *wreck) judge(ctx context.Context, a archive.Archive, left map[envelope.Hash]archive.Record, name string, h harm) error {
	lost, bytes, tail := 0, 0, false
	for _, want := range w.due.kept {
		got, ok := left[want.Hash]
		tail = !ok
		if !ok {
			lost++
			bytes += len(want.Raw)
		} else if err := differs(got, want); err != nil {
			return err
		}
		delete(left, want.Hash)
	}
	for _, extra := range left {
		return fmt.Errorf("%s was never there, or was dropped", brief(extra))
	}
	if h.name == "one flipped bit" {
		w.single++
		if lost <= 1 {
			w.small++
		}
	}
	switch {
	case lost > 0 && w.kinds.Derived(name):
		return fmt.Errorf("%d envelopes are lost, though the file holds none", lost)
	case bytes > damageSlice+8<<10:
		return fmt.Errorf("%d envelopes of %d bytes are lost, more than a slice holds", lost, bytes)
	case lost > 0 && h.inPlace && (w.clean || !tail): // without a clean end, damage at the end looks like a torn write
		return told(ctx, a, lost)
	}
	return nil
}

// told checks that a loss is counted, or found by Check.
func told(ctx context.Context, a archive.Archive, lost int) error {
	if a.Stats().Damaged > 0 {
		return nil
	}
	if c, ok := a.(archive.Checker); ok {
		if got, err := c.Check(ctx, func(archive.Problem) {}); err != nil || got.Problems > 0 {
			return err
		}
	}
	return fmt.Errorf("%d envelopes are lost, and nobody says so", lost)
}

// putAgain stores everything once more. What was lost must not pass for a duplicate.
func (w *wreck) putAgain(ctx context.Context, a archive.Archive) error {
	same, err := sameEnvelopes(w.due.kept)
	if err != nil {
		return err
	}
	if _, err := a.Put(ctx, same); err != nil {
		return fmt.Errorf("put again: %w", err)
	}
	return w.complete(ctx, a)
}

// complete checks that all that was ever kept can be read, once, under whatever arrival.
func (w *wreck) complete(ctx context.Context, a archive.Archive) error {
	_, byHash, err := readHonest(ctx, a)
	if err != nil {
		return err
	}
	for _, want := range w.due.kept {
		got, ok := byHash[want.Hash]
		if !ok {
			return fmt.Errorf("%s was put again, acknowledged, and is not there", brief(want))
		}
		want.Arrival, want.Arrived = got.Arrival, got.Arrived
		if err := differs(got, want); err != nil {
			return err
		}
	}
	return nil
}
