package keyring

import (
	"crypto/pbkdf2"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"sync"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
)

const (
	// MaxKeys is how many key pairs, and again how many symmetric keys, a Ring holds.
	MaxKeys = 1 << 14

	// IDSize is the length of an id in characters: lower-case hex digits.
	IDSize = 64

	idIterations = 4096 // of DerivedID, as status-im/whisper has it
)

// Ring holds keys by id, in memory. Make one with New.
type Ring struct {
	rand      io.Reader
	passwords *derivations

	mu    sync.RWMutex
	pairs map[string]*message.PrivateKey
	syms  map[string]message.SymKey
}

// New makes an empty ring that draws keys and ids from rand, which must be safe for concurrent use. Nil means the
// system's generator.
func New(rand io.Reader) *Ring {
	if rand == nil {
		rand = cryptorand.Reader
	}
	return &Ring{
		rand:      rand,
		passwords: newDerivations(message.PasswordKey),
		pairs:     make(map[string]*message.PrivateKey),
		syms:      make(map[string]message.SymKey),
	}
}

// DerivedID is the id that some implementations give a key pair instead of a random one: PBKDF2-HMAC-SHA256 of the
// public key as text (0x04…), empty salt, 4096 iterations, as 64 hex digits. Clients may ask for a pair by it.
func DerivedID(pub message.PublicKey) string {
	id, err := pbkdf2.Key(sha256.New, pub.String(), nil, idIterations, IDSize/2)
	if err != nil { // only in a FIPS-only build, which forbids the empty salt
		return ""
	}
	return hex.EncodeToString(id)
}

// AddPair takes a key pair and returns its new id. A Limit fault when MaxKeys pairs are held.
func (r *Ring) AddPair(k *message.PrivateKey) (string, error) {
	if k == nil {
		return "", fault.E("keyring: add a key pair", fault.Invalid, nil, "no key was given")
	}
	return add(r, r.pairs, "key pairs", k)
}

// NewPair generates a key pair and returns its id. A Limit fault when MaxKeys pairs are held.
func (r *Ring) NewPair() (string, error) {
	if err := room(r, r.pairs, "key pairs"); err != nil {
		return "", err
	}
	k, err := message.GeneratePrivateKey(r.rand)
	if err != nil {
		return "", err
	}
	return add(r, r.pairs, "key pairs", k)
}

// Pair returns the key pair with this id, or a NotFound fault.
func (r *Ring) Pair(id string) (*message.PrivateKey, error) { return find(r, r.pairs, "key pair", id) }

// HasPair reports whether a key pair has this id.
func (r *Ring) HasPair(id string) bool { return has(r, r.pairs, id) }

// DeletePair forgets the key pair with this id, or returns a NotFound fault.
func (r *Ring) DeletePair(id string) error {
	if !remove(r, r.pairs, id) {
		return notFound("key pair", id)
	}
	return nil
}

// AddSym takes a symmetric key and returns its new id. A Limit fault when MaxKeys symmetric keys are held.
func (r *Ring) AddSym(k message.SymKey) (string, error) {
	if k.Equal(message.SymKey{}) {
		return "", fault.E("keyring: add a symmetric key", fault.Invalid, nil, "no key was given")
	}
	return add(r, r.syms, "symmetric keys", k)
}

// NewSym generates a symmetric key and returns its id. A Limit fault when MaxKeys symmetric keys are held.
func (r *Ring) NewSym() (string, error) {
	if err := room(r, r.syms, "symmetric keys"); err != nil {
		return "", err
	}
	k, err := message.GenerateSymKey(r.rand)
	if err != nil {
		return "", err
	}
	return add(r, r.syms, "symmetric keys", k)
}

// FromPassword adds the key that message.PasswordKey derives and returns its id, a new one each time. The first call
// with a password takes several milliseconds of one core, the ones after it next to nothing (MaxPasswords).
// A Limit fault when MaxKeys symmetric keys are held.
func (r *Ring) FromPassword(password string) (string, error) {
	if err := room(r, r.syms, "symmetric keys"); err != nil {
		return "", err
	}
	return r.AddSym(r.passwords.key(password))
}

// Sym returns the symmetric key with this id, or a NotFound fault.
func (r *Ring) Sym(id string) (message.SymKey, error) { return find(r, r.syms, "symmetric key", id) }

// HasSym reports whether a symmetric key has this id.
func (r *Ring) HasSym(id string) bool { return has(r, r.syms, id) }

// DeleteSym forgets the symmetric key with this id and reports whether there was one.
func (r *Ring) DeleteSym(id string) bool { return remove(r, r.syms, id) }

func add[K any](r *Ring, keys map[string]K, what string, k K) (string, error) {
	var b [IDSize / 2]byte
	if _, err := io.ReadFull(r.rand, b[:]); err != nil {
		return "", fault.E("keyring: draw an id", fault.Unavailable, err, "no random bytes could be had; try again")
	}
	id := hex.EncodeToString(b[:])
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(keys) >= MaxKeys {
		return "", full(what)
	}
	if _, taken := keys[id]; taken { // a broken generator: giving away another's key would be worse
		return "", fault.E("keyring: draw an id", fault.Unavailable, nil, "the source of random bytes repeats itself")
	}
	keys[id] = k
	return id, nil
}

// room refuses early, before a key is made that could not be added.
func room[K any](r *Ring, keys map[string]K, what string) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(keys) >= MaxKeys {
		return full(what)
	}
	return nil
}

func find[K any](r *Ring, keys map[string]K, what, id string) (K, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k, ok := keys[id]
	if !ok {
		return k, notFound(what, id)
	}
	return k, nil
}

func has[K any](r *Ring, keys map[string]K, id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := keys[id]
	return ok
}

func remove[K any](r *Ring, keys map[string]K, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := keys[id]
	delete(keys, id)
	return ok
}

func full(what string) error {
	return fault.Errorf("keyring: add a key", fault.Limit, "the node holds %d %s already, which is its bound; delete some that are not used", MaxKeys, what)
}

// maxShownID keeps an id that somebody made up from filling logs and answers.
const maxShownID = IDSize

func notFound(what, id string) error {
	if len(id) > maxShownID {
		id = id[:maxShownID] + "…"
	}
	return fault.Errorf("keyring: find a key", fault.NotFound,
		"there is no %s with the id %q; keys are kept in memory and must be added again after the node was restarted", what, id)
}
