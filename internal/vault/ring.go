package vault

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/restante-im/restante/internal/fault"
)

const (
	accountSize = 16 // random bytes that name a key in the keyring, so that two inboxes do not share one
	checkSize   = 8
	service     = "Restante inbox"
	ringWait    = 2 * time.Minute // a locked keyring asks its user meanwhile
)

// check is a short mark of a key that says nothing else about it.
func check(key []byte) []byte {
	sum := sha256.Sum256(append([]byte("restante inbox key check\x00"), key...))
	return sum[:checkSize]
}

func toRing(key [KeySize]byte, o Options) (keyFile, error) {
	var account [accountSize]byte
	if _, err := io.ReadFull(o.Rand, account[:]); err != nil {
		return keyFile{}, fault.E("vault: store the key in the keyring", fault.Internal, err, "the system gave no random numbers; restart it")
	}
	f := keyFile{Format: format, Kept: keptRing, Account: hex.EncodeToString(account[:]), Check: check(key[:])}
	if err := o.Ring.Set(f.Account, base64.StdEncoding.EncodeToString(key[:])); err != nil {
		return keyFile{}, noRing(err)
	}
	if _, err := f.fromRing(o.Ring); err != nil { // some keyrings take what they do not keep
		f.release(o)
		return keyFile{}, err
	}
	return f, nil
}

func (f keyFile) fromRing(ring Ring) (key [KeySize]byte, err error) {
	secret, err := ring.Get(f.Account)
	if err != nil {
		return key, noRing(err)
	}
	plain, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(plain) != KeySize || subtle.ConstantTimeCompare(check(plain), f.Check) != 1 {
		return key, fault.E("vault: read the key from the keyring", fault.Corrupt, err, "what the system's keyring holds is not this inbox's key; "+
			"restore the keyring or the file "+FileName+" from a backup. Without the key, move the inbox and that file away to begin anew")
	}
	copy(key[:], plain)
	return key, nil
}

// release removes from the keyring what f refers to there. A key that stays behind harms nobody, so it does not fail.
func (f keyFile) release(o Options) {
	if f.Kept == keptRing {
		_ = o.Ring.Delete(f.Account)
	}
}

func noRing(cause error) error {
	if errors.Is(cause, keyring.ErrNotFound) {
		return fault.E("vault: use the keyring", fault.Unavailable, cause, "the system's keyring does not hold the inbox's key; log in as the user who made the "+
			"inbox, or restore the keyring. Without the key, move the inbox and the file "+FileName+" away to begin anew")
	}
	return fault.E("vault: use the keyring", fault.Unavailable, cause, "the system's keyring does not answer; log in to the desktop or unlock it and "+
		"try again, or keep the key under a passphrase (inbox.key)")
}

// systemRing is the keyring of the user's session.
type systemRing struct{}

func (systemRing) Get(account string) (secret string, err error) {
	err = within(func() (err error) {
		secret, err = keyring.Get(service, account)
		return err
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

func (systemRing) Set(account, secret string) error {
	return within(func() error { return keyring.Set(service, account, secret) })
}

func (systemRing) Delete(account string) error {
	return within(func() error { return keyring.Delete(service, account) })
}

var errNoAnswer = errors.New("no answer in time")

// within runs a call that cannot be cancelled, and gives it up after ringWait; it ends by itself when the keyring does
// answer.
func within(call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(ringWait):
		return errNoAnswer
	}
}
