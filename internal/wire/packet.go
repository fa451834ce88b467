package wire

import "github.com/restante-im/restante/internal/envelope"

// Limits are packets or bytes per second that a node takes from one address, from one peer, and of one topic. 0 means
// no limit.
type Limits struct{ IP, Peer, Topic uint64 }

// Hello is what each side says of itself first.
type Hello struct {
	MinPoW   float64          // wants no envelope below this proof of work; finite, not negative
	Bloom    *envelope.Bloom  // wants only these topics; nil for all. Without meaning when ByTopics
	Topics   []envelope.Topic // when ByTopics: wants exactly these, at most MaxTopics; none when empty
	ByTopics bool
	Light    bool    // does not forward
	Confirms bool    // answers envelopes with Report and Acknowledged
	Packets  *Limits // packets per second it takes; nil when it did not say
	Bytes    *Limits // bytes per second it takes; nil when it did not say
}

// Frame is one packet on the wire.
type Frame struct {
	Code    uint64
	Payload []byte
}

// Packet is one of this package's packet types: Envelopes, Update, Acknowledged, Report, Direct, Request, Complete,
// SyncRequest, SyncResponse or Ignored.
type Packet interface{ packet() }

// Envelopes carries gossip. Decoded envelopes alias the payload.
type Envelopes struct {
	List    []*envelope.Envelope
	payload []byte // as received
}

// Update changes some of what Hello said. A nil field stays as it is.
type Update struct {
	MinPoW   *float64
	Bloom    *envelope.Bloom // ends a topic interest; a full one asks for everything
	Topics   []envelope.Topic
	ByTopics bool // Topics holds, and ends the bloom filter; an empty list asks for nothing
	Light    *bool
	Confirms *bool
	Packets  *Limits
	Bytes    *Limits
}

// Acknowledged says that a peer is done with an envelopes packet of ours. A Report comes before it.
type Acknowledged struct{ Digest envelope.Hash }

// Report says which envelopes of an envelopes packet a peer refused; an empty list means none.
type Report struct {
	Digest  envelope.Hash
	Refused []Refused
}

// Refused is one envelope that was refused. Judge by the text: the numbers differ between implementations, and they use
// one for everything. A Code of 0 is encoded as the dialect's usual number.
type Refused struct {
	Hash envelope.Hash
	Code uint64
	Text string // at most MaxReportText bytes are carried
}

// Direct carries envelopes outside the gossip, from a mail server to the peer that asked. See NeedsTrust.
type Direct struct{ List []*envelope.Envelope }

// Request asks a mail server for history. Decode leaves the payload unread; see ParseRequest.
type Request struct{ Payload []byte }

// Complete ends a mail server's answer. Decode leaves the payload unread; see Parse. See NeedsTrust.
type Complete struct{ Payload []byte }

// SyncRequest asks a mail server for its archive. Decode leaves the payload unread; see Parse.
type SyncRequest struct{ Payload []byte }

// SyncResponse answers a SyncRequest. Decode leaves the payload unread; see Parse. See NeedsTrust.
type SyncResponse struct{ Payload []byte }

// Ignored is a packet without effect: an unknown code, a second hello, a report of an unknown version.
type Ignored struct{ Why string }

func (Envelopes) packet()    {}
func (Update) packet()       {}
func (Acknowledged) packet() {}
func (Report) packet()       {}
func (Direct) packet()       {}
func (Request) packet()      {}
func (Complete) packet()     {}
func (SyncRequest) packet()  {}
func (SyncResponse) packet() {}
func (Ignored) packet()      {}

// Digest identifies the packet in Acknowledged and Report: the Keccak-256 of the payload as received. It is computed
// anew at each call.
func (e Envelopes) Digest() envelope.Hash {
	if e.payload == nil {
		return envelope.Keccak256(envelope.EncodeList(e.List))
	}
	return envelope.Keccak256(e.payload)
}
