package message

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/restante-im/restante/internal/fault"
)

const (
	// PublicKeySize is the length of an uncompressed secp256k1 point in bytes: 0x04, X, Y.
	PublicKeySize = 65
	// PrivateKeySize is the length of a secp256k1 scalar in bytes.
	PrivateKeySize = 32

	uncompressed = 0x04
)

// PublicKey is an uncompressed secp256k1 point. It is comparable; the zero PublicKey is no key.
type PublicKey [PublicKeySize]byte

// ParsePublicKey takes the 65 bytes of an uncompressed point that lies on the curve.
func ParsePublicKey(b []byte) (PublicKey, error) {
	const op = "message: take a public key"
	if len(b) != PublicKeySize {
		return PublicKey{}, fault.Errorf(op, fault.Invalid, "a public key has %d bytes (0x04, X, Y), this one has %d", PublicKeySize, len(b))
	}
	p := PublicKey(b)
	if !p.valid() {
		return PublicKey{}, fault.E(op, fault.Invalid, nil,
			"the public key is not a point of the curve secp256k1 in uncompressed form (0x04, X, Y)")
	}
	return p, nil
}

// IsZero reports whether this is the zero PublicKey.
func (p PublicKey) IsZero() bool { return p == PublicKey{} }

// String gives 0x and 130 hex digits.
func (p PublicKey) String() string { return "0x" + hex.EncodeToString(p[:]) }

// MarshalText gives the form of String.
func (p PublicKey) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads 130 hex digits after 0x and checks the point.
func (p *PublicKey) UnmarshalText(text []byte) error {
	const op = "message: read a public key"
	if len(text) != 2+2*PublicKeySize || text[0] != '0' || text[1] != 'x' {
		return fault.Errorf(op, fault.Invalid, "a public key is written as 0x and %d hex digits", 2*PublicKeySize)
	}
	var b PublicKey
	if _, err := hex.Decode(b[:], text[2:]); err != nil {
		return fault.E(op, fault.Invalid, nil, "the public key holds a character that is no hex digit")
	}
	parsed, err := ParsePublicKey(b[:])
	if err == nil {
		*p = parsed
	}
	return err
}

// valid reports whether p is a point of the curve. Public data: it need not take constant time.
func (p *PublicKey) valid() bool {
	if p[0] != uncompressed {
		return false
	}
	var x, y secp256k1.FieldVal
	if x.SetByteSlice(p[1:33]) || y.SetByteSlice(p[33:]) {
		return false // not reduced
	}
	return secp256k1.NewPublicKey(&x, &y).IsOnCurve()
}

// validScalar reports whether k is in 1 … order-1, in constant time except for the result.
func validScalar(k *[32]byte) bool {
	var s secp256k1.ModNScalar
	defer s.Zero()
	return s.SetBytes(k)|s.IsZeroBit() == 0
}

// PrivateKey is a secp256k1 key pair. It is immutable; nil is no key.
type PrivateKey struct {
	scalar [PrivateKeySize]byte
	public PublicKey
}

// GeneratePrivateKey draws a random key. A nil rand means the system's generator.
func GeneratePrivateKey(rand io.Reader) (*PrivateKey, error) {
	k := new(PrivateKey)
	if err := drawScalar(rand, &k.scalar); err != nil {
		return nil, err
	}
	return k.complete()
}

// ParsePrivateKey takes the 32 bytes of a scalar, big-endian, between 1 and the curve's order - 1, and copies them.
func ParsePrivateKey(b []byte) (*PrivateKey, error) {
	const op = "message: take a private key"
	if len(b) != PrivateKeySize {
		return nil, fault.Errorf(op, fault.Invalid, "a private key has %d bytes, this one has %d", PrivateKeySize, len(b))
	}
	k := &PrivateKey{scalar: [PrivateKeySize]byte(b)}
	if !validScalar(&k.scalar) {
		return nil, fault.E(op, fault.Invalid, nil, "the private key is zero or not below the order of the curve secp256k1")
	}
	return k.complete()
}

func (k *PrivateKey) complete() (*PrivateKey, error) {
	public, ok := multiplyBase(&k.scalar)
	if !ok {
		return nil, fault.E("message: derive a public key", fault.Internal, nil, "")
	}
	k.public = public
	return k, nil
}

// Bytes returns a copy of the scalar, 32 bytes big-endian.
func (k *PrivateKey) Bytes() []byte { return append([]byte(nil), k.scalar[:]...) }

// Public returns the public key.
func (k *PrivateKey) Public() PublicKey { return k.public }

// Equal compares two keys in constant time.
func (k *PrivateKey) Equal(other *PrivateKey) bool {
	if k == nil || other == nil {
		return k == other
	}
	return subtle.ConstantTimeCompare(k.scalar[:], other.scalar[:]) == 1
}

// Format prints the public half only, whatever the verb, so that no log ever holds a private key.
func (k PrivateKey) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "private key of "+k.public.String())
}

// sign writes R | S | V over hash to dst, which has SignatureSize bytes. The nonce is RFC 6979's: no randomness.
func (k *PrivateKey) sign(dst []byte, hash [32]byte) error {
	if !signRecoverable(dst, &hash, &k.scalar) {
		return fault.E("message: sign", fault.Internal, nil, "")
	}
	return nil
}
