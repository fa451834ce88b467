package message_test

import (
	"bytes"
	"testing"

	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/vectortest"
)

// FuzzPlaintext gives the reader of the layout any plaintext, encrypted with a key that anyone may know.
func FuzzPlaintext(f *testing.F) {
	k := symKey(f, bytes.Repeat([]byte{1}, 32))
	for _, kind := range []string{"message_symmetric", "message_crafted", "message_crafted_asymmetric"} {
		vectortest.Load(f, kind, func(_ testing.TB, _ int, v crafted) {
			if len(v.Plaintext) <= 4096 {
				f.Add([]byte(v.Plaintext))
			}
		})
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		o, err := message.OpenSymmetric(k, sealRaw(t, k, plain))
		if err != nil {
			if err != message.ErrMalformed {
				t.Fatal(err)
			}
			return
		}
		// What was opened is where the layout says, and sealing it again gives the same parts.
		start := 1 + int(plain[0]&3)
		if !bytes.Equal(plain[start:start+len(o.Payload)], o.Payload) {
			t.Fatal("the payload is not where it should be")
		}
		p := message.Plain{Payload: o.Payload, Padding: append([]byte{}, o.Padding...)}
		data, err := message.SealSymmetric(k, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := message.OpenSymmetric(k, data)
		if err != nil || !bytes.Equal(again.Payload, o.Payload) || !bytes.Equal(again.Padding, o.Padding) {
			t.Fatalf("sealed again it differs: %v", err)
		}
	})
}

// FuzzOpenSymmetric gives arbitrary data and key.
func FuzzOpenSymmetric(f *testing.F) {
	for _, kind := range []string{"message_symmetric", "message_crafted"} {
		vectortest.Load(f, kind, func(_ testing.TB, _ int, v crafted) {
			if len(v.Data) <= 4096 {
				f.Add([]byte(v.Key), []byte(v.Data))
			}
		})
	}
	f.Fuzz(func(t *testing.T, key, data []byte) {
		k, err := message.NewSymKey(key)
		if err != nil {
			return
		}
		before := bytes.Clone(data)
		o, err := message.OpenSymmetric(k, data)
		checkFuzzed(t, o, err, len(data)-message.SymmetricOverhead)
		if !bytes.Equal(before, data) {
			t.Fatal("opening changed the data")
		}
	})
}

// FuzzOpenAsymmetric gives arbitrary data and key.
func FuzzOpenAsymmetric(f *testing.F) {
	vectortest.Load(f, "message_asymmetric", func(_ testing.TB, _ int, v recorded) {
		f.Add([]byte(v.Recipient), []byte(v.Data))
	})
	vectortest.Load(f, "message_crafted_asymmetric", func(_ testing.TB, _ int, v crafted) {
		f.Add([]byte(v.Private), []byte(v.Data))
	})
	f.Fuzz(func(t *testing.T, key, data []byte) {
		k, err := message.ParsePrivateKey(key)
		if err != nil {
			return
		}
		before := bytes.Clone(data)
		o, err := message.OpenAsymmetric(k, data)
		checkFuzzed(t, o, err, len(data)-message.AsymmetricOverhead)
		if !bytes.Equal(before, data) {
			t.Fatal("opening changed the data")
		}
	})
}

func checkFuzzed(t *testing.T, o *message.Opened, err error, plainSize int) {
	t.Helper()
	if err != nil {
		if o != nil || (err != message.ErrMalformed && err != message.ErrNotOpened) {
			t.Fatalf("%v with %v", o, err)
		}
		return
	}
	if n := len(o.Payload) + len(o.Padding); n >= plainSize {
		t.Fatalf("%d bytes came out of a plaintext of %d", n, plainSize)
	}
}

// FuzzPublicKey: what parses is a key that can be sealed for and printed and read back.
func FuzzPublicKey(f *testing.F) {
	k := newKey(f).Public()
	f.Add(k[:])
	f.Add(make([]byte, message.PublicKeySize))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := message.ParsePublicKey(b)
		if err != nil {
			return
		}
		var again message.PublicKey
		if err := again.UnmarshalText([]byte(p.String())); err != nil || again != p {
			t.Fatalf("%v does not read back: %v", p, err)
		}
		if _, err := message.SealAsymmetric(p, message.Plain{}, nil); err != nil {
			t.Fatal(err)
		}
	})
}
