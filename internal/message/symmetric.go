package message

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"

	"github.com/restante-im/restante/internal/fault"
)

const (
	// SymKeySize is the length of a symmetric key in bytes (AES-256).
	SymKeySize = 32

	nonceSize = 12
	tagSize   = 16

	// SymmetricOverhead is what symmetric sealing adds to the plaintext, in bytes.
	SymmetricOverhead = tagSize + nonceSize

	passwordIterations = 65356 // sic, not 65536: all implementations agree on this number
)

// SymKey is a symmetric key with its cipher made ready. The zero SymKey seals and opens nothing. Compare with Equal.
type SymKey struct {
	state *symState
}

type symState struct {
	key  [SymKeySize]byte
	aead cipher.AEAD
}

// NewSymKey takes 32 bytes that are not all zero, as docs/protocol/envelope.md section 3 demands, and copies them.
func NewSymKey(key []byte) (SymKey, error) {
	const op = "message: take a symmetric key"
	if len(key) != SymKeySize {
		return SymKey{}, fault.Errorf(op, fault.Invalid, "a symmetric key has %d bytes, this one has %d", SymKeySize, len(key))
	}
	if allZero(key) {
		return SymKey{}, fault.E(op, fault.Invalid, nil, "a symmetric key must not be all zero; generate a random one")
	}
	return makeSymKey(key)
}

func makeSymKey(key []byte) (SymKey, error) {
	s := new(symState)
	copy(s.key[:], key)
	block, err := aes.NewCipher(s.key[:])
	if err == nil {
		s.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		return SymKey{}, fault.E("message: prepare AES-256-GCM", fault.Internal, err, "")
	}
	return SymKey{s}, nil
}

// GenerateSymKey draws a random key. A nil rand means the system's generator.
func GenerateSymKey(rand io.Reader) (SymKey, error) {
	var key [SymKeySize]byte
	if err := read(rand, key[:]); err != nil {
		return SymKey{}, err
	}
	return NewSymKey(key[:])
}

// PasswordKey derives the key that all implementations derive from a password: PBKDF2-HMAC-SHA256 with an empty salt.
// It takes several milliseconds of one core; keyring caches it. The empty password is allowed.
func PasswordKey(password string) SymKey {
	key, err := pbkdf2.Key(sha256.New, password, nil, passwordIterations, SymKeySize)
	if err != nil { // only in a FIPS-only build, which forbids the empty salt
		return SymKey{}
	}
	k, _ := makeSymKey(key) // fails in a FIPS-only build alone; the zero key refuses to work, with a sentence
	return k
}

// Bytes returns a copy of the key's 32 bytes, nil for the zero SymKey.
func (k SymKey) Bytes() []byte {
	if k.state == nil {
		return nil
	}
	return append([]byte(nil), k.state.key[:]...)
}

// Equal compares two keys in constant time.
func (k SymKey) Equal(other SymKey) bool {
	if k.state == nil || other.state == nil {
		return k.state == other.state
	}
	return subtle.ConstantTimeCompare(k.state.key[:], other.state.key[:]) == 1
}

// ID is a value that equal keys share and that does not reveal the key: use it in maps and logs.
func (k SymKey) ID() [32]byte {
	const domain = "restante symmetric key id 1\x00"
	return sha256.Sum256(append([]byte(domain), k.Bytes()...))
}

// Format prints a placeholder whatever the verb, so that no log ever holds a key.
func (k SymKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "symmetric key (hidden)") }

// SealSymmetric returns Data: ciphertext | tag (16) | nonce (12). A nil rand means the system's generator; it must be
// cryptographic, because a repeated nonce reveals the key stream.
func SealSymmetric(k SymKey, p Plain, rand io.Reader) ([]byte, error) {
	if k.state == nil {
		return nil, errNoKey
	}
	l, err := p.layout()
	if err != nil {
		return nil, err
	}
	data := make([]byte, l.total+SymmetricOverhead)
	plain := data[:l.total]
	if err := p.write(plain, l, rand); err != nil {
		return nil, err
	}
	nonce := data[l.total+tagSize:]
	if err := read(rand, nonce); err != nil {
		return nil, err
	}
	k.state.aead.Seal(plain[:0], nonce, plain, nil) // in place; the tag lands before the nonce
	return data, nil
}

// OpenSymmetric opens what SealSymmetric made and leaves data untouched. Errors: ErrNotOpened, ErrMalformed, or an
// Invalid fault for a zero key.
func OpenSymmetric(k SymKey, data []byte) (*Opened, error) {
	if k.state == nil {
		return nil, errNoKey
	}
	if len(data) < SymmetricOverhead {
		return nil, ErrNotOpened
	}
	cut := len(data) - nonceSize
	plain, err := k.state.aead.Open(nil, data[cut:], data[:cut], nil)
	if err != nil {
		return nil, ErrNotOpened
	}
	return parse(plain)
}

func allZero(b []byte) bool {
	var sum byte
	for _, x := range b {
		sum |= x
	}
	return sum == 0
}
