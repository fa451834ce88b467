package peerproc

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// Form is how a history request is written.
type Form string

// The forms that clients have written over the years. All but Plain are sealed with the mail server's key and signed.
const (
	Binary     Form = "binary"     // from, to; then bloom, limit and cursor as far as they are given
	RLP5       Form = "rlp5"       // [from, to, bloom, limit, cursor]
	RLP5Topics Form = "rlp5topics" // the same and the topics
	RLP6       Form = "rlp6"       // [from, to, bloom, limit, cursor, batch]
	RLP7       Form = "rlp7"       // [from, to, bloom, topics, limit, cursor, batch]
	Plain      Form = "plain"      // Status162: a record instead of an envelope
)

// History is a question to a mail server.
type History struct {
	Form      Form
	SymKey    []byte // what the request is sealed with; see Node.PasswordKey
	Sign      []byte // private key; nil: the node's own
	From, To  uint32 // Unix seconds at which envelopes were sent
	Topics    [][4]byte
	Bloom     []byte // 64 bytes; nil: that of the topics; without topics the full one, and none in Binary
	Limit     uint32
	Cursor    []byte
	Batch     bool // RLP6, RLP7
	PoWTarget float64
	ID        [32]byte // Plain
}

func (h History) args(peer any) args {
	topics := []hexBytes{}
	for _, t := range h.Topics {
		topics = append(topics, t[:])
	}
	return args{
		"peer": peerOf(peer), "form": h.Form, "sym_key": hexBytes(h.SymKey), "sign": hexBytes(h.Sign), "from": h.From, "to": h.To,
		"topics": topics, "bloom": hexBytes(h.Bloom), "limit": h.Limit, "cursor": hexBytes(h.Cursor), "batch": h.Batch,
		"pow_target": h.PoWTarget, "id": hexBytes(h.ID[:]),
	}
}

// RequestHistory asks a connected mail server with the helper's own code, which trusts that peer from then on, and
// returns the request as it was sent; a Plain one has a hash only, its id. The answer comes as events.
func (n *Node) RequestHistory(ctx context.Context, peer any, h History) (Sealed, error) {
	return n.sealed(ctx, "history", h.args(peer))
}

// Sync is a question of one mail server to another.
type Sync struct {
	From, To uint32 // Unix seconds at which envelopes were sent
	Bloom    []byte // 64 bytes
	Limit    uint32
	Cursor   []byte
}

// RequestSync asks a connected mail server with packet 123, which only Status162 has. Envelopes of the answer come as
// Pooled, its end as FromStatus "mailserver.sync.finished"; the peer must be trusted, or the helper takes neither.
func (n *Node) RequestSync(ctx context.Context, peer any, s Sync) error {
	return n.call(ctx, "sync", args{
		"peer": peerOf(peer), "from": s.From, "to": s.To, "bloom": hexBytes(s.Bloom), "limit": s.Limit, "cursor": hexBytes(s.Cursor),
	}, nil)
}

// Mailed is an envelope that came from a mail server.
type Mailed struct {
	Hash  [32]byte
	Topic [4]byte
	Sent  uint32
	Raw   []byte // RLP
}

// Answer is what a mail server sent for a request.
type Answer struct {
	Request     Sealed
	Mail        []Mailed
	Packets     int       // 127
	Listed      int       // of them with lists, not single envelopes
	First, Last time.Time // when packets 127 came; zero if none did
	Complete    *Complete // nil: no packet 125 came
}

// Complete is packet 125, as protocol/mailserver.md section 9 reads it.
type Complete struct {
	ID     [32]byte
	Last   [32]byte
	Cursor []byte // nil: nothing follows
	Error  string // what failed
	Failed bool
}

// FetchHistory is RequestHistory and waits for the answer: until a packet 125 with the request's id comes, or nothing more
// for so long. Other requests under way with the same peer would be counted in.
func (n *Node) FetchHistory(ctx context.Context, peer any, h History, quiet time.Duration) (a Answer, err error) {
	at := n.events.position()
	if a.Request, err = n.RequestHistory(ctx, peer, h); err != nil {
		return a, err
	}
	for a.Complete == nil {
		waiting, cancel := context.WithTimeout(ctx, quiet)
		var e Event
		e, at, err = n.events.next(waiting, at, func(e Event) bool { return e.Kind == Mail || e.Kind == MailComplete })
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return a, nil
		}
		if err == nil {
			err = a.add(e)
		}
		if err != nil {
			return a, err
		}
	}
	return a, nil
}

func (a *Answer) add(e Event) error {
	if e.Reason != "" {
		return errors.New("the answer does not decode: " + e.Reason)
	}
	if e.Kind == MailComplete {
		if c := parseComplete(e.Payload); c.ID == a.Request.Hash {
			a.Complete = c
		}
		return nil
	}
	a.Packets++
	if e.Listed {
		a.Listed++
	}
	if a.First.IsZero() {
		a.First = e.At
	}
	a.Last = e.At
	a.Mail = append(a.Mail, e.Mail...)
	return nil
}

func parseComplete(b []byte) *Complete {
	c := new(Complete)
	b, c.Failed = bytes.CutPrefix(b, []byte("ERROR="))
	b = b[copy(c.ID[:], b):]
	if c.Failed {
		c.Error = string(b)
		return c
	}
	if b = b[copy(c.Last[:], b):]; len(b) > 0 {
		c.Cursor = b
	}
	return c
}
