package slindex_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

var meta = slindex.Meta{Base: 1 << 40, Slice: 77, SliceBytes: 64 << 20, Seed: [16]byte{1, 2, 3, 15: 9}}

func build(t testing.TB, entries []slindex.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := slindex.Build(&b, entries, meta); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t testing.TB, file []byte) *slindex.Index {
	t.Helper()
	x, err := slindex.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// corpus returns n entries as gossip brings them, over so many topics and seconds.
func corpus(n, topics, seconds int) []slindex.Entry {
	r := rand.New(rand.NewPCG(uint64(n), uint64(topics)))
	list := make([]slindex.Entry, n)
	offset := uint32(64)
	for i := range list {
		e := &list[i]
		at := 1_700_000_000 + uint32(i*seconds/n)
		*e = slindex.Entry{Arrived: at, Sent: at - r.Uint32N(5), Offset: offset, Size: 814}
		binary.BigEndian.PutUint32(e.Topic[:], uint32(r.IntN(topics))*2654435761)
		for j := 0; j < 32; j += 8 {
			binary.BigEndian.PutUint64(e.Hash[j:], r.Uint64())
		}
		offset += 834
	}
	return list
}

// drawEntries favours ties: few topics and seconds, prefixes that several hashes have in common, holes.
func drawEntries(t *rapid.T) []slindex.Entry {
	n := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(0, 3000)).Draw(t, "n")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	topics := rapid.SampledFrom([]int{1, 3, 50, 1 << 30}).Draw(t, "topics")
	seconds := rapid.SampledFrom([]uint32{1, 10, 1 << 31}).Draw(t, "seconds")
	prefixes := rapid.SampledFrom([]uint64{1, 5, 1 << 60}).Draw(t, "prefixes")
	holes := rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "holes")
	list := make([]slindex.Entry, n)
	for i := range list {
		e := &list[i]
		e.Sent, e.Arrived = r.Uint32N(seconds), r.Uint32()
		e.Offset, e.Size = r.Uint32(), 1+r.Uint32N(1000)
		binary.BigEndian.PutUint32(e.Topic[:], uint32(r.IntN(topics)))
		binary.BigEndian.PutUint64(e.Hash[:], r.Uint64N(prefixes))
		binary.BigEndian.PutUint64(e.Hash[8:], r.Uint64())
		if holes > 0 && r.IntN(holes) == 0 {
			e.Size = 0
		}
	}
	return list
}

type checker interface {
	Helper()
	Fatalf(format string, args ...any)
}

// check compares all answers of x with the model's, and returns the errors that x gives instead.
func check(t checker, x *slindex.Index, m *model, keys []archive.Key) error {
	t.Helper()
	return errors.Join(checkRecords(t, x, m), checkTopics(t, x, m), checkSearches(t, x, m, keys))
}

