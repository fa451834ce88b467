package filter

import (
	"sync"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/message"
)

// key is one distinct decryption key, shared by the entries that use it.
type key struct {
	name      string
	users     int // entries; guarded by Set.mu
	sym       *message.SymKey
	private   *message.PrivateKey
	recipient *message.PublicKey
}

func newKey(name string, c *Criteria) *key {
	k := &key{name: name, sym: c.Sym, private: c.Private}
	if c.Private != nil {
		pub := c.Private.Public()
		k.recipient = &pub
	}
	return k
}

// keyName tells keys apart without holding them.
func keyName(c *Criteria) string {
	if c.Sym != nil {
		id := c.Sym.ID()
		return "sym" + string(id[:])
	}
	pub := c.Private.Public()
	return "pub" + string(pub[:])
}

// open returns what the key makes of data, or nil.
func (k *key) open(data []byte) *message.Opened {
	var o *message.Opened
	var err error
	if k.sym != nil {
		o, err = message.OpenSymmetric(*k.sym, data)
	} else {
		o, err = message.OpenAsymmetric(k.private, data)
	}
	if err != nil {
		return nil // not for this key: the usual case, nothing to report
	}
	return o
}

// entry is one filter or subscription.
type entry struct {
	id     string
	serial uint64
	want   Criteria
	key    *key
	push   bool          // a subscription: not polled, does not expire
	signal chan struct{} // capacity 1: something waits

	mu      sync.Mutex
	ended   bool
	polled  time.Time
	queue   fifo[Message]
	bytes   int // cost of queue
	dropped uint64
	seen    map[envelope.Hash]struct{}
	order   fifo[sighting] // of seen, oldest first
}

type sighting struct {
	hash envelope.Hash
	at   time.Time
}

func (e *entry) owner() string { return "filter:" + e.id }

// eligible reports whether the envelope could be for e, by all that shows
// without opening it.
func (e *entry) eligible(hash envelope.Hash, pow float64, direct bool) bool {
	if direct && !e.want.AllowDirect || pow < e.want.MinPoW {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_, known := e.seen[hash]
	return !known && !e.ended
}

func (e *entry) signedAsWanted(o *message.Opened) bool {
	return e.want.Signer == nil || o.Signed && o.Signer == *e.want.Signer
}

// put stores m unless e has it already, and drops the oldest where bounds ask.
func (e *entry) put(s *Set, m Message, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.seen[m.Hash]; known || e.ended {
		return
	}
	e.remember(m.Hash, now)
	e.queue.push(m)
	e.account(s, m.cost())
	s.delivered.Add(1)
	for e.queue.len() > 1 && (e.queue.len() > MaxMessages || e.bytes > MaxBytes) ||
		e.queue.len() > 0 && s.waiting.Load() > MaxTotalBytes {
		old := e.queue.pop()
		e.account(s, -old.cost())
		e.dropped++
		s.dropped.Add(1)
	}
	select {
	case e.signal <- struct{}{}:
	default:
	}
}

func (e *entry) remember(h envelope.Hash, now time.Time) {
	if e.seen == nil {
		e.seen = make(map[envelope.Hash]struct{})
	}
	if e.order.len() >= MaxSeen {
		delete(e.seen, e.order.pop().hash)
	}
	e.seen[h] = struct{}{}
	e.order.push(sighting{h, now})
}

func (e *entry) account(s *Set, bytes int) {
	e.bytes += bytes
	s.waiting.Add(int64(bytes))
}

// take empties the queue.
func (e *entry) take(s *Set) []Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.polled = s.now()
	list := e.queue.drain()
	e.account(s, -e.bytes)
	return list
}

// end drops all that e holds, and takes nothing more.
func (e *entry) end(s *Set) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	e.queue.drain()
	e.account(s, -e.bytes)
	e.seen, e.order = nil, fifo[sighting]{}
}

// stale forgets old sightings and reports whether e itself is to be forgotten.
func (e *entry) stale(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.order.len() > 0 && now.Sub(e.order.first().at) > SeenLimit {
		delete(e.seen, e.order.pop().hash)
	}
	return !e.push && now.Sub(e.polled) > IdleLimit
}

// fifo is a queue whose pop costs nothing and whose memory follows its length.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int  { return len(f.items) - f.head }
func (f *fifo[T]) first() *T { return &f.items[f.head] }
func (f *fifo[T]) push(v T)  { f.items = append(f.items, v) }

func (f *fifo[T]) pop() T {
	var zero T
	v := f.items[f.head]
	f.items[f.head] = zero
	if f.head++; f.head > len(f.items)/2 {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	return v
}

// drain empties f and returns its values in order, nil if none.
func (f *fifo[T]) drain() []T {
	if f.len() == 0 {
		return nil
	}
	list := f.items[f.head:]
	*f = fifo[T]{}
	return list
}
