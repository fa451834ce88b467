package history

import (
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// Form is a way of asking that servers differ in.
type Form uint8

// The forms, best first.
const (
	ByArrival Form = iota + 1 // in the order in which the server got them: resumable exactly, with flow control
	Paged                     // by sent time, pages end with a completion and perhaps a cursor
	Bare                      // by sent time, everything in one go and without an end: it is over when nothing more comes

	// Questions of a Check. Servers that answer them say so in Caps.Lists; they are never in Caps.Forms.
	Listing // names what there is, in the order of ByArrival
	ByHash  // envelopes, by hash
)

// String names the form.
func (f Form) String() string {
	switch f {
	case ByArrival:
		return "by arrival"
	case Paged:
		return "paged"
	case Bare:
		return "bare"
	case Listing:
		return "listing"
	case ByHash:
		return "by hash"
	}
	return "no form"
}

// Plan is what to fetch.
type Plan struct {
	// Topics match exactly. Without topics, Bloom (if any) admits them; with neither, everything is wanted.
	Topics []envelope.Topic
	Bloom  *envelope.Bloom

	From, To uint32 // Unix seconds, sent, both inclusive; To 0 means until now

	After Position // where an earlier fetch of the same plan ended; the zero Position means the start

	// Until bounds the form ByArrival: arrivals up to and including it, of the epoch of After or, without one, of the
	// server's. 0 means no bound, and so it is after the server's archive has begun anew. Where After is not before it,
	// nothing is asked. The other forms ignore it.
	Until uint64

	MinPoW  float64 // below is not delivered
	MaxSize int     // above is not delivered; 0 means envelope.MaxSizeLimit

	// Ends before all is fetched; 0 means no limit. What Resume repeats of a page that Limit cut is delivered again.
	Limit  int   // envelopes
	Budget int64 // bytes of envelopes, in a Check also of lists; may be exceeded by one packet or, in the form Paged, one page

	PageLimit int // envelopes asked for in one page, 1 to MaxPageLimit; 0 means DefaultPageLimit

	// Waits; 0 means the default. They do not run while the server may not send.
	FirstAnswer time.Duration // for the first packet of an answer: 10 s, and 5 s in the form Bare
	NextPacket  time.Duration // for each further one: 30 s
	Quiet       time.Duration // without a packet, ends an answer in the form Bare: 3 s
}

// Bounds of a plan.
const (
	MaxTopics        = 10000
	DefaultPageLimit = 1000
	MaxPageLimit     = 1000 // what servers allow
)

// Bounds of a Check.
const (
	MaxHashes   = 4096 // of one question ByHash
	MaxLookup   = 2048 // entries of a Lookup
	MaxWithheld = 1024 // entries of Report.Withheld
)

// Caps is what a server can do and says of itself, as far as the connection tells.
type Caps struct {
	Forms []Form // those to try, in this order; at least one
	Lists bool   // it answers Listing and ByHash, so it can be asked by a Check

	// Of servers that know the form ByArrival.
	Epoch     [8]byte
	Next      uint64 // the arrival that the server's next envelope got when it last said so; 0 if unknown
	MaxTopics int    // in one question; 0 means MaxTopics
	MaxHashes int    // in one question ByHash; 0 means MaxHashes

	Oldest      time.Time     // arrival of the oldest envelope that it has; zero if it has none or does not say
	Keep        time.Duration // for which an envelope is kept at least, from its arrival; 0 if it does not say
	Age         time.Duration // after which it is deleted; 0 for never, or if it does not say
	Closing     time.Time     // when its service ends; zero when that is not planned
	MembersOnly bool          // it answers members only
	Member      bool          // and we are one, as far as it knows
	Name        string        // for people; not to be believed
}

// Question is one request to a server.
type Question struct {
	Topics   []envelope.Topic // empty and Bloom nil: everything. Must not be changed
	Bloom    *envelope.Bloom
	From, To uint32 // sent, both inclusive; To 0 means no upper bound

	// In the form ByArrival: arrivals beyond After up to Until (0: no bound) of the epoch, of Budget bytes at most, of
	// which Credit may be sent before more is granted.
	// Listing is asked likewise.
	Epoch          [8]byte
	After, Until   uint64
	Budget, Credit int64

	// In the form ByHash, with Credit: those that are wanted, each once, and answered in this order. Must not be changed.
	Hashes []envelope.Hash

	// In the form Paged: how many envelopes, beyond which cursor (nil: from the start).
	Limit  int
	Cursor []byte
}

// Transport carries questions to one server. It is declared here, by its user; mailnet has it.
type Transport interface {
	// Caps says what the server can do. It is asked once, before the first question.
	Caps() Caps

	// Ask sends a question and returns at once. One question is open at a time: the next is asked after the last one's
	// Ended or Lost, or its cancel. answer is called serially, from any goroutine but not from within Ask, with any
	// number of Got (to Listing: Named) and then one Ended or Lost; it may block for moments. After cancel, which may
	// be called at any time and more than once, calls of answer do no harm. An error means that nothing was asked
	// because the connection does not allow it (any more).
	Ask(form Form, q Question, answer func(Answer)) (cancel func(), err error)

	// Grant lets the server send so many bytes more of the open answer, in the forms ByArrival, Listing and ByHash.
	Grant(bytes int64)
}

// Answer is what comes back; one of Got, Named, Ended and Lost.
type Answer interface{ answer() }

// Got is one packet of envelopes.
type Got struct {
	Envelopes []*envelope.Envelope
	Bytes     int64  // what the packet takes of the credit; at least the envelopes' own bytes
	Through   uint64 // ByArrival: everything up to this arrival was considered, and sent if it matched
}

// Named is one packet of the answer to Listing.
type Named struct {
	List    []Entry
	Bytes   int64  // what the packet takes of the credit
	Through uint64 // everything up to this arrival was considered, and named if it matched
}

// Entry names an envelope, by the server's word.
type Entry struct {
	Hash envelope.Hash
	Sent uint32 // Unix second
	Size uint32 // bytes of its RLP
}

// Ended says that the answer is over, by the server's word.
type Ended struct {
	Last    envelope.Hash // the last envelope sent, as the server names it; zero if it names none
	Cursor  []byte        // Paged: where the next page starts; nil if there is none
	More    bool          // ByArrival: there is more beyond Through
	Through uint64
	Epoch   [8]byte         // ByArrival: the server's; zero means that of the question
	Missing []envelope.Hash // ByHash: those that are not stored

	// Err is the server's refusal or failure, a fault with the server's words. Busy, Timeout and Unavailable are asked
	// again after RetryAfter (0: a few seconds). Invalid leads to the next form. NotFound by arrival means that the question's
	// epoch is over; Epoch then names the new one.
	Err        error
	RetryAfter time.Duration
}

// Lost says that the connection is gone.
type Lost struct{ Err error }

func (Got) answer()   {}
func (Named) answer() {}
func (Ended) answer() {}
func (Lost) answer()  {}

// Page is what a consumer gets in one go.
type Page struct {
	Envelopes []*envelope.Envelope // none where only the position has moved; they may share memory with each other
	Bytes     int64                // of the envelopes
	Withheld  []Entry              // of a Check: named, but not handed over; to be recorded, for Resume passes them
	Resume    Position             // where to go on once this page is kept
	Progress  Progress             // with this page
}

// Progress is how far a fetch has come.
type Progress struct {
	Form      Form
	Envelopes uint64  // delivered
	Bytes     int64   // of those
	Received  int64   // bytes of packets, what was discarded included
	Share     float64 // of the range, 0 to 1, as far as can be told; below 0 when it cannot
}

// Reason says why an envelope was not delivered.
type Reason uint8

// The reasons.
const (
	NotAsked   Reason = iota // its topic is not among those asked for
	ByFilter                 // its topic is not asked for but passes the filter that older servers go by: nobody's fault
	OutOfRange               // sent outside of the range
	LowWork                  // below Plan.MinPoW
	TooLarge                 // above Plan.MaxSize
	NoRoom                   // came faster than it was kept: asked for again
	Reasons                  // their number
)

// String names the reason for people.
func (r Reason) String() string {
	return [Reasons + 1]string{"topic not asked for", "topic only resembles one asked for", "outside of the time range",
		"too little proof of work", "too large", "asked for again", "unknown"}[min(r, Reasons)]
}

// End says how a fetch ended.
type End uint8

// The ends.
const (
	EndFailed   End = iota // on the way: Report.Err says why
	EndComplete            // the server said that this is all it has
	EndAssumed             // nothing more came, but the server did not say that this is all, or did not send all that it named
	EndLimited             // at Plan.Limit or Plan.Budget; there may be more
)

// String names the end for programs.
func (e End) String() string {
	return [...]string{"failed", "complete", "assumed", "limited", "unknown"}[min(e, EndLimited+1)]
}

// Report is the result of a job, also of one that failed.
type Report struct {
	End      End
	Err      error    // of EndFailed, a fault
	Form     Form     // the last one used; of a Check, Listing
	Answered bool     // the server reacted to a question in any way but a refusal
	Resume   Position // where to go on. By arrival also for what is new, after EndComplete; else zero when nothing is left

	// The claim. By arrival and of a Check: everything in (FirstArrival, LastArrival] of Epoch was considered. Otherwise
	// LastArrival is 0 and the claim is about From to To, sent; To is not later than the start.
	Epoch                     [8]byte
	FirstArrival, LastArrival uint64
	From, To                  uint32
	Restarted                 bool // the server's archive began anew, and so did the fetch

	Envelopes  uint64 // delivered and kept
	Bytes      int64
	Received   int64 // bytes of packets
	Duplicates uint64
	Discarded  [Reasons]uint64
	Unsent     int // times that the server named a last envelope which never came
	Asked      int // questions
	Pages      int // pages delivered

	// Of a Check. Discarded counts also what was only named.
	Listed        uint64  // envelopes that the server named, each once
	Fetched       uint64  // of those, bodies that we lacked, and got
	Withheld      []Entry // named but not handed over, and delivered as such: the first MaxWithheld
	WithheldCount uint64  // and how many there were
	ListBytes     int64   // of lists; Received has them too
	Lacking       int     // named, lacked and not fetched when it ended
	LackingBytes  int64   // of those, as named

	FirstAnswer time.Duration // from the first question to the first packet or end
	Took        time.Duration
}
