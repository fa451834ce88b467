package directory

import (
	"time"

	"github.com/restante-im/restante/internal/history"
)

// Event is something that happened with a server; one of the types below.
type Event interface{ event() }

// Connected says that a connection is up. Caps is what the server said of itself, Client the program that it names.
type Connected struct {
	Caps   history.Caps
	Client string
}

// ConnectionLost says that the connection ended. A nil Err means that we ended it.
type ConnectionLost struct{ Err error }

// ConnectFailed says that no connection came about.
type ConnectFailed struct{ Err error }

// Answered says that the server answered to the end, and that what it sent passed all checks.
type Answered struct {
	First, Last time.Duration // from the question to the first and the last packet
	Envelopes   int
	Bytes       int64
}

// Failed says that a question came to no good end. The error's kind decides what follows: Corrupt means that it sent what
// was not asked for or does not check out, Timeout that it stalled, Denied that it serves others only, Closed that we
// stopped it, which counts as nothing.
type Failed struct{ Err error }

// Lacked says that of Of envelopes which another server handed over, and which this one could have, it lacked so many.
type Lacked struct{ Lacked, Of int }

// Withheld says that the server named N envelopes and did not hand them over.
type Withheld struct{ N int }

// Joined says what became of the entry's token. After nil, and after an error that will not get better by itself, the
// token is dropped.
type Joined struct{ Err error }

func (Connected) event()      {}
func (ConnectionLost) event() {}
func (ConnectFailed) event()  {}
func (Answered) event()       {}
func (Failed) event()         {}
func (Lacked) event()         {}
func (Withheld) event()       {}
func (Joined) event()         {}
