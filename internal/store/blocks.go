package store

import (
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
	"github.com/ncruces/go-sqlite3/vfs/adiantum"
)

// cipherBlock is the unit of the encryption. Less than a block cannot be decrypted.
const cipherBlock = 4096

// encrypted makes an encrypted VFS of a registered one ("": the operating system's) and returns its name.
func encrypted(base string) string {
	name := "restante:" + base
	vfs.Register(name, adiantum.Wrap(wholeBlocks{vfs.Find(base)}, nil))
	return name
}

// wholeBlocks is a VFS whose files seem to end with their last whole block. A power cut may leave part of a block at the
// end of the log; SQLite would take it for something that has to be readable, and not open the file any more.
//
// It passes on what every VFS must have and nothing beyond. Shared memory above all: without it only one connection can
// use the log.
type wholeBlocks struct{ vfs.VFS }

// OpenFilename is Open for a VFS that wants more than the name.
func (b wholeBlocks) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpenFilename(b.VFS, name, flags)
	if err != nil {
		return nil, flags, err
	}
	return wholeFile{f}, flags, nil
}

type wholeFile struct{ vfs.File }

// Size returns the bytes up to the last whole block.
func (f wholeFile) Size() (int64, error) {
	n, err := f.File.Size()
	return n - n%cipherBlock, err
}
