package message_test

import (
	"crypto/aes"
	"crypto/cipher"
	"testing"

	"github.com/restante-im/restante/internal/message"
)

func newKey(t testing.TB) *message.PrivateKey {
	t.Helper()
	k, err := message.GeneratePrivateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func privateKey(t testing.TB, b []byte) *message.PrivateKey {
	t.Helper()
	k, err := message.ParsePrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func symKey(t testing.TB, b []byte) message.SymKey {
	t.Helper()
	k, err := message.NewSymKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sealRaw encrypts a plaintext that need not follow the layout, so that tests reach the reader behind the cipher.
func sealRaw(t testing.TB, k message.SymKey, plain []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(k.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, aead.NonceSize())
	return append(aead.Seal(nil, nonce, plain, nil), nonce...)
}

// decrypt undoes sealRaw.
func decrypt(t testing.TB, k message.SymKey, data []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(k.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	cut := len(data) - aead.NonceSize()
	plain, err := aead.Open(nil, data[cut:], data[:cut], nil)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}
