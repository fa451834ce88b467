package vault

import (
	"fmt"
	"io"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/restante-im/restante/internal/fault"
)

// A new key file's cost, as RFC 9106 advises where memory is short: about 0.2 s.
const (
	kdf         = "argon2id"
	costTime    = 3
	costMemory  = 64 << 10 // KiB
	costThreads = 4
	saltSize    = 16
)

// The costs that a key file may ask for.
const (
	minMemory  = 8 << 10 // KiB
	maxMemory  = 256 << 10
	maxTime    = 16
	maxThreads = 16
	maxSalt    = 64
)

const maxPassphrase = 1024 // bytes

// sealedWhat is authenticated with the key, so that the file's bytes mean this and nothing else.
const sealedWhat = "restante inbox key, format 1"

func (f keyFile) sealValid() bool {
	return f.KDF == kdf && f.Time >= 1 && f.Time <= maxTime && f.Memory >= minMemory && f.Memory <= maxMemory &&
		f.Threads >= 1 && f.Threads <= maxThreads && len(f.Salt) >= saltSize && len(f.Salt) <= maxSalt &&
		len(f.Nonce) == chacha20poly1305.NonceSizeX && len(f.Sealed) == KeySize+chacha20poly1305.Overhead
}

func (f keyFile) derive(passphrase string) []byte {
	return argon2.IDKey([]byte(passphrase), f.Salt, f.Time, f.Memory, f.Threads, chacha20poly1305.KeySize)
}

func seal(key [KeySize]byte, o Options) (keyFile, error) {
	passphrase, err := ask(o.Ask, "New passphrase for the inbox", true)
	if err != nil {
		return keyFile{}, err
	}
	f := keyFile{Format: format, Kept: keptSealed, KDF: kdf, Time: costTime, Memory: costMemory, Threads: costThreads,
		Salt: make([]byte, saltSize), Nonce: make([]byte, chacha20poly1305.NonceSizeX)}
	for _, b := range [][]byte{f.Salt, f.Nonce} {
		if _, err := io.ReadFull(o.Rand, b); err != nil {
			return keyFile{}, fault.E("vault: seal the key", fault.Internal, err, "the system gave no random numbers; restart it")
		}
	}
	aead, err := chacha20poly1305.NewX(f.derive(passphrase))
	if err != nil {
		return keyFile{}, fault.E("vault: seal the key", fault.Internal, err, "")
	}
	f.Sealed = aead.Seal(nil, f.Nonce, key[:], []byte(sealedWhat))
	return f, nil
}

func (f keyFile) unseal(path string, askFor func(string, bool) (string, error)) (key [KeySize]byte, err error) {
	passphrase, err := ask(askFor, "Passphrase for the inbox", false)
	if err != nil {
		return key, err
	}
	aead, err := chacha20poly1305.NewX(f.derive(passphrase))
	if err != nil {
		return key, fault.E("vault: open the key", fault.Internal, err, "")
	}
	plain, err := aead.Open(nil, f.Nonce, f.Sealed, []byte(sealedWhat))
	if err != nil {
		return key, fault.E("vault: open the key", fault.Denied, err, fmt.Sprintf("the passphrase does not open %s; try again", path))
	}
	copy(key[:], plain)
	return key, nil
}

func ask(askFor func(string, bool) (string, error), prompt string, fresh bool) (string, error) {
	const op = "vault: ask for the passphrase"
	passphrase, err := askFor(prompt, fresh)
	switch {
	case fault.KindOf(err) != fault.Internal:
		return "", err // who asked knows better what to say
	case err != nil:
		return "", fault.E(op, fault.Denied, err, "the inbox needs a passphrase, and there was nobody to give it: start the program in a terminal, or hand the passphrase to it")
	case passphrase == "":
		return "", fault.Errorf(op, fault.Denied, "the passphrase is empty; give one")
	case len(passphrase) > maxPassphrase:
		return "", fault.Errorf(op, fault.Denied, "the passphrase is longer than %d bytes; give a shorter one", maxPassphrase)
	}
	return passphrase, nil
}
