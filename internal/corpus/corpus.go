// Package corpus makes the envelopes that archives are measured and tested with: sealed messages on many topics,
// spread over a span of time, in the order in which gossip would bring them. It is a helper of tests and benchmarks.
//
// Start with New; then All streams the envelopes, WriteTo makes a file of them and NewReader reads one back. A file is
// the plain concatenation of the envelopes' RLP.
//
// A corpus is a function of its Config: the same on every machine, and each envelope is made without making those before
// it. A Corpus never changes and may be shared freely.
package corpus

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
)

// Bounds of a Config. Beyond them a mistake is likelier than a wish.
const (
	MaxCount   = 1 << 30
	MaxPayload = 1 << 20
	MaxTopics  = 1 << 20
	MaxPoW     = 10
)

// Config says what a corpus is like.
type Config struct {
	Seed    uint64
	Count   int           // envelopes, at most MaxCount
	Payload int           // bytes sealed in each, at most MaxPayload: 512 makes 814 bytes of RLP, 2048 makes 2,350
	Topics  int           // how many there are, 1 to MaxTopics; each has a symmetric key of its own
	Zipf    bool          // the n-th topic has 1/n of the first one's envelopes; otherwise all have about as many
	From    time.Time     // when the first arrives
	Span    time.Duration // from then to the last
	Jitter  time.Duration // an envelope was sent up to so much before it arrives, so that sent times are out of order
	PoW     float64       // mined for each, 0 to MaxPoW; 0 saves half of the time where nobody checks it
	TTL     uint32        // seconds, at least 1
}

// Baseline is the corpus that figures in docs/performance.md speak of: so many messages of 512 bytes on 1,000 topics that
// ended at a given time after a span.
func Baseline(count int, end time.Time, span time.Duration) Config {
	return Config{
		Seed: 1, Count: count, Payload: 512, Topics: 1000,
		From: end.Add(-span), Span: span, Jitter: 5 * time.Second, PoW: 0.002, TTL: 10,
	}
}

// Corpus is a sequence of envelopes in the order of their arrival.
type Corpus struct {
	c      Config
	topics []envelope.Topic
	keys   []message.SymKey
	shares []float64 // Zipf: the sum of the weights up to each topic
}

// New makes a corpus, without any envelope yet. A Config out of bounds is an Invalid fault.
func New(c Config) (*Corpus, error) {
	const op = "corpus: make"
	for _, bad := range []struct {
		is   bool
		text string
	}{
		{c.Count < 0 || c.Count > MaxCount, "the count of envelopes is out of bounds"},
		{c.Payload < 0 || c.Payload > MaxPayload, "the payload is out of bounds"},
		{c.Topics < 1 || c.Topics > MaxTopics, "the number of topics is out of bounds"},
		{c.Span < 0 || c.Jitter < 0, "the span and the jitter must not be negative"},
		{!(c.PoW >= 0 && c.PoW <= MaxPoW), "the PoW is out of bounds"},
		{c.TTL < 1, "the TTL is at least 1 s"},
	} {
		if bad.is {
			return nil, fault.E(op, fault.Invalid, nil, bad.text)
		}
	}
	k := &Corpus{c: c}
	r := k.random(purposeTopics, 0)
	seen := map[envelope.Topic]bool{}
	var sum float64
	for len(k.topics) < c.Topics {
		var t envelope.Topic
		var key [message.SymKeySize]byte
		fill(r, t[:])
		fill(r, key[:])
		if seen[t] {
			continue
		}
		seen[t] = true
		sym, err := message.NewSymKey(key[:])
		if err != nil {
			return nil, err
		}
		k.topics, k.keys = append(k.topics, t), append(k.keys, sym)
		sum += 1 / float64(len(k.topics))
		k.shares = append(k.shares, sum)
	}
	return k, nil
}

// Len is the number of envelopes.
func (k *Corpus) Len() int { return k.c.Count }

// Topics returns the topics; with Zipf the busiest come first.
func (k *Corpus) Topics() []envelope.Topic { return slices.Clone(k.topics) }

