package envelope_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/vectortest"
)

func TestHashesAreKeccak256WhateverTheLength(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{1})
	for n := range 3 * 136 {
		b := make([]byte, n)
		_, _ = rnd.Read(b)
		if got := envelope.Keccak256(b); !bytes.Equal(got[:], crypto.Keccak256(b)) {
			t.Fatalf("hash of %d bytes = %s", n, got)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *envelope.Envelope {
			data := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "data")
			topic := envelope.Topic(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "topic"))
			return envelope.New(rapid.Uint32().Draw(t, "expiry"), rapid.Uint32().Draw(t, "ttl"), topic, data, rapid.Uint64().Draw(t, "nonce"))
		}), 0, 9).Draw(t, "list")
		packet := envelope.EncodeList(list)
		if len(packet) != envelope.ListSize(list) {
			t.Fatalf("list of %d bytes, ListSize says %d", len(packet), envelope.ListSize(list))
		}
		got, err := envelope.DecodeList(packet, len(list))
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range got {
			want := list[i]
			if e.Hash() != want.Hash() || e.Hash() != envelope.Hash(crypto.Keccak256(e.Raw())) || e.PoW() != want.PoW() {
				t.Fatalf("envelope %d: hash or work differ", i)
			}
			own := e.Detach()
			if !bytes.Equal(own.Data(), want.Data()) || !bytes.Equal(own.Raw(), want.Raw()) || own.Hash() != want.Hash() {
				t.Fatalf("envelope %d: detached copy differs", i)
			}
		}
		if len(list) > 0 {
			if _, err := envelope.DecodeList(packet, len(list)-1); err == nil {
				t.Fatal("more envelopes than allowed were read")
			}
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	good := envelope.New(1600000050, 50, envelope.Topic{1, 2, 3, 4}, []byte("data"), 7).Raw()
	tests := []struct{ name, raw, want string }{
		{"nothing", "", "not an envelope"},
		{"a string", "\x83abc", "not an envelope"},
		{"a long claim", "\xfb\xff\xff\xff\xff", "not an envelope"},
		{"trailing bytes", string(good) + "x", "followed by 1 bytes"},
		{"too few fields", "\xc1\x01", "TTL"},
		{"six fields", "\xcb\x01\x01\x84abcd\x81\x80\x01\x01", "more than five"},
		{"short topic", "\xc8\x01\x01\x83abc\x80\x01", "topic is not 4 bytes"},
		{"topic is a list", "\xc9\x01\x01\xc4\x01\x02\x03\x04\x80\x01", "topic"},
		{"expiry of 5 bytes", "\xce\x85\x01\x01\x01\x01\x01\x01\x84abcd\x80\x01", "expiry does not fit"},
		{"padded integer", "\xca\x82\x00\x01\x01\x84abcd\x80\x01", "expiry"},
		{"nonce of 9 bytes", "\xd2\x01\x01\x84abcd\x80\x89\x01\x01\x01\x01\x01\x01\x01\x01\x01", "nonce"},
		{"data is a list", "\xc9\x01\x01\x84abcd\xc0\x01", "data"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := envelope.Decode([]byte(tt.raw))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one that says %q", err, tt.want)
			}
		})
	}
	if _, err := envelope.DecodeList(good, 10); err == nil {
		t.Error("a bare envelope was taken for a list")
	}
	if _, err := envelope.DecodeList(append([]byte{0xc0}, 1), 10); err == nil {
		t.Error("bytes after the list were overlooked")
	}
}

func TestSealReachesItsTargetAtEveryLength(t *testing.T) {
	for n := range 140 { // the nonce passes through every place in a block
		d := envelope.Draft{Expiry: 1700000010, TTL: 10, Topic: envelope.Topic{9}, Data: bytes.Repeat([]byte{3}, n+300)}
		e, err := envelope.Seal(context.Background(), d, 0.05, 2)
		if err != nil {
			t.Fatal(err)
		}
		if e.PoW() < 0.05 {
			t.Fatalf("data of %d bytes: PoW = %v", n+300, e.PoW())
		}
		for nonce := range e.Nonce() {
			if lower := envelope.New(d.Expiry, d.TTL, d.Topic, d.Data, nonce); lower.PoW() >= e.PoW() {
				t.Fatalf("data of %d bytes: nonce %d is as good as %d", n+300, nonce, e.Nonce())
			}
		}
	}
}

