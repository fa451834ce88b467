// Package vault keeps the key that the client's store is encrypted with: in the system's keyring, under a passphrase, or
// in a file that nothing but its mode protects.
//
// Start with Open: it makes a key where there is none, and says how the key is protected, so that a program can tell
// its user truthfully. Change moves the key from one protection to another; the key itself never changes. Both promise
// that a crash at any moment leaves a key file that works, that a key file is never replaced except by Change, and that
// what is read from it is bounded before anything is computed.
//
// The functions may be called from several goroutines and processes at once; two first Opens agree on one key.
package vault

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/restante-im/restante/internal/fault"
)

// FileName is the key file's name in its folder. docs/inbox-format.md describes its content.
const FileName = "inbox.key"

// KeySize is the length of a key in bytes.
const KeySize = 32

// Mode says how a key is to be kept.
type Mode uint8

// The modes.
const (
	Auto       Mode = iota // in the keyring where there is one that works, else in the file
	Keyring                // in the system's keyring
	Passphrase             // in the file, encrypted with a passphrase
	File                   // in the file, in clear
)

// Protection says how a key is kept.
type Protection uint8

// The protections.
const (
	NotProtected   Protection = iota // whoever reads the user's files reads the key
	KeyringKept                      // in the system's keyring, which opens with the user's session
	PassphraseKept                   // under a passphrase
)

// String is a sentence for people.
func (p Protection) String() string {
	switch p {
	case KeyringKept:
		return "The inbox is encrypted; its key is in this system's keyring."
	case PassphraseKept:
		return "The inbox is encrypted; its key opens with your passphrase."
	}
	return "The inbox is not protected: its key lies beside it, so whoever can read your files can read it. " +
		"Keep the key in the system's keyring or under a passphrase."
}

// Ring is a keyring. A secret is found by the account that it was set for.
type Ring interface {
	Get(account string) (secret string, err error) // an error too where there is none
	Set(account, secret string) error
	Delete(account string) error
}

// Options of Open and Change.
type Options struct {
	Mode Mode                                            // for a new key, and what Change changes to
	Ask  func(prompt string, fresh bool) (string, error) // asks for a passphrase; for a fresh one it should ask twice. nil: nobody to ask
	Rand io.Reader                                       // nil: the system's generator
	Ring Ring                                            // nil: the system's keyring
}

func (o Options) defaults() Options {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Ring == nil {
		o.Ring = systemRing{}
	}
	if o.Ask == nil {
		o.Ask = func(string, bool) (string, error) { return "", errNobody }
	}
	return o
}

var errNobody = errors.New("nobody to ask")

// Open returns the key of the folder dir and how it is kept. Where there is no key file it makes a key, kept as o.Mode
// says. An existing key is opened however it is kept: compare the Protection, and call Change to have it otherwise.
//
// Faults: Denied for a wrong passphrase, for none, and for a file that others may read; Unavailable where the keyring or
// the disk fails; Corrupt for a damaged file; Invalid for one that a newer version wrote.
func Open(dir string, o Options) (key [KeySize]byte, p Protection, err error) {
	o = o.defaults()
	path := filepath.Join(dir, FileName)
	key, f, err := load(path, o)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, f.protection(), err
	}
	if _, err := io.ReadFull(o.Rand, key[:]); err != nil {
		return [KeySize]byte{}, 0, fault.E("vault: make a key", fault.Internal, err, "the system gave no random numbers; restart it")
	}
	if f, err = lock(key, o); err != nil {
		return [KeySize]byte{}, 0, err
	}
	err = create(path, f.encode())
	if errors.Is(err, fs.ErrExist) { // another process was faster: its key counts
		f.release(o)
		key, f, err = load(path, o)
		return key, f.protection(), err
	}
	if err != nil {
		f.release(o)
		return [KeySize]byte{}, 0, notWritten(path, err)
	}
	return key, f.protection(), nil
}

// Change keeps the key of the folder dir as o.Mode says from now on, and returns how. From a passphrase to a passphrase it
// asks for the old one, then for a new one. Faults as Open's, and NotFound where there is no key.
func Change(dir string, o Options) (Protection, error) {
	o = o.defaults()
	path := filepath.Join(dir, FileName)
	key, old, err := load(path, o)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fault.E("vault: change the protection", fault.NotFound, err, fmt.Sprintf("there is no key in %s yet; it is made when the inbox is first used", dir))
	}
	if err != nil {
		return old.protection(), err
	}
	if o.Mode == Keyring && old.Kept == keptRing || o.Mode == File && old.Kept == keptClear || o.Mode == Auto && old.Kept != keptClear {
		return old.protection(), nil
	}
	f, err := lock(key, o)
	if err != nil {
		return old.protection(), err
	}
	if err := replace(path, f.encode()); err != nil {
		f.release(o)
		return old.protection(), notWritten(path, err)
	}
	old.release(o)
	return f.protection(), nil
}

// load reads the key file and opens what it holds. Without a file the error is fs.ErrNotExist.
func load(path string, o Options) (key [KeySize]byte, f keyFile, err error) {
	text, err := read(path)
	if err != nil {
		return key, f, err
	}
	if f, err = decode(path, text); err != nil {
		return key, f, err
	}
	switch f.Kept {
	case keptRing:
		key, err = f.fromRing(o.Ring)
	case keptSealed:
		key, err = f.unseal(path, o.Ask)
	default:
		copy(key[:], f.Key)
	}
	return key, f, err
}

// lock makes the key file that keeps the key as o.Mode says. A keyring has the key already when it returns.
func lock(key [KeySize]byte, o Options) (keyFile, error) {
	switch o.Mode {
	case Auto:
		if f, err := toRing(key, o); err == nil {
			return f, nil
		}
		return keyFile{Format: format, Kept: keptClear, Key: key[:]}, nil
	case Keyring:
		return toRing(key, o)
	case Passphrase:
		return seal(key, o)
	}
	return keyFile{Format: format, Kept: keptClear, Key: key[:]}, nil
}
