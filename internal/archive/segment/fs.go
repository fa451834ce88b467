package segment

import (
	"io"
	"os"
	"path/filepath"
)

// FS is what the archive needs of a file system. Names are paths of the operating system. Errors satisfy errors.Is with
// fs.ErrNotExist where a file is missing. Methods are called concurrently.
//
// What a crash may undo: bytes of a file since its last Sync; names created, renamed, linked or removed since the last
// SyncDir of their directory.
type FS interface {
	// Create makes an empty file, to be read and written. A file of that name loses the name; who has it open keeps it.
	Create(name string) (File, error)
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenReadWrite opens an existing file for reading and writing.
	OpenReadWrite(name string) (File, error)
	// Remove removes a file's name. Who has the file open keeps it.
	Remove(name string) error
	// Rename replaces newname, if it exists.
	Rename(oldname, newname string) error
	// Link gives a file a second name, on the same file system.
	Link(oldname, newname string) error
	// List returns the names in a directory, without their path, in any order.
	List(dir string) ([]string, error)
	// MkdirAll makes a directory and its parents, which may exist.
	MkdirAll(dir string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Free returns the bytes that may still be written on the file system of a directory, errors.ErrUnsupported where
	// nobody knows.
	Free(dir string) (int64, error)
	// Lock takes a file for this process alone until the returned Closer is closed or the process ends, and creates it
	// if need be. Where another has it the error satisfies errors.Is with syscall.EAGAIN.
	Lock(name string) (io.Closer, error)
}

// File is an open file. Reads may run beside anything but Close; writes and syncs come one at a time.
type File interface {
	io.ReaderAt
	// WriteAt writes to a file opened by Create or OpenReadWrite. Writing at its size makes it longer; the archive
	// never writes beyond its size.
	io.WriterAt
	io.Closer
	// Size returns the length in bytes.
	Size() (int64, error)
	// Sync makes durable what was written, and the length; other metadata need not be.
	Sync() error
}

// OS returns the file system of the operating system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Create(name string) (File, error) {
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return wrapFile(os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600))
}

func (osFS) Open(name string) (File, error) { return wrapFile(os.Open(name)) }

func (osFS) OpenReadWrite(name string) (File, error) {
	return wrapFile(os.OpenFile(name, os.O_RDWR, 0))
}

func (osFS) Remove(name string) error             { return os.Remove(name) }
func (osFS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }
func (osFS) Link(oldname, newname string) error   { return os.Link(oldname, newname) }
func (osFS) MkdirAll(dir string) error            { return os.MkdirAll(dir, 0o700) }

func (osFS) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errorOf(syncDir(d), d.Close())
}

func (osFS) Free(dir string) (int64, error)      { return free(dir) }
func (osFS) Lock(name string) (io.Closer, error) { return lock(name) }

type osFile struct{ *os.File }

func wrapFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Sync() error { return syncData(f.File) }

// errorOf returns the first error of a list.
func errorOf(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}
