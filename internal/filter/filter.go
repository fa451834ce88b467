// Package filter matches envelopes with what local applications wait for: a
// key, topics, a signer, a least proof of work. What a filter's key opens is
// kept for it until it is polled, or pushed where it is a subscription.
//
// Start with New, then Add and Poll, or Subscribe; the relay calls Offer for
// every accepted envelope, and the node calls Expire now and then. Everything is
// bounded: filters, topics, messages and bytes that wait (the oldest go first,
// and are counted), and the time that a filter may stay unpolled. An envelope is
// decrypted at most once for each distinct key, however many filters share it.
//
// All methods are safe for concurrent use. Offer works in the caller's goroutine
// and never waits for a consumer.
package filter

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
)

// Bounds. Sizes are in bytes of plaintext plus messageOverhead each.
const (
	IdleLimit     = 300 * time.Second // a filter unpolled for longer is forgotten
	MaxFilters    = 1024              // filters and subscriptions together
	MaxTopics     = 1024              // of one filter
	MaxMessages   = 4096              // that wait for one filter
	MaxBytes      = 16 << 20          // that wait for one filter; its newest message always may
	MaxTotalBytes = 256 << 20         // that wait for all filters together
	MaxSeen       = 8192              // envelopes remembered by one filter against duplicates
	SeenLimit     = 2 * time.Hour     // and for how long: no pool keeps an envelope longer

	messageOverhead = 256 // what a waiting message costs besides its plaintext
)

// Criteria says which messages a filter wants. Exactly one of Sym and Private
// is set.
type Criteria struct {
	Sym         *message.SymKey     // opens symmetric messages
	Private     *message.PrivateKey // opens messages to its public key
	Topics      []envelope.Topic    // empty: any topic
	Signer      *message.PublicKey  // nil: any, also unsigned
	MinPoW      float64             // least proof of work; 0: any
	AllowDirect bool                // also take what a peer sent to us alone (mail server mail)
}

// Message is one opened envelope. Messages share their Opened: do not modify it.
type Message struct {
	Hash      envelope.Hash
	Topic     envelope.Topic
	TTL       uint32             // seconds, as in the envelope
	Sent      uint32             // Unix seconds, the sender's claim
	PoW       float64            // the value that the node's rules saw; for direct ones the plain formula's
	Direct    bool               // came from one peer for us alone, outside the gossip
	Recipient *message.PublicKey // nil for symmetric messages
	Opened    *message.Opened
}

func (m *Message) cost() int {
	return messageOverhead + len(m.Opened.Payload) + len(m.Opened.Padding)
}

// Interest is told which topics the filters want. The owner names one filter.
// Calls come from the goroutine that adds or removes the filter, never from
// Offer, and for one owner Want comes before Unwant.
type Interest interface {
	Want(owner string, topics []envelope.Topic) // nil topics: everything
	Unwant(owner string)
}

// Options configure a Set. The zero value is usable.
type Options struct {
	Now      func() time.Time // time.Now unless set
	Rand     io.Reader        // source of ids, crypto/rand unless set
	Interest Interest         // may be nil
}

// Stats are counts since the Set was made, and what it holds now.
type Stats struct {
	Filters       int
	Subscriptions int
	Waiting       int    // messages
	WaitingBytes  int64  //
	Tried         uint64 // decryptions attempted
	Opened        uint64 // decryptions that succeeded
	Delivered     uint64 // messages given to a filter
	Dropped       uint64 // messages dropped because nobody fetched them in time
	Expired       uint64 // filters forgotten because nobody polled them
}

// Set is the set of filters of one node.
type Set struct {
	now      func() time.Time
	rand     io.Reader
	interest Interest

	mu      sync.RWMutex
	entries map[string]*entry
	keys    map[string]*key
	// The slices below are replaced, never changed: Offer walks them unlocked.
	byTopic map[envelope.Topic][]*entry
	anyT    []*entry // filters for any topic
	serial  uint64   // gives entries their order

	waiting                                    atomic.Int64 // bytes
	tried, opened, delivered, dropped, expired atomic.Uint64
}

