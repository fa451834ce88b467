package message_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/vectortest"
)

type recorded struct {
	Data      vectortest.Hex `json:"data"`
	Key       vectortest.Hex `json:"key"`
	Recipient vectortest.Hex `json:"recipient_private_key"`
	Padding   vectortest.Hex `json:"padding"` // null: generated
	PadLen    int            `json:"padding_length"`
	Payload   vectortest.Hex `json:"payload"`
	Plaintext vectortest.Hex `json:"plaintext"`
	Signed    bool           `json:"signed"`
	Signer    vectortest.Hex `json:"signer"`
	Source    vectortest.Hex `json:"src_private_key"`
}

// plain is what the recording's author sealed, and found is its padding, given or generated.
func (v recorded) plain(t testing.TB) (p message.Plain, found []byte) {
	p = message.Plain{Payload: v.Payload, Padding: v.Padding}
	end := len(v.Plaintext)
	if v.Signed {
		p.Sign = privateKey(t, v.Source)
		end -= message.SignatureSize
	}
	return p, v.Plaintext[end-v.PadLen : end]
}

func (v recorded) check(t testing.TB, i int, o *message.Opened, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("vector %d: %v", i, err)
		return
	}
	_, padding := v.plain(t)
	checkOpened(t, i, o, v.Payload, padding, v.Signer)
}

func checkOpened(t testing.TB, i int, o *message.Opened, payload, padding, signer []byte) {
	t.Helper()
	if !bytes.Equal(o.Payload, payload) {
		t.Errorf("vector %d: payload %x, want %x", i, o.Payload, payload)
	}
	if !bytes.Equal(o.Padding, padding) {
		t.Errorf("vector %d: padding %x, want %x", i, o.Padding, padding)
	}
	if o.Signed != (len(signer) > 0) {
		t.Errorf("vector %d: signed %v", i, o.Signed)
	}
	if o.Signed && !bytes.Equal(o.Signer[:], signer) {
		t.Errorf("vector %d: signer %v, want %x", i, o.Signer, signer)
	}
}

func TestVectorsMessageSymmetric(t *testing.T) {
	vectortest.Load(t, "message_symmetric", func(t testing.TB, i int, v recorded) {
		key := symKey(t, v.Key)
		o, err := message.OpenSymmetric(key, v.Data)
		v.check(t, i, o, err)

		// With the recording's random bytes we seal the very same data: nonces of signatures are deterministic.
		p, padding := v.plain(t)
		if p.Padding != nil {
			padding = nil
		}
		nonce := v.Data[len(v.Data)-12:]
		again, err := message.SealSymmetric(key, p, bytes.NewReader(slices.Concat(padding, nonce)))
		if err != nil {
			t.Errorf("vector %d: seal again: %v", i, err)
		} else if !bytes.Equal(again, v.Data) {
			t.Errorf("vector %d: sealed again it differs", i)
		}
	})
}

func TestVectorsMessageAsymmetric(t *testing.T) {
	vectortest.Load(t, "message_asymmetric", func(t testing.TB, i int, v recorded) {
		to := privateKey(t, v.Recipient)
		o, err := message.OpenAsymmetric(to, v.Data)
		v.check(t, i, o, err)

		p, padding := v.plain(t)
		p.Padding = padding // the ephemeral key is not recorded: compare what opens
		again, err := message.SealAsymmetric(to.Public(), p, nil)
		if err != nil {
			t.Errorf("vector %d: seal again: %v", i, err)
			return
		}
		if len(again) != len(v.Data) {
			t.Errorf("vector %d: sealed again it has %d bytes, want %d", i, len(again), len(v.Data))
		}
		o, err = message.OpenAsymmetric(to, again)
		v.check(t, i, o, err)
	})
}

type crafted struct {
	Data      vectortest.Hex `json:"data"`
	Expected  string         `json:"expected"`
	Key       vectortest.Hex `json:"key"`
	Private   vectortest.Hex `json:"private_key"`
	Ephemeral vectortest.Hex `json:"ephemeral_private_key"`
	IV        vectortest.Hex `json:"iv"`
	Plaintext vectortest.Hex `json:"plaintext"`
	Payload   vectortest.Hex `json:"payload"`
	Padding   vectortest.Hex `json:"padding"`
	Signer    vectortest.Hex `json:"signer"`
	Why       string         `json:"why"`
}

func (v crafted) check(t testing.TB, i int, o *message.Opened, err error) {
	t.Helper()
	switch {
	case v.Expected == "rejected" && err == nil:
		t.Errorf("vector %d (%s) opened", i, v.Why)
	case v.Expected == "opened" && err != nil:
		t.Errorf("vector %d (%s): %v", i, v.Why, err)
	case err == nil:
		checkOpened(t, i, o, v.Payload, v.Padding, v.Signer)
	case err != message.ErrMalformed && err != message.ErrNotOpened:
		t.Errorf("vector %d (%s): unexpected error %v", i, v.Why, err)
	}
}

func TestVectorsMessageCrafted(t *testing.T) {
	vectortest.Load(t, "message_crafted", func(t testing.TB, i int, v crafted) {
		o, err := message.OpenSymmetric(symKey(t, v.Key), v.Data)
		v.check(t, i, o, err)
	})
}

func TestVectorsMessageCraftedAsymmetric(t *testing.T) {
	sealed := 0
	vectortest.Load(t, "message_crafted_asymmetric", func(t testing.TB, i int, v crafted) {
		to := privateKey(t, v.Private)
		o, err := message.OpenAsymmetric(to, v.Data)
		v.check(t, i, o, err)

		// Where the plaintext is one that we write ourselves, ephemeral key and IV make the data the same.
		size := len(v.Payload)
		if v.Expected != "opened" || v.Ephemeral == nil || !bytes.HasPrefix(v.Plaintext, []byte{1, byte(size)}) {
			return
		}
		p := message.Plain{Payload: v.Payload, Padding: v.Plaintext[2+size:]}
		again, err := message.SealAsymmetric(to.Public(), p, bytes.NewReader(slices.Concat(v.Ephemeral, v.IV)))
		if err != nil || !bytes.Equal(again, v.Data) {
			t.Errorf("vector %d (%s): sealed again it differs (%v)", i, v.Why, err)
		}
		sealed++
	})
	t.Logf("%d sealed again to the same bytes", sealed)
}

func TestVectorsSymkeyFromPassword(t *testing.T) {
	type vector struct {
		Key      vectortest.Hex `json:"key"`
		Password string         `json:"password"`
	}
	vectortest.Load(t, "symkey_from_password", func(t testing.TB, i int, v vector) {
		if got := message.PasswordKey(v.Password).Bytes(); !bytes.Equal(got, v.Key) {
			t.Errorf("vector %d: password %q gives %x, want %x", i, v.Password, got, v.Key)
		}
	})
}
