package slindex_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

const endSize = 24 // of the file's end, as documented

// golden returns the entries of testdata/v1.index.
func golden() []slindex.Entry {
	list := corpus(600, 7, 900)
	list[5].Size = 0
	copy(list[10].Hash[:8], list[11].Hash[:8])
	list[10].Sent, list[10].Topic = list[11].Sent, list[11].Topic
	return list
}

func TestVersion1StaysReadable(t *testing.T) {
	file, err := os.ReadFile("testdata/v1.index")
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(golden())
	x := open(t, file)
	if err := errors.Join(check(t, x, m, someKeys(m, rand.New(rand.NewPCG(1, 1)))), x.Verify(context.Background())); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(build(t, m.entries), file) {
		t.Error("Build writes another file than testdata/v1.index: what changes the format takes a new version")
	}
}

// answer opens a damaged file and asks everything: it must fail as Corrupt, or answer as the model does.
func answer(t *testing.T, what string, offset int, file []byte, m *model, keys []archive.Key) {
	t.Helper()
	x, err := slindex.Open(bytes.NewReader(file), int64(len(file)))
	if err == nil {
		err = check(t, x, m, keys)
		verified := x.Verify(context.Background())
		if (err != nil) && verified == nil {
			t.Errorf("%s at %d: an answer failed (%v), but Verify finds nothing", what, offset, err)
		}
	}
	if err != nil && !fault.Is(err, fault.Corrupt) {
		t.Errorf("%s at %d: %v is no Corrupt fault", what, offset, err)
	}
}

func TestNoTruncatedFileOpens(t *testing.T) {
	file := build(t, corpus(150, 9, 100))
	for n := range file {
		if _, err := slindex.Open(bytes.NewReader(file[:n]), int64(n)); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%d of %d bytes: %v", n, len(file), err)
		}
		// The file was cut behind our back.
		if _, err := slindex.Open(bytes.NewReader(file[:n]), int64(len(file))); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%d of %d bytes, said to be whole: %v", n, len(file), err)
		}
	}
}

func TestFlippedBits(t *testing.T) {
	t.Run("all of a small file", func(t *testing.T) {
		m := newModel(corpus(12, 3, 5))
		file := build(t, m.entries)
		keys := someKeys(m, rand.New(rand.NewPCG(1, 1)))[:10]
		for bit := range 8 * len(file) {
			file[bit/8] ^= 1 << (bit % 8)
			answer(t, "bit", bit, file, m, keys)
			file[bit/8] ^= 1 << (bit % 8)
		}
	})
	t.Run("some of a larger one", func(t *testing.T) {
		m := newModel(golden())
		file := build(t, m.entries)
		r := rand.New(rand.NewPCG(2, 2))
		keys := someKeys(m, r)
		for range 60 {
			damaged := slices.Clone(file)
			at := r.IntN(len(file))
			for i := at; i < min(at+1+r.IntN(600), len(file)); i++ {
				damaged[i] = byte(r.Uint32())
			}
			answer(t, "garbage", at, damaged, m, keys)
		}
	})
}

