package keyring

import (
	"container/list"
	"crypto/hmac"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"sync"

	"github.com/restante-im/restante/internal/message"
)

const (
	// MaxPasswords is how many derived keys are remembered; the one not asked for the longest goes first.
	MaxPasswords = 256

	// maxDerivations is how many derivations run at the same time; the others wait, so that clients who try passwords
	// leave cores for the network.
	maxDerivations = 2
)

// derivations remembers the keys of passwords. Passwords themselves are not kept: entries are named by a keyed hash.
type derivations struct {
	derive func(password string) message.SymKey
	secret [32]byte
	slots  chan struct{}

	mu      sync.Mutex
	entries map[[sha256.Size]byte]*list.Element // of recent
	recent  *list.List                          // of *derivation, the latest asked for in front
}

type derivation struct {
	name [sha256.Size]byte
	once sync.Once
	key  message.SymKey
}

func newDerivations(derive func(string) message.SymKey) *derivations {
	d := &derivations{
		derive:  derive,
		slots:   make(chan struct{}, maxDerivations),
		entries: make(map[[sha256.Size]byte]*list.Element),
		recent:  list.New(),
	}
	_, _ = cryptorand.Read(d.secret[:]) // never fails, by its documentation
	return d
}

// key derives a password's key, or waits for the caller who does, or remembers it.
func (d *derivations) key(password string) message.SymKey {
	e := d.entry(password)
	e.once.Do(func() {
		d.slots <- struct{}{}
		defer func() { <-d.slots }()
		e.key = d.derive(password)
	})
	return e.key
}

func (d *derivations) entry(password string) *derivation {
	mac := hmac.New(sha256.New, d.secret[:])
	_, _ = mac.Write([]byte(password))
	name := [sha256.Size]byte(mac.Sum(nil))
	d.mu.Lock()
	defer d.mu.Unlock()
	if el, ok := d.entries[name]; ok {
		d.recent.MoveToFront(el)
		return el.Value.(*derivation)
	}
	if d.recent.Len() >= MaxPasswords {
		oldest := d.recent.Back()
		d.recent.Remove(oldest)
		delete(d.entries, oldest.Value.(*derivation).name)
	}
	e := &derivation{name: name}
	d.entries[name] = d.recent.PushFront(e)
	return e
}