func equal[T comparable](t checker, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func checkRecords(t checker, x *slindex.Index, m *model) error {
	t.Helper()
	if x.Len() != len(m.entries) || x.Live() != len(m.bySent) || x.Meta() != meta {
		t.Fatalf("Len %d, Live %d, Meta %+v", x.Len(), x.Live(), x.Meta())
	}
	want := make([]slindex.Rec, len(m.entries))
	for i := range want {
		want[i] = m.rec(uint32(i))
	}
	recs, err := x.Records(0, math.MaxInt, nil)
	if err != nil {
		return err
	}
	equal(t, "Records", recs, want)
	order, err := x.BySent(0, math.MaxInt, nil)
	if err != nil {
		return err
	}
	equal(t, "BySent", order, m.bySent)
	if recs, err = x.Gather(order, nil); err != nil {
		return err
	}
	for i, o := range order {
		want[i] = m.rec(o)
	}
	equal(t, "Gather", recs, want[:len(order)])
	for _, e := range m.entries {
		found, err := x.FindHash(e.Hash, nil)
		if err != nil {
			return err
		}
		slices.Sort(found)
		var same []uint32
		for o := range m.entries {
			if f := &m.entries[o]; f.Size > 0 && slindex.Prefix(f.Hash) == slindex.Prefix(e.Hash) {
				same = append(same, uint32(o))
			}
		}
		equal(t, "FindHash", found, same)
		if e.Size > 0 && !x.MayHave(e.Hash) {
			t.Fatalf("MayHave misses %v", e.Hash)
		}
		if len(same) > 100 {
			break // all look alike
		}
	}
	return nil
}

func checkTopics(t checker, x *slindex.Index, m *model) error {
	t.Helper()
	var topics []envelope.Topic
	runs, err := x.AllRuns(func(t envelope.Topic) bool { topics = append(topics, t); return true }, nil)
	if err != nil {
		return err
	}
	equal(t, "topics", topics, m.topics())
	// Ask for every other one, with neighbours that are not there, and twice for one.
	var asked []envelope.Topic
	var want []slindex.Run
	for i := 0; i < len(topics); i += 2 {
		asked = append(asked, topics[i])
		want = append(want, runs[i])
		next := binary.BigEndian.Uint32(topics[i][:]) + 1
		if neighbour := (envelope.Topic)(binary.BigEndian.AppendUint32(nil, next)); next != 0 && !slices.Contains(topics, neighbour) {
			asked = append(asked, neighbour)
		}
	}
	if len(asked) > 0 {
		asked = slices.Insert(asked, 1, asked[0])
	}
	got, err := x.Runs(asked, nil)
	if err != nil {
		return err
	}
	equal(t, "Runs", got, want)
	for i := 0; i < len(topics); i += 1 + len(topics)/20 {
		list, err := x.ReadRun(runs[i], 0, math.MaxInt, nil)
		if err != nil {
			return err
		}
		var want []slindex.Posting
		for _, o := range m.topic(topics[i]) {
			want = append(want, slindex.Posting{Sent: m.entries[o].Sent, Ordinal: o})
		}
		equal(t, "ReadRun", list, want)
	}
	return nil
}

func checkSearches(t checker, x *slindex.Index, m *model, keys []archive.Key) error {
	t.Helper()
	topics := m.topics()
	runs, err := x.Runs(topics, nil)
	if err != nil {
		return err
	}
	for i, k := range keys {
		at, err := x.SearchSent(k)
		if err != nil {
			return err
		}
		if want := m.place(m.bySent, k); at != want {
			t.Fatalf("SearchSent(%v) = %d, want %d", k, at, want)
		}
		for _, o := range m.after(m.bySent, at, k) {
			if compareKeys(m.key(o), k) <= 0 {
				t.Fatalf("after %v comes ordinal %d again", k, o)
			}
		}
		if len(topics) == 0 {
			continue
		}
		topic := i % len(topics)
		if at, err = x.SearchRun(runs[topic], k); err != nil {
			return err
		}
		if want := m.place(m.topic(topics[topic]), k); at != want {
			t.Fatalf("SearchRun(%v, %v) = %d, want %d", topics[topic], k, at, want)
		}
	}
	return nil
}

func someKeys(m *model, r *rand.Rand) []archive.Key {
	keys := []archive.Key{{}, {Sent: math.MaxUint32}, {Sent: math.MaxUint32, Hash: envelope.Hash(bytes.Repeat([]byte{255}, 32))}}
	for range 30 {
		if len(m.bySent) == 0 {
			break
		}
		k := m.key(m.bySent[r.IntN(len(m.bySent))])
		keys = append(keys, k, archive.Key{Sent: k.Sent}, archive.Key{Sent: k.Sent + 1, Hash: k.Hash})
		k.Hash[r.IntN(32)]++
		keys = append(keys, k)
	}
	return keys
}

func TestAnswersLikeTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(drawEntries(t))
		var file bytes.Buffer
		if err := slindex.Build(&file, m.entries, meta); err != nil {
			t.Fatal(err)
		}
		x, err := slindex.Open(bytes.NewReader(file.Bytes()), int64(file.Len()))
		if err != nil {
			t.Fatal(err)
		}
		keys := someKeys(m, rand.New(rand.NewPCG(1, uint64(file.Len()))))
		if err := errors.Join(check(t, x, m, keys), x.Verify(context.Background())); err != nil {
			t.Fatal(err)
		}
	})
}

func TestShapes(t *testing.T) {
	same := corpus(2000, 1, 1000)
	for i := range same {
		same[i].Sent = 5
		copy(same[i].Hash[:8], "\x00\x00\x00\x00same")
	}
	holes := make([]slindex.Entry, 700)
	tests := []struct {
		name    string
		entries []slindex.Entry
	}{
		{"empty", nil},
		{"one", corpus(1, 1, 1)},
		{"one topic", corpus(3000, 1, 1000)},
		{"all topics distinct", corpus(3000, 1<<30, 1000)},
		{"same second and prefix", same},
		{"holes only", holes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newModel(tt.entries)
			x := open(t, build(t, tt.entries))
			if err := check(t, x, m, someKeys(m, rand.New(rand.NewPCG(1, 1)))); err != nil {
				t.Fatal(err)
			}
			sent, last := x.Sent()
			first, arrived := x.Arrived()
			if x.Live() == 0 && (sent <= last || first <= arrived || x.Bytes() != 0 || x.MayHave(envelope.Hash{})) {
				t.Errorf("an index of nothing says Sent %d–%d, Arrived %d–%d, Bytes %d", sent, last, first, arrived, x.Bytes())
			}
		})
	}
}

