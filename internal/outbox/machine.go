package outbox

import (
	"cmp"
	"container/heap"
	"crypto/rand"
	"io"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Bounds of a Machine.
const (
	MaxOpen     = 10_000   // letters that are not done
	MaxBytes    = 64 << 20 // of their payloads
	MaxDone     = 10_000   // letters that are done; beyond, the oldest are forgotten
	MaxAttempts = 16       // envelopes of one letter that are remembered, the last ones
	MaxHashes   = 128      // of one AskHeld
	MaxHolders  = 8        // servers asked about one letter, and remembered to hold it

	DefaultHolders = 2
	DefaultSeals   = 2

	maxPosts = 16
)

// How long is waited.
const (
	sealWait = 30 * time.Minute // for Sealed, Posted and HeldAnswer: then it counts as failed
	postWait = time.Minute
	heldWait = time.Minute

	newServerWait = 2 * time.Second // until a server that has come is asked
	clockJump     = time.Minute     // by which the clock may go backwards without much ado
	settleAfter   = time.Hour       // since the first server held a letter, more are looked for

	repostFrom = 4 // steps: by then mail servers have had more than a minute
)

// backOff returns the wait before a letter is looked at again, by how many waits there were before: asked for after 2 s,
// 5 s, 15 s, …, and from the fourth on also posted again.
func backOff(step int) time.Duration {
	table := [...]time.Duration{
		2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour,
	}
	return table[min(step, len(table)-1)]
}

// Config is how a Machine works.
type Config struct {
	Holders int                      // mail servers that should hold a letter, up to MaxHolders; 0 means DefaultHolders
	Seals   int                      // letters sealed at a time; 0 means DefaultSeals
	Rand    io.Reader                // for the IDs of letters that have none; nil means the system's generator
	Name    func(nodeaddr.ID) string // what people call a mail server; nil: sentences only count them
}

// Machine is what a user has sent. Make it with New.
type Machine struct {
	cfg     Config
	now     time.Time // of the last Step
	letters map[string]*letter
	order   []*letter // by seq
	lastSeq uint64
	byHash  map[envelope.Hash]*letter
	due     agenda

	open, done int
	openBytes  int

	sealQueue, postQueue queue
	seals                map[uint64]*letter // under way
	lastSeal             uint64
	posts                map[envelope.Hash]*letter // under way

	list  []nodeaddr.ID // servers that can be asked
	known int           // servers; below 0 while nobody has said
	asks  map[nodeaddr.ID]*asking

	actions []Action
}

type phase uint8

const (
	waiting phase = iota // until next
	toSeal               // in the queue
	sealing              // until Sealed, or next
	toPost
	posting
	settled // done, or waiting for the end of its hold
)

// letter is an entry and what is being done about it.
type letter struct {
	Entry
	seq       uint64
	digestOf  envelope.Hash // of the content
	env       *envelope.Envelope
	phase     phase
	step      int       // waits so far
	later     time.Time // when the wait ends in which servers are asked once before; zero for no such wait
	again     bool      // to be posted at the next look, although it was: our node has lost it
	seal      uint64    // of phase sealing
	next      time.Time
	index     int // in Machine.due; -1: not there
	heldSince time.Time
	asked     map[nodeaddr.ID]bool // a question about it waits or is under way
}

// New makes a machine of the letters that were stored with Save; they go on with the first Step. Records that cannot be read are
// skipped and reported: Corrupt, or Invalid when a newer version wrote them.
func New(cfg Config, records [][]byte) (*Machine, []error) {
	cfg.Holders = min(max(cmp.Or(cfg.Holders, DefaultHolders), 1), MaxHolders)
	cfg.Seals = max(cmp.Or(cfg.Seals, DefaultSeals), 1)
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	m := &Machine{
		cfg: cfg, known: -1, letters: map[string]*letter{}, byHash: map[envelope.Hash]*letter{},
		seals: map[uint64]*letter{}, posts: map[envelope.Hash]*letter{}, asks: map[nodeaddr.ID]*asking{},
	}
	var errs []error
	var list []*letter
	for _, r := range records {
		l, err := parseRecord(r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *letter) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	for _, l := range list {
		if m.letters[l.ID] != nil {
			continue
		}
		m.take(l)
		if l.Done {
			l.phase = settled
			m.awaitEnd(l)
			continue
		}
		l.again = true
		m.schedule(l, m.now)
	}
	return m, errs
}

// take puts a letter into all indexes.
func (m *Machine) take(l *letter) {
	m.lastSeq++
	l.seq, l.index = m.lastSeq, -1
	m.letters[l.ID] = l
	m.order = append(m.order, l)
	for _, a := range l.Attempts {
		m.byHash[a.Hash] = l
	}
	if l.Done {
		m.done++
	} else {
		m.open++
		m.openBytes += l.Size
	}
}

// Send takes a letter on and returns how it stands. Of a letter whose ID is known nothing is done again. Faults: Invalid and
// Limit for the letter, Limit when too much is open, Exists when another letter has its ID.
func (m *Machine) Send(now time.Time, spec Letter) (Entry, []Action, error) {
	m.begin(now)
	digest := spec.digest()
	if l := m.letters[spec.ID]; l != nil {
		if l.digestOf != digest {
			return Entry{}, nil, fault.E(letterOp, fault.Exists, nil, "another letter has this id: choose a new one, or none")
		}
		return m.entry(l), nil, nil
	}
	spec, err := spec.checked(m.cfg.Rand, m.now)
	if err != nil {
		return Entry{}, nil, err
	}
	if m.letters[spec.ID] != nil {
		return Entry{}, nil, fault.E(letterOp, fault.Internal, nil, "the random numbers repeat themselves")
	}
	if m.open >= MaxOpen || m.openBytes+len(spec.Payload) > MaxBytes {
		return Entry{}, nil, fault.Errorf(letterOp, fault.Limit,
			"%d letters with %d bytes are under way, and no more fit: wait until some are held, or give some up", m.open, m.openBytes)
	}
	l := &letter{Entry: Entry{Letter: spec, Size: len(spec.Payload), Created: m.now, Changed: m.now}, digestOf: digest}
	m.take(l)
	m.save(l)
	m.enqueue(l)
	m.tell(l)
	return m.entry(l), m.end(), nil
}

// Step takes what happened and returns what to do about it. The slice is the caller's.
func (m *Machine) Step(now time.Time, ev Event) []Action {
	m.begin(now)
	switch ev := ev.(type) {
	case Sealed:
		m.sealed(ev)
	case Posted:
		m.posted(ev)
	case Accepted:
		m.accepted(ev)
	case HeldAnswer:
		m.heldAnswer(ev)
	case Seen:
		for _, h := range ev.Hashes {
			m.holds(h, Holder{Server: ev.Server, Confirmed: m.now, How: HowSeen})
		}
	case Servers:
		m.servers(ev)
	case Online:
		m.online()
	case GiveUp:
		if l := m.letters[ev.ID]; l != nil && !l.Done {
			m.giveUp(l)
		}
	case Forget:
		if l := m.letters[ev.ID]; l != nil {
			m.forget(l)
		}
	}
	return m.end()
}

func (m *Machine) begin(now time.Time) {
	m.actions = nil
	now = now.UTC().Round(0)
	back := m.now.Sub(now)
	if back > 0 && back < clockJump {
		return
	}
	m.now = now
	if back > 0 {
		m.rewind()
	}
}

// rewind begins all waits anew after the clock was set back, which would make them last for as long.
func (m *Machine) rewind() {
	for _, l := range m.order {
		switch l.phase {
		case waiting:
			m.schedule(l, m.now)
		case sealing, posting:
			m.schedule(l, m.now.Add(sealWait))
		}
	}
	for _, a := range m.asks {
		a.until = m.now.Add(heldWait)
	}
}

// end does what is due and what there is room for.
func (m *Machine) end() []Action {
	for len(m.due) > 0 && !m.due[0].next.After(m.now) {
		l := m.due[0]
		heap.Pop(&m.due)
		m.dueNow(l)
	}
	m.expireAsks()
	m.pump()
	return m.actions
}

func (m *Machine) do(a Action) { m.actions = append(m.actions, a) }

// Deadline returns when a Tick is due, if nothing else happens before; false for not at all.
func (m *Machine) Deadline() (time.Time, bool) {
	var next time.Time
	if len(m.due) > 0 {
		next = m.due[0].next
	}
	for _, a := range m.asks {
		if a.open != nil && (next.IsZero() || a.until.Before(next)) {
			next = a.until
		}
	}
	return next, !next.IsZero()
}

// Find returns a letter as of the last Step; false where there is none of this id.
func (m *Machine) Find(id string) (Entry, bool) {
	l := m.letters[id]
	if l == nil {
		return Entry{}, false
	}
	return m.entry(l), true
}

// FindHash returns the ID of the letter that an envelope carries; false where it is none of ours.
func (m *Machine) FindHash(h envelope.Hash) (id string, ok bool) {
	l := m.byHash[h]
	if l == nil {
		return "", false
	}
	return l.ID, true
}

// List returns letters in the order in which they were taken on, from the one behind the id after on ("" or unknown: the
// first), at most limit.
func (m *Machine) List(after string, limit int) []Entry {
	start := 0
	if l := m.letters[after]; l != nil {
		start = m.place(l) + 1
	}
	part := m.order[start:min(start+max(limit, 0), len(m.order))]
	list := make([]Entry, len(part))
	for i, l := range part {
		list[i] = m.entry(l)
	}
	return list
}

func (m *Machine) place(l *letter) int {
	i, _ := slices.BinarySearchFunc(m.order, l.seq, func(l *letter, seq uint64) int { return cmp.Compare(l.seq, seq) })
	return i
}

// Open returns how many letters are not done.
func (m *Machine) Open() int { return m.open }

// entry is a copy for others.
func (m *Machine) entry(l *letter) Entry {
	e := l.Entry
	e.Holders, e.Attempts = slices.Clone(e.Holders), slices.Clone(e.Attempts)
	if l.phase == waiting {
		e.Next = l.next
	}
	e.Text = m.text(l)
	return e
}
