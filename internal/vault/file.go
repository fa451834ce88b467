package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/restante-im/restante/internal/fault"
)

const (
	format     = 1
	maxFile    = 4096  // bytes read of a key file
	othersMask = 0o077 // what no mode of a key file may hold
)

// What Kept says.
const (
	keptClear  = "clear"
	keptRing   = "keyring"
	keptSealed = "passphrase"
)

// keyFile is the file's content: JSON, bytes in base64.
type keyFile struct {
	Format int    `json:"format"`
	Kept   string `json:"kept"`

	Key []byte `json:"key,omitempty"` // clear

	Account string `json:"account,omitempty"` // keyring: where it is there
	Check   []byte `json:"check,omitempty"`   // keyring: shows that what is there is this key

	KDF     string `json:"kdf,omitempty"` // passphrase: "argon2id" with the following
	Time    uint32 `json:"time,omitempty"`
	Memory  uint32 `json:"memory_kib,omitempty"`
	Threads uint8  `json:"threads,omitempty"`
	Salt    []byte `json:"salt,omitempty"`
	Nonce   []byte `json:"nonce,omitempty"`
	Sealed  []byte `json:"sealed,omitempty"` // XChaCha20-Poly1305
}

func (f keyFile) protection() Protection {
	switch f.Kept {
	case keptRing:
		return KeyringKept
	case keptSealed:
		return PassphraseKept
	}
	return NotProtected
}

func (f keyFile) encode() []byte {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		panic("vault: a key file of plain fields does not encode: " + err.Error())
	}
	return append(text, '\n')
}

// decode reads a key file, bounded: what it returns can be computed with.
func decode(path string, text []byte) (keyFile, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &version); err != nil || version.Format < 1 {
		return keyFile{}, damaged(path, err)
	}
	if version.Format > format {
		return keyFile{}, fault.Errorf("vault: read the key", fault.Invalid, "the key file %s was written by a newer version of "+
			"this program (format %d, this one reads up to %d): use that version", path, version.Format, format)
	}
	var f keyFile
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return keyFile{}, damaged(path, err)
	}
	if !f.valid() {
		return keyFile{}, damaged(path, nil)
	}
	return f, nil
}

func (f keyFile) valid() bool {
	switch f.Kept {
	case keptClear:
		return len(f.Key) == KeySize
	case keptRing:
		return len(f.Account) > 0 && len(f.Account) <= 2*accountSize && len(f.Check) == checkSize
	case keptSealed:
		return f.sealValid()
	}
	return false
}

func read(path string) ([]byte, error) {
	const op = "vault: read the key"
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fault.E(op, fault.Unavailable, err, fmt.Sprintf("the key file %s cannot be read; check that it belongs to you", path))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fault.E(op, fault.Unavailable, err, fmt.Sprintf("the key file %s cannot be read; check the disk", path))
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&othersMask != 0 {
		return nil, fault.Errorf(op, fault.Denied, "the key file %s has the mode %04o, so that other users may get at the key; run: chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fault.E(op, fault.Unavailable, err, fmt.Sprintf("the key file %s cannot be read; check the disk", path))
	}
	if len(text) > maxFile {
		return nil, damaged(path, nil)
	}
	return text, nil
}

func damaged(path string, cause error) error {
	return fault.E("vault: read the key", fault.Corrupt, cause, fmt.Sprintf("the key file %s is damaged; restore a backup of it. Without it "+
		"the inbox beside it stays shut: move both away to begin anew", path))
}

func notWritten(path string, cause error) error {
	return fault.E("vault: write the key", fault.Unavailable, cause, fmt.Sprintf("the key file %s cannot be written; check that its folder "+
		"exists and belongs to you, and that the disk has room", path))
}

// create writes a file that does not exist yet, whole or not at all; fs.ErrExist where it does.
func create(path string, text []byte) error {
	return place(path, text, func(temp string) error {
		err := os.Link(temp, path)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
		// A file system without links. Then two first starts at one moment are not told apart.
		if _, err := os.Lstat(path); err == nil {
			return fs.ErrExist
		}
		return os.Rename(temp, path)
	})
}

// replace writes a file that takes the place of the one there, whole or not at all.
func replace(path string, text []byte) error {
	return place(path, text, func(temp string) error { return os.Rename(temp, path) })
}

// place writes a new file beside path, and has it take its name when all of it is on disk.
func place(path string, text []byte, move func(temp string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+FileName+".new-*") // creates with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after a rename there is nothing left to remove
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := move(f.Name()); err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // folders cannot be synced there
		return nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
