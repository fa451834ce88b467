package gossip

import (
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// Conn names one connection. The caller chooses it and does not use it again while the connection lives.
type Conn uint64

// Network is the number of a dialect, 0 to 15. Envelopes stay within the network they came from unless Config.Bridge. One that
// comes on a connection with several networks belongs to all of them: its sender may have it from any, and sends it once.
type Network uint8

// Networks is a set of networks, one bit each.
type Networks uint16

// AllNetworks holds every network.
const AllNetworks Networks = 1<<16 - 1

// In is the set of one network.
func In(n Network) Networks { return 1 << (n & 15) }

// Requirement is what a peer wants to get.
type Requirement struct {
	MinPoW   float64          // nothing below this
	Bloom    *envelope.Bloom  // nothing outside this; nil for everything
	ByTopics bool             // exactly Topics count, instead of Bloom
	Topics   []envelope.Topic // may be empty: nothing is wanted
	Packets  uint64           // packets a second that the peer takes; 0 says nothing
	Bytes    uint64           // bytes a second that the peer takes; 0 says nothing
}

// Event is something that happened; one of the types below.
type Event interface{ event() }

// Joined says that a link is ready to carry envelopes. The first link of a connection also makes the connection known.
type Joined struct {
	Conn    Conn
	Network Network
	Require Requirement
	Source  string // address prefix that shares limits and has one say about the time; "" is exempt from limits
	Trusted bool   // exempt from limits and penalties
}

// Left says that a link is gone. What was in flight on it is forgotten; the connection ends with its last link.
type Left struct {
	Conn    Conn
	Network Network
}

// Required says that a peer changed what it wants. Fields that are nil, and topics unless ByTopics, stay as they were.
// A Bloom ends an interest by topics.
type Required struct {
	Conn           Conn
	Network        Network
	MinPoW         *float64
	Bloom          *envelope.Bloom
	ByTopics       bool
	Topics         []envelope.Topic
	Packets, Bytes *uint64
}

// Received is one packet of envelopes from a peer.
type Received struct {
	Conn    Conn
	Network Network
	List    []*envelope.Envelope
	Bytes   int           // the packet's size; what budgets are charged with
	Ticket  envelope.Hash // the packet's digest, given back in Ack
	WantAck bool
}

// Post is an envelope of our own.
type Post struct {
	Envelope  *envelope.Envelope
	Immediate bool     // leave now, not after a random delay
	Networks  Networks // 0 for all
}

// Outcome is what a sink made of an accepted envelope.
type Outcome uint8

// Outcomes.
const (
	Durable  Outcome = iota // kept: may be acknowledged
	Declined                // will not be kept: the sender is told
	Retry                   // could not be kept now: offered again after a while
)

// Resolved answers an Accept when Config.SinkConfirms is set.
type Resolved struct {
	Hash    envelope.Hash
	Outcome Outcome
}

// Drained gives back credit: so many bytes of Send.Bytes have left for the peer.
type Drained struct {
	Conn    Conn
	Network Network
	Bytes   int
}

// Confirmed says that a peer acknowledged envelopes that were sent to it. Only own posts are followed up.
type Confirmed struct {
	Conn    Conn
	Network Network
	Hashes  []envelope.Hash
}

// Wanted sets the topics that an owner wants to receive, in place of what it wanted before.
type Wanted struct {
	Owner  string
	Topics []envelope.Topic // nil for everything, empty for nothing
}

// Unwanted says that an owner wants nothing any more.
type Unwanted struct{ Owner string }

// SetMinPoW changes the least proof of work that we accept. NaN, infinite and negative values are ignored.
type SetMinPoW struct{ MinPoW float64 }

// SetBloom replaces the filter that the interests make, or gives way to it again (nil).
type SetBloom struct{ Bloom *envelope.Bloom }

// SetMaxSize changes the size of the largest envelope that we accept, within 1 and envelope.MaxSizeLimit.
type SetMaxSize struct{ Bytes int }

// Tick says that only time has passed.
type Tick struct{}

func (Joined) event()     {}
func (Left) event()       {}
func (Required) event()   {}
func (Received) event()   {}
func (Post) event()       {}
func (Resolved) event()   {}
func (Drained) event()    {}
func (Confirmed) event()  {}
func (Wanted) event()     {}
func (Unwanted) event()   {}
func (SetMinPoW) event()  {}
func (SetBloom) event()   {}
func (SetMaxSize) event() {}
func (Tick) event()       {}

// Action is something that the caller has to do; one of the types below. Actions are performed in order.
type Action interface{ action() }

// Send puts envelopes on a link, in one packet. The list must not be changed; several Sends of one Step may share it, so
// that its encoding can be shared too. Own names those that were posted here. Bytes is the size of the packet: the caller
// returns it with Drained.
type Send struct {
	Conn    Conn
	Network Network
	List    []*envelope.Envelope
	Own     []envelope.Hash
	Bytes   int
}

// Accept gives an envelope to the sinks: once for each hash, but for those repeated (Again) because an earlier Accept was
// answered with Retry. An envelope that is Own was posted here.
type Accept struct {
	Envelope *envelope.Envelope
	PoW      float64 // lower than the envelope's own figure when it comes from the near future
	From     Conn
	Network  Network
	Own      bool
	Again    bool
}

// Rejected says that an envelope of a peer was not accepted, when Config.TellRefusals is set.
type Rejected struct {
	Hash   envelope.Hash
	Reason envelope.Reason // 0 when the pool has no room for it
	From   Conn
}

// Refused tells a sender about one envelope that was not accepted.
type Refused struct {
	Hash envelope.Hash
	Text string
}

// Ack acknowledges a packet; Refused lists the envelopes of it that were not accepted.
type Ack struct {
	Conn    Conn
	Network Network
	Ticket  envelope.Hash
	Refused []Refused
}

// Announce tells all peers of our changed requirement. What is nil has not changed.
type Announce struct {
	MinPoW *float64
	Bloom  *envelope.Bloom
}

// Pause stops reading from a connection for a while, so that TCP holds the peer back. Nothing is lost.
type Pause struct {
	Conn Conn
	For  time.Duration
}

// Disconnect ends a connection. Left events for its links are expected; until then nothing is sent on it.
type Disconnect struct {
	Conn   Conn
	Reason string
}

// Skew reports how far our clock is from our peers'. Known is false when that cannot be told any more. Offset is 0 when they
// agree well enough, else what is added to our clock to stamp envelopes.
type Skew struct {
	Offset time.Duration
	Known  bool
}

// Posted answers a Post. Err is nil when the envelope is valid and will leave.
type Posted struct {
	Hash envelope.Hash
	Err  error
}

// Progress says that another peer confirmed an own post; Peers is how many have.
type Progress struct {
	Hash  envelope.Hash
	Peers int
}

// RelayBudget says that the day's budget for what is passed on for others is spent, or that there is one again.
type RelayBudget struct {
	Spent bool
	Limit int64 // bytes a day; 0 for no limit
}

func (Send) action()        {}
func (Accept) action()      {}
func (Rejected) action()    {}
func (Ack) action()         {}
func (Announce) action()    {}
func (Pause) action()       {}
func (Disconnect) action()  {}
func (Skew) action()        {}
func (Posted) action()      {}
func (Progress) action()    {}
func (RelayBudget) action() {}
