package message_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
)

// TestRoundTrip: what we seal we open, for all sizes, paddings and signatures.
func TestRoundTrip(t *testing.T) {
	sym := symKey(t, bytes.Repeat([]byte{7}, 32))
	to, from := newKey(t), newKey(t)
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.IntRange(0, 1100), rapid.IntRange(0, 70_000)).Draw(t, "size")
		p := message.Plain{Payload: bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, size)}
		if rapid.Bool().Draw(t, "own padding") {
			p.Padding = append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "padding")...)
		}
		if rapid.Bool().Draw(t, "signed") {
			p.Sign = from
		}
		seal, open, overhead := sealSym(sym), openSym(sym), message.SymmetricOverhead
		if rapid.Bool().Draw(t, "asymmetric") {
			seal, open, overhead = sealAsym(to.Public()), openAsym(to), message.AsymmetricOverhead
		}
		data, err := seal(p)
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(data)
		o, err := open(data)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, data) {
			t.Fatal("opening changed the data")
		}
		checkRoundTrip(t, p, o, len(data)-overhead)
	})
}

func sealSym(k message.SymKey) func(message.Plain) ([]byte, error) {
	return func(p message.Plain) ([]byte, error) { return message.SealSymmetric(k, p, nil) }
}

func sealAsym(k message.PublicKey) func(message.Plain) ([]byte, error) {
	return func(p message.Plain) ([]byte, error) { return message.SealAsymmetric(k, p, nil) }
}

func openSym(k message.SymKey) func([]byte) (*message.Opened, error) {
	return func(data []byte) (*message.Opened, error) { return message.OpenSymmetric(k, data) }
}

func openAsym(k *message.PrivateKey) func([]byte) (*message.Opened, error) {
	return func(data []byte) (*message.Opened, error) { return message.OpenAsymmetric(k, data) }
}

func checkRoundTrip(t *rapid.T, p message.Plain, o *message.Opened, plainSize int) {
	if !bytes.Equal(o.Payload, p.Payload) {
		t.Fatal("the payload changed")
	}
	if o.Signed != (p.Sign != nil) || (o.Signed && o.Signer != p.Sign.Public()) || (!o.Signed && !o.Signer.IsZero()) {
		t.Fatalf("signed %v by %v", o.Signed, o.Signer)
	}
	if p.Padding != nil {
		if !bytes.Equal(o.Padding, p.Padding) {
			t.Fatal("the given padding changed")
		}
		return
	}
	if n := len(o.Padding); n < 1 || n > message.PaddingUnit {
		t.Fatalf("%d bytes of padding", n)
	}
	if plainSize%message.PaddingUnit != 0 {
		t.Fatalf("the plaintext has %d bytes", plainSize)
	}
}

