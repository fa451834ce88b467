// Package watch says what a user waits for: topics, the key that opens what comes for them, and since when.
//
// Start with New, which checks a Spec. A Watch opens envelopes with Open, and is stored with Marshal and Parse. Values are not
// changed after they were made, so they may be shared.
package watch

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
)

// Bounds.
const (
	MaxTopics = 1000 // of one watch
	MaxName   = 64   // bytes
	MaxRank   = 9    // the last that is fetched; 0 is the first

	topicSize = len(envelope.Topic{})
)

// Spec is what a watch is made of.
type Spec struct {
	Name    string           // for people; may be empty
	Topics  []envelope.Topic // at least one
	Since   time.Time        // sent; earlier mail is not asked for
	Rank    int              // 0 to MaxRank: those with a lower one are fetched first
	Sym     *message.SymKey  // opens what comes; with neither key, mail is kept as it came
	Private *message.PrivateKey
	Signer  *message.PublicKey // the only one whose messages count; nil for any
}

// Watch is one thing that a user waits for.
type Watch struct {
	Spec
	ID      string // 16 hex digits
	Created time.Time
}

// New makes a watch. The error is an Invalid or Limit fault.
func New(s Spec, rand io.Reader, now time.Time) (Watch, error) {
	const op = "watch"
	s.Topics = slices.Clone(s.Topics)
	slices.SortFunc(s.Topics, func(a, b envelope.Topic) int { return strings.Compare(string(a[:]), string(b[:])) })
	s.Topics = slices.Compact(s.Topics)
	switch {
	case len(s.Topics) == 0:
		return Watch{}, fault.E(op, fault.Invalid, nil, "a watch needs at least one topic")
	case len(s.Topics) > MaxTopics:
		return Watch{}, fault.Errorf(op, fault.Limit, "a watch has at most %d topics, not %d: make several", MaxTopics, len(s.Topics))
	case s.Sym != nil && s.Private != nil:
		return Watch{}, fault.E(op, fault.Invalid, nil, "a watch has one key, a symmetric or a private one, not both")
	case s.Rank < 0 || s.Rank > MaxRank:
		return Watch{}, fault.Errorf(op, fault.Invalid, "the rank is %d; allowed: 0 (fetched first) to %d", s.Rank, MaxRank)
	case len(s.Name) > MaxName || strings.ContainsFunc(s.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return Watch{}, fault.Errorf(op, fault.Invalid, "the name of a watch is printable text of at most %d bytes", MaxName)
	}
	var id [8]byte
	if _, err := io.ReadFull(rand, id[:]); err != nil {
		return Watch{}, fault.E(op, fault.Internal, err, "no random numbers for the watch's id")
	}
	s.Since = s.Since.Truncate(time.Second)
	return Watch{Spec: s, ID: hex.EncodeToString(id[:]), Created: now.UTC().Truncate(time.Second)}, nil
}

// SinceSecond is Since as a sent time; 0 for everything.
func (w *Watch) SinceSecond() uint32 {
	if w.Since.IsZero() || w.Since.Unix() < 0 {
		return 0
	}
	return uint32(min(w.Since.Unix(), 1<<32-1))
}

// Covers reports whether the topic is one of the watch's.
func (w *Watch) Covers(t envelope.Topic) bool { return slices.Contains(w.Topics, t) }

// Open opens an envelope with the watch's key. It is nil when the envelope is for somebody else, was damaged, or was
// signed by another than Signer; and when the watch has no key.
func (w *Watch) Open(e *envelope.Envelope) *message.Opened {
	var o *message.Opened
	var err error
	switch {
	case !w.Covers(e.Topic()):
		return nil
	case w.Sym != nil:
		o, err = message.OpenSymmetric(*w.Sym, e.Data())
	case w.Private != nil:
		o, err = message.OpenAsymmetric(w.Private, e.Data())
	}
	if err != nil || o == nil || w.Signer != nil && (!o.Signed || o.Signer != *w.Signer) {
		return nil
	}
	return o
}

// stored is a watch as it is written. Fields may be added; a program that does not know one ignores it.
type stored struct {
	ID      string    `json:"id"`
	Name    string    `json:"name,omitempty"`
	Topics  string    `json:"topics"` // hex of all
	Since   int64     `json:"since,omitempty"`
	Rank    int       `json:"rank,omitempty"`
	Sym     string    `json:"sym,omitempty"`
	Private string    `json:"private,omitempty"`
	Signer  string    `json:"signer,omitempty"`
	Created time.Time `json:"created"`
}

// Marshal gives the watch in the form that Parse reads, its key included.
func (w *Watch) Marshal() []byte {
	s := stored{ID: w.ID, Name: w.Name, Rank: w.Rank, Created: w.Created, Since: int64(w.SinceSecond())}
	var topics []byte
	for _, t := range w.Topics {
		topics = append(topics, t[:]...)
	}
	s.Topics = hex.EncodeToString(topics)
	if w.Sym != nil {
		s.Sym = hex.EncodeToString(w.Sym.Bytes())
	}
	if w.Private != nil {
		s.Private = hex.EncodeToString(w.Private.Bytes())
	}
	if w.Signer != nil {
		s.Signer = hex.EncodeToString(w.Signer[:])
	}
	b, _ := json.Marshal(s) // cannot fail: strings and numbers only
	return b
}

// Parse reads what Marshal wrote. The error is a Corrupt fault.
func Parse(b []byte) (Watch, error) {
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return Watch{}, corrupt(err)
	}
	w := Watch{ID: s.ID, Created: s.Created, Spec: Spec{Name: s.Name, Rank: s.Rank}}
	if s.Since > 0 {
		w.Since = time.Unix(s.Since, 0).UTC()
	}
	topics, err := hex.DecodeString(s.Topics)
	if err != nil || len(topics) == 0 || len(topics)%topicSize != 0 || len(topics) > MaxTopics*topicSize {
		return Watch{}, corrupt(err)
	}
	for t := range slices.Chunk(topics, topicSize) {
		w.Topics = append(w.Topics, envelope.Topic(t))
	}
	if err := s.keys(&w); err != nil {
		return Watch{}, corrupt(err)
	}
	return w, nil
}

func (s *stored) keys(w *Watch) error {
	if s.Sym != "" {
		b, err := hex.DecodeString(s.Sym)
		if err != nil {
			return err
		}
		k, err := message.NewSymKey(b)
		if err != nil {
			return err
		}
		w.Sym = &k
	}
	if s.Private != "" {
		b, err := hex.DecodeString(s.Private)
		if err != nil {
			return err
		}
		if w.Private, err = message.ParsePrivateKey(b); err != nil {
			return err
		}
	}
	if s.Signer != "" {
		b, err := hex.DecodeString(s.Signer)
		if err != nil {
			return err
		}
		k, err := message.ParsePublicKey(b)
		if err != nil {
			return err
		}
		w.Signer = &k
	}
	return nil
}

func corrupt(err error) error {
	return fault.E("watch: parse", fault.Corrupt, err, "a stored watch cannot be read: restore a backup of the inbox, or remove the watch and add it again")
}
