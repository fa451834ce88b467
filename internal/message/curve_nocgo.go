//go:build !cgo || gofuzz

package message

import (
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// Without cgo, decred's pure Go code does all operations. Its field arithmetic takes constant time, but the sequence of
// additions depends on the scalar: an attacker on the same machine who watches the caches may learn bits of a key that
// opens many messages. Where that matters, build with cgo.

// multiplyBase returns scalar*G. False for a scalar out of range.
func multiplyBase(scalar *[32]byte) (PublicKey, bool) {
	var k secp256k1.ModNScalar
	defer k.Zero()
	if k.SetBytes(scalar) != 0 || k.IsZero() {
		return PublicKey{}, false
	}
	var r secp256k1.JacobianPoint
	secp256k1.ScalarBaseMultNonConst(&k, &r)
	return toPublic(&r)
}

// multiply returns scalar*p. p must be valid; false for a scalar out of range.
func multiply(p *PublicKey, scalar *[32]byte) (PublicKey, bool) {
	var k secp256k1.ModNScalar
	defer k.Zero()
	if k.SetBytes(scalar) != 0 || k.IsZero() {
		return PublicKey{}, false
	}
	var in, r secp256k1.JacobianPoint
	in.X.SetByteSlice(p[1:33])
	in.Y.SetByteSlice(p[33:])
	in.Z.SetInt(1)
	secp256k1.ScalarMultNonConst(&k, &in, &r)
	return toPublic(&r)
}

func toPublic(r *secp256k1.JacobianPoint) (PublicKey, bool) {
	if (r.X.IsZero() && r.Y.IsZero()) || r.Z.IsZero() {
		return PublicKey{}, false
	}
	r.ToAffine()
	p := PublicKey{uncompressed}
	r.X.PutBytesUnchecked(p[1:33])
	r.Y.PutBytesUnchecked(p[33:])
	return p, true
}

// signRecoverable writes R | S | V to dst, with the nonce of RFC 6979 and the lower S.
func signRecoverable(dst []byte, hash, scalar *[32]byte) bool {
	key := secp256k1.PrivKeyFromBytes(scalar[:])
	defer key.Zero()
	const base = 27 // what the compact form adds to V, which it puts first
	sig := ecdsa.SignCompact(key, hash[:], false)
	if len(sig) != SignatureSize || len(dst) != SignatureSize || sig[0]-base > 1 {
		return false
	}
	copy(dst, sig[1:])
	dst[64] = sig[0] - base
	return true
}

// recoverKey returns the key that made the signature R | S | V over hash. False if there is none.
func recoverKey(hash [32]byte, sig []byte) (PublicKey, bool) {
	if len(sig) != SignatureSize || sig[64] > 1 {
		return PublicKey{}, false
	}
	var compact [SignatureSize]byte
	compact[0] = sig[64] + 27
	copy(compact[1:], sig)
	key, _, err := ecdsa.RecoverCompact(compact[:], hash[:])
	if err != nil {
		return PublicKey{}, false
	}
	return PublicKey(key.SerializeUncompressed()), true
}
