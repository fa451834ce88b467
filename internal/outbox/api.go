package outbox

import (
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// State says how far a letter has come.
type State uint8

// The states. Only these are claimed: what the recipient has is not known here.
const (
	StateSending  State = iota // no peer has confirmed it yet
	StateAccepted              // peers confirmed it
	StateHeld                  // a mail server said so, or returned it
	StateFailed                // given up, Err says why
)

// String names the state for programs.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

var stateNames = [...]string{StateSending: "sending", StateAccepted: "accepted", StateHeld: "held", StateFailed: "failed"}

// How says how it is known that a server holds a letter.
type How uint8

// The ways. HowTold is the stronger one: it has a date.
const (
	HowSeen How = iota // the server listed or returned the envelope
	HowTold            // the server said until when
)

// String names the way for programs.
func (h How) String() string {
	if h == HowTold {
		return "told"
	}
	return "seen"
}

// Holder is a mail server that holds a letter.
type Holder struct {
	Server    nodeaddr.ID
	Until     time.Time // by its word; zero when it did not say
	Confirmed time.Time
	How       How
}

// Attempt is one envelope of a letter.
type Attempt struct {
	Hash    envelope.Hash
	Posted  time.Time // last; zero for not yet
	Expires time.Time
}

// Entry is a letter and how it stands. Once Done, its Payload, Sym and Sign are let go.
type Entry struct {
	Letter
	Size     int // bytes of the payload
	State    State
	Done     bool      // nothing more is done about it
	Peers    int       // that accepted it
	Holders  []Holder  // in the order in which they confirmed it first
	Attempts []Attempt // the last MaxAttempts, oldest first
	Next     time.Time // when something is tried next; zero when Done or something is under way
	Err      string    // what went wrong last, for people
	Created  time.Time
	Changed  time.Time // when State, Peers, Holders or Err last changed
	Text     string    // how it stands, for people: "held by 2 mail servers until 3 Dec"
}

// Event is something that happened; one of the types below.
type Event interface{ event() }

// Sealed answers the Seal of this ID: the envelope, or why there is none. Invalid and Limit faults end the letter.
type Sealed struct {
	ID       uint64
	Envelope *envelope.Envelope
	Err      error
}

// Posted answers a Post: our node took the envelope, or says why not. An Invalid fault ends
// the letter; unless it wraps an *envelope.Refusal that a new envelope may not meet.
type Posted struct {
	ID   string
	Hash envelope.Hash
	Err  error
}

// Accepted says how many peers have confirmed an envelope so far. Envelopes of others are passed over.
type Accepted struct {
	Hash  envelope.Hash
	Peers int
}

// HeldAnswer answers an AskHeld: until when each is held, in the order asked, zero for not; or why there is no answer.
type HeldAnswer struct {
	Server nodeaddr.ID
	Hashes []envelope.Hash
	Until  []time.Time
	Err    error
}

// Seen says that a server listed or returned these envelopes. Envelopes of others are passed over.
type Seen struct {
	Server nodeaddr.ID
	Hashes []envelope.Hash
}

// Servers says which mail servers can be asked now, best first, and how many are known at all.
type Servers struct {
	List  []nodeaddr.ID
	Known int
}

// Online says that the network is there again: what is not held is posted and asked for at once.
type Online struct{}

// GiveUp ends a letter's sending on the user's wish. What is on its way stays on its way.
type GiveUp struct{ ID string }

// Forget deletes a letter, whatever its state.
type Forget struct{ ID string }

// Tick says that only time has passed.
type Tick struct{}

func (Sealed) event()     {}
func (Posted) event()     {}
func (Accepted) event()   {}
func (HeldAnswer) event() {}
func (Seen) event()       {}
func (Servers) event()    {}
func (Online) event()     {}
func (GiveUp) event()     {}
func (Forget) event()     {}
func (Tick) event()       {}

// Action is something that the caller has to do; one of the types below. Actions are performed in order.
type Action interface{ action() }

// Seal makes an envelope of the letter that lives for Letter.TTL from now. Sealed answers, whatever happens.
type Seal struct {
	ID     uint64 // of this task, not the letter's
	Letter Letter
}

// Post gives the envelope to our node. Posted answers, whatever happens.
type Post struct {
	ID       string
	Envelope *envelope.Envelope
}

// AskHeld asks a server which of these it holds; at most MaxHashes, one question open for each server. HeldAnswer
// answers, whatever happens.
type AskHeld struct {
	Server nodeaddr.ID
	Hashes []envelope.Hash
}

// Save stores the record of a letter, durably before any later action.
type Save struct {
	ID   string
	Data []byte
}

// Delete deletes the record of a letter.
type Delete struct{ ID string }

// Changed says that an entry changed, to those who listen.
type Changed struct{ Entry Entry }

func (Seal) action()    {}
func (Post) action()    {}
func (AskHeld) action() {}
func (Save) action()    {}
func (Delete) action()  {}
func (Changed) action() {}
