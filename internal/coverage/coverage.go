package coverage

import (
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Bounds.
const (
	MaxClaims        = 64 // of one server about one topic; the oldest go
	MaxMissingTopics = 64 // of Missing.Topics
	MaxNamed         = 8  // of Missing.Named
)

// Want is a topic that somebody waits for.
type Want struct {
	Topic envelope.Topic
	Since uint32 // sent, Unix seconds; 0 for everything
	Rank  int    // those with a lower one are fetched first
}

// Claim is what one server is known to have answered about one topic.
type Claim struct {
	Topic  envelope.Topic
	Server nodeaddr.ID

	// Of a server that answers by arrival: in this epoch of its archive it considered all arrivals in (First, Through]
	// that were sent at Since or later. So a later question about what was sent from Since on may start behind Through.
	Exact          bool
	Epoch          [8]byte
	First, Through uint64
	Since          uint32

	// What the answer says about sent times, both inclusive: all that the server had of them was handed over or is
	// recorded as missing. From is later than Since where mail may have been deleted before it was asked for; To is when
	// the server was asked. With To before From nothing is said yet.
	From, To uint32

	Asked time.Time // the last time
	Doubt bool      // the server did not say that this is all
}

// says reports whether the claim says anything about sent times.
func (c *Claim) says() bool { return c.To >= c.From }

// Replace is the full list of claims of one server about one topic. An empty list removes them.
type Replace struct {
	Topic  envelope.Topic
	Server nodeaddr.ID
	Claims []Claim
}

// Missing is an envelope that a server named and nobody handed over.
type Missing struct {
	Hash       envelope.Hash
	Sent, Size uint32           // by the server's word
	Topics     []envelope.Topic // it is of one of these; none where they are too many
	Named      []nodeaddr.ID    // who named it, the first MaxNamed
	Noticed    time.Time
	Tried      int       // times that it was asked for since
	Next       time.Time // when it is asked for again
	Gone       bool      // no server can have it any more: it is not asked for again
	Cause      Cause
}

// Cause is why there is a gap. The numbers are stored: append, never renumber.
type Cause uint8

// The causes.
const (
	NotAsked   Cause = iota // no server has answered yet
	Failed                  // an answer ended on the way
	OverBudget              // the catch-up had spent its bytes
	Withheld                // a server named it and did not hand it over
	Expired                 // deleted, as far as servers say, before it was asked for
	Reset                   // the server's archive began anew
)

// String names the cause for programs.
func (c Cause) String() string {
	return [...]string{"not asked", "failed", "over budget", "withheld", "expired", "reset", "unknown"}[min(c, Reset+1)]
}

// Gap is something that nobody has handed over.
type Gap struct {
	ID        string // stays the same while the gap is there
	Cause     Cause
	Topics    []envelope.Topic // ascending
	From, To  uint32           // sent, both inclusive
	Envelopes int              // known by name; 0 where only the time is known
	Bytes     int64            // of those
	Holders   []nodeaddr.ID    // who may have it
	Since     time.Time        // when it was noticed, as far as is known
	Closed    bool             // nobody will fill it: it is only reported
	Text      string           // for people, with what happens next
}

// Span is a range of sent time that servers answered for.
type Span struct {
	From, To uint32        // both inclusive
	Exact    bool          // by a server that answers by arrival
	Doubt    bool          // no server said that this is all
	Servers  []nodeaddr.ID // ascending
}

// Line is how it stands with one topic.
type Line struct {
	Want

	// Complete is until when, in sent time from Since on and without a gap, servers have said that they gave all they
	// had; By says who. 0 for nothing. Agreed is likewise, but said by two servers at least.
	Complete uint32
	By       []nodeaddr.ID
	Agreed   uint32

	// Answered is until when there was an answer, those included that do not say that they are all.
	Answered   uint32
	AnsweredBy []nodeaddr.ID

	Gaps []string // IDs of the gaps that touch the topic
	Text string   // for people
}

// Sight is what Gaps and Summary go by besides the claims.
type Sight struct {
	Wants   []Want
	Missing []Missing
	Now     uint32
	Live    map[envelope.Topic]uint32 // from when on new mail comes by itself; later mail is no gap. Without an entry: never
	Why     map[envelope.Topic]Cause  // what kept a topic from being answered last: Failed or OverBudget
	Servers []nodeaddr.ID             // those that are known now
	Name    func(nodeaddr.ID) string  // what to call a server; nil for a short form of its ID
}
