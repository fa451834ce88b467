package segment_test

import (
	"errors"
	"io"
	"io/fs"
	"path"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/restante-im/restante/internal/archive/segment"
)

// memFS lets an archive work on one of pebble's file systems, which can crash and fail.
type memFS struct{ vfs.FS }

const category = vfs.WriteCategoryUnspecified

func (m memFS) Create(name string) (segment.File, error) { return wrap(m.FS.Create(name, category)) }

func (m memFS) Open(name string) (segment.File, error) { return wrap(m.FS.Open(name)) }

// OpenReadWrite looks first, for pebble's would create the file.
func (m memFS) OpenReadWrite(name string) (segment.File, error) {
	if _, err := m.Stat(name); err != nil {
		return nil, err
	}
	return wrap(m.FS.OpenReadWrite(name, category))
}

// Remove looks first, for pebble's does not always tell that there was nothing.
func (m memFS) Remove(name string) error {
	if _, err := m.Stat(name); err != nil {
		return err
	}
	return m.FS.Remove(name)
}

// Link looks first, for pebble's in memory replaces what is there.
func (m memFS) Link(oldname, newname string) error {
	if _, err := m.Stat(newname); err == nil {
		return fs.ErrExist
	}
	return m.FS.Link(oldname, newname)
}

func (m memFS) MkdirAll(dir string) error { return m.FS.MkdirAll(dir, 0o700) }

func (m memFS) SyncDir(dir string) error {
	d, err := m.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (m memFS) Free(dir string) (int64, error) {
	usage, err := m.GetDiskUsage(dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return 0, errors.ErrUnsupported
	}
	return int64(usage.AvailBytes), err
}

func (m memFS) Lock(name string) (io.Closer, error) { return m.FS.Lock(path.Clean(name)) }

type memFile struct{ vfs.File }

func wrap(f vfs.File, err error) (segment.File, error) {
	if err != nil {
		return nil, err
	}
	return memFile{f}, nil
}

func (f memFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
