package members

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

// version is that of the file's form. A reader refuses what is newer.
const version = 1

// form is the file.
type form struct {
	Version int              `json:"version"`
	Members []record         `json:"members"`
	Usage   map[string]usage `json:"usage,omitempty"` // by member's id
}

// errNewer is a file of a later version.
var errNewer = errors.New("a newer version wrote it")

func encode(s *state, spent map[string]usage) ([]byte, error) {
	data, err := json.MarshalIndent(form{Version: version, Members: s.list, Usage: spent}, "", " ")
	return append(data, '\n'), err
}

// decode reads a file strictly: what is not understood is damage, for it would be lost with the next change.
func decode(data []byte) (*state, map[string]usage, error) {
	var peek struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &peek); err != nil {
		return nil, nil, err
	}
	if peek.Version > version {
		return nil, nil, errNewer
	}
	if peek.Version < 1 {
		return nil, nil, errors.New("it has no version")
	}
	f := form{Usage: make(map[string]usage)}
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	if err := in.Decode(&f); err != nil {
		return nil, nil, err
	}
	s, err := index(f.Members)
	if err != nil {
		return nil, nil, err
	}
	for id, u := range f.Usage {
		if s.byID[id] == nil || u.Bytes < 0 {
			return nil, nil, errors.New("what was spent belongs to nobody or is negative")
		}
	}
	return s, f.Usage, nil
}

// damaged makes the fault of a file that decode refuses.
func damaged(path string, err error) error {
	const op = "members: read"
	if errors.Is(err, errNewer) {
		return fault.E(op, fault.Invalid, err, fmt.Sprintf(
			"the members file %s was written by a newer version of restante; use that version, or one still newer", path))
	}
	return fault.E(op, fault.Corrupt, err, fmt.Sprintf("the members file %s is damaged: %s; restore it from a backup, "+
		"or move it away to start without members, who must then be invited anew", path, err))
}

// readFile's error is fs.ErrNotExist where there is no file.
func readFile(path string) ([]byte, error) {
	const op = "members: read"
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, notRead(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, notRead(path, err)
	}
	if mode := info.Mode(); !mode.IsRegular() {
		return nil, fault.E(op, fault.Denied, nil, fmt.Sprintf("%s is not a file; the members belong into one", path))
	} else if runtime.GOOS != "windows" && mode.Perm()&0o077 != 0 {
		return nil, fault.E(op, fault.Denied, nil, fmt.Sprintf(
			"the members file %s has the mode %04o, so that other users may read or change who is a member; run: chmod 600 %s", path, mode.Perm(), path))
	}
	if info.Size() > maxFile {
		return nil, damaged(path, fmt.Errorf("it has %d bytes, more than %d", info.Size(), maxFile))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, notRead(path, err)
	}
	return data, nil
}

func notRead(path string, err error) error {
	return fault.E("members: read", fault.Unavailable, err,
		fmt.Sprintf("the members file %s could not be read; check the disk, the path and who owns it", path))
}

// writeFile replaces the file at path by one with this content, which is on disk under another name before it gets this
// one. A crash leaves the old file or the new one, and perhaps the other name, which the next write takes away.
func writeFile(path string, data []byte) error {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeNew(temp, data); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncFolder(filepath.Dir(path))
}

func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// syncFolder makes the folder's new entry durable.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" { // folders cannot be synced there
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
