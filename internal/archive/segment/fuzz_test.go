package segment

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
)

var fuzzSeeds = seeds{1, 2}

// frames lays some frames out as they stand in a slice.
func frames(n int) []byte {
	b := make([]byte, headerSize)
	for i := range n {
		b = appendFrame(b, bytes.Repeat([]byte{byte(i + 1)}, 20+7*i), uint32(i), 1000, fuzzSeeds)
	}
	return b
}

// FuzzScan: whatever the bytes, a scan ends, stays within them, and finds frames in ascending order that check out.
func FuzzScan(f *testing.F) {
	good := frames(12)
	f.Add(good)
	f.Add(good[:len(good)-10])
	f.Add(append(bytes.Clone(good[:200]), good[230:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		last, ends := -1, int64(headerSize)
		end, err := scan(bytes.NewReader(b), int64(len(b)), fuzzSeeds, func(x *found) error {
			if int(x.ordinal) <= last || x.offset < ends || x.offset+x.space() > int64(len(b)) || int(x.ordinal)-last-1 != int(x.lost) {
				t.Fatalf("frame %+v after ordinal %d and offset %d", x, last, ends)
			}
			last, ends = int(x.ordinal), x.offset+x.space()
			if x.kind == kept && fuzzSeeds.ofBody(x.raw) != x.sum {
				t.Fatal("an envelope that does not check out")
			}
			return nil
		})
		if err != nil || end != ends {
			t.Fatalf("end %d, error %v, want %d", end, err, ends)
		}
	})
}

// FuzzOpen changes some bytes of a slice, with and without its index: the archive opens, and serves nothing that was not put.
func FuzzOpen(f *testing.F) {
	f.Add(uint16(100), []byte{1, 2, 3}, true)
	f.Add(uint16(64), []byte{0, 0, 0, 0, 0, 0}, false)
	f.Add(uint16(0), []byte{9}, false)
	dir := f.TempDir()
	put := fuzzArchive(f, dir)
	name := sliceName(1)
	slice, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, offset uint16, change []byte, indexed bool) {
		b := bytes.Clone(slice)
		copy(b[int(offset)%len(b):], change)
		again := t.TempDir()
		if err := os.CopyFS(again, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(again, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if !indexed {
			os.Remove(filepath.Join(again, indexName(1)))
		}
		fuzzRead(t, again, put)
	})
}

func fuzzArchive(f *testing.F, dir string) map[envelope.Hash]bool {
	a, err := Open(dir, Options{})
	if err != nil {
		f.Fatal(err)
	}
	put := make(map[envelope.Hash]bool)
	for i := range 20 {
		e := envelope.New(1000+uint32(i), 60, envelope.Topic{byte(i)}, bytes.Repeat([]byte{byte(i)}, 10*i), uint64(i))
		put[e.Hash()] = true
		if _, err := a.Put(context.Background(), []*envelope.Envelope{e}); err != nil {
			f.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		f.Fatal(err)
	}
	return put
}

func fuzzRead(t *testing.T, dir string, put map[envelope.Hash]bool) {
	a, err := Open(dir, Options{SliceBytes: 1000})
	if err != nil {
		if _, v := parseSliceHeader(readHeader(t, dir)); v > version {
			return // it happens to be a valid header of a newer version
		}
		t.Fatal(err)
	}
	defer a.Close()
	w, err := a.Walk(t.Context(), archive.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p, err := w.Next(t.Context(), archive.Bound{Count: 100, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Records {
		if !put[r.Hash] || envelope.Keccak256(r.Raw) != r.Hash {
			t.Fatalf("%s was never put", r.Hash)
		}
	}
}

func readHeader(t *testing.T, dir string) []byte {
	b, err := os.ReadFile(filepath.Join(dir, sliceName(1)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzManifest: a manifest that is accepted is one that was written.
func FuzzManifest(f *testing.F) {
	m, err := newManifest(bytes.NewReader(make([]byte, 24)), time.Unix(1000, 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.encode())
	f.Add([]byte(`{"format": 2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := parseManifest(text); err == nil && !bytes.Equal(m.encode(), text) {
			t.Fatal("accepted, but written differently")
		}
	})
}

// The cap counts indexes before they are written; what it counts must suffice.
func TestIndexFitsItsBound(t *testing.T) {
	for _, n := range []int{1, 2, 100, 5000, 100_000} {
		entries := make([]slindex.Entry, n)
		for i := range entries {
			entries[i] = slindex.Entry{Size: 100, Sent: uint32(i)}
			le.PutUint32(entries[i].Topic[:], uint32(i))
			le.PutUint32(entries[i].Hash[:], uint32(i)*2654435761)
		}
		var b bytes.Buffer
		if err := slindex.Build(&b, entries, slindex.Meta{}); err != nil {
			t.Fatal(err)
		}
		if size := int64(b.Len()) + trailerSize; size > indexBound(n) {
			t.Errorf("%d entries take %d bytes, and %d were counted", n, size, indexBound(n))
		}
	}
}
