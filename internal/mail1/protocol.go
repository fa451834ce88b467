// Package mail1 is mail/1 on one page: packet codes, layouts and caps of the protocol by which nodes ask a mail server for
// history. docs/mail-1.md is its specification, with the rules that bind both sides between the packets.
//
// Start with Decode for what arrives and Encode for what is sent. The package is pure: no I/O, no clock, no state.
// Nothing is allocated by a number that a peer sent: memory is bounded by the length of the payload. What Decode
// returns aliases the payload, which must not change afterwards. All functions are safe for concurrent use.
package mail1

import (
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// The capability in devp2p. Codes without a meaning are ignored.
const (
	Name    = "mail"
	Label   = "mail/1" // name and version
	Version = 1
	Codes   = 16
)

// Packet codes. Each payload is one RLP list; its items stand in the order of the fields of the packet's type. Further
// items are ignored.
const (
	CodeHello     = 0
	CodeError     = 1
	CodeCancel    = 2
	CodeCredit    = 3
	CodePage      = 4
	CodeHashes    = 5
	CodeFetch     = 6
	CodeHeld      = 7
	CodeJoin      = 8
	CodeEnvelopes = 9
	CodeHashList  = 10
	CodeHeldList  = 11
	CodeJoined    = 12
	CodeEnd       = 13
)

// Caps. Decode refuses what exceeds them.
const (
	MaxOpen      = 16       // requests of one side that are open at a time
	MaxTopics    = 1000     // topics of a Page or Hashes
	MaxHashes    = 4096     // hashes of a Fetch or Held
	MaxEnvelopes = 1000     // envelopes in an Envelopes
	MaxListed    = 2000     // entries of a HashList
	MaxText      = 512      // bytes of an Error's text
	MaxName      = 64       // bytes of a name, and of a Join's token
	MaxBulk      = 64 << 10 // bytes of an Envelopes or HashList; a single envelope may exceed it
	MaxControl   = 256 << 10
	MaxAlone     = envelope.MaxSizeLimit + 1<<10 // bytes of an Envelopes with a single envelope
	MaxAmount    = 1 << 62                       // of a budget or credit

	// EnvelopesOverhead is what an Envelopes adds at most to the bytes of its envelopes.
	EnvelopesOverhead = 2*9 + 2*5
	// ListedSize is what an entry adds at most to a HashList.
	ListedSize = 1 + 33 + 2*5
)

// Packet is one of the packet types below. Those that Encode takes are all but Bad and Ignored, which only Decode makes.
type Packet interface{ code() uint64 }

// Epoch names one life of an archive: within it, an arrival never names another envelope. The zero Epoch names none.
type Epoch [8]byte

// Flags of a Hello. Unknown ones are kept and mean nothing.
type Flags uint64

// The flags.
const (
	Serves      Flags = 1 << iota // the sender is a mail server
	MembersOnly                   // it answers members only
	Member                        // and the receiver is one
)

// Hello is what each side says of itself: first of all, and again when something changed. A node that is no mail server
// leaves everything but Version zero.
type Hello struct {
	Version   uint64 // the revision of the specification that the sender follows
	Flags     Flags
	Epoch     Epoch
	Next      uint64 // the arrival that the next envelope gets
	Oldest    uint64 // Unix second at which the oldest stored envelope arrived; 0 when empty
	Keep      uint64 // seconds from its arrival for which an envelope is kept at least
	Age       uint64 // seconds after which it is deleted; 0 for never
	Closing   uint64 // Unix second at which the server will go away for good; 0 for not planned
	MaxTopics uint64 // of a request
	MaxHashes uint64 // of a request
	MaxBudget int64  // the largest budget that is honoured, in bytes
	Name      string // for people, at most MaxName bytes
}

// Error ends a request that failed.
type Error struct {
	ID         uint64
	Kind       fault.Kind
	Text       string // for people, at most MaxText bytes
	RetryAfter uint64 // milliseconds after which it may be asked again; 0 for not said
}

// Cancel says that the asker of a request wants no more of the answer.
type Cancel struct{ ID uint64 }

// Credit lets the answer to a request go on by so many bytes of Envelopes and HashList.
type Credit struct {
	ID    uint64
	Bytes int64
}

// Question says what a Page or Hashes asks for. Topics, if any, match exactly, otherwise Bloom, if not nil, says which do;
// a question may not have both. With neither, all match.
type Question struct {
	ID       uint64
	Topics   []envelope.Topic // at most MaxTopics
	Bloom    *envelope.Bloom
	From, To uint32 // sent, Unix seconds, both inclusive; To 0 for no bound
	Epoch    Epoch  // of After and Until; the zero Epoch says: whichever it is
	After    uint64 // arrival, exclusive
	Until    uint64 // arrival, inclusive; 0 for no bound
	Budget   int64  // bytes of envelopes that the answer carries or names; 0 for as many as the server likes
	Credit   int64  // see Credit
}

// Page asks for envelopes, in the order of their arrivals.
type Page struct{ Question }

// Hashes asks for the hashes of envelopes, in the order of their arrivals.
type Hashes struct{ Question }

// Fetch asks for envelopes by hash.
type Fetch struct {
	ID     uint64
	Hashes []envelope.Hash // at most MaxHashes
	Credit int64
}

// Held asks until when envelopes are kept.
type Held struct {
	ID     uint64
	Hashes []envelope.Hash // at most MaxHashes
}

// Join makes the asking node a device of the member who was given the token.
type Join struct {
	ID    uint64
	Token string // at most MaxName bytes
	Name  string // of the device, for the operator; at most MaxName bytes
}

// Envelopes is a part of the answer to a Page or Fetch.
type Envelopes struct {
	ID      uint64
	Through uint64 // all that match up to this arrival have been sent now; 0 in the answer to a Fetch
	List    []*envelope.Envelope
}

// Listed names an envelope.
type Listed struct {
	Hash envelope.Hash
	Sent uint32 // Unix second
	Size uint32 // bytes of its RLP
}

// HashList is a part of the answer to a Hashes.
type HashList struct {
	ID      uint64
	Through uint64
	List    []Listed
}

// HeldList is the answer to a Held: for each hash, the Unix second until which the envelope is kept at least, 0 if it is
// not stored.
type HeldList struct {
	ID    uint64
	Until []uint64
}

// Joined is the answer to a Join.
type Joined struct {
	ID          uint64
	Member      string // the member's name, at most MaxName bytes
	BytesPerDay int64  // quota; 0 for none
	Left        int64  // of today's
}

// End ends the answer to a Page, Hashes or Fetch.
type End struct {
	ID      uint64
	Epoch   Epoch
	Through uint64 // of a Page or Hashes: all that match up to this arrival have been sent
	More    bool   // there may be more beyond it
	Missing []envelope.Hash
}

// Bad is a request whose id could be read and the rest not: it deserves an Error, with Err as the reason.
type Bad struct {
	ID  uint64
	Err error
}

// Ignored is a packet with a code that has no meaning.
type Ignored struct{ Code uint64 }

func (Hello) code() uint64     { return CodeHello }
func (Error) code() uint64     { return CodeError }
func (Cancel) code() uint64    { return CodeCancel }
func (Credit) code() uint64    { return CodeCredit }
func (Page) code() uint64      { return CodePage }
func (Hashes) code() uint64    { return CodeHashes }
func (Fetch) code() uint64     { return CodeFetch }
func (Held) code() uint64      { return CodeHeld }
func (Join) code() uint64      { return CodeJoin }
func (Envelopes) code() uint64 { return CodeEnvelopes }
func (HashList) code() uint64  { return CodeHashList }
func (HeldList) code() uint64  { return CodeHeldList }
func (Joined) code() uint64    { return CodeJoined }
func (End) code() uint64       { return CodeEnd }
func (Bad) code() uint64       { return Codes }
func (p Ignored) code() uint64 { return p.Code }
