package segment

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// manifest is the file ARCHIVE.
type manifest struct {
	Format     int       `json:"format"`
	Epoch      hexBytes  `json:"epoch"`
	Key        hexBytes  `json:"key"`
	Created    time.Time `json:"created"`
	Unfinished bool      `json:"unfinished,omitempty"` // a backup that did not come to its end
	Sum        uint32    `json:"sum"`                  // CRC-32C of this text with a sum of 0
}

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

const maxManifest = 4096 // bytes

func (m manifest) encode() []byte {
	m.Sum = 0
	m.Sum = crc32.Checksum(m.text(), castagnoli)
	return m.text()
}

func (m manifest) text() []byte {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		panic("segment: the manifest does not encode: " + err.Error()) // a defect of this package
	}
	return append(text, '\n')
}

var errManifest = errors.New("the file ARCHIVE is damaged")

// parseManifest returns errManifest for damage, and an Invalid fault for a format that is not ours.
func parseManifest(text []byte) (m manifest, err error) {
	if err := json.Unmarshal(text, &m); err != nil {
		return m, errManifest
	}
	if m.Format > version {
		return m, newerFormat("ARCHIVE", m.Format)
	}
	if m.Format < 1 || len(m.Epoch) != 8 || len(m.Key) != len(archiveKey{}) || !bytes.Equal(m.encode(), text) {
		return m, errManifest
	}
	if m.Unfinished {
		return m, fault.E("archive: open", fault.Invalid, nil,
			"this is a backup that was not finished: remove the directory and make the backup again")
	}
	return m, nil
}

func newerFormat(file string, v int) error {
	return fault.Errorf("archive: open", fault.Invalid,
		"the archive was written by a newer version of this program (%s is of format %d, this one reads up to %d): use that version, or restore a backup made by this one",
		file, v, version)
}

func newManifest(random io.Reader, now time.Time) (m manifest, err error) {
	b := make([]byte, 8+len(archiveKey{}))
	if _, err := io.ReadFull(random, b); err != nil {
		return m, fault.E("archive: open", fault.Unavailable, err, "no randomness for a new archive")
	}
	return manifest{Format: version, Epoch: b[:8], Key: b[8:], Created: now.UTC().Truncate(time.Second)}, nil
}

// readFile returns the first bytes of a file, at most max of them.
func readFile(fsys FS, name string, max int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, max))
	return b, readFull(f, b, 0)
}

// readFull is ReadAt that reads all or fails.
func readFull(r io.ReaderAt, b []byte, offset int64) error {
	if n, err := r.ReadAt(b, offset); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// writeFile replaces a file by what write writes: after a crash there is the old one or the new one, whole.
func writeFile(fsys FS, dir, name string, write func(io.Writer) error) error {
	path := filepath.Join(dir, name)
	f, err := fsys.Create(path + newSuffix)
	if err != nil {
		return err
	}
	err = write(&appender{f: f})
	if err == nil {
		err = f.Sync()
	}
	err = errorOf(err, f.Close())
	if err == nil {
		err = fsys.Rename(path+newSuffix, path)
	}
	if err != nil {
		_ = fsys.Remove(path + newSuffix) // the next start removes it otherwise
		return err
	}
	return fsys.SyncDir(dir)
}

// appender writes a file from its start.
type appender struct {
	f  File
	at int64
}

func (w *appender) Write(b []byte) (int, error) {
	n, err := w.f.WriteAt(b, w.at)
	w.at += int64(n)
	return n, err
}

func writeBytes(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

// missing reports whether an error says that a file does not exist.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
