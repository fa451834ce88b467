package catchup

import (
	"time"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Config is what a machine starts from: what is wanted, and what was committed before.
type Config struct {
	Wants   []coverage.Want
	Claims  []coverage.Claim
	Missing []coverage.Missing
	Open    []OpenFetch

	MaxBytes int64 // of rounds that name no limit of their own, those of the machine included; 0 for none
	Alone    bool  // one server is enough, also for the machine's own rounds: no second one is told anything

	Name func(nodeaddr.ID) string // what people call a server; nil: what it calls itself, or a short form of its ID

	MinPoW  float64       // below is not taken
	MaxSize int           // above is not taken; 0 means envelope.MaxSizeLimit
	Overlap time.Duration // for so long before their last answer servers without arrivals are asked again; 0 means 2 h 5 min
	Seed    uint64        // of the little chance in the times of retries, so that not all clients retry at once
}

// OpenFetch is a job that is not over: where to go on at a server. It is stored with each page.
type OpenFetch struct {
	ID       uint64 // above 0
	Server   nodeaddr.ID
	Topics   []envelope.Topic
	From, To uint32 // the question's; To 0 for no bound
	After    uint64 // by arrival: what was considered lies behind it
	Position string // history.Position of what is kept
	Began    time.Time
}

// Options is what somebody wants of a round. The zero value asks for everything, at the best two servers.
type Options struct {
	MaxBytes int64            // received from all servers; 0 for no limit. May be exceeded by a packet
	First    []envelope.Topic // these before the others, whatever their rank
	Only     []envelope.Topic // only these, of what is wanted; none means all
	Server   *nodeaddr.ID     // only this one, whether it is a candidate or not
	Alone    bool             // one server is enough: no comparing
}

// End says how a round ended.
type End uint8

// The ends.
const (
	EndFailed     End = iota // Report.Err says why; the gaps say what is left
	EndComplete              // a server said that this is all it has
	EndAgreed                // two did, and what one of them lacked came from the other
	EndAnswered              // a server answered that cannot say whether this is all
	EndOverBudget            // the bytes were spent before the end
	EndStopped               // by Stop
)

// String names the end for programs.
func (e End) String() string {
	return [...]string{"failed", "complete", "agreed", "answered", "over budget", "stopped", "unknown"}[min(e, EndStopped+1)]
}

// Role is what a server was asked for.
type Role uint8

// The roles.
const (
	Primary Role = iota // bodies
	Second              // what it has, and then what was lacking
)

// String names the role for programs.
func (r Role) String() string {
	return [...]string{"primary", "second", "unknown"}[min(r, Second+1)]
}

// Report is the result of a round.
type Report struct {
	ID            uint64
	End           End
	Err           error // of EndFailed and EndStopped, a fault
	Began         time.Time
	Took          time.Duration
	FirstEnvelope time.Duration // from the beginning until the first was kept; 0 without any
	New           int           // envelopes that were not had before
	NewBytes      int64
	Bytes         int64 // received from all servers
	Servers       []ServerReport
	Gaps          []coverage.Gap // that are left
	Left          int64          // bytes that servers named and that were not fetched; there may be more
}

// ServerReport is what became of one server in a round.
type ServerReport struct {
	Server      nodeaddr.ID
	Role        Role         // the last one
	Form        history.Form // of the last answer
	End         history.End  // of the last job
	Err         error        // of the last failure
	Envelopes   int          // delivered
	New         int          // of those, not had before
	Bytes       int64        // received, lists included
	ListBytes   int64        // of those, lists
	Listed      int          // envelopes that it named
	Lacked      int          // that the other had and it did not
	Fetched     int          // that were fetched from it by name
	Withheld    int          // that it named and did not hand over
	FirstAnswer time.Duration
	Took        time.Duration
}

// Snapshot is how it stands.
type Snapshot struct {
	Syncing   bool
	Began     time.Time // of the round under way
	Waiting   int       // rounds that wait for it to end
	Connected []nodeaddr.ID
	Primary   nodeaddr.ID // of the round under way; zero for none
	New       int         // in the round under way
	Bytes     int64
	Last      Report    // the last round that ended; its Began is zero when there was none
	LastGood  time.Time // when the last one that did not fail ended
	Next      time.Time // when the machine starts a round by itself; zero for no plan
	Topics    int
}