func TestSealRefusesAndStops(t *testing.T) {
	d := envelope.Draft{Expiry: 1700000010, TTL: 10, Data: make([]byte, 100)}
	for _, target := range []float64{-1, 1e300} {
		if _, err := envelope.Seal(context.Background(), d, target, 1); err == nil {
			t.Errorf("a target of %v was accepted", target)
		}
	}
	if _, err := envelope.Seal(context.Background(), envelope.Draft{Expiry: 1}, 0, 1); err == nil {
		t.Error("a TTL of 0 was accepted")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := envelope.Seal(ctx, d, 1e9, 2); !errors.Is(err, envelope.ErrWork) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("out of time: %v", err)
	}
	if e, err := envelope.Seal(context.Background(), d, 0, 1); err != nil || e.Nonce() != 0 {
		t.Errorf("no work: %v, %v", e, err)
	}
}

func TestTextForms(t *testing.T) {
	topic, err := envelope.ParseTopic("0xdeadBEEF")
	if err != nil || topic.String() != "0xdeadbeef" {
		t.Errorf("topic = %v, %v", topic, err)
	}
	for _, bad := range []string{"", "deadbeef", "0xdeadbe", "0xdeadbeef00", "0xnothexes"} {
		if _, err := envelope.ParseTopic(bad); err == nil {
			t.Errorf("topic %q was accepted", bad)
		}
	}
	h := envelope.Keccak256([]byte("x"))
	if got, err := envelope.ParseHash(h.String()); err != nil || got != h {
		t.Errorf("hash = %v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	vectortest.Load(f, "envelope", func(_ testing.TB, _ int, v fields) { f.Add([]byte(v.RLP)) })
	f.Add([]byte{0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := envelope.Decode(b)
		if err != nil {
			return
		}
		again := envelope.New(e.Expiry(), e.TTL(), e.Topic(), e.Data(), e.Nonce())
		if !bytes.Equal(again.Raw(), b) || again.Hash() != e.Hash() || again.PoW() != e.PoW() {
			t.Fatalf("%x decodes and encodes to %x", b, again.Raw())
		}
	})
}

func FuzzDecodeList(f *testing.F) {
	e := envelope.New(1600000050, 50, envelope.Topic{1, 2, 3, 4}, []byte("data"), 7)
	f.Add(envelope.EncodeList([]*envelope.Envelope{e, e}))
	f.Add([]byte{0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := envelope.DecodeList(b, 100)
		if err != nil {
			return
		}
		if got := envelope.EncodeList(list); !bytes.Equal(got, b) {
			t.Fatalf("%x decodes and encodes to %x", b, got)
		}
	})
}

func packet(n, size int) []byte {
	rnd := rand.NewChaCha8([32]byte{2})
	list := make([]*envelope.Envelope, n)
	for i := range list {
		data := make([]byte, size)
		_, _ = rnd.Read(data)
		list[i] = envelope.New(1700000010, 10, envelope.Topic{byte(i)}, data, uint64(i))
	}
	return envelope.EncodeList(list)
}

// BenchmarkDecodeList measures reading and hashing, per envelope of a 512-byte payload.
func BenchmarkDecodeList(b *testing.B) {
	for _, n := range []int{1, 2, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := packet(n, 796)
			b.ReportAllocs()
			for i := 0; i < b.N; i += n {
				if _, err := envelope.DecodeList(p, n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMine measures nonces tried per second on one core.
func BenchmarkMine(b *testing.B) {
	for _, size := range []int{512, 2048} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d := envelope.Draft{Expiry: 1700000010, TTL: 10, Data: make([]byte, size+256+28)}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			start, tried := time.Now(), uint64(0)
			for ctx.Err() == nil {
				d.Expiry++
				e, err := envelope.Seal(ctx, d, 6, 1) // about 2^16 nonces
				if err == nil {
					tried += e.Nonce()
				}
			}
			b.ReportMetric(float64(tried)/time.Since(start).Seconds(), "nonces/s")
		})
	}
}

func TestHashAll(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 33} {
		raws, got := make([][]byte, n), make([]envelope.Hash, n)
		for i := range raws {
			raws[i] = bytes.Repeat([]byte{byte(i)}, i*i*7)
		}
		envelope.HashAll(raws, got)
		for i := range raws {
			if want := envelope.Keccak256(raws[i]); got[i] != want {
				t.Errorf("%d inputs: hash %d is %s, want %s", n, i, got[i], want)
			}
		}
	}
}
