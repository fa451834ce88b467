package archivetest

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// trouble injects errors into a file system, now and then, while it is on.
type trouble struct {
	on      atomic.Bool
	percent atomic.Int32
	kinds   func(errorfs.Op) bool
	err     error
	mu      sync.Mutex
	rng     *rand.Rand
}

// inject implements errorfs.InjectorFunc. Writing to files is halfFS's part.
func (x *trouble) inject(op errorfs.Op) error {
	if op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileWriteAt {
		return nil
	}
	return x.chance(op)
}

func (x *trouble) chance(op errorfs.Op) error {
	if !x.on.Load() || !x.kinds(op) {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rng.Int32N(100) < x.percent.Load() {
		return x.err
	}
	return nil
}

// some returns a part of n.
func (x *trouble) some(n int) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rng.IntN(n + 1)
}

// onDisk returns the disk as it is with the trouble.
func (x *trouble) onDisk(disk vfs.FS) vfs.FS {
	return errorfs.Wrap(halfFS{disk, x}, errorfs.InjectorFunc(x.inject))
}

func writes(op errorfs.Op) bool {
	return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose || op.Kind == errorfs.OpOpenDir
}

func reads(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsRead }

func space(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpLink, errorfs.OpMkdirAll:
		return true
	}
	return false
}

// halfFS is a disk whose trouble with writing comes in the middle of it, as when it fills up.
type halfFS struct {
	vfs.FS
	trouble *trouble
}

type halfFile struct {
	vfs.File
	trouble *trouble
}

// Create implements vfs.FS.
func (h halfFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := h.FS.Create(name, c)
	return halfFile{f, h.trouble}, err
}

// OpenReadWrite implements vfs.FS.
func (h halfFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := h.FS.OpenReadWrite(name, c, opts...)
	return halfFile{f, h.trouble}, err
}

// WriteAt implements vfs.File.
func (f halfFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.trouble.chance(errorfs.Op{Kind: errorfs.OpFileWriteAt}); err != nil {
		n, _ := f.File.WriteAt(p[:f.trouble.some(len(p))], off)
		return n, err
	}
	return f.File.WriteAt(p, off)
}

// Write implements vfs.File.
func (f halfFile) Write(p []byte) (int, error) {
	if err := f.trouble.chance(errorfs.Op{Kind: errorfs.OpFileWrite}); err != nil {
		n, _ := f.File.Write(p[:f.trouble.some(len(p))])
		return n, err
	}
	return f.File.Write(p)
}
