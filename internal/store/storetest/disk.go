// Package storetest is a disk for tests of a store: it records what is done to it, so that its state after a power cut at any
// point can be made, and it fails on demand. Start with NewDisk and Disk.Mount. All methods are safe for concurrent use.
package storetest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/restante-im/restante/internal/store"
)

const sector = 512 // what a disk writes whole or not at all

// Disk is a file system in memory below the encryption. It records what is done to it, so that its state after a power cut
// at any point can be made: what was not synced by then is there, lost, or torn.
type Disk struct {
	mu    sync.Mutex
	files map[string]*file
	log   []change
	fail  func(kind) error // nil: nothing fails
}

type file struct{ data []byte }

type kind uint8

const (
	create kind = iota
	write
	truncate
	flush
	remove
	settle // makes all names durable
	spoil  // a sync failed: the system forgets what it had not written, and shows it nevertheless
	read
)

type change struct {
	kind
	name string
	off  int64 // of a write; the new size for truncate
	data []byte
}

// NewDisk makes an empty disk on which nothing fails.
func NewDisk() *Disk { return &Disk{files: map[string]*file{}} }

var mounted atomic.Int64

// Mount makes the disk known to SQLite.
func (d *Disk) Mount(t interface{ Cleanup(func()) }) *store.Disk {
	name := fmt.Sprintf("disk-%d", mounted.Add(1))
	vfs.Register(name, d)
	t.Cleanup(func() {
		vfs.Register(name, nil)
		vfs.Register("restante:"+name, nil)
	})
	return &store.Disk{VFS: name, Sync: func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.change(change{kind: settle})
	}}
}

// Now is how many changes have been made.
func (d *Disk) Now() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log)
}

var errBroken = errors.New("broken")

// FailAfter lets everything fail after n more changes; a full disk can still be read.
func (d *Disk) FailAfter(n int, full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = func(k kind) error {
		switch n--; {
		case n >= 0 || full && k != write:
			return nil
		case full:
			return sqlite3.FULL
		}
		return errBroken
	}
}

// Heal lets nothing fail any more.
func (d *Disk) Heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = nil
}

// OnSync has f called before each sync, which waits for it.
func (d *Disk) OnSync(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = func(k kind) error {
		if k == flush {
			f()
		}
		return nil
	}
}

// change fails, or records. The caller holds mu.
func (d *Disk) change(c change) error {
	if d.fail != nil {
		if err := d.fail(c.kind); err != nil {
			return err
		}
	}
	if c.kind != read {
		d.log = append(d.log, c)
	}
	return nil
}

// Rewinds counts how often a log was written from its beginning.
func (d *Disk) Rewinds() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.log {
		if c.kind == write && c.off == 0 && strings.HasSuffix(c.name, "-wal") {
			n++
		}
	}
	return n
}

// inode is a file's content while a crash is worked out: what is on the platter, and what was not synced since.
type inode struct {
	platter []byte
	pending []change
}

// Crash returns the disk as it may be after a power cut when the first n changes had been made.
func (d *Disk) Crash(n int, rng *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := map[string][]*inode{} // what each name stood for since the names were last durable; nil: no file
	var order []string
	for _, c := range d.log[:n] {
		if c.kind == settle {
			for name, history := range names {
				names[name] = history[len(history)-1:]
			}
			continue
		}
		history := names[c.name]
		if len(history) == 0 {
			history = []*inode{nil}
			order = append(order, c.name)
		}
		last := history[len(history)-1]
		switch c.kind {
		case create:
			history = append(history, &inode{})
		case remove:
			history = append(history, nil)
		case flush:
			for _, p := range last.pending {
				last.platter = p.apply(last.platter, nil)
			}
			last.pending = nil
		case spoil:
			last.pending = nil
		default:
			last.pending = append(last.pending, c)
		}
		names[c.name] = history
	}
	after := NewDisk()
	how := rng.IntN(4)
	for _, name := range order {
		history := names[name]
		pick := len(history) - 1
		if how != keepAll {
			pick = rng.IntN(len(history))
		}
		if ino := history[pick]; ino != nil {
			after.files[name] = &file{ino.survive(how, rng)}
		}
	}
	for _, name := range order { // what the crash left is on the platter
		if f := after.files[name]; f != nil {
			after.log = append(after.log, change{create, name, 0, nil}, change{write, name, 0, append([]byte(nil), f.data...)}, change{kind: flush, name: name})
		}
	}
	after.log = append(after.log, change{kind: settle})
	return after
}

