// Package archivetest is the contract of package archive as tests, for any engine. Suite states the law one paragraph at
// a time, History compares an engine with a naive model over random histories, and Faults takes the disk from under it:
// power cuts, failing and full disks, damaged files. An engine's own test says how it is opened and calls them:
//
//	func TestLaw(t *testing.T) {
//		archivetest.Suite(t, open, archivetest.Traits{})
//	}
//
// The random histories are rapid's; what is random about faults follows from -archive.seed, which a failure prints
// together with the command that repeats it.
package archivetest

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

var (
	clones = flag.Int("archive.clones", 100, "crash clones to take and open")
	seed   = flag.Uint64("archive.seed", 1, "seed of the archive's random tests")
)

// Options say how an archive is opened for a test.
type Options struct {
	FS    vfs.FS // nil: the operating system's
	Dir   string // exists or can be made
	Now   func() time.Time
	Rules archive.Rules
	Slice int64 // about how many bytes to keep together, so that small tests meet many slices
}

// Opener opens an engine's archive in o.Dir, and makes it where there is none. Every open archive is closed by the tests.
type Opener func(o Options) (archive.Archive, error)

// Traits are what an engine may do differently.
type Traits struct {
	Volatile bool // nothing outlives Close, and there are no files
}

// Suite runs every law that needs no broken disk.
func Suite(t *testing.T, open Opener, traits Traits) {
	s := suite{open, traits}
	for _, law := range []struct {
		name string
		test func(*testing.T, suite)
	}{
		{"Receipts", testReceipts},
		{"Duplicates", testDuplicates},
		{"InvalidEnvelope", testInvalidEnvelope},
		{"CancelledPut", testCancelledPut},
		{"Orders", testOrders},
		{"Queries", testQueries},
		{"Pages", testPages},
		{"LargeEnvelopes", testLargeEnvelopes},
		{"ManyTopics", testManyTopics},
		{"QueryBelongsToCaller", testQueryBelongsToCaller},
		{"Cursors", testCursors},
		{"CursorsAcrossPruning", testCursorsAcrossPruning},
		{"WalkSeesWhatWasThere", testWalkSeesWhatWasThere},
		{"Find", testFind},
		{"Bounds", testBounds},
		{"Walks", testWalks},
		{"Closed", testClosed},
		{"Stats", testStats},
		{"Age", testAge},
		{"Floor", testFloor},
		{"Cap", testCap},
		{"CapRefuses", testCapRefuses},
		{"CapLowered", testCapLowered},
		{"Drop", testDrop},
		{"Check", testCheck},
		{"WritersAndReaders", testWritersAndReaders},
		{"WritersReadersAndPruning", testWritersReadersAndPruning},
		{"SameEnvelopeFromManyWriters", testSameEnvelopeFromManyWriters},
		{"CancelledWriters", testCancelledWriters},
		{"CloseUnderWay", testCloseUnderWay},
		{"ClockSetBack", testClockSetBack},
	} {
		t.Run(law.name, func(t *testing.T) { law.test(t, s) })
	}
	if traits.Volatile {
		return
	}
	t.Run("Reopen", func(t *testing.T) { testReopen(t, s) })
	t.Run("ArrivalsNeverReturn", func(t *testing.T) { testArrivalsNeverReturn(t, s) })
	t.Run("DropSurvives", func(t *testing.T) { testDropSurvives(t, s) })
	t.Run("OneAtATime", func(t *testing.T) { testOneAtATime(t, s) })
	t.Run("Backup", func(t *testing.T) { testBackup(t, s) })
	t.Run("BackupWhileWriting", func(t *testing.T) { testBackupWhileWriting(t, s) })
}

type suite struct {
	open   Opener
	traits Traits
}

// Clock is a clock that stands still until it is moved. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock starts a clock at some moment of 2023.
func NewClock() *Clock { return &Clock{now: time.Unix(start, 0)} }

// start is the Unix second at which tests begin.
const start = 1_700_000_000

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Mail returns an envelope whose data has so many bytes. Another serial makes another envelope; the same arguments make
// the same one.
func Mail(serial uint64, sent uint32, topic envelope.Topic, size int) *envelope.Envelope {
	const ttl = 60
	return envelope.New(sent+ttl, ttl, topic, dataOf(serial, size), serial)
}

func dataOf(serial uint64, size int) []byte {
	data := make([]byte, size)
	rng := rand.New(rand.NewPCG(serial, uint64(size)))
	for i := 0; i+8 <= len(data); i += 8 {
		binary.LittleEndian.PutUint64(data[i:], rng.Uint64())
	}
	return data
}

// Topic returns the i-th of many topics that have nothing in common.
func Topic(i int) (t envelope.Topic) {
	binary.BigEndian.PutUint32(t[:], uint32(i+1)*2654435761)
	return t
}