// Key returns the symmetric key of the n-th topic.
func (k *Corpus) Key(n int) message.SymKey { return k.keys[n] }

// Arrives says when the i-th envelope arrives, by the clock of the corpus.
func (k *Corpus) Arrives(i int) time.Time {
	return k.c.From.Add(time.Duration(float64(k.c.Span) * float64(i) / float64(max(k.c.Count-1, 1))))
}

// At makes the i-th envelope.
func (k *Corpus) At(i int) *envelope.Envelope {
	r := k.random(purposeEnvelope, uint64(i))
	n := k.draw(r)
	late := time.Duration(rand.New(r).Int64N(int64(k.c.Jitter) + 1))
	payload := make([]byte, k.c.Payload)
	fill(r, payload)
	data, err := message.SealSymmetric(k.keys[n], message.Plain{Payload: payload}, r)
	if err == nil {
		var e *envelope.Envelope
		sent := uint32(k.Arrives(i).Add(-late).Unix())
		d := envelope.Draft{Expiry: sent + k.c.TTL, TTL: k.c.TTL, Topic: k.topics[n], Data: data}
		if e, err = envelope.Seal(context.Background(), d, k.c.PoW, 1); err == nil {
			return e
		}
	}
	panic("corpus: a checked Config cannot be sealed: " + err.Error()) // a defect of this package
}

// TopicOf is the topic of the i-th envelope, without making the envelope.
func (k *Corpus) TopicOf(i int) envelope.Topic {
	return k.topics[k.draw(k.random(purposeEnvelope, uint64(i)))]
}

// draw picks a topic.
func (k *Corpus) draw(r *rand.ChaCha8) int {
	if !k.c.Zipf {
		return rand.New(r).IntN(len(k.topics))
	}
	n, _ := slices.BinarySearch(k.shares, rand.New(r).Float64()*k.shares[len(k.shares)-1])
	return min(n, len(k.topics)-1)
}

// batch is how many envelopes All makes in one go.
const batch = 256

// All makes the envelopes one after the other, on all cores, some ahead of the reader.
func (k *Corpus) All() iter.Seq[*envelope.Envelope] {
	return func(yield func(*envelope.Envelope) bool) {
		next, ahead := 0, make([]chan []*envelope.Envelope, 0, 2*runtime.GOMAXPROCS(0))
		for {
			for next < k.c.Count && len(ahead) < cap(ahead) {
				made := make(chan []*envelope.Envelope, 1)
				from, to := next, min(next+batch, k.c.Count)
				go func() { made <- k.make(from, to) }()
				ahead, next = append(ahead, made), to
			}
			if len(ahead) == 0 {
				return
			}
			for _, e := range <-ahead[0] {
				if !yield(e) {
					return
				}
			}
			ahead = append(ahead[:0], ahead[1:]...)
		}
	}
}

func (k *Corpus) make(from, to int) []*envelope.Envelope {
	list := make([]*envelope.Envelope, 0, to-from)
	for i := from; i < to; i++ {
		list = append(list, k.At(i))
	}
	return list
}

// WriteTo writes the envelopes' RLP one after the other and returns how many bytes that were.
func (k *Corpus) WriteTo(w io.Writer) (n int64, err error) {
	b := bufio.NewWriterSize(w, 1<<20)
	for e := range k.All() {
		m, err := b.Write(e.Raw())
		if n += int64(m); err != nil {
			return n, err
		}
	}
	return n, b.Flush()
}

// What random numbers are for: each has a stream of its own.
const (
	purposeTopics uint64 = iota
	purposeEnvelope
)

func (k *Corpus) random(purpose, n uint64) *rand.ChaCha8 {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], k.c.Seed)
	binary.LittleEndian.PutUint64(seed[8:], purpose)
	binary.LittleEndian.PutUint64(seed[16:], n)
	return rand.NewChaCha8(seed)
}

// fill reads random bytes; it cannot fail.
func fill(r *rand.ChaCha8, b []byte) { _, _ = r.Read(b) }
