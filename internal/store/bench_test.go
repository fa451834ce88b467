package store_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/store"
)

// BenchmarkDeliver1000 delivers 1,000 new envelopes of 600 bytes at a time into a store that grows.
func BenchmarkDeliver1000(b *testing.B) {
	s := newStore(b, options())
	list := make([][]*envelope.Envelope, b.N)
	for i := range list {
		list[i] = mails(byte(i), i*1000, (i+1)*1000, 600)
	}
	b.ResetTimer()
	for i := range b.N {
		if kept := deliver(b, s, store.Delivery{Envelopes: list[i]}); kept.New != 1000 {
			b.Fatal(kept.New)
		}
	}
}

// BenchmarkDeliverOne delivers one envelope at a time, as live mail comes when it is quiet.
func BenchmarkDeliverOne(b *testing.B) {
	s := newStore(b, options())
	list := mails(1, 0, b.N, 600)
	b.ResetTimer()
	for i := range b.N {
		deliver(b, s, store.Delivery{Envelopes: list[i : i+1]})
	}
}

// BenchmarkOpen opens and closes a store with 10,000 envelopes.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "inbox.db")
	fill(b, path, 10_000)
	for b.Loop() {
		s, err := store.Open(path, options())
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKnown2048 looks up as many hashes as a comparison of two servers does at a time.
func BenchmarkKnown2048(b *testing.B) {
	path := filepath.Join(b.TempDir(), "inbox.db")
	fill(b, path, 10_000)
	s := open(b, path, options())
	var hashes []envelope.Hash
	for _, e := range mails(1, 9_000, 11_048, 600) {
		hashes = append(hashes, e.Hash())
	}
	for b.Loop() {
		if _, err := s.Known(context.Background(), hashes); err != nil {
			b.Fatal(err)
		}
	}
}

func fill(b *testing.B, path string, n int) {
	b.Helper()
	s, err := store.Open(path, options())
	if err != nil {
		b.Fatal(err)
	}
	deliver(b, s, store.Delivery{Envelopes: mails(1, 0, n, 600)})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