// TestPaddingBoundaries: a plaintext that is a multiple already gets a whole unit more.
func TestPaddingBoundaries(t *testing.T) {
	k := symKey(t, bytes.Repeat([]byte{1}, 32))
	for _, tt := range []struct{ payload, plain int }{
		{0, 256}, {253, 256}, {254, 512}, {255, 512}, {256, 512}, {508, 512}, {509, 768}, {65535, 65792}, {65536, 65792},
	} {
		data, err := message.SealSymmetric(k, message.Plain{Payload: make([]byte, tt.payload)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(data) - message.SymmetricOverhead; got != tt.plain {
			t.Errorf("payload %d: plaintext %d, want %d", tt.payload, got, tt.plain)
		}
	}
}

func TestPayloadLimit(t *testing.T) {
	k, to := symKey(t, bytes.Repeat([]byte{1}, 32)), newKey(t)
	big := make([]byte, message.MaxPayload+1)
	for name, seal := range map[string]func(message.Plain) ([]byte, error){"symmetric": sealSym(k), "asymmetric": sealAsym(to.Public())} {
		_, err := seal(message.Plain{Payload: big})
		if !fault.Is(err, fault.Limit) || !strings.Contains(fault.Text(err), "at most 16777215; send it in parts") {
			t.Errorf("%s: %v", name, err)
		}
	}
	data, err := message.SealSymmetric(k, message.Plain{Payload: big[1:]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := message.OpenSymmetric(k, data); err != nil || len(o.Payload) != message.MaxPayload {
		t.Errorf("the largest payload: %v", err)
	}
}

// TestLayoutBounds tries every flags byte with every short plaintext length: refused or opened, never out of bounds.
func TestLayoutBounds(t *testing.T) {
	k := symKey(t, bytes.Repeat([]byte{1}, 32))
	for flags := range 256 {
		for n := 1; n < 80; n++ {
			plain := bytes.Repeat([]byte{byte(n / 3)}, n)
			plain[0] = byte(flags)
			o, err := message.OpenSymmetric(k, sealRaw(t, k, plain))
			if err != nil {
				if err != message.ErrMalformed {
					t.Fatalf("flags %#x, %d bytes: %v", flags, n, err)
				}
				continue
			}
			parts := 1 + flags&3 + len(o.Payload) + len(o.Padding)
			if o.Signed {
				parts += message.SignatureSize
			}
			if parts != n {
				t.Fatalf("flags %#x, %d bytes: the parts have %d", flags, n, parts)
			}
		}
	}
}

// TestSignatureForms: V is 0 or 1 only; the mirrored signature (N-S, other V) names the same signer with any curve code.
func TestSignatureForms(t *testing.T) {
	k, from := symKey(t, bytes.Repeat([]byte{1}, 32)), newKey(t)
	const plainSize = 256
	data, err := message.SealSymmetric(k, message.Plain{Payload: []byte("hello"), Sign: from}, nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := decrypt(t, k, data)
	sig := plain[plainSize-message.SignatureSize:]
	v := sig[64]
	if v > 1 {
		t.Fatalf("V is %d", v)
	}
	for _, bad := range []byte{v + 2, v + 27, v + 4, 255} {
		sig[64] = bad
		if _, err := message.OpenSymmetric(k, sealRaw(t, k, plain)); err != message.ErrMalformed {
			t.Errorf("V %d: %v", bad, err)
		}
	}
	order, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	s := new(big.Int).SetBytes(sig[32:64])
	if s.Cmp(new(big.Int).Rsh(order, 1)) > 0 {
		t.Error("we sign with the higher S")
	}
	new(big.Int).Sub(order, s).FillBytes(sig[32:64])
	sig[64] = v ^ 1
	o, err := message.OpenSymmetric(k, sealRaw(t, k, plain))
	if err != nil || o.Signer != from.Public() {
		t.Errorf("mirrored signature: %v", err)
	}
	copy(sig[32:64], order.Bytes())
	if _, err := message.OpenSymmetric(k, sealRaw(t, k, plain)); err != message.ErrMalformed {
		t.Errorf("S out of range: %v", err)
	}
}

// TestAsymmetricDamage flips each byte once: nothing opens, and every shorter prefix is refused too.
func TestAsymmetricDamage(t *testing.T) {
	to := newKey(t)
	data, err := message.SealAsymmetric(to.Public(), message.Plain{Payload: []byte("x"), Padding: []byte{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] ^= 0x10
		if _, err := message.OpenAsymmetric(to, data); err != message.ErrNotOpened {
			t.Errorf("byte %d flipped: %v", i, err)
		}
		data[i] ^= 0x10
		if _, err := message.OpenAsymmetric(to, data[:i]); err != message.ErrNotOpened {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

func TestKeysAreChecked(t *testing.T) {
	order := "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xba\xae\xdc\xe6\xaf\x48\xa0\x3b\xbf\xd2\x5e\x8c\xd0\x36\x41\x41"
	good := newKey(t).Public()
	off := good
	off[64] ^= 1
	compressed := good
	compressed[0] = 3
	tests := map[string]error{
		"sym short":      errOf(message.NewSymKey(make([]byte, 31))),
		"sym zero":       errOf(message.NewSymKey(make([]byte, 32))),
		"private short":  errOf(message.ParsePrivateKey(make([]byte, 31))),
		"private zero":   errOf(message.ParsePrivateKey(make([]byte, 32))),
		"private order":  errOf(message.ParsePrivateKey([]byte(order))),
		"public short":   errOf(message.ParsePublicKey(good[:64])),
		"public off":     errOf(message.ParsePublicKey(off[:])),
		"public prefix":  errOf(message.ParsePublicKey(compressed[:])),
		"public big":     errOf(message.ParsePublicKey(append([]byte{4}, bytes.Repeat([]byte{255}, 64)...))),
		"seal sym zero":  errOf(message.SealSymmetric(message.SymKey{}, message.Plain{}, nil)),
		"seal asym zero": errOf(message.SealAsymmetric(message.PublicKey{}, message.Plain{}, nil)),
		"seal asym off":  errOf(message.SealAsymmetric(off, message.Plain{}, nil)),
		"open sym zero":  errOf(message.OpenSymmetric(message.SymKey{}, make([]byte, 64))),
		"open asym nil":  errOf(message.OpenAsymmetric(nil, make([]byte, 200))),
	}
	for name, err := range tests {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := message.ParsePublicKey(good[:]); err != nil {
		t.Error(err)
	}
}

func errOf[T any](_ T, err error) error { return err }

// TestBrokenRandomness: no random bytes, nothing sealed; a generator that gives only zeros ends in an error as well.
func TestBrokenRandomness(t *testing.T) {
	k, to := symKey(t, bytes.Repeat([]byte{1}, 32)), newKey(t).Public()
	given := message.Plain{Payload: []byte("x"), Padding: []byte{}}
	for n := range 44 {
		short := io.LimitReader(zeros{}, int64(n))
		if _, err := message.SealSymmetric(k, given, short); n < 12 && !fault.Is(err, fault.Unavailable) {
			t.Errorf("symmetric, %d random bytes: %v", n, err)
		}
		short = io.LimitReader(ones{}, int64(n))
		if _, err := message.SealAsymmetric(to, given, short); !fault.Is(err, fault.Unavailable) {
			t.Errorf("asymmetric, %d random bytes: %v", n, err)
		}
	}
	if _, err := message.GeneratePrivateKey(zeros{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("zero key: %v", err)
	}
	if _, err := message.GenerateSymKey(zeros{}); err == nil {
		t.Error("a symmetric key of zeros was accepted")
	}
	if _, err := message.SealSymmetric(k, message.Plain{}, io.LimitReader(zeros{}, 100)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("padding cut short: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type ones struct{}

func (ones) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 1
	}
	return len(b), nil
}

func TestKeysAreNotPrinted(t *testing.T) {
	sym, private := symKey(t, bytes.Repeat([]byte{0xab}, 32)), privateKey(t, bytes.Repeat([]byte{0xab}, 32))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		text := fmt.Sprintf(verb+verb+verb, sym, private, *private)
		if strings.Contains(text, "abab") || strings.Contains(text, "171") || strings.Contains(text, "0xab, ") {
			t.Errorf("%s prints a key: %s", verb, text)
		}
	}
}

func TestKeyIdentity(t *testing.T) {
	a, b := symKey(t, bytes.Repeat([]byte{1}, 32)), symKey(t, bytes.Repeat([]byte{2}, 32))
	again := symKey(t, a.Bytes())
	if !a.Equal(again) || a.ID() != again.ID() || a.Equal(b) || a.ID() == b.ID() || a.Equal(message.SymKey{}) {
		t.Error("equality of symmetric keys is wrong")
	}
	p := newKey(t)
	if q := privateKey(t, p.Bytes()); !p.Equal(q) || q.Public() != p.Public() || p.Equal(newKey(t)) || p.Equal(nil) {
		t.Error("equality of private keys is wrong")
	}
	text, _ := p.Public().MarshalText()
	var back message.PublicKey
	if err := back.UnmarshalText(text); err != nil || back != p.Public() {
		t.Errorf("public key as text: %v", err)
	}
	for _, bad := range []string{"", "0x", string(text[:131]), string(text[:131]) + "g", "0x05" + string(text[4:])} {
		if err := back.UnmarshalText([]byte(bad)); !fault.Is(err, fault.Invalid) || back != p.Public() {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