func TestRanges(t *testing.T) {
	entries := corpus(1000, 10, 500)
	entries[3].Size = 0
	entries[3].Sent, entries[3].Arrived = 1, 1
	x := open(t, build(t, entries))
	live := slices.Delete(slices.Clone(entries), 3, 4)
	var bytes uint64
	minSent, maxSent := uint32(math.MaxUint32), uint32(0)
	for _, e := range live {
		bytes += uint64(e.Size)
		minSent, maxSent = min(minSent, e.Sent), max(maxSent, e.Sent)
	}
	if a, b := x.Sent(); a != minSent || b != maxSent {
		t.Errorf("Sent = %d, %d, want %d, %d", a, b, minSent, maxSent)
	}
	if a, b := x.Arrived(); a != live[0].Arrived || b != live[len(live)-1].Arrived {
		t.Errorf("Arrived = %d, %d", a, b)
	}
	if x.Bytes() != bytes {
		t.Errorf("Bytes = %d, want %d", x.Bytes(), bytes)
	}
	if got := x.Memory(); got < 1000 || got > 10_000 {
		t.Errorf("Memory = %d", got)
	}
}

// TestPartsAreParts reads each list in pieces, from beyond its ends too.
func TestPartsAreParts(t *testing.T) {
	x := open(t, build(t, corpus(5000, 3, 1000)))
	runs, err := x.AllRuns(func(envelope.Topic) bool { return true }, nil)
	if err != nil {
		t.Fatal(err)
	}
	parts(t, "Records", x.Len(), x.Records)
	parts(t, "BySent", x.Live(), x.BySent)
	parts(t, "ReadRun", int(runs[1].Count), func(from, n int, dst []slindex.Posting) ([]slindex.Posting, error) {
		return x.ReadRun(runs[1], from, n, dst)
	})
}

func parts[T comparable](t *testing.T, what string, count int, read func(from, n int, dst []T) ([]T, error)) {
	t.Helper()
	all, err := read(0, count, nil)
	if err != nil || len(all) != count {
		t.Fatalf("%s: %d of %d, %v", what, len(all), count, err)
	}
	for _, n := range []int{1, 7, 511, 4096, math.MaxInt} {
		for from := 0; from <= count+1; from += max(1, min(n, 700)) {
			got, err := read(from, n, nil)
			if want := all[min(from, count):]; err != nil || !slices.Equal(got, want[:min(n, len(want))]) {
				t.Fatalf("%s(%d, %d) is not that part of the whole (%v)", what, from, n, err)
			}
		}
	}
	for _, bad := range [][2]int{{count, 1}, {math.MaxInt, 1}, {0, 0}, {0, -1}, {-1, 0}} {
		if got, err := read(bad[0], bad[1], nil); len(got) != 0 || err != nil {
			t.Errorf("%s(%d, %d) = %d items, %v", what, bad[0], bad[1], len(got), err)
		}
	}
}

func TestWrongQuestions(t *testing.T) {
	x := open(t, build(t, corpus(100, 3, 10)))
	if _, err := x.Gather([]uint32{5, 100}, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("Gather beyond the end: %v", err)
	}
	if _, err := x.SearchRun(slindex.Run{First: 90, Count: 1000}, archive.Key{Sent: math.MaxUint32}); !fault.Is(err, fault.Invalid) {
		t.Errorf("SearchRun of a foreign run: %v", err)
	}
}

func TestMayHaveIsSeldomWrong(t *testing.T) {
	for _, n := range []int{20, 300, 20_000} {
		entries := corpus(n, 10, 100)
		x := open(t, build(t, entries))
		r := rand.New(rand.NewPCG(8, 8))
		wrong, asked := 0, 100_000
		for range asked {
			var h envelope.Hash
			for j := 0; j < 32; j += 8 {
				binary.BigEndian.PutUint64(h[j:], r.Uint64())
			}
			// What a sender can choose does not help: here, prefixes of hashes that are there.
			copy(h[:8], entries[r.IntN(n)].Hash[:8])
			if x.MayHave(h) {
				wrong++
			}
		}
		if rate := float64(wrong) / float64(asked); rate >= 0.01 {
			t.Errorf("%d records: wrong for %.2f %% of other hashes", n, rate*100)
		}
	}
}

type failingWriter struct{ left int }

var errFull = fmt.Errorf("no space")

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestBuildReturnsTheWritersError(t *testing.T) {
	entries := corpus(3000, 10, 100)
	size := len(build(t, entries))
	for left := 0; left < size; left += 10_000 {
		if err := slindex.Build(&failingWriter{left}, entries, meta); !errors.Is(err, errFull) {
			t.Errorf("room for %d of %d bytes: %v", left, size, err)
		}
	}
}

func TestReadersAtOnce(t *testing.T) {
	m := newModel(corpus(2000, 20, 300))
	x := open(t, build(t, m.entries))
	keys := someKeys(m, rand.New(rand.NewPCG(3, 3)))[:20]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := errors.Join(checkTopics(panicker{}, x, m), checkSearches(panicker{}, x, m, keys)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// panicker ends a goroutine that is not the test's.
type panicker struct{}

func (panicker) Helper() {}

func (panicker) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
