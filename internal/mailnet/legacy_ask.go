package mailnet

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/wire"
)

// Requests in the older forms carry some work and live for a while: some servers demand one, and none more than this.
const (
	requestPoW  = 0.2
	requestTTL  = 50              // seconds
	sealTimeout = 5 * time.Second // for the work
)

// Seal says how a question in one of the older forms is sealed for a server. With neither, it goes out in the name of
// the password that most servers share.
type Seal struct {
	Password *message.SymKey    // of the mail server
	Server   *message.PublicKey // the mail server's own key, which not all servers open with
}

// legacy asks a peer in the older forms. It implements history.Transport.
type legacy struct {
	remote *Remote
	seal   Seal
}

// Legacy gives the means to ask the peer in the older forms, best first by what its program's name tells.
func (r *Remote) Legacy(seal Seal) history.Transport { return &legacy{r, seal} }

func (t *legacy) Caps() history.Caps {
	if wire.AnswersBarely(t.remote.peer.Client) {
		return history.Caps{Forms: []history.Form{history.Bare, history.Paged}}
	}
	return history.Caps{Forms: []history.Form{history.Paged, history.Bare}}
}

// Grant implements history.Transport; the older forms know no credit.
func (t *legacy) Grant(int64) {}

// Ask implements history.Transport.
func (t *legacy) Ask(form history.Form, q history.Question, answer func(history.Answer)) (func(), error) {
	n := t.remote.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(t.remote.links) == 0 {
		return nil, errGone(nil)
	}
	if t.remote.asking != nil {
		return nil, fault.E("fetch", fault.Busy, nil, "another question to this mail server is open: answers could not be told apart")
	}
	a := &legacyAsk{remote: t.remote, link: t.remote.links[0], answer: answer}
	for _, l := range t.remote.links { // the first of our dialects comes first
		if l.Dialect() == wire.Dialects()[0] {
			a.link = l
		}
	}
	a.release = a.link.Session().Trust()
	a.ctx, a.stop = context.WithTimeout(context.Background(), sealTimeout)
	t.remote.asking = a
	go a.send(t.seal, form, q)
	return a.cancel, nil
}

// legacyAsk is an open question.
type legacyAsk struct {
	remote  *Remote
	link    *session.Link
	answer  func(history.Answer)
	release func() // ends the trust
	ctx     context.Context
	stop    context.CancelFunc

	over atomic.Bool
	mu   sync.Mutex // held while answering, so that answers are serial
	id   envelope.Hash
}

// send seals the question and sends it.
func (a *legacyAsk) send(seal Seal, form history.Form, q history.Question) {
	env, err := a.encode(seal, form, q)
	if err != nil {
		a.end(history.Ended{Err: err})
		return
	}
	a.mu.Lock()
	a.id = env.Hash()
	a.mu.Unlock()
	if a.over.Load() {
		return
	}
	frames, err := a.link.Dialect().Encode(wire.Request{Payload: env.Raw()})
	if err != nil {
		a.end(history.Ended{Err: err})
		return
	}
	a.link.Send(frames...)
}

func (a *legacyAsk) encode(seal Seal, form history.Form, q history.Question) (*envelope.Envelope, error) {
	m := wire.MailRequest{From: q.From, To: q.To, Bloom: q.Bloom, Topics: q.Topics, Limit: uint32(q.Limit), Cursor: q.Cursor, Batch: true}
	if m.Bloom == nil { // servers that do not know topics go by the filter
		bloom := envelope.FullBloom()
		if len(q.Topics) > 0 {
			bloom = envelope.Bloom{}
			for _, topic := range q.Topics {
				bloom.Or(topic.WideBloom())
			}
		}
		m.Bloom = &bloom
	}
	if m.To == 0 {
		m.To = 1<<32 - 2 // the largest that no server overflows at
	}
	payload := wire.EncodeSealed(m)
	if form == history.Bare {
		payload = wire.EncodeBinary(m)
	}
	n := a.remote.net
	plain := message.Plain{Payload: payload, Sign: n.cfg.Key}
	var data []byte
	var err error
	switch {
	case seal.Password != nil:
		data, err = message.SealSymmetric(*seal.Password, plain, rand.Reader)
	case seal.Server != nil:
		data, err = message.SealAsymmetric(*seal.Server, plain, rand.Reader)
	default:
		err = fault.E("fetch", fault.Invalid, nil, "neither the mail server's password nor its key is known: give one of them")
	}
	if err != nil {
		return nil, err
	}
	draft := envelope.Draft{Expiry: uint32(n.cfg.Now().Unix()) + requestTTL, TTL: requestTTL, Data: data}
	return envelope.Seal(a.ctx, draft, requestPoW, 1)
}

// take handles a packet of the answer and reports whether it was one.
func (a *legacyAsk) take(p wire.Packet) bool {
	switch p := p.(type) {
	case wire.Direct:
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.over.Load() {
			return false
		}
		bytes := int64(0)
		for _, e := range p.List {
			bytes += int64(len(e.Raw()))
		}
		a.answer(history.Got{Envelopes: p.List, Bytes: bytes})
		return true
	case wire.Complete:
		c, err := p.Parse()
		a.mu.Lock()
		ours := err == nil && c.ID == a.id
		a.mu.Unlock()
		if ours {
			a.end(endOf(c))
		}
		return true
	}
	return false
}

// endOf is what a completion says.
func endOf(c wire.Completion) history.Ended {
	if !c.Failed {
		return history.Ended{Last: c.Last, Cursor: c.Cursor}
	}
	text := c.Text
	if text == "" {
		text = "the mail server refused without a reason"
	}
	return history.Ended{Err: fault.E("mail server", refusalKind(text), nil, text)}
}

// refusalKind tells from a server's words what can be done.
func refusalKind(text string) fault.Kind {
	for _, known := range []struct {
		words string
		kind  fault.Kind
	}{
		{wire.TextBusy, fault.Busy}, {"limit exceeded", fault.Busy},
		{wire.TextNotOpened, fault.Denied}, {wire.TextUnsigned, fault.Denied}, {"member", fault.Denied},
		{"invalid", fault.Invalid}, {"Undersized", fault.Invalid}, {"decode", fault.Invalid},
	} {
		if strings.Contains(text, known.words) {
			return known.kind
		}
	}
	return fault.Unavailable
}

// end finishes the question with a last answer, once.
func (a *legacyAsk) end(last history.Answer) {
	a.forget()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over.CompareAndSwap(false, true) {
		a.answer(last)
	}
}

// lost ends the question because the connection did.
func (a *legacyAsk) lost(reason error) { a.end(history.Lost{Err: errGone(reason)}) }

// cancel gives the question up. It may be called from within answer.
func (a *legacyAsk) cancel() {
	a.over.Store(true)
	a.forget()
}

// forget makes room for the next question.
func (a *legacyAsk) forget() {
	a.stop()
	a.release()
	n := a.remote.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if a.remote.asking == a {
		a.remote.asking = nil
	}
}
