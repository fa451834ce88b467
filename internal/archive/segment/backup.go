package segment

import (
	"context"
	"io"
	"path/filepath"

	"github.com/restante-im/restante/internal/fault"
)

// Backup implements archive.Backuper. Sealed slices become hard links where dir is on the same file system, and are
// copied otherwise; the youngest is always copied, because it may be written to again.
func (a *Archive) Backup(ctx context.Context, dir string) error {
	const op = "archive: backup"
	a.steady.RLock()
	defer a.steady.RUnlock()
	names, err := a.fs.List(dir)
	if err == nil && len(names) > 0 {
		return fault.E(op, fault.Exists, nil, "the directory "+dir+" is not empty: choose another for the backup")
	}
	if err != nil && !missing(err) {
		return fault.E(op, fault.Unavailable, err, "the directory "+dir+" for the backup cannot be read")
	}
	if err := a.fs.MkdirAll(dir); err != nil {
		return fault.E(op, fault.Unavailable, err, "the directory "+dir+" for the backup cannot be made")
	}
	m, err := newManifest(a.random, a.now())
	if err != nil {
		return err
	}
	m.Key, m.Created, m.Unfinished = a.key[:], a.manifest.Created, true
	if err := writeFile(a.fs, dir, manifestName, writeBytes(m.encode())); err != nil {
		return backupFailed(dir, err)
	}
	var rest []view
	err = a.perform(ctx, op, func() error {
		rest = a.linkAll(dir)
		return nil
	})
	if err != nil {
		return err
	}
	defer releaseAll(rest)
	for i := range rest {
		if err := a.copySlice(ctx, dir, &rest[i]); err != nil {
			return err
		}
	}
	m.Unfinished = false
	err = a.fs.SyncDir(dir)
	if err == nil {
		err = writeFile(a.fs, dir, manifestName, writeBytes(m.encode()))
	}
	if err == nil {
		err = a.fs.SyncDir(filepath.Dir(filepath.Clean(dir)))
	}
	if err != nil {
		return backupFailed(dir, err)
	}
	return nil
}

func backupFailed(dir string, err error) error {
	return fault.E("archive: backup", fault.Unavailable, err, "the backup in "+dir+" cannot be written: "+whyDisk(err))
}

// linkAll links what it can, and returns the slices that must be copied, with a reference to each. It runs in the
// committer, so that nothing is pruned meanwhile.
func (a *Archive) linkAll(dir string) (rest []view) {
	views := a.views(everySlice)
	for i := range views {
		v := &views[i]
		if i < len(views)-1 && v.index != nil && a.link(dir, v) {
			v.release()
		} else {
			rest = append(rest, *v)
		}
	}
	return rest
}

func (a *Archive) link(dir string, v *view) bool {
	for _, name := range []string{sliceName(v.base), indexName(v.base)} {
		if a.fs.Link(filepath.Join(a.dir, name), filepath.Join(dir, name)) != nil {
			return false // the copy replaces what was linked
		}
	}
	return true
}

// copySlice copies what was durable of a slice, and its index if it has one on disk.
func (a *Archive) copySlice(ctx context.Context, dir string, v *view) error {
	a.mu.RLock()
	index, indexDisk, length := v.slice.indexFile, v.slice.indexDisk, v.slice.length
	a.mu.RUnlock()
	err := copyFile(ctx, a.fs, filepath.Join(dir, sliceName(v.base)), v.body, length)
	if err == nil && index != nil {
		err = copyFile(ctx, a.fs, filepath.Join(dir, indexName(v.base)), index, indexDisk)
	}
	if err != nil && ctx.Err() != nil {
		return errGone("archive: backup", ctx.Err())
	}
	if err != nil {
		return backupFailed(dir, err)
	}
	return nil
}

// copyFile makes a durable copy of the first bytes of a file.
func copyFile(ctx context.Context, fsys FS, name string, from io.ReaderAt, size int64) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	to := &appender{f: f}
	buf := make([]byte, windowBytes)
	for err == nil && to.at < size {
		b := buf[:min(int64(len(buf)), size-to.at)]
		if err = readFull(from, b, to.at); err == nil {
			_, err = to.Write(b)
		}
		err = errorOf(err, ctx.Err())
	}
	if err == nil {
		err = f.Sync()
	}
	return errorOf(err, f.Close())
}
