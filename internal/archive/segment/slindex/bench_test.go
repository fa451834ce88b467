package slindex_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
)

// A slice of 64 MiB of 814-byte envelopes, of 1,000 topics.
func slice() []slindex.Entry { return corpus(80_000, 1000, 7000) }

func BenchmarkBuild(b *testing.B) {
	entries := slice()
	var size bytes.Buffer
	_ = slindex.Build(&size, entries, meta)
	b.ReportAllocs()
	for b.Loop() {
		if err := slindex.Build(io.Discard, entries, meta); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size.Len())/float64(len(entries)), "disk-B/entry")
}

// onDisk returns the index of entries in a real file.
func onDisk(b *testing.B, entries []slindex.Entry) (*os.File, int64) {
	f, err := os.Create(filepath.Join(b.TempDir(), "index"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	if err := slindex.Build(f, entries, meta); err != nil {
		b.Fatal(err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		b.Fatal(err)
	}
	return f, size
}

func openFile(b *testing.B, entries []slindex.Entry) *slindex.Index {
	f, size := onDisk(b, entries)
	x, err := slindex.Open(f, size)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return x
}

func BenchmarkOpen(b *testing.B) {
	entries := slice()
	f, size := onDisk(b, entries)
	memory := 0
	b.ReportAllocs()
	for b.Loop() {
		x, err := slindex.Open(f, size)
		if err != nil {
			b.Fatal(err)
		}
		memory = x.Memory()
	}
	b.ReportMetric(float64(memory)/float64(len(entries)), "RAM-B/entry")
}

func BenchmarkMayHave(b *testing.B) {
	x := openFile(b, slice())
	hash := envelope.Keccak256(nil)
	for b.Loop() {
		hash[0]++
		hash[20]++
		x.MayHave(hash)
	}
}

func BenchmarkFindHash(b *testing.B) {
	entries := slice()
	x := openFile(b, entries)
	var found []uint32
	for b.Loop() {
		var err error
		if found, err = x.FindHash(entries[rand.IntN(len(entries))].Hash, found[:0]); err != nil || len(found) != 1 {
			b.Fatal(found, err)
		}
	}
}

// BenchmarkTopic reads all about one topic, 80 records: run, bounds, postings, records.
func BenchmarkTopic(b *testing.B) {
	entries := slice()
	x := openFile(b, entries)
	var runs []slindex.Run
	var list []slindex.Posting
	var ordinals []uint32
	var recs []slindex.Rec
	for b.Loop() {
		e := &entries[rand.IntN(len(entries))]
		runs, _ = x.Runs([]envelope.Topic{e.Topic}, runs[:0])
		from, err := x.SearchRun(runs[0], archive.Key{Sent: entries[0].Sent})
		if err != nil {
			b.Fatal(err)
		}
		if list, err = x.ReadRun(runs[0], from, 1000, list[:0]); err != nil {
			b.Fatal(err)
		}
		ordinals = ordinals[:0]
		for _, p := range list {
			ordinals = append(ordinals, p.Ordinal)
		}
		if recs, err = x.Gather(ordinals, recs[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBySent reads a page of 1,000 records by sent time, from a key on.
func BenchmarkBySent(b *testing.B) {
	entries := slice()
	x := openFile(b, entries)
	var order []uint32
	var recs []slindex.Rec
	for b.Loop() {
		e := &entries[rand.IntN(len(entries)-2000)]
		at, err := x.SearchSent(archive.Key{Sent: e.Sent, Hash: e.Hash})
		if err != nil {
			b.Fatal(err)
		}
		if order, err = x.BySent(at, 1000, order[:0]); err != nil {
			b.Fatal(err)
		}
		if recs, err = x.Gather(order, recs[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan reads all records in the order of arrival.
func BenchmarkScan(b *testing.B) {
	x := openFile(b, slice())
	var recs []slindex.Rec
	for b.Loop() {
		var err error
		if recs, err = x.Records(0, x.Len(), recs[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
