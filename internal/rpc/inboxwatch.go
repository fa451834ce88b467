package rpc

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/watch"
)

// NewWatch is the argument of inbox_watch. Without a key, what comes is kept as it is.
type NewWatch struct {
	Name         string        `json:"name,omitempty"`
	Topics       []Topic       `json:"topics,omitempty"`
	TopicTexts   []string      `json:"topicTexts,omitempty"` // names of topics, as public chats have them
	Since        *uint32       `json:"since,omitempty"`      // Unix seconds, sent; absent: as the configuration says
	Rank         int           `json:"rank,omitempty"`       // 0 is fetched first
	SymKeyID     string        `json:"symKeyID,omitempty"`   // at most one of these three
	PrivateKeyID string        `json:"privateKeyID,omitempty"`
	Password     string        `json:"password,omitempty"`
	Sig          hexutil.Bytes `json:"sig,omitempty"` // public key of the wanted signer
}

// InboxWatch is one thing that the user waits for.
type InboxWatch struct {
	ID      string        `json:"id"`
	Name    string        `json:"name,omitempty"`
	Topics  []Topic       `json:"topics"`
	Since   uint32        `json:"since"`
	Rank    int           `json:"rank"`
	Key     string        `json:"key"` // symmetric, private or none
	Dst     hexutil.Bytes `json:"recipientPublicKey,omitempty"`
	Sig     hexutil.Bytes `json:"sig,omitempty"`
	Created time.Time     `json:"created"`
}

func newInboxWatch(w *watch.Watch) InboxWatch {
	out := InboxWatch{
		ID: w.ID, Name: w.Name, Topics: topics(w.Topics), Since: w.SinceSecond(), Rank: w.Rank, Key: "none",
		Created: w.Created,
	}
	switch {
	case w.Sym != nil:
		out.Key = "symmetric"
	case w.Private != nil:
		recipient := w.Private.Public()
		out.Key, out.Dst = "private", recipient[:]
	}
	if w.Signer != nil {
		out.Sig = w.Signer[:]
	}
	return out
}

func topics(list []envelope.Topic) []Topic {
	out := make([]Topic, len(list))
	for i, t := range list {
		out[i] = Topic(t)
	}
	return out
}

// topicOf is the topic that stands for a name.
func topicOf(name string) (envelope.Topic, error) {
	if name == "" {
		return envelope.Topic{}, refuse(fault.Invalid, "the name of a topic is empty")
	}
	hash := envelope.Keccak256([]byte(name))
	return envelope.Topic(hash[:4]), nil
}

// Watch begins to wait for topics.
func (a *inboxAPI) Watch(ctx context.Context, req NewWatch) (InboxWatch, error) {
	return inboxCall(ctx, a, func(ctx context.Context) (InboxWatch, error) {
		spec, err := a.spec(&req)
		if err != nil {
			return InboxWatch{}, err
		}
		w, err := a.inbox.Watch(ctx, spec)
		if err != nil {
			return InboxWatch{}, err
		}
		return newInboxWatch(&w), nil
	})
}

// spec checks the arguments and finds the keys.
func (a *inboxAPI) spec(req *NewWatch) (s watch.Spec, err error) {
	s = watch.Spec{Name: req.Name, Rank: req.Rank}
	if n := len(req.Topics) + len(req.TopicTexts); n > watch.MaxTopics {
		return s, refuse(fault.Limit, "a watch has at most %d topics, not %d: make several", watch.MaxTopics, n)
	}
	for _, t := range req.Topics {
		s.Topics = append(s.Topics, envelope.Topic(t))
	}
	for _, name := range req.TopicTexts {
		t, err := topicOf(name)
		if err != nil {
			return s, err
		}
		s.Topics = append(s.Topics, t)
	}
	if req.Since != nil {
		s.Since = time.Unix(int64(*req.Since), 0).UTC()
	}
	if countSet(req.SymKeyID, req.PrivateKeyID, req.Password) > 1 {
		return s, refuse(fault.Invalid, "a watch has one key: give symKeyID, privateKeyID or password, not several")
	}
	if req.PrivateKeyID != "" {
		if s.Private, err = a.pair(req.PrivateKeyID); err != nil {
			return s, err
		}
	} else if s.Sym, err = a.sym(req.SymKeyID, req.Password); err != nil {
		return s, err
	}
	if len(req.Sig) > 0 {
		k, err := message.ParsePublicKey(req.Sig)
		if err != nil {
			return s, refuse(fault.Invalid, "%w", errBadSigner)
		}
		s.Signer = &k
	}
	return s, nil
}

func countSet(values ...string) (n int) {
	for _, v := range values {
		if v != "" {
			n++
		}
	}
	return n
}

// sym finds a symmetric key by id, or derives it; nil where neither is given.
func (a *inboxAPI) sym(id, password string) (*message.SymKey, error) {
	if password != "" {
		derived, err := a.keys.FromPassword(password)
		if err != nil {
			return nil, err
		}
		defer a.keys.DeleteSym(derived)
		id = derived
	}
	if id == "" {
		return nil, nil
	}
	k, err := a.keys.Sym(id)
	if err != nil {
		return nil, noKey("symmetric key", id)
	}
	return &k, nil
}

func (a *inboxAPI) pair(id string) (*message.PrivateKey, error) {
	k, err := a.keys.Pair(id)
	if err != nil {
		return nil, noKey("key pair", id)
	}
	return k, nil
}

