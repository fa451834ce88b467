package segment

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/fault"
)

// Sizes of slices.
const (
	defaultSlice = 64 << 20
	minSlice     = 1 << 20
	maxSlice     = 256 << 20
	capShare     = 256 // of a cap is one slice, so that pruning takes little at a time

	maxRecords  = 1 << 18        // of a slice, so that its index fits in memory
	maxSliceAge = 24 * time.Hour // then the next slice begins, so that mail can be pruned by age
	ageShare    = 16             // of Rules.Age is a slice's age at most
	minSliceAge = time.Minute
)

// Options open an archive. The zero Options are usable.
type Options struct {
	FS         FS               // nil: the operating system's
	Now        func() time.Time // nil: the system's clock
	Rules      archive.Rules
	Log        *slog.Logger // nil: silence
	SliceBytes int64        // when a slice is full; 0: as the cap suggests, 64 MiB without one
	Rand       io.Reader    // nil: the system's randomness
}

// Archive is an archive.Archive, Dropper, Checker and Backuper in a directory.
//
// One goroutine, the committer, changes files and the list of slices; another, the indexer, turns the memory of sealed
// slices into index files. Readers take references to slices and need neither.
type Archive struct {
	fs         FS
	dir        string
	now        func() time.Time
	log        *slog.Logger
	sliceBytes int64 // 0: derived
	manifest   manifest
	key        archiveKey
	random     io.Reader
	lock       io.Closer
	buffers    buffers

	queue     queue
	committer committer
	indexer   indexer
	finished  sync.WaitGroup // committer and indexer
	closing   sync.Once
	closed    chan struct{} // closed by Close
	closeErr  error

	walks   atomic.Int32
	memory  atomic.Int64 // bytes that open walks keep between their pages
	steady  sync.RWMutex // held by backups and checks, so that nothing is dropped while they read
	damages damages

	mu       sync.RWMutex // guards what follows, and the changing parts of slices
	rules    archive.Rules
	slices   []*slice // by base; replaced, never changed
	active   *slice   // the last of slices, or nil until the next Put
	next     uint64   // arrival
	last     uint32   // latest second of arrival
	counts   counts
	refusing string
}

// counts are the parts of archive.Stats that count since opening.
type counts struct{ puts, duplicates, syncs, pruned uint64 }

// Open opens the archive in dir, and makes both if need be. What a crash left is put in order first: at most the slice
// that was being written and those without an index are read whole. Faults: Exists when another process has the archive
// open, Invalid for a format of a newer version, Unavailable when the disk fails.
func Open(dir string, o Options) (*Archive, error) {
	a := &Archive{
		fs: o.FS, dir: dir, now: o.Now, log: o.Log, random: o.Rand, sliceBytes: o.SliceBytes, rules: o.Rules,
		next: 1, closed: make(chan struct{}),
	}
	if a.fs == nil {
		a.fs = OS()
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.random == nil {
		a.random = rand.Reader
	}
	if err := a.open(); err != nil {
		for _, s := range a.slices {
			s.release()
		}
		if a.lock != nil {
			a.lock.Close()
		}
		return nil, err
	}
	a.queue.init()
	a.indexer.init(a)
	a.finished.Add(2)
	go a.commitLoop()
	go a.indexer.loop()
	return a, nil
}

func (a *Archive) open() error {
	const op = "archive: open"
	if err := a.fs.MkdirAll(a.dir); err != nil {
		return fault.E(op, fault.Unavailable, err, "the directory "+a.dir+" of the archive cannot be made: check its parent's permissions")
	}
	lock, err := a.fs.Lock(filepath.Join(a.dir, lockName))
	if errors.Is(err, syscall.EAGAIN) {
		return fault.E(op, fault.Exists, err, "the archive in "+a.dir+" is open in another process")
	}
	if err != nil {
		return fault.E(op, fault.Unavailable, err, "the directory "+a.dir+" of the archive cannot be written to: check its permissions")
	}
	a.lock = lock
	return a.recover()
}

// SetRules implements archive.Archive.
func (a *Archive) SetRules(r archive.Rules) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rules = r
	a.refusing = "" // the next Put finds out
}

// sliceLimit returns when a slice is full, and how old it may become.
func (a *Archive) sliceLimit() (size int64, age time.Duration) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	size, age = int64(defaultSlice), maxSliceAge
	if a.rules.Cap > 0 {
		size = min(max(a.rules.Cap/capShare, minSlice), maxSlice)
	}
	if a.sliceBytes > 0 {
		size = a.sliceBytes
	}
	if a.rules.Age > 0 {
		age = min(age, max(a.rules.Age/ageShare, minSliceAge))
	}
	return size, age
}

// Close implements archive.Archive. It seals the slice that was written to, so that the next start need not read it.
func (a *Archive) Close() error {
	a.closing.Do(func() {
		close(a.closed)
		a.queue.close()
		a.finished.Wait()
		a.mu.Lock()
		list := a.slices
		a.slices, a.active = nil, nil
		a.mu.Unlock()
		for _, s := range list {
			s.release()
		}
		a.closeErr = errorOf(a.closeErr, a.lock.Close())
	})
	return a.closeErr
}

func (a *Archive) isClosed() bool {
	select {
	case <-a.closed:
		return true
	default:
		return false
	}
}

func errClosed(op string) error { return fault.E(op, fault.Closed, nil, "the archive is closed") }

// damages remembers which envelopes were found damaged, so that each is counted and reported once.
type damages struct {
	mu    sync.Mutex
	seen  map[place]bool
	count uint64
}

// place is an envelope, or for ordinal noOrdinal another part of a slice.
type place struct {
	base    uint64
	ordinal uint32
}

const (
	noOrdinal  = 1<<32 - 1
	maxDamages = 1 << 16 // remembered; beyond, one may be counted again
)

// damage counts and logs what is wrong with a slice.
func (a *Archive) damage(s *slice, ordinal uint32, offset int64, text string) {
	d := &a.damages
	d.mu.Lock()
	at := place{s.base, ordinal}
	known := ordinal != noOrdinal && d.seen[at]
	if !known {
		d.count++
		if d.seen == nil {
			d.seen = make(map[place]bool)
		}
		if ordinal != noOrdinal && len(d.seen) < maxDamages {
			d.seen[at] = true
		}
	}
	d.mu.Unlock()
	if !known {
		a.log.Warn("archive: "+text, "file", sliceName(s.base), "offset", offset)
	}
}
