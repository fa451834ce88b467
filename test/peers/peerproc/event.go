package peerproc

import (
	"context"
	"time"
)

// Kind says what an Event is about.
type Kind string

// Kinds of events. A helper's filters also report messages; a [Subscription] has those.
const (
	PeerReady   Kind = "peer ready"   // Peer: status packets went both ways
	PeerClosed  Kind = "peer closed"  // Peer, Reason: its Whisper ended the connection, for that reason
	PeerDropped Kind = "peer dropped" // Peer, Reason: the devp2p connection ended, for that reason
	PacketIn    Kind = "packet in"    // Peer, Code, Size, Payload (with Config.Packets)
	PacketOut   Kind = "packet out"   // the same
	Pooled      Kind = "pooled"       // Hash, Topic: accepted into its pool, once per envelope, or archived from an answer to RequestSync
	MailRequest Kind = "request"      // Peer, Payload: packet 126 came; Hash unless it is the plain form
	FromStatus  Kind = "envelope"     // Name, Peer, Hash, Batch, Refused, Last, Cursor, Reason: an event of Status' Whisper, for example "batch.acknowleged"

	Mail         Kind = "mail"     // Peer, Mail, Listed, Size: packet 127 came, whether or not the peer is trusted
	MailComplete Kind = "complete" // Peer, Payload: packet 125 came; Payload is the byte string in it
)

// Event is what a helper reported unasked. Its Kind says which fields are set.
type Event struct {
	Kind    Kind
	At      time.Time
	Peer    [32]byte // node id
	Reason  string
	Name    string // FromStatus: the event's own name
	Code    uint64
	Size    int    // bytes of the whole payload
	Payload []byte // at most its first 4 KiB for packets
	Hash    [32]byte
	Batch   [32]byte
	Topic   [4]byte
	Refused [][32]byte
	Mail    []Mailed
	Listed  bool // the envelopes came as a list, not one alone
	Last    [32]byte
	Cursor  []byte
}

// Message is one that a filter of a helper opened.
type Message struct {
	Payload, Padding []byte
	Hash             [32]byte
	Topic            [4]byte
	Sig              []byte // the signer's public key, 65 bytes; nil if unsigned
	TTL, Sent        uint32
	PoW              float64
	At               time.Time // when the filter was emptied, at most 5 ms after it was filled
}

func (l *line) event() Event {
	e := Event{
		Kind: Kind(l.Kind), At: time.Unix(0, l.AtNS), Peer: array32(l.Peer), Reason: l.Fault,
		Code: l.Code, Size: l.Size, Payload: l.Payload, Hash: array32(l.Hash), Batch: array32(l.Batch), Topic: array4(l.Topic),
		Listed: l.Listed, Last: array32(l.Last), Cursor: l.Cursor,
	}
	switch e.Kind {
	case "peer", "packet":
		e.Kind += Kind(" " + l.State)
	case FromStatus:
		e.Name = l.State
	}
	for _, h := range l.Refused {
		e.Refused = append(e.Refused, array32(h))
	}
	for _, m := range l.Mail {
		e.Mail = append(e.Mail, Mailed{array32(m.Hash), array4(m.Topic), m.Sent, m.RLP})
	}
	return e
}

func (l *line) message() Message {
	m := l.Message
	return Message{
		Payload: m.Payload, Padding: m.Padding, Hash: array32(m.Hash), Topic: array4(m.Topic),
		Sig: m.Sig, TTL: m.TTL, Sent: m.Sent, PoW: m.PoW, At: time.Unix(0, l.AtNS),
	}
}

// Wait returns the first event, past or future, that matches.
func (n *Node) Wait(ctx context.Context, match func(Event) bool) (Event, error) {
	e, _, err := n.events.next(ctx, 0, match)
	return e, err
}

// WaitAfter is Wait for events after position pos; it returns the position after the event found, to go on from.
func (n *Node) WaitAfter(ctx context.Context, pos int, match func(Event) bool) (Event, int, error) {
	return n.events.next(ctx, pos, match)
}

// Count is how many events so far match.
func (n *Node) Count(match func(Event) bool) int { return n.events.count(match) }

// WaitPooled waits until the envelope is or was in the helper's pool.
func (n *Node) WaitPooled(ctx context.Context, hash [32]byte) (Event, error) {
	return n.Wait(ctx, func(e Event) bool { return e.Kind == Pooled && e.Hash == hash })
}

// Of matches events of one kind.
func Of(kind Kind) func(Event) bool { return func(e Event) bool { return e.Kind == kind } }