// noKey does not repeat what was given: it may be a key rather than its id.
func noKey(what, id string) error {
	if len(id) != keyring.IDSize {
		return refuse(fault.NotFound, "the id of a %s has %d hex digits", what, keyring.IDSize)
	}
	return refuse(fault.NotFound, "the node holds no %s with this id: keys are forgotten when it stops", what)
}

func refuse(kind fault.Kind, format string, args ...any) error {
	return fault.Errorf("rpc: inbox", kind, format, args...)
}

// Unwatch ends a watch.
func (a *inboxAPI) Unwatch(ctx context.Context, id string) (bool, error) {
	return a.do(ctx, func(ctx context.Context) error { return a.inbox.Unwatch(ctx, id) })
}

// Watches lists what the user waits for.
func (a *inboxAPI) Watches(ctx context.Context) ([]InboxWatch, error) {
	return inboxCall(ctx, a, func(ctx context.Context) ([]InboxWatch, error) {
		list, err := a.inbox.Watches(ctx)
		out := make([]InboxWatch, len(list))
		for i := range list {
			out[i] = newInboxWatch(&list[i])
		}
		return out, err
	})
}

// MessageQuery is the argument of inbox_messages.
type MessageQuery struct {
	Watch string `json:"watch,omitempty"` // id; "": of all
	After uint64 `json:"after,omitempty"` // seq: only later ones
	Limit int    `json:"limit,omitempty"` // 0: inbox.DefaultLimit
}

// MaxMessageBytes is after how many bytes of messages inbox_messages stops before its limit.
const MaxMessageBytes = 8 << 20

const messageStep = 16 // messages that are read at a time

// InboxMessages is the result of inbox_messages.
type InboxMessages struct {
	Messages []InboxMessage `json:"messages"`
	Next     uint64         `json:"next"` // the after of the next question
	More     bool           `json:"more"` // it stopped at a limit: there may be more now
}

// InboxMessage is one message that came for a watch.
type InboxMessage struct {
	Seq    uint64    `json:"seq"` // ascending in the order in which they were kept
	Watch  string    `json:"watch"`
	Came   time.Time `json:"came"`
	Server string    `json:"server,omitempty"` // id of the mail server that handed it over; absent: it came live
	Opened bool      `json:"opened"`

	Hash    envelope.Hash `json:"hash"`
	Topic   Topic         `json:"topic"`
	Sent    uint32        `json:"sent"` // Unix seconds, the sender's claim
	TTL     uint32        `json:"ttl"`
	PoW     float64       `json:"pow"`
	Sig     hexutil.Bytes `json:"sig,omitempty"` // public key of the signer
	Payload hexutil.Bytes `json:"payload,omitempty"`

	Envelope hexutil.Bytes `json:"envelope,omitempty"` // as it came, where it was not opened
}

func newInboxMessage(m *inbox.Message) InboxMessage {
	out := InboxMessage{
		Seq: m.Seq, Watch: m.Watch, Hash: m.Hash, Topic: Topic(m.Topic), Sent: m.Sent, TTL: m.TTL, Came: m.Came,
		Server: serverID(m.Server), Opened: m.Opened != nil,
	}
	if m.Envelope != nil {
		out.PoW = m.Envelope.PoW()
	}
	switch {
	case m.Opened != nil:
		out.Payload = m.Opened.Payload
		if m.Opened.Signed {
			out.Sig = m.Opened.Signer[:]
		}
	case m.Envelope != nil:
		out.Envelope = m.Envelope.Raw()
	}
	return out
}

// Messages lists what came, in the order in which it was kept.
func (a *inboxAPI) Messages(ctx context.Context, req MessageQuery) (InboxMessages, error) {
	return inboxCall(ctx, a, func(ctx context.Context) (InboxMessages, error) {
		if req.Limit < 0 || req.Limit > inbox.MaxLimit {
			return InboxMessages{}, refuse(fault.Limit, "the limit is %d; allowed: 1 to %d", req.Limit, inbox.MaxLimit)
		}
		if req.Limit == 0 {
			req.Limit = inbox.DefaultLimit
		}
		return a.messages(ctx, req)
	})
}

// messages reads in small steps, so that large messages do not fill the memory.
func (a *inboxAPI) messages(ctx context.Context, req MessageQuery) (InboxMessages, error) {
	out := InboxMessages{Messages: []InboxMessage{}, Next: req.After}
	for bytes := 0; ; {
		step := min(messageStep, req.Limit-len(out.Messages))
		if step <= 0 || bytes >= MaxMessageBytes {
			out.More = true
			return out, nil
		}
		list, next, err := a.inbox.Messages(ctx, inbox.Query{Watch: req.Watch, After: out.Next, Limit: step})
		if err != nil {
			return out, err
		}
		for i := range list {
			m := newInboxMessage(&list[i])
			bytes += len(m.Payload) + len(m.Envelope)
			out.Messages = append(out.Messages, m)
		}
		if next <= out.Next {
			return out, nil
		}
		out.Next = next
	}
}

// Acknowledge says that the program has everything of a watch up to a message; the node may forget it.
func (a *inboxAPI) Acknowledge(ctx context.Context, watch string, through uint64) (bool, error) {
	return a.do(ctx, func(ctx context.Context) error { return a.inbox.Acknowledge(ctx, watch, through) })
}
