package catchup

import (
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Event is something that happened; one of the types below.
type Event interface{ event() }

// Wanted replaces what is waited for, one entry a topic. What is new starts a round by itself.
type Wanted struct{ List []coverage.Want }

// Candidates replaces the servers that may be asked, the best first.
type Candidates struct{ List []directory.Choice }

// Up says that a server is connected and has said what it can do; again when that has changed.
type Up struct {
	Server nodeaddr.ID
	Caps   history.Caps
}

// Down says that a server is not connected: a try failed, or the connection ended. An answer that was open is lost.
type Down struct {
	Server nodeaddr.ID
	Err    error
}

// Sync starts a round for somebody. IDs are the caller's, above 0, and not used twice.
type Sync struct {
	ID      uint64
	Options Options
}

// Stop ends the round of a Sync, which gets its Finished.
type Stop struct{ ID uint64 }

// Answered passes on what came in answer to an Ask.
type Answered struct {
	Server nodeaddr.ID
	Ask    uint64
	Answer history.Answer
}

// Looked answers a Lookup.
type Looked struct {
	Lookup uint64
	Have   []bool
}

// Kept answers a Commit: it is durable, or Err says why not and nothing of it is.
type Kept struct {
	Commit   uint64
	New      int   // of its envelopes, those that were not had before
	NewBytes int64 // of those
	Err      error
}

// Online says that the network is there again: who should be asked is connected and asked at once.
type Online struct{}

// Live says that mail of these topics came by itself. A round follows some time later, so that the next start need not
// fetch it again.
type Live struct{ Topics []envelope.Topic }

// Tune replaces Config.MaxBytes and Config.Alone, from the next round on.
type Tune struct {
	MaxBytes int64
	Alone    bool
}

// Tick says that only time has passed.
type Tick struct{}

func (Wanted) event()     {}
func (Candidates) event() {}
func (Up) event()         {}
func (Down) event()       {}
func (Sync) event()       {}
func (Stop) event()       {}
func (Answered) event()   {}
func (Looked) event()     {}
func (Kept) event()       {}
func (Online) event()     {}
func (Live) event()       {}
func (Tune) event()       {}
func (Tick) event()       {}

// Action is something that the caller has to do; one of the types below. Actions are performed in order.
type Action interface{ action() }

// Connect asks for a connection that is kept, and tried again, until Disconnect. Up and Down tell of it. A repeated Connect
// means: now, without a pause.
type Connect struct{ Server nodeaddr.ID }

// Disconnect says that the connection is no longer needed here.
type Disconnect struct{ Server nodeaddr.ID }

// Ask asks a server. One Ask is open at a server. Numbers are not used twice.
type Ask struct {
	Server   nodeaddr.ID
	Ask      uint64
	Form     history.Form
	Question history.Question
}

// CancelAsk gives up an open Ask.
type CancelAsk struct {
	Server nodeaddr.ID
	Ask    uint64
}

// Grant lets a server send more of the open answer.
type Grant struct {
	Server nodeaddr.ID
	Ask    uint64
	Bytes  int64
}

// Lookup asks which of these envelopes are had, durably. Looked answers.
type Lookup struct {
	Lookup uint64
	Hashes []envelope.Hash
}

// Commit is one durable transaction: all of it or nothing. Kept answers, in any order with those of other Commits.
type Commit struct {
	Commit    uint64
	Server    nodeaddr.ID // whose answer it comes from; zero for none
	Envelopes []*envelope.Envelope
	Claims    []coverage.Replace
	Missing   []coverage.Missing // put, by hash
	Found     []envelope.Hash    // no longer missing
	Open      []OpenFetch        // put, by ID
	Closed    []uint64           // open fetches that are over
}

// Note tells the directory about a server.
type Note struct {
	Server nodeaddr.ID
	Event  directory.Event
}

// Seen says that a server has these envelopes.
type Seen struct {
	Server nodeaddr.ID
	Hashes []envelope.Hash
}

// Progress tells how a round goes.
type Progress struct {
	ID     uint64 // of the Sync; 0 for a round of the machine's own
	New    int
	Bytes  int64       // received from all servers
	Share  float64     // of the server's part, 0 to 1; below 0 when it cannot be told
	Server nodeaddr.ID // who brought something
}

// Finished ends a round for a Sync, or for the machine itself (ID 0).
type Finished struct {
	ID     uint64
	Report Report
}

func (Connect) action()    {}
func (Disconnect) action() {}
func (Ask) action()        {}
func (CancelAsk) action()  {}
func (Grant) action()      {}
func (Lookup) action()     {}
func (Commit) action()     {}
func (Note) action()       {}
func (Seen) action()       {}
func (Progress) action()   {}
func (Finished) action()   {}