const (
	keepAll = iota // the process was killed, not the machine
	loseAll        // nothing unsynced reached the disk
	anyOf          // anything may have, in any order, torn
	inOrder        // the first ones did, the next is torn
)

func (i *inode) survive(how int, rng *rand.Rand) []byte {
	data := append([]byte(nil), i.platter...)
	whole := len(i.pending)
	switch how {
	case loseAll:
		return data
	case inOrder:
		whole = rng.IntN(len(i.pending) + 1)
	}
	for n, c := range i.pending {
		switch {
		case how == keepAll || how == inOrder && n < whole:
			data = c.apply(data, nil)
		case how == inOrder && n == whole || how == anyOf && rng.IntN(3) == 0:
			data = c.apply(data, rng)
		case how == anyOf && rng.IntN(2) == 0:
			data = c.apply(data, nil)
		}
	}
	return data
}

// apply makes a change to a file's data; with tear, only to some of its sectors, one of which may become garbage.
func (c change) apply(data []byte, tear *rand.Rand) []byte {
	if c.kind == truncate {
		if tear != nil && tear.IntN(2) == 0 {
			return data
		}
		return resize(data, c.off)
	}
	if tear == nil {
		data = resize(data, max(int64(len(data)), c.off+int64(len(c.data))))
		copy(data[c.off:], c.data)
		return data
	}
	for at := 0; at < len(c.data); at += sector {
		if tear.IntN(2) == 0 {
			continue
		}
		part := append([]byte(nil), c.data[at:min(at+sector, len(c.data))]...)
		if tear.IntN(8) == 0 {
			for i := range part {
				part[i] = byte(tear.Uint32())
			}
		}
		data = change{kind: write, off: c.off + int64(at), data: part}.apply(data, nil)
	}
	return data
}

func resize(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	if size > int64(cap(data)) {
		data = slices.Grow(data, int(2*size)) // files grow block by block
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

var errName = errors.New("the test's disk has no temporary files")

func (d *Disk) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if name == "" {
		return nil, flags, errName
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	if f == nil {
		if flags&vfs.OPEN_CREATE == 0 {
			return nil, flags, sqlite3.CANTOPEN
		}
		if err := d.change(change{kind: create, name: name}); err != nil {
			return nil, flags, err
		}
		f = &file{}
		d.files[name] = f
	}
	return &handle{d: d, f: f, name: name}, flags, nil
}

func (d *Disk) Delete(name string, syncDir bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] == nil {
		return sqlite3.IOERR_DELETE_NOENT
	}
	c := change{kind: remove, name: name}
	if err := d.change(c); err != nil {
		return err
	}
	delete(d.files, name)
	if syncDir {
		return d.change(change{kind: settle})
	}
	return nil
}

func (d *Disk) Access(name string, _ vfs.AccessFlag) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[name] != nil, nil
}

func (d *Disk) FullPathname(name string) (string, error) { return name, nil }

// handle is an open file. Nobody else opens it, so locks are always free.
type handle struct {
	d    *Disk
	f    *file
	name string
}

func (h *handle) Close() error { return nil }

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.change(change{kind: read, name: h.name}); err != nil {
		return 0, err
	}
	if off >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	if err := h.do(change{write, h.name, off, append([]byte(nil), p...)}); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h *handle) Truncate(size int64) error { return h.do(change{truncate, h.name, size, nil}) }

func (h *handle) do(c change) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.change(c); err != nil {
		return err
	}
	h.f.data = c.apply(h.f.data, nil)
	return nil
}

func (h *handle) Sync(vfs.SyncFlag) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	err := h.d.change(change{kind: flush, name: h.name})
	if err != nil {
		h.d.log = append(h.d.log, change{kind: spoil, name: h.name})
	}
	return err
}

func (h *handle) Size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return int64(len(h.f.data)), nil
}

func (h *handle) Lock(vfs.LockLevel) error                        { return nil }
func (h *handle) Unlock(vfs.LockLevel) error                      { return nil }
func (h *handle) CheckReservedLock() (bool, error)                { return false, nil }
func (h *handle) SectorSize() int                                 { return sector }
func (h *handle) DeviceCharacteristics() vfs.DeviceCharacteristic { return 0 }
