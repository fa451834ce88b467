package gossip

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

const never = time.Duration(math.MaxInt64)

// Machine is the gossip engine. Make it with New.
type Machine struct {
	cfg     Config
	rand    *rand.Rand
	started bool
	last    time.Time     // the time of the last Step
	mono    time.Duration // time passed since the first Step, which never goes back
	net     int64         // the network's time now, in Unix seconds

	conns    map[Conn]*conn
	links    []*link // in the order in which they joined
	slots    slots
	idle     int           // links that have seen the whole log
	unsettle bool          // links must be looked at
	wake     time.Duration // when the next link is due
	early    time.Duration // links are due so much before their time, in this Step

	pool       *pool
	seq        uint64
	remembered remembered
	pending    []*pendingPost // by release time
	retries    [retryLevels][]retry
	tickets    []*ticket // open, by time

	maxSize  int
	minPoW   float64
	oldPoW   float64 // tolerated until oldUntil
	oldUntil time.Duration
	strictAt time.Duration // from then on a breach of minPoW or the filter is the peer's fault
	interest interest
	rules    envelope.Rules

	sources *sources
	clock   clock
	budget  relayBudget
	stats   Stats

	actions  []Action
	scratch  []*envelope.Envelope
	lastList []*envelope.Envelope // of the last Send of this Step
}

// New makes a Machine that has no links.
func New(cfg Config) *Machine {
	cfg = cfg.withDefaults()
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], cfg.Seed)
	m := &Machine{
		cfg:      cfg,
		rand:     rand.New(rand.NewChaCha8(seed)),
		conns:    make(map[Conn]*conn),
		wake:     never,
		maxSize:  cfg.MaxSize,
		minPoW:   cfg.MinPoW,
		oldPoW:   cfg.MinPoW,
		interest: newInterest(cfg),
		sources:  newSources(),
		budget:   relayBudget{Relayed: cfg.Relayed},
	}
	m.remembered.hashes = make(map[envelope.Hash]sinkState)
	m.pool = newPool(m.moved)
	m.applyRules()
	return m
}

// Step takes what happened and returns what to do about it. The slice is valid until the next Step.
func (m *Machine) Step(now time.Time, ev Event) []Action {
	clear(m.actions)
	m.actions, m.lastList = m.actions[:0], nil
	m.observe(now)
	m.advance()
	switch ev := ev.(type) {
	case Received:
		m.received(&ev)
	case Drained:
		m.drained(ev)
	case Joined:
		m.joined(ev)
	case Left:
		m.left(ev)
	case Required:
		m.required(ev)
	case Post:
		m.post(ev)
	case Resolved:
		m.resolved(ev)
	case Confirmed:
		m.confirmed(ev)
	case Wanted:
		m.wanted(ev)
	case Unwanted:
		m.unwanted(ev)
	case SetMinPoW:
		m.setMinPoW(ev.MinPoW)
	case SetBloom:
		m.setBloom(ev.Bloom)
	case Tune:
		m.tune(ev)
	case SetMaxSize:
		m.setMaxSize(ev.Bytes)
	}
	if m.early = 0; isPacket(ev) {
		m.early = m.cfg.Coalesce * 2 / 5
	}
	if m.unsettle || m.mono+m.early >= m.wake {
		m.settle()
	}
	return m.actions
}

// isPacket reports whether we are awake anyway, for a packet. Links that are due soon are served then: waking up for each
// by the clock costs more than a packet that is less full.
func isPacket(ev Event) bool {
	_, ok := ev.(Received)
	return ok
}

func (m *Machine) do(a Action) { m.actions = append(m.actions, a) }

// advance does what has become due by time alone, but for the links.
func (m *Machine) advance() {
	if m.oldUntil != 0 && m.mono >= m.oldUntil {
		m.endAllowance()
	}
	if m.clock.due(m.mono) {
		m.judgeClock()
	}
	m.turnDay()
	m.net = m.networkSecond()
	if m.pool.swept != m.net {
		m.pool.sweep(m.net, m.expire)
	}
	m.releasePosts()
	m.expireTickets()
	m.retryNow()
	if at := m.interest.shrinkAt; at != 0 && m.mono >= at {
		m.shrinkBloom()
	}
}

// Deadline returns when a Tick is due, if nothing else happens before. There may be nothing to do then; there is nothing
// to do before.
func (m *Machine) Deadline() (time.Time, bool) {
	at := m.wake
	if second, ok := m.pool.nextSweep(); ok {
		wait := time.Unix(second, 0).Sub(m.last) - m.clock.offset
		at = min(at, m.mono+max(wait, 0))
	}
	if len(m.pending) > 0 {
		at = min(at, m.pending[0].at)
	}
	at = min(at, m.nextRetry())
	if m.interest.shrinkAt != 0 {
		at = min(at, m.interest.shrinkAt)
	}
	at = min(at, m.clock.nextJudgement(), m.nextDay())
	if at == never {
		return time.Time{}, false
	}
	return m.last.Add(max(at-m.mono, 0)), true
}

// Requirement returns what we tell peers when they connect: the least proof of work that we accept and our filter (nil
// for every topic), as of the last Step.
func (m *Machine) Requirement() (minPoW float64, bloom *envelope.Bloom) {
	return m.minPoW, m.interest.current
}

// MaxSize returns the size of the largest envelope that we accept.
func (m *Machine) MaxSize() int { return m.maxSize }

// expire is called for each entry whose time in the pool is over.
func (m *Machine) expire(e *entry) {
	m.countUnsent(e)
	m.stats.Expired++
	m.forget(e)
}

// forget removes an entry, and remembers its hash if it could come back: because it is still alive, or because it may be so
// again by another opinion of the time.
func (m *Machine) forget(e *entry) {
	until := int64(e.env.Expiry())
	if m.clock.inDoubt(m.mono) {
		until = max(until, m.net) + int64(doubtLife.Seconds())
	}
	if until >= m.net {
		m.remembered.add(e.env.Hash(), until, e.sink, m.net)
	}
	m.pool.remove(e)
}

// remembered is what is known of envelopes that are not pooled any more and may yet come again: evicted ones, and those
// that live longer than the pool keeps them. The oldest are given up first.
type remembered struct {
	hashes map[envelope.Hash]sinkState
	order  []rememberedHash // a queue
	first  int
}

type rememberedHash struct {
	hash  envelope.Hash
	until int64 // network second
}

func (r *remembered) add(h envelope.Hash, until int64, s sinkState, now int64) {
	if _, ok := r.hashes[h]; !ok {
		r.order = append(r.order, rememberedHash{h, until})
	}
	r.hashes[h] = s
	for r.first < len(r.order) && (len(r.hashes) > maxRemembered || r.order[r.first].until < now) {
		delete(r.hashes, r.order[r.first].hash)
		r.first++
	}
	if r.first > len(r.order)/2 {
		r.order = r.order[:copy(r.order, r.order[r.first:])]
		r.first = 0
	}
}
