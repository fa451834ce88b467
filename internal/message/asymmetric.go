package message

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"io"

	"github.com/restante-im/restante/internal/fault"
)

// ECIES as docs/protocol/envelope.md section 3 has it: R (65) | IV (16) | ciphertext | MAC (32).
const (
	ivSize     = aes.BlockSize
	macSize    = sha256.Size
	bodyOffset = PublicKeySize + ivSize

	// AsymmetricOverhead is what sealing for a public key adds to the plaintext, in bytes.
	AsymmetricOverhead = bodyOffset + macSize
)

// SealAsymmetric returns Data that only the owner of to can open. A nil rand means the system's generator; it must be
// cryptographic.
func SealAsymmetric(to PublicKey, p Plain, rand io.Reader) ([]byte, error) {
	if !to.valid() {
		return nil, errNoKey
	}
	l, err := p.layout()
	if err != nil {
		return nil, err
	}
	data := make([]byte, l.total+AsymmetricOverhead)
	body := data[bodyOffset : bodyOffset+l.total]
	if err := p.write(body, l, rand); err != nil {
		return nil, err
	}
	var scalar [32]byte
	defer clear(scalar[:])
	if err := drawScalar(rand, &scalar); err != nil {
		return nil, err
	}
	iv := data[PublicKeySize:bodyOffset]
	if err := read(rand, iv); err != nil {
		return nil, err
	}
	ephemeral, ok := multiplyBase(&scalar)
	shared, ok2 := multiply(&to, &scalar)
	if !ok || !ok2 {
		return nil, fault.E("message: agree on a key", fault.Internal, nil, "")
	}
	copy(data, ephemeral[:])
	block, mac, err := deriveKeys(&shared)
	if err != nil {
		return nil, err
	}
	cipher.NewCTR(block, iv).XORKeyStream(body, body)
	mac.Write(data[PublicKeySize : bodyOffset+l.total])
	mac.Sum(data[:bodyOffset+l.total])
	return data, nil
}

// OpenAsymmetric opens what SealAsymmetric made for k and leaves data untouched. Errors: ErrNotOpened, ErrMalformed, or
// an Invalid fault for a nil key.
func OpenAsymmetric(k *PrivateKey, data []byte) (*Opened, error) {
	if k == nil {
		return nil, errNoKey
	}
	// The length comes before all else: a body shorter than an IV has crashed others.
	if len(data) < AsymmetricOverhead {
		return nil, ErrNotOpened
	}
	ephemeral := PublicKey(data[:PublicKeySize])
	if !ephemeral.valid() { // an invalid point would leak bits of the key
		return nil, ErrNotOpened
	}
	shared, ok := multiply(&ephemeral, &k.scalar)
	if !ok {
		return nil, ErrNotOpened
	}
	block, mac, err := deriveKeys(&shared)
	if err != nil {
		return nil, err
	}
	end := len(data) - macSize
	var sum [macSize]byte
	mac.Write(data[PublicKeySize:end])
	if !hmac.Equal(mac.Sum(sum[:0]), data[end:]) {
		return nil, ErrNotOpened
	}
	plain := make([]byte, end-bodyOffset)
	cipher.NewCTR(block, data[PublicKeySize:bodyOffset]).XORKeyStream(plain, data[bodyOffset:end])
	return parse(plain)
}

// deriveKeys makes the cipher and the MAC from the shared point: the concatenation KDF of NIST SP 800-56 over its X
// coordinate, of which one block suffices.
func deriveKeys(shared *PublicKey) (cipher.Block, hash.Hash, error) {
	input := [4 + 32]byte{3: 1} // the block counter, big-endian
	copy(input[4:], shared[1:33])
	k := sha256.Sum256(input[:])
	macKey := sha256.Sum256(k[16:])
	block, err := aes.NewCipher(k[:16])
	if err != nil {
		return nil, nil, fault.E("message: prepare AES-128-CTR", fault.Internal, err, "")
	}
	return block, hmac.New(sha256.New, macKey[:]), nil
}
