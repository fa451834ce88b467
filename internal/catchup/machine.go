package catchup

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// What a machine holds at most.
const (
	maxQueue   = 64    // Syncs that wait
	maxMissing = 65536 // envelopes that are remembered as missing
	maxOpen    = 256   // jobs to go on with
)

const overlapDefault = 2*time.Hour + 5*time.Minute

// Machine catches up. Make it with New.
type Machine struct {
	config Config
	rng    *rand.Rand
	now    time.Time

	book     *coverage.Book
	wants    []coverage.Want // by rank, then topic
	want     map[envelope.Topic]coverage.Want
	wantedAt map[envelope.Topic]uint32 // of those that were added since New
	why      map[envelope.Topic]coverage.Cause
	missing  map[envelope.Hash]coverage.Missing
	open     []openFetch // ascending by ID

	servers map[nodeaddr.ID]*server
	choices []directory.Choice
	online  time.Time // since when without a break; zero for not

	round    *round
	queue    []Sync
	wake     time.Time // when a round starts by itself; zero for no plan
	failures int       // rounds in a row
	last     Report
	lastEnd  time.Time
	lastGood time.Time

	asks, lookups, commits, opens uint64 // the last numbers used
	looking                       map[uint64]looking
	pending                       map[uint64]*pending
	actions                       []Action
}

// New makes a machine of what is stored. It begins with the first Step, and with a round as soon as there are candidates.
func New(c Config) *Machine {
	if c.Overlap == 0 {
		c.Overlap = overlapDefault
	}
	m := &Machine{config: c, rng: rand.New(rand.NewPCG(c.Seed, 0)), book: coverage.NewBook(c.Claims),
		wantedAt: map[envelope.Topic]uint32{}, why: map[envelope.Topic]coverage.Cause{},
		missing: map[envelope.Hash]coverage.Missing{}, servers: map[nodeaddr.ID]*server{},
		looking: map[uint64]looking{}, pending: map[uint64]*pending{}}
	for _, x := range c.Missing {
		m.missing[x.Hash] = x
	}
	for _, o := range c.Open {
		m.putOpen(o)
		m.opens = max(m.opens, o.ID)
	}
	m.setWants(c.Wants)
	m.config.Wants, m.config.Claims, m.config.Missing, m.config.Open = nil, nil, nil, nil
	return m
}

// Step takes what happened and returns what to do about it. The slice is valid until the next Step.
func (m *Machine) Step(now time.Time, ev Event) []Action {
	clear(m.actions)
	m.actions = m.actions[:0]
	if m.now.IsZero() {
		m.wake = now // the start is a reason to ask
	}
	m.now = now
	m.take(ev)
	m.tick()
	for m.advance() {
	}
	m.connections()
	return m.actions
}

func (m *Machine) do(a Action) { m.actions = append(m.actions, a) }

func (m *Machine) take(ev Event) {
	switch ev := ev.(type) {
	case Wanted:
		m.wanted(ev.List)
	case Candidates:
		m.candidates(ev.List)
	case Up:
		m.up(ev.Server, ev.Caps)
	case Down:
		m.down(ev.Server, ev.Err)
	case Sync:
		m.sync(ev)
	case Stop:
		m.stop(ev.ID)
	case Answered:
		m.answered(ev)
	case Looked:
		m.looked(ev)
	case Kept:
		m.kept(ev)
	case Online:
		m.cameOnline()
	case Live:
		m.cameLive(ev.Topics)
	case Tune:
		m.config.MaxBytes, m.config.Alone = ev.MaxBytes, ev.Alone
	}
}

// advance does one thing that can be done now, and reports whether it did.
func (m *Machine) advance() bool {
	if m.round == nil {
		return m.begin()
	}
	return m.drop() || m.endHedge() || m.assign() || m.drive() || m.finish()
}

// Deadline returns when a Tick is due, if nothing else happens before; false for not at all.
func (m *Machine) Deadline() (time.Time, bool) {
	var at time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && t.After(m.now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if m.round != nil {
		m.round.deadlines(m, sooner)
	} else if m.startable() {
		sooner(m.wake)
	}
	return at, !at.IsZero()
}

// wanted replaces what is waited for.
func (m *Machine) wanted(list []coverage.Want) {
	before := m.want
	m.setWants(list)
	for _, w := range m.wants {
		old, ok := before[w.Topic]
		if !ok {
			m.wantedAt[w.Topic] = m.second()
		}
		if !ok || w.Since < old.Since {
			m.ask()
		}
	}
	m.forget()
}

func (m *Machine) setWants(list []coverage.Want) {
	m.want = make(map[envelope.Topic]coverage.Want, len(list))
	for _, w := range list {
		m.want[w.Topic] = w
	}
	m.wants = m.wants[:0:0]
	for _, w := range m.want {
		m.wants = append(m.wants, w)
	}
	slices.SortFunc(m.wants, func(a, b coverage.Want) int { return compareWants(a.Rank, b.Rank, a.Topic, b.Topic) })
}

// forget drops what is known about topics that nobody waits for any more: who wants one again later, wants its mail again.
func (m *Machine) forget() {
	var c Commit
	for _, t := range m.book.Topics() {
		if _, ok := m.want[t]; !ok {
			c.Claims = append(c.Claims, m.book.Drop(t)...)
		}
	}
	for t := range m.wantedAt {
		if _, ok := m.want[t]; !ok {
			delete(m.wantedAt, t)
			delete(m.why, t)
		}
	}
	for _, o := range m.open {
		if len(m.stillWanted(o.Topics)) < len(o.Topics) {
			c.Closed = append(c.Closed, o.ID)
		}
	}
	c.Found = m.missingHashes(func(x *coverage.Missing) bool { return len(x.Topics) > 0 && len(m.stillWanted(x.Topics)) == 0 })
	if len(c.Claims)+len(c.Closed)+len(c.Found) > 0 {
		m.commit(nil, c)
	}
	if m.round == nil {
		return
	}
	for _, l := range m.round.lanes {
		if l.job == nil {
			continue
		}
		for _, t := range l.job.topics {
			if _, ok := m.want[t]; ok {
				continue
			}
			if l.job.givenUp == nil {
				l.job.givenUp = map[envelope.Topic]bool{}
			}
			l.job.givenUp[t] = true
		}
	}
}

func (m *Machine) stillWanted(topics []envelope.Topic) []envelope.Topic {
	var list []envelope.Topic
	for _, t := range topics {
		if _, ok := m.want[t]; ok {
			list = append(list, t)
		}
	}
	return list
}

// second is the present time as envelopes have it.
func (m *Machine) second() uint32 { return second(m.now) }

func second(t time.Time) uint32 { return uint32(min(max(t.Unix(), 0), 1<<32-1)) }