// New makes an empty set.
func New(o Options) *Set {
	s := &Set{
		now: o.Now, rand: o.Rand, interest: o.Interest,
		entries: make(map[string]*entry),
		keys:    make(map[string]*key),
		byTopic: make(map[envelope.Topic][]*entry),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.rand == nil {
		s.rand = rand.Reader
	}
	return s
}

// Add installs a filter that is polled, and returns its id: 64 lower-case hex
// digits, random. Kinds of error: Invalid for wrong criteria, Limit for too many
// topics or filters.
func (s *Set) Add(c Criteria) (string, error) {
	e, err := s.add(c, false)
	if err != nil {
		return "", err
	}
	return e.id, nil
}

// Poll returns the messages that came since the last poll, in the order of their
// arrival; nil if none. A message is returned once, also if its envelope is
// offered again. An unknown id is a NotFound error.
func (s *Set) Poll(id string) ([]Message, error) {
	s.mu.RLock()
	e := s.entries[id]
	s.mu.RUnlock()
	if e == nil || e.push {
		return nil, notFound("filter: poll")
	}
	return e.take(s), nil
}

// Dropped returns how many messages a filter lost because it was not polled in
// time.
func (s *Set) Dropped(id string) (uint64, error) {
	s.mu.RLock()
	e := s.entries[id]
	s.mu.RUnlock()
	if e == nil || e.push {
		return 0, notFound("filter: dropped")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dropped, nil
}

// Remove forgets a filter and what waits for it. An unknown id is a NotFound
// error.
func (s *Set) Remove(id string) error {
	s.mu.Lock()
	e := s.entries[id]
	if e == nil || e.push {
		s.mu.Unlock()
		return notFound("filter: remove")
	}
	s.unlink(e)
	s.mu.Unlock()
	s.forget(e)
	return nil
}

// Expire forgets the filters that nobody polled for IdleLimit before now, and
// what they remember against duplicates for longer than SeenLimit. It returns
// how many filters went. Subscriptions do not expire. Call it about every half
// minute.
func (s *Set) Expire(now time.Time) int {
	var idle []*entry
	s.mu.Lock()
	for _, e := range s.entries {
		if e.stale(now) {
			idle = append(idle, e)
			s.unlink(e)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(idle, bySerial)
	for _, e := range idle {
		s.forget(e)
	}
	s.expired.Add(uint64(len(idle)))
	return len(idle)
}

// Stats returns a snapshot.
func (s *Set) Stats() Stats {
	st := Stats{
		WaitingBytes: s.waiting.Load(),
		Tried:        s.tried.Load(), Opened: s.opened.Load(),
		Delivered: s.delivered.Load(), Dropped: s.dropped.Load(), Expired: s.expired.Load(),
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.entries {
		if e.push {
			st.Subscriptions++
		} else {
			st.Filters++
		}
		e.mu.Lock()
		st.Waiting += e.queue.len()
		e.mu.Unlock()
	}
	return st
}

func (s *Set) add(c Criteria, push bool) (*entry, error) {
	const op = "filter: add"
	if err := check(op, &c); err != nil {
		return nil, err
	}
	c.Topics = unique(c.Topics)
	var id [32]byte
	if _, err := io.ReadFull(s.rand, id[:]); err != nil {
		return nil, fault.E(op, fault.Internal, err, "no random numbers for the filter's id")
	}
	e := &entry{
		id: hex.EncodeToString(id[:]), want: c, push: push,
		signal: make(chan struct{}, 1), polled: s.now(),
	}
	s.mu.Lock()
	if len(s.entries) >= MaxFilters {
		s.mu.Unlock()
		return nil, fault.Errorf(op, fault.Limit,
			"there are %d filters and subscriptions already, the most that are allowed; remove one that is not needed", MaxFilters)
	}
	s.link(e)
	s.mu.Unlock()
	if s.interest != nil {
		s.interest.Want(e.owner(), c.Topics)
	}
	return e, nil
}

func check(op string, c *Criteria) error {
	switch {
	case (c.Sym == nil) == (c.Private == nil):
		return fault.E(op, fault.Invalid, nil, "specify either a symmetric or an asymmetric key")
	case math.IsNaN(c.MinPoW):
		return fault.E(op, fault.Invalid, nil, "the least proof of work is not a number")
	case len(c.Topics) > MaxTopics:
		return fault.Errorf(op, fault.Limit, "a filter may name at most %d topics, not %d", MaxTopics, len(c.Topics))
	}
	return nil
}

// link enters e into the index. The caller holds s.mu.
func (s *Set) link(e *entry) {
	s.serial++
	e.serial = s.serial
	name := keyName(&e.want)
	k := s.keys[name]
	if k == nil {
		k = newKey(name, &e.want)
		s.keys[name] = k
	}
	k.users++
	e.key = k
	s.entries[e.id] = e
	if len(e.want.Topics) == 0 {
		s.anyT = append(slices.Clip(s.anyT), e)
	}
	for _, t := range e.want.Topics {
		s.byTopic[t] = append(slices.Clip(s.byTopic[t]), e)
	}
}

// unlink is the reverse of link. The caller holds s.mu.
func (s *Set) unlink(e *entry) {
	delete(s.entries, e.id)
	if e.key.users--; e.key.users == 0 {
		delete(s.keys, e.key.name)
	}
	if len(e.want.Topics) == 0 {
		s.anyT = without(s.anyT, e)
	}
	for _, t := range e.want.Topics {
		if rest := without(s.byTopic[t], e); len(rest) > 0 {
			s.byTopic[t] = rest
		} else {
			delete(s.byTopic, t)
		}
	}
}

// forget ends an unlinked entry; s.mu is not held.
func (s *Set) forget(e *entry) {
	e.end(s)
	if s.interest != nil {
		s.interest.Unwant(e.owner())
	}
}

func bySerial(a, b *entry) int {
	if a.serial < b.serial {
		return -1
	}
	return 1
}

func without(list []*entry, e *entry) []*entry {
	rest := make([]*entry, 0, len(list))
	for _, x := range list {
		if x != e {
			rest = append(rest, x)
		}
	}
	return rest
}

func unique(topics []envelope.Topic) []envelope.Topic {
	if len(topics) == 0 {
		return nil
	}
	seen := make(map[envelope.Topic]bool, len(topics))
	out := make([]envelope.Topic, 0, len(topics))
	for _, t := range topics {
		if !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	return out
}

func notFound(op string) error {
	return fault.E(op, fault.NotFound, nil, "filter not found")
}
