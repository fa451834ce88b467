package mailserver

import (
	"io"
	"log/slog"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Asker is who asks: one connection.
type Asker struct {
	Conn    uint64      // names the connection; not used again while its work may be open
	Node    nodeaddr.ID // the node's identity
	Source  string      // address prefix that shares limits; with "" the connection shares with none
	Trusted bool        // exempt from the limits per connection and source
}

// Kind is what a request is for; a Gate decides by it.
type Kind uint8

// The kinds of requests.
const (
	History Kind = iota // a range for a reader
	Sync                // another mail server wants the archive
	Look                // single envelopes, or whether they are held
)

// String names the kind in lower case.
func (k Kind) String() string {
	switch k {
	case History:
		return "history"
	case Sync:
		return "sync"
	default:
		return "look"
	}
}

// Request is a prepared question: for the envelopes of Hashes if that is not nil or Kind is Look, else for what matches
// Query.
type Request struct {
	Kind  Kind
	Query archive.Query // at most archive.MaxTopic topics

	// Hashes, at most archive.MaxFind, are answered in their order; those that are not stored are left out.
	Hashes []envelope.Hash

	// Bare is for askers that need no bodies. With Hashes the records come without Raw. With Query they have it, for
	// its length, but count BareSize bytes towards Budget, Packet and all limits.
	Bare bool

	Limit  int           // records; 0 for no limit
	Budget int64         // bytes of Raw; 0 for no budget; the first record is sent even if it is larger
	Packet archive.Bound // the most of one Outbox.Records call; fields that are 0 mean MaxCount and PacketBytes
}

// Prepare makes the request. It may be slow, as the opening of a sealed request is: it runs as the first turn of the
// answer, never in the caller of Ask. Its error, a fault, ends the answer.
type Prepare func() (Request, error)

// Outbox carries one answer back. Its methods return at once. They are called by goroutines of the Server, one at a
// time, never from within Ask, Cancel, Left or a done function; Records in the order of the answer, then End.
type Outbox interface {
	// Records takes the records of one packet, at least one. The list must not be changed. done is called once, by any
	// goroutine (also from within Records): with nil when the packet has left, with an error when it never will, which
	// ends the answer as Cancel does. At most WindowBytes are under way at a time, or one packet that is larger.
	Records(list []archive.Record, done func(error))

	// End ends the answer. It follows the last Records without waiting for its done, and is called exactly once, but
	// not at all, or in vain, after Cancel, Left, or a done with an error.
	End(Outcome)
}

// Outcome is how an answer ended.
type Outcome struct {
	Count int            // records sent
	Last  archive.Record // the last one sent, without Raw; the zero Record if none

	// More says whether something that was asked for follows after Last: the answer ended at the limit or budget of the
	// request, and another record was seen behind it.
	More bool

	// Through, of a query by arrival, is the arrival up to which everything was considered, matching or not: the
	// AfterArrival to go on with. Also valid with Err.
	Through uint64

	Looked int // of a request by Hashes: how many of them were looked up, from the first on

	Err        error         // a fault, whose text is for the asker; nil for a complete answer
	RetryAfter time.Duration // with Err: when asking again may help; 0 when that is unknown or it will not
}

// Gate decides who may ask. Its methods are safe for concurrent use and fast. Open and Members are the gates there are.
type Gate interface {
	// Allow returns nil, or a Denied or Limit fault, when a request begins.
	Allow(who Asker, k Kind) error
	// Spend accounts for bytes about to be sent. With an error, a fault, they are not, and the answer ends.
	Spend(who Asker, bytes int) error
	// MembersOnly reports whether only members are served, for announcements.
	MembersOnly() bool
}

// Fate is what became of an envelope that was given to Keep.
type Fate uint8

// The fates, in the order of gossip's outcomes.
const (
	Durable  Fate = iota // on disk: may be acknowledged
	Declined             // will not be kept: the sender is told
	Retry                // could not be kept now: to be offered again after a while
)

// String names the fate in lower case.
func (f Fate) String() string {
	switch f {
	case Durable:
		return "durable"
	case Declined:
		return "declined"
	default:
		return "retry"
	}
}

// Verdict answers one Keep.
type Verdict struct {
	Hash envelope.Hash
	Fate Fate
	Text string // of Declined: why, for the sender
}

// Options configure a Server.
type Options struct {
	Archive archive.Archive // required; the Server does not close it
	Rules   archive.Rules   // what Archive was opened with
	Gate    Gate            // nil means Open
	Limits  Limits
	Now     func() time.Time // required
	Health  *health.Registry // nil for none
	Log     *slog.Logger     // nil for none
	Rand    io.Reader        // for the salts of ExplainSources; nil means crypto/rand

	// Resolved takes the verdicts on what was given to Keep, in batches, from goroutines of the Server, never from
	// within Keep. The slice is valid during the call. Nil for none.
	Resolved func([]Verdict)

	// ExplainSources makes Explain name where an envelope came from in the last 24 hours, by ids that are salted anew
	// every day.
	ExplainSources bool

	Workers int // turns at a time; 0 means twice the processors, at least 4
}

// Announcement is what a mail server tells its clients of itself.
type Announcement struct {
	Epoch       [8]byte
	Next        uint64        // the next arrival
	Oldest      time.Time     // when the oldest envelope was accepted; zero when empty
	Keep        time.Duration // nothing younger is removed
	Age         time.Duration // what is older is removed; 0 for never
	Closing     time.Time     // when the operator ends the service; zero when not planned
	MembersOnly bool
	Refusing    string // why no new envelopes are taken now, a sentence; "" when they are
}

// State says what is known of an envelope.
type State uint8

// The states.
const (
	Unknown State = iota // never seen in the last 24 hours, or removed since
	Stored
	Refused
)

// String names the state in lower case.
func (s State) String() string {
	switch s {
	case Stored:
		return "stored"
	case Refused:
		return "refused"
	default:
		return "unknown"
	}
}

// Explanation is what became of one envelope.
type Explanation struct {
	Hash  envelope.Hash
	State State
	Text  string // a sentence for people

	// If Stored:
	Arrival   uint64
	Arrived   time.Time
	HeldUntil time.Time // not removed before
	Served    uint64    // times sent since the Server started; counts of old arrivals may have been forgotten

	// If Refused, the last time:
	Reason string
	When   time.Time

	From string // salted id of where it came from last; "" unless ExplainSources
}
