package keyring

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
)

const (
	keyDigits  = 2 * message.PrivateKeySize
	maxKeyFile = 1024 // bytes read of a key file: far more than a key with blanks around it
)

// LoadOrCreateNodeKey reads the node's key from the file at path, or makes a key and the file (mode 0600, in a folder
// that is created with mode 0700 if need be) where there is none; created tells which. Two processes that start at the
// same time agree on one key. The file holds 64 hex digits. A nil rand means the system's generator.
//
// Faults: Denied where others may read the file or replace it; Corrupt where its content is no key; Unavailable where
// the disk refuses. Their texts say what to do. A damaged file is never replaced: the key may have a backup, and
// clients know the node by it.
func LoadOrCreateNodeKey(path string, rand io.Reader) (key *message.PrivateKey, created bool, err error) {
	key, err = loadNodeKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	key, err = message.GeneratePrivateKey(rand)
	if err != nil {
		return nil, false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, false, notWritten(path, err)
	}
	if err := checkFolder(path); err != nil {
		return nil, false, err
	}
	err = publish(path, keyText(key), os.Link)
	if errors.Is(err, fs.ErrExist) { // another process was faster: its key counts
		key, err = loadNodeKey(path)
		return key, false, err
	}
	if err != nil {
		return nil, false, notWritten(path, err)
	}
	return key, true, nil
}

// ExportNodeKey returns the key at path as text: 64 hex digits and a line end. Whoever has it can be this node.
// Faults as LoadOrCreateNodeKey's, and NotFound where there is no file.
func ExportNodeKey(path string) (string, error) {
	key, err := loadNodeKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fault.E("keyring: export the node key", fault.NotFound, err, fmt.Sprintf(
			"there is no node key at %s; the node makes one when it starts for the first time", path))
	}
	if err != nil {
		return "", err
	}
	return keyText(key), nil
}

// ImportNodeKey makes text (64 hex digits, 0x and blanks around them allowed) the node's key at path. If the file holds
// this key already, nothing happens. If it holds another one, or is damaged, that is an Exists fault, unless force is
// set: then the old file is kept under the name returned as backup, which ends in the first digits of its public key.
// A running node keeps its key until it is restarted.
func ImportNodeKey(path, text string, force bool) (key *message.PrivateKey, backup string, err error) {
	key, err = parseKey(text)
	if err != nil {
		return nil, "", fault.E("keyring: import a node key", fault.Invalid, nil,
			fmt.Sprintf("this is not a node key: %s; give the text that was exported", fault.Text(err)))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, "", notWritten(path, err)
	}
	if err := checkFolder(path); err != nil {
		return nil, "", err
	}
	old, err := loadNodeKey(path)
	switch {
	case err == nil && old.Equal(key):
		return key, "", nil
	case errors.Is(err, fs.ErrNotExist):
		return key, "", store(path, key)
	case err != nil && !fault.Is(err, fault.Corrupt): // a file that we may not or cannot judge stays as it is
		return nil, "", err
	case !force:
		return nil, "", wouldOverwrite(path, old)
	}
	backup, err = keepBackup(path, old)
	if err != nil {
		return nil, "", err
	}
	if err := publish(path, keyText(key), os.Rename); err != nil {
		return nil, "", notWritten(path, err)
	}
	return key, backup, nil
}

// store writes a key where there is none.
func store(path string, key *message.PrivateKey) error {
	err := publish(path, keyText(key), os.Link)
	switch {
	case errors.Is(err, fs.ErrExist): // made by another process just now
		return wouldOverwrite(path, nil)
	case err != nil:
		return notWritten(path, err)
	}
	return nil
}

func wouldOverwrite(path string, old *message.PrivateKey) error {
	holds := "something else already"
	if old != nil {
		holds = "another key (public key " + old.Public().String()[:2+backupDigits+2] + "…)"
	}
	return fault.E("keyring: import a node key", fault.Exists, nil, fmt.Sprintf(
		"%s holds %s, by which clients know this node; import with force to replace it, a backup will be kept", path, holds))
}

// loadNodeKey's error is fs.ErrNotExist where there is no file.
func loadNodeKey(path string) (*message.PrivateKey, error) {
	const op = "keyring: load the node key"
	f, err := os.Open(path)
	if err != nil {
		return nil, notRead(path, err)
	}
	defer f.Close()
	if err := checkFolder(path); err != nil {
		return nil, err
	}
	info, err := f.Stat() // of the open file: what is checked is what is read
	if err != nil {
		return nil, notRead(path, err)
	}
	if err := checkFile(path, info); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, notRead(path, err)
	}
	key, err := parseKey(string(text))
	if err != nil {
		return nil, fault.E(op, fault.Corrupt, err, fmt.Sprintf(
			"the node key file %s is damaged: %s; restore it from a backup, or remove it to start with a new key, "+
				"which clients will see as another node", path, fault.Text(err)))
	}
	return key, nil
}

func keyText(k *message.PrivateKey) string { return hex.EncodeToString(k.Bytes()) + "\n" }

// parseKey reads a key's text. Its errors never repeat the text.
func parseKey(text string) (*message.PrivateKey, error) {
	const op = "keyring: read a key"
	if len(text) > maxKeyFile {
		return nil, fault.Errorf(op, fault.Invalid, "it has more than %d bytes", maxKeyFile)
	}
	digits := strings.TrimPrefix(strings.TrimSpace(text), "0x")
	if len(digits) != keyDigits {
		return nil, fault.Errorf(op, fault.Invalid, "it should have %d hex digits but has %d characters", keyDigits, len(digits))
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fault.E(op, fault.Invalid, nil, "it holds a character that is no hex digit")
	}
	return message.ParsePrivateKey(b)
}

func notRead(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fault.E("keyring: load the node key", fault.Denied, err,
			fmt.Sprintf("the node key file %s may not be read; run the node as the user who owns it", path))
	}
	return fault.E("keyring: load the node key", fault.Unavailable, err,
		fmt.Sprintf("the node key file %s could not be read; check the disk and the path", path))
}

func notWritten(path string, err error) error {
	return fault.E("keyring: store the node key", fault.Unavailable, err, fmt.Sprintf(
		"the node key could not be written to %s; check that the folder may be written to and that the disk has room", path))
}
