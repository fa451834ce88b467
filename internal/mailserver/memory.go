package mailserver

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

// Bounds of what is remembered for Explain.
const (
	memoryEvents = 1 << 16 // refusals, and with ExplainSources acceptances
	memoryTime   = 24 * time.Hour
	reasonMost   = 200 // bytes of a reason
	sourceDigits = 8   // of a salted id

	servedPage  = 4096 // arrivals that share a page of counts
	servedPages = 1024 // pages of 8 KiB; beyond, counts of the oldest arrivals are forgotten
)

// memory holds for a day what was refused and, if wanted, who offered what. It is safe for concurrent use.
type memory struct {
	withSources bool
	rand        io.Reader

	mu     sync.Mutex
	ring   []sighting            // grows up to memoryEvents, then the oldest is replaced
	next   int                   // the oldest, when the ring is full
	latest map[envelope.Hash]int // where in the ring
	salt   []byte
	day    int64 // that salt is for
}

// sighting is an envelope that was refused or, without a reason, accepted.
type sighting struct {
	hash   envelope.Hash
	at     time.Time
	reason string
	from   string
}

func newMemory(o Options) *memory {
	m := &memory{withSources: o.ExplainSources, rand: o.Rand, latest: map[envelope.Hash]int{}}
	if m.rand == nil {
		m.rand = rand.Reader
	}
	return m
}

func (m *memory) refused(now time.Time, hash envelope.Hash, reason, source string) {
	if len(reason) > reasonMost {
		reason = strings.ToValidUTF8(reason[:reasonMost], "") + "…"
	}
	m.add(sighting{hash: hash, at: now, reason: reason}, source)
}

func (m *memory) accepted(now time.Time, hash envelope.Hash, source string) {
	if m.withSources {
		m.add(sighting{hash: hash, at: now}, source)
	}
}

func (m *memory) add(e sighting, source string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.withSources && source != "" {
		e.from = m.saltedID(e.at, source)
	}
	if i, ok := m.latest[e.hash]; ok {
		m.ring[i] = e
		return
	}
	if len(m.ring) < memoryEvents {
		m.latest[e.hash] = len(m.ring)
		m.ring = append(m.ring, e)
		return
	}
	delete(m.latest, m.ring[m.next].hash)
	m.ring[m.next] = e
	m.latest[e.hash] = m.next
	m.next = (m.next + 1) % memoryEvents
}

// saltedID names a source. The salt of a day is not kept, so that ids of different days cannot be told to be the same.
func (m *memory) saltedID(now time.Time, source string) string {
	if day := now.Unix() / secondsPerDay; day != m.day || m.salt == nil {
		salt := make([]byte, sha256.Size)
		if _, err := io.ReadFull(m.rand, salt); err != nil {
			return ""
		}
		m.salt, m.day = salt, day
	}
	sum := sha256.Sum256(append(slices.Clone(m.salt), source...))
	return hex.EncodeToString(sum[:sourceDigits/2])
}

// find returns what was last seen of an envelope, if that is not too long ago.
func (m *memory) find(now time.Time, hash envelope.Hash) (sighting, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.latest[hash]
	if !ok || now.Sub(m.ring[i].at) > memoryTime {
		return sighting{}, false
	}
	return m.ring[i], true
}

// served counts how often each arrival was sent. It is safe for concurrent use.
type served struct {
	mu    sync.Mutex
	pages map[uint64]*[servedPage]uint16
}

func (s *served) add(packets [][]archive.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range packets {
		for i := range p {
			s.count(p[i].Arrival)
		}
	}
}

func (s *served) count(arrival uint64) {
	page := s.pages[arrival/servedPage]
	if page == nil {
		page = s.newPage(arrival / servedPage)
	}
	if n := &page[arrival%servedPage]; *n < 1<<16-1 {
		*n++
	}
}

func (s *served) newPage(number uint64) *[servedPage]uint16 {
	if s.pages == nil {
		s.pages = map[uint64]*[servedPage]uint16{}
	}
	if len(s.pages) >= servedPages {
		oldest := number
		for n := range s.pages {
			oldest = min(oldest, n)
		}
		if oldest == number {
			return new([servedPage]uint16) // older than all: not kept
		}
		delete(s.pages, oldest)
	}
	page := new([servedPage]uint16)
	s.pages[number] = page
	return page
}

func (s *served) times(arrival uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := s.pages[arrival/servedPage]
	if page == nil {
		return 0
	}
	return uint64(page[arrival%servedPage])
}