func TestDamageIsNamed(t *testing.T) {
	file := build(t, corpus(3000, 900, 1000))
	all := func(envelope.Topic) bool { return true }
	tests := []struct {
		at   int // section starts follow from the documented widths
		want string
		ask  func(x *slindex.Index) error
	}{
		{3000 * 10, "records, at offset 28672", func(x *slindex.Index) error { _, err := x.Records(1250, 1, nil); return err }},
		{3000 * 24, "records, at offset 69632", func(x *slindex.Index) error { _, err := x.Gather([]uint32{2999}, nil); return err }},
		{3000 * 25, "hashes, at offset 73728", func(x *slindex.Index) error { _, err := x.FindHash(envelope.Hash{9}, nil); return err }},
		{3000*30 + 5000, "order by sent time, at offset 94208", func(x *slindex.Index) error { _, err := x.BySent(0, 3000, nil); return err }},
		{3000*34 + 5000, "postings, at offset 106496", func(x *slindex.Index) error {
			_, err := x.ReadRun(slindex.Run{Count: 3000}, 0, 3000, nil)
			return err
		}},
		{3000*42 + 5000, "directory of topics, at offset 126976", func(x *slindex.Index) error { _, err := x.AllRuns(all, nil); return err }},
	}
	for _, tt := range tests {
		damaged := slices.Clone(file)
		damaged[tt.at] ^= 4
		x := open(t, damaged)
		if err := tt.ask(x); !fault.Is(err, fault.Corrupt) || !strings.Contains(fault.Text(err), tt.want) {
			t.Errorf("damage at %d: %v, want %q", tt.at, err, tt.want)
		}
		if err := x.Verify(context.Background()); !fault.Is(err, fault.Corrupt) {
			t.Errorf("damage at %d: Verify says %v", tt.at, err)
		}
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	file := build(t, corpus(10, 3, 5))
	end := file[len(file)-endSize:]
	binary.LittleEndian.PutUint32(end[8:], 2)
	seal(end)
	if _, err := slindex.Open(bytes.NewReader(file), int64(len(file))); !fault.Is(err, fault.Invalid) {
		t.Errorf("version 2: %v", err)
	}
}

type failingReader struct {
	io.ReaderAt
	broken bool
}

func (r *failingReader) ReadAt(b []byte, at int64) (int, error) {
	if r.broken {
		return 0, errors.New("input/output error")
	}
	return r.ReaderAt.ReadAt(b, at)
}

func TestFailingDiskIsNoDamage(t *testing.T) {
	file := build(t, corpus(10, 3, 5))
	r := &failingReader{ReaderAt: bytes.NewReader(file)}
	x, err := slindex.Open(r, int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	r.broken = true
	if _, err := x.Records(0, 1, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Records: %v", err)
	}
	if _, err := slindex.Open(r, int64(len(file))); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Open: %v", err)
	}
	r.broken = false
	if _, err := x.Records(0, 1, nil); err != nil {
		t.Errorf("after the disk came back: %v", err)
	}
}

func TestVerifyStopsWithItsContext(t *testing.T) {
	x := open(t, build(t, corpus(10, 3, 5)))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := x.Verify(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify: %v", err)
	}
}

func sum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// seal makes the checksum of a file's end right.
func seal(end []byte) { binary.LittleEndian.PutUint32(end[12:], sum(end[:12])) }

// reseal makes all checksums right, so that what they protect can be tried. It reports whether the file has room for them.
func reseal(file []byte) bool {
	if len(file) < endSize {
		return false
	}
	end := file[len(file)-endSize:]
	size := int64(binary.LittleEndian.Uint32(end))
	start := int64(len(file)) - endSize - size
	if start < 0 || size < 4*((start+4095)/4096) {
		return false
	}
	footer := file[start : start+size]
	sums := footer[len(footer)-4*int((start+4095)/4096):]
	for block := range slices.Chunk(file[:start], 4096) {
		binary.LittleEndian.PutUint32(sums, sum(block))
		sums = sums[4:]
	}
	binary.LittleEndian.PutUint32(end[4:], sum(footer))
	seal(end)
	return true
}

// FuzzOpen asks everything of any bytes, as they are and with checksums made right.
func FuzzOpen(f *testing.F) {
	f.Add(build(f, golden()))
	f.Add(build(f, corpus(3, 2, 5)))
	f.Add(build(f, nil))
	f.Fuzz(func(t *testing.T, file []byte) {
		askAll(file)
		if file = slices.Clone(file); reseal(file) {
			askAll(file)
		}
	})
}

func askAll(file []byte) {
	x, err := slindex.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return
	}
	recs, _ := x.Records(0, math.MaxInt, nil)
	order, _ := x.BySent(0, math.MaxInt, nil)
	_, _ = x.Gather(order, nil)
	for _, r := range recs {
		h := envelope.Hash(binary.BigEndian.AppendUint64(make([]byte, 24, 32), r.Prefix))
		h = envelope.Hash(append(h[24:], h[:24]...))
		x.MayHave(h)
		_, _ = x.FindHash(h, nil)
		_, _ = x.SearchSent(archive.Key{Sent: r.Sent, Hash: h})
		runs, _ := x.Runs([]envelope.Topic{r.Topic}, nil)
		for _, run := range runs {
			_, _ = x.ReadRun(run, 0, math.MaxInt, nil)
			_, _ = x.SearchRun(run, archive.Key{Sent: r.Sent, Hash: h})
		}
	}
	_, _ = x.AllRuns(func(envelope.Topic) bool { return true }, nil)
	_ = x.Verify(context.Background())
}
