package stream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/archive/mem"
	"github.com/restante-im/restante/internal/archive/stream"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

var ctx = context.Background()

func empty(t testing.TB) archive.Archive {
	t.Helper()
	a, err := mem.Open(mem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// mails returns n envelopes of three topics, sent in another order than they are listed.
func mails(n, size int) []*envelope.Envelope {
	list := make([]*envelope.Envelope, n)
	for i := range list {
		list[i] = archivetest.Mail(uint64(i), 1_700_000_000+uint32(i*7919%n), archivetest.Topic(i%3), size)
	}
	return list
}

func put(t *testing.T, a archive.Archive, list []*envelope.Envelope) {
	t.Helper()
	for part := range slices.Chunk(list, 1000) {
		if _, err := a.Put(ctx, part); err != nil {
			t.Fatal(err)
		}
	}
}

func concat(list []*envelope.Envelope) []byte {
	var b []byte
	for _, e := range list {
		b = append(b, e.Raw()...)
	}
	return b
}

func export(t *testing.T, a archive.Archive, q archive.Query) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := stream.Export(ctx, &b, a, q, nil)
	if err != nil {
		t.Fatal(err)
	}
	if q.Topics == nil && n != a.Stats().Envelopes {
		t.Errorf("Export says %d of %d", n, a.Stats().Envelopes)
	}
	return b.Bytes()
}

func TestExportIsThePlainConcatenation(t *testing.T) {
	list := mails(6000, 400)
	a := empty(t)
	put(t, a, list)
	want := concat(list)
	var counts []uint64
	var last int64
	var b bytes.Buffer
	n, err := stream.Export(ctx, &b, a, archive.Query{Order: archive.BySent}, func(n uint64, bytes int64) {
		counts, last = append(counts, n), bytes
	})
	if err != nil || n != 6000 || !bytes.Equal(b.Bytes(), want) {
		t.Fatalf("Export = %d, %v; %d bytes, want %d", n, err, b.Len(), len(want))
	}
	if len(counts) < 2 || !slices.IsSorted(counts) || counts[len(counts)-1] != 6000 || last != int64(len(want)) {
		t.Errorf("progress %v, at last %d bytes", counts, last)
	}
	topic := archivetest.Topic(1)
	some := slices.DeleteFunc(slices.Clone(list), func(e *envelope.Envelope) bool { return e.Topic() != topic })
	if got := export(t, a, archive.Query{Topics: []envelope.Topic{topic}}); !bytes.Equal(got, concat(some)) {
		t.Errorf("one topic: %d bytes, want %d", len(got), len(concat(some)))
	}
}

func TestRoundTrip(t *testing.T) {
	list := mails(5000, 300)
	file := concat(list)
	t.Run("one Put at a time keeps the order", func(t *testing.T) {
		a := empty(t)
		got, err := stream.Import(ctx, bytes.NewReader(file), a, stream.ImportOptions{Puts: 1}, nil)
		if want := (stream.Imported{Read: 5000, New: 5000}); err != nil || got != want {
			t.Fatalf("Import = %+v, %v", got, err)
		}
		if !bytes.Equal(export(t, a, archive.Query{}), file) {
			t.Error("the export differs from what was imported")
		}
	})
	t.Run("by default all is there", func(t *testing.T) {
		a := empty(t)
		var steps []uint64
		got, err := stream.Import(ctx, iotest.HalfReader(bytes.NewReader(file)), a, stream.ImportOptions{}, func(n uint64, bytes int64) {
			steps = append(steps, n)
			if want := int64(len(concat(list[:n]))); bytes != want {
				t.Errorf("progress: %d bytes for %d envelopes, want %d", bytes, n, want)
			}
		})
		if want := (stream.Imported{Read: 5000, New: 5000}); err != nil || got != want {
			t.Fatalf("Import = %+v, %v", got, err)
		}
		if want := []uint64{1024, 2048, 3072, 4096, 5000}; !slices.Equal(steps, want) {
			t.Errorf("progress at %v, want %v", steps, want)
		}
		again, err := stream.Import(ctx, bytes.NewReader(file), a, stream.ImportOptions{}, nil)
		if want := (stream.Imported{Read: 5000, Duplicate: 5000}); err != nil || again != want {
			t.Errorf("a second Import = %+v, %v", again, err)
		}
		if a.Stats().Envelopes != 5000 {
			t.Errorf("%d envelopes stored", a.Stats().Envelopes)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		a := empty(t)
		if got, err := stream.Import(ctx, bytes.NewReader(nil), a, stream.ImportOptions{}, nil); err != nil || got != (stream.Imported{}) {
			t.Errorf("Import = %+v, %v", got, err)
		}
		if got := export(t, a, archive.Query{}); len(got) != 0 {
			t.Errorf("an empty archive exports %d bytes", len(got))
		}
	})
}

func TestLargeOnesAreRefused(t *testing.T) {
	const limit = 1000
	var list []*envelope.Envelope
	for i, size := range []int{100, limit - 20, limit - 19, limit - 10, 300_000, 200} {
		list = append(list, archivetest.Mail(uint64(i), 1_700_000_000, archivetest.Topic(1), size))
	}
	a := empty(t)
	got, err := stream.Import(ctx, bytes.NewReader(concat(list)), a, stream.ImportOptions{MaxSize: limit}, nil)
	if want := (stream.Imported{Read: 6, New: 3, Refused: 3}); err != nil || got != want {
		t.Errorf("Import = %+v, %v, want %+v", got, err, want)
	}
}

func TestLargestEnvelopeGoesThrough(t *testing.T) {
	e := envelope.New(1<<31, 1<<31-1, envelope.Topic{1}, make([]byte, envelope.MaxSizeLimit-envelope.Overhead), 1<<63)
	got, err := stream.Import(ctx, bytes.NewReader(e.Raw()), empty(t), stream.ImportOptions{}, nil)
	if want := (stream.Imported{Read: 1, New: 1}); err != nil || got != want {
		t.Errorf("Import = %+v, %v", got, err)
	}
	larger := envelope.New(1<<31, 1<<31-1, envelope.Topic{1}, make([]byte, envelope.MaxSizeLimit-envelope.Overhead+1), 1<<63)
	if got, err = stream.Import(ctx, bytes.NewReader(larger.Raw()), empty(t), stream.ImportOptions{}, nil); got.New != 0 || !fault.Is(err, fault.Corrupt) {
		t.Errorf("one more byte: Import = %+v, %v", got, err)
	}
}

func TestCutAndDamagedStreamsKeepWhatCameBefore(t *testing.T) {
	list := mails(20, 100)
	file := concat(list)
	at := len(concat(list[:10]))
	huge := append([]byte{0xfb, 0xff, 0xff, 0xff, 0xff}, file...)
	tests := []struct {
		name   string
		stream []byte
		offset int
		words  string
	}{
		{"cut in a header", file[:at+1], at, "ends within"},
		{"cut in a body", file[:at+50], at, "ends within"},
		{"cut before the last byte", file[:at+len(list[10].Raw())-1], at, "ends within"},
		{"text", slices.Concat(file[:at], []byte("hello")), at, "no envelope starts here"},
		{"empty list", slices.Concat(file[:at], []byte{0xc0}, file[at:]), at, "damaged"},
		{"another list", slices.Concat(file[:at], []byte{0xc3, 1, 2, 3}, file[at:]), at, "damaged"},
		{"huge item", slices.Concat(file[:at], huge), at, "larger than any envelope"},
		{"absurd item", slices.Concat(file[:at], bytes.Repeat([]byte{0xff}, 100)), at, "larger than any envelope"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := empty(t)
			got, err := stream.Import(ctx, bytes.NewReader(tt.stream), a, stream.ImportOptions{BatchCount: 3}, nil)
			if want := (stream.Imported{Read: 10, New: 10}); got != want || a.Stats().Envelopes != 10 {
				t.Errorf("Import = %+v, want %+v", got, want)
			}
			text := fault.Text(err)
			if !fault.Is(err, fault.Corrupt) || !strings.Contains(text, "offset "+strconv.Itoa(tt.offset)) || !strings.Contains(text, tt.words) {
				t.Errorf("error %v, want Corrupt, offset %d and %q", err, tt.offset, tt.words)
			}
		})
	}
}

func TestEveryCut(t *testing.T) {
	list := mails(4, 60)
	file := concat(list)
	whole := uint64(0)
	for n := range len(file) + 1 {
		atEnd := n == len(concat(list[:whole+min(1, 4-whole)])) && n > 0
		if atEnd {
			whole++
		}
		got, err := stream.Import(ctx, bytes.NewReader(file[:n]), empty(t), stream.ImportOptions{}, nil)
		if got.New != whole || (err == nil) != (atEnd || n == 0) {
			t.Fatalf("%d of %d bytes: Import = %+v, %v, want %d", n, len(file), got, err, whole)
		}
	}
}

func TestFailingReader(t *testing.T) {
	list := mails(10, 100)
	broken := errors.New("input/output error")
	r := io.MultiReader(bytes.NewReader(concat(list)), iotest.ErrReader(broken))
	a := empty(t)
	got, err := stream.Import(ctx, r, a, stream.ImportOptions{}, nil)
	if got.New != 10 || !fault.Is(err, fault.Unavailable) || !errors.Is(err, broken) {
		t.Errorf("Import = %+v, %v", got, err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestFailingWriter(t *testing.T) {
	a := empty(t)
	put(t, a, mails(10, 100))
	if n, err := stream.Export(ctx, failingWriter{}, a, archive.Query{}, nil); n != 0 || !fault.Is(err, fault.Unavailable) {
		t.Errorf("Export = %d, %v", n, err)
	}
}

func TestArchiveThatFails(t *testing.T) {
	list := mails(100, 100)
	a, err := mem.Open(mem.Options{Rules: archive.Rules{Cap: int64(len(concat(list[:50]))), Min: 1 << 60}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := stream.Import(ctx, bytes.NewReader(concat(list)), a, stream.ImportOptions{BatchCount: 10}, nil)
	if !fault.Is(err, fault.Limit) || got.New != a.Stats().Envelopes || got.New == 0 || got.New > 50 {
		t.Errorf("a full archive: Import = %+v, %v; %d are stored", got, err, a.Stats().Envelopes)
	}
	_ = a.Close()
	if _, err = stream.Import(ctx, bytes.NewReader(concat(list)), a, stream.ImportOptions{}, nil); !fault.Is(err, fault.Closed) {
		t.Errorf("a closed archive: %v", err)
	}
	if _, err = stream.Export(ctx, io.Discard, a, archive.Query{}, nil); !fault.Is(err, fault.Closed) {
		t.Errorf("export of a closed archive: %v", err)
	}
}

func TestStoppedImport(t *testing.T) {
	stopped, stop := context.WithCancel(ctx)
	list := mails(100, 100)
	a := empty(t)
	got, err := stream.Import(stopped, bytes.NewReader(concat(list)), a, stream.ImportOptions{BatchCount: 10, Puts: 1}, func(n uint64, _ int64) {
		if n == 30 {
			stop()
		}
	})
	if !fault.Is(err, fault.Closed) || got.New < 30 || got.New == 100 || got.New != a.Stats().Envelopes {
		t.Errorf("Import = %+v, %v; %d are stored", got, err, a.Stats().Envelopes)
	}
}

func FuzzImport(f *testing.F) {
	list := mails(3, 80)
	f.Add(concat(list))
	f.Add(concat(list)[:200])
	f.Add(append(concat(list), concat(list)...))
	f.Add([]byte{0xfa, 0x9f, 0xff, 0xff, 1, 2, 3})
	f.Fuzz(func(t *testing.T, file []byte) {
		a := empty(t)
		got, err := stream.Import(ctx, bytes.NewReader(file), a, stream.ImportOptions{MaxSize: 200, BatchCount: 2}, nil)
		if err != nil && !fault.Is(err, fault.Corrupt) {
			t.Errorf("Import: %v", err)
		}
		if got.Read != got.New+got.Duplicate+got.Refused || got.New != a.Stats().Envelopes {
			t.Errorf("%+v do not add up; %d stored", got, a.Stats().Envelopes)
		}
		if got.Duplicate+got.Refused > 0 {
			return
		}
		back := export(t, a, archive.Query{})
		if len(back) > len(file) || err == nil && len(back) != len(file) {
			t.Errorf("%d bytes came out of %d", len(back), len(file))
		}
	})
}
