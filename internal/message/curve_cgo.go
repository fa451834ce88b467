//go:build cgo && !gofuzz

package message

import (
	"math/big"

	"github.com/ethereum/go-ethereum/crypto/secp256k1"
)

// With cgo, libsecp256k1 does all operations: multiplying a foreign point takes it a third of what the pure Go code
// takes, recovering a quarter, signing two thirds. The fixed base is the exception (44 against 39 µs), but only
// libsecp256k1 multiplies by a secret scalar in constant time, so it does that as well.

// multiplyBase returns scalar*G, in constant time. False for a scalar out of range.
func multiplyBase(scalar *[32]byte) (PublicKey, bool) {
	return toPublic(secp256k1.S256().ScalarBaseMult(scalar[:]))
}

// multiply returns scalar*p, in constant time. p must be valid; false for a scalar out of range.
func multiply(p *PublicKey, scalar *[32]byte) (PublicKey, bool) {
	var x, y big.Int
	x.SetBytes(p[1:33])
	y.SetBytes(p[33:])
	return toPublic(secp256k1.S256().ScalarMult(&x, &y, scalar[:]))
}

func toPublic(x, y *big.Int) (PublicKey, bool) {
	if x == nil || y == nil {
		return PublicKey{}, false
	}
	p := PublicKey{uncompressed}
	x.FillBytes(p[1:33])
	y.FillBytes(p[33:])
	return p, true
}

// signRecoverable writes R | S | V to dst, in constant time, with the nonce of RFC 6979 and the lower S.
func signRecoverable(dst []byte, hash, scalar *[32]byte) bool {
	sig, err := secp256k1.Sign(hash[:], scalar[:])
	return err == nil && copy(dst, sig) == SignatureSize
}

// recoverKey returns the key that made the signature R | S | V over hash. False if there is none.
func recoverKey(hash [32]byte, sig []byte) (PublicKey, bool) {
	if len(sig) != SignatureSize || sig[64] > 1 {
		return PublicKey{}, false
	}
	key, err := secp256k1.RecoverPubkey(hash[:], sig)
	if err != nil || len(key) != PublicKeySize {
		return PublicKey{}, false
	}
	return PublicKey(key), true
}
