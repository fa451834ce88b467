package rpc

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/outbox"
)

// NewLetter is the argument of inbox_send. What is 0 or absent has its default.
type NewLetter struct {
	ID        string        `json:"id,omitempty"` // the same twice is the same letter; absent: made
	Topic     Topic         `json:"topic"`
	TopicText string        `json:"topicText,omitempty"` // instead of Topic: the name of one, as public chats have it
	SymKeyID  string        `json:"symKeyID,omitempty"`  // one of these three
	Password  string        `json:"password,omitempty"`
	PublicKey hexutil.Bytes `json:"pubKey,omitempty"`
	Sig       string        `json:"sig,omitempty"` // id of the key pair that signs
	Payload   hexutil.Bytes `json:"payload,omitempty"`
	Text      string        `json:"text,omitempty"`      // instead of Payload
	TTL       uint32        `json:"ttl,omitempty"`       // seconds for which each envelope lives
	PowTarget float64       `json:"powTarget,omitempty"` // 0: the least that the node takes
	Until     time.Time     `json:"until,omitzero"`      // give up then
}

// Letter is something sent, and what became of it.
type Letter struct {
	ID       string          `json:"id"`
	State    string          `json:"state"` // sending, accepted, held or failed
	Text     string          `json:"text"`  // for people
	Topic    Topic           `json:"topic"`
	Dst      hexutil.Bytes   `json:"recipientPublicKey,omitempty"`
	Size     int             `json:"size"` // bytes of the payload
	TTL      uint64          `json:"ttl"`
	Until    time.Time       `json:"until,omitzero"` // given up then
	Done     bool            `json:"done"`           // nothing more is done about it
	Peers    int             `json:"peers"`          // that confirmed it
	Holders  []LetterHolder  `json:"holders"`
	Attempts []LetterAttempt `json:"attempts"`
	Error    string          `json:"error,omitempty"`
	Created  time.Time       `json:"created"`
	Changed  time.Time       `json:"changed"`
}

// LetterHolder is a mail server that holds a letter.
type LetterHolder struct {
	Server    string    `json:"server"`
	Until     time.Time `json:"until,omitzero"` // absent: it did not say
	Confirmed time.Time `json:"confirmed"`
	How       string    `json:"how"` // told or seen
}

// LetterAttempt is one envelope that carries a letter.
type LetterAttempt struct {
	Hash    envelope.Hash `json:"hash"`
	Posted  time.Time     `json:"posted,omitzero"`
	Expires time.Time     `json:"expires"`
}

func newLetter(e *outbox.Entry) Letter {
	out := Letter{
		ID: e.ID, State: e.State.String(), Text: e.Text, Topic: Topic(e.Topic), Size: e.Size, TTL: seconds(e.TTL),
		Until: e.Until, Done: e.Done, Peers: e.Peers, Holders: []LetterHolder{}, Attempts: []LetterAttempt{}, Error: e.Err,
		Created: e.Created, Changed: e.Changed,
	}
	if e.To != nil {
		out.Dst = e.To[:]
	}
	for _, h := range e.Holders {
		out.Holders = append(out.Holders, LetterHolder{Server: serverID(h.Server), Until: h.Until, Confirmed: h.Confirmed, How: h.How.String()})
	}
	for _, t := range e.Attempts {
		out.Attempts = append(out.Attempts, LetterAttempt(t))
	}
	return out
}

// Send begins to send, and returns once that is durable: the node goes on by itself, also after a restart.
func (a *inboxAPI) Send(ctx context.Context, req NewLetter) (Letter, error) {
	return a.letter(ctx, func(ctx context.Context) (outbox.Entry, error) {
		l, err := a.compose(&req)
		if err != nil {
			return outbox.Entry{}, err
		}
		return a.inbox.Send(ctx, l)
	})
}

// compose checks what the machine behind cannot know: the keys and the forms.
func (a *inboxAPI) compose(req *NewLetter) (l outbox.Letter, err error) {
	l = outbox.Letter{ID: req.ID, Topic: envelope.Topic(req.Topic), Payload: req.Payload, PoW: req.PowTarget, Until: req.Until,
		TTL: time.Duration(req.TTL) * time.Second}
	if req.Text != "" {
		if len(req.Payload) > 0 {
			return l, refuse(fault.Invalid, "give the payload or the text, not both")
		}
		l.Payload = []byte(req.Text)
	}
	if req.TopicText != "" {
		if req.Topic != (Topic{}) {
			return l, refuse(fault.Invalid, "give the topic or its name, not both")
		}
		if l.Topic, err = topicOf(req.TopicText); err != nil {
			return l, err
		}
	}
	if countSet(req.SymKeyID, req.Password, string(req.PublicKey)) != 1 {
		return l, refuse(fault.Invalid, "give exactly one of symKeyID, password and pubKey: without a key nobody could read it")
	}
	if len(req.PublicKey) > 0 {
		k, err := message.ParsePublicKey(req.PublicKey)
		if err != nil {
			return l, refuse(fault.Invalid, "%w", errBadPublicKey)
		}
		l.To = &k
	} else {
		if l.Topic == (envelope.Topic{}) {
			return l, refuse(fault.Invalid, "%w", errNoTopics)
		}
		if l.Sym, err = a.sym(req.SymKeyID, req.Password); err != nil {
			return l, err
		}
	}
	if req.Sig != "" {
		l.Sign, err = a.pair(req.Sig)
	}
	return l, err
}

func (a *inboxAPI) letter(ctx context.Context, f func(context.Context) (outbox.Entry, error)) (Letter, error) {
	return inboxCall(ctx, a, func(ctx context.Context) (Letter, error) {
		e, err := f(ctx)
		if err != nil {
			return Letter{}, err
		}
		return newLetter(&e), nil
	})
}

// Bounds of inbox_letters.
const (
	DefaultLetters = 100
	MaxLetters     = 1000
)

// LetterQuery is the argument of inbox_letters.
type LetterQuery struct {
	After string `json:"after,omitempty"` // id of the last letter of the answer before
	Limit int    `json:"limit,omitempty"` // 0: DefaultLetters
}

// Letters lists what was sent.
func (a *inboxAPI) Letters(ctx context.Context, req *LetterQuery) ([]Letter, error) {
	return inboxCall(ctx, a, func(ctx context.Context) ([]Letter, error) {
		q := LetterQuery{Limit: DefaultLetters}
		if req != nil {
			q.After = req.After
			if req.Limit != 0 {
				q.Limit = req.Limit
			}
		}
		if q.Limit < 1 || q.Limit > MaxLetters {
			return nil, refuse(fault.Limit, "the limit is %d; allowed: 1 to %d", q.Limit, MaxLetters)
		}
		list, err := a.inbox.Letters(ctx, q.After, q.Limit)
		out := make([]Letter, len(list))
		for i := range list {
			out[i] = newLetter(&list[i])
		}
		return out, err
	})
}

// Letter tells of one letter.
func (a *inboxAPI) Letter(ctx context.Context, id string) (Letter, error) {
	return a.letter(ctx, func(ctx context.Context) (outbox.Entry, error) { return a.inbox.Letter(ctx, id) })
}

// GiveUp stops sending a letter. What is out cannot be called back.
func (a *inboxAPI) GiveUp(ctx context.Context, id string) (bool, error) {
	return a.do(ctx, func(ctx context.Context) error { return a.inbox.GiveUp(ctx, id) })
}

// Forget removes a letter from the list.
func (a *inboxAPI) Forget(ctx context.Context, id string) (bool, error) {
	return a.do(ctx, func(ctx context.Context) error { return a.inbox.Forget(ctx, id) })
}
