package mailnet

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/mail1"
)

// Bounds of asking.
const (
	mail1Silent = 30 * time.Second // for which a mail server may say nothing
	longestWait = time.Hour        // that a mail server can put us off
)

// mail1Part is what came of an answer: a packet and its size, or why there is no more.
type mail1Part struct {
	packet mail1.Packet
	size   int
	err    error
}

// mail1Ask is a request of ours that is open.
type mail1Ask struct {
	conn    *mail1Conn
	id      uint64
	parts   uint64          // code of the packets that may come any number of times; mail1.Codes for none
	last    uint64          // code of the packet that ends the answer
	take    func(mail1Part) // called by the connection's reader
	balance int64           // credit that the server has left; under the connection's lock
}

// start sends a request of ours. take is called serially, but not from within start: with the parts of the answer, of
// which the last is a packet of the code last, an Error, or an error.
func (c *mail1Conn) start(a *mail1Ask, request func(id uint64) mail1.Packet) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.reason != nil:
		return errGone(c.reason)
	case c.theirs.Flags&mail1.Serves == 0:
		return fault.E("mail/1", fault.Unavailable, nil, "the peer is no mail server")
	case len(c.asks) >= mail1.MaxOpen:
		return fault.Errorf("mail/1", fault.Busy, "%d questions to this mail server are open already", mail1.MaxOpen)
	}
	c.lastID++
	a.conn, a.id = c, c.lastID
	c.asks[a.id] = a
	c.pushLocked(request(a.id))
	return nil
}

// grant lets the server send more of an answer.
func (a *mail1Ask) grant(bytes int64) {
	c := a.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if bytes > 0 && c.asks[a.id] == a {
		a.balance += bytes
		c.pushLocked(mail1.Credit{ID: a.id, Bytes: bytes})
	}
}

// cancel gives an answer up, if it has not ended.
func (a *mail1Ask) cancel() {
	c := a.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asks[a.id] == a {
		delete(c.asks, a.id)
		c.pushLocked(mail1.Cancel{ID: a.id})
	}
}

// answered takes a packet of an answer.
func (c *mail1Conn) answered(p mail1.Packet, size int) error {
	id, code := answerOf(p)
	c.mu.Lock()
	a := c.asks[id]
	if a == nil {
		c.mu.Unlock()
		return nil // it crossed a cancel
	}
	var err error
	switch {
	case code == mail1.CodeError || code == a.last:
		delete(c.asks, id)
	case code != a.parts:
		err = breach("the mail server's answer does not fit the question")
	case a.balance <= 0:
		err = breach("the mail server sent more than it was allowed to")
	default:
		a.balance -= int64(size)
	}
	c.mu.Unlock()
	if err == nil {
		a.take(mail1Part{packet: p, size: size})
	}
	return err
}

func answerOf(p mail1.Packet) (id, code uint64) {
	switch p := p.(type) {
	case mail1.Error:
		return p.ID, mail1.CodeError
	case mail1.Envelopes:
		return p.ID, mail1.CodeEnvelopes
	case mail1.HashList:
		return p.ID, mail1.CodeHashList
	case mail1.HeldList:
		return p.ID, mail1.CodeHeldList
	case mail1.Joined:
		return p.ID, mail1.CodeJoined
	case mail1.End:
		return p.ID, mail1.CodeEnd
	}
	return 0, mail1.Codes
}

// putOff is the cause of an error after which asking again may help.
type putOff time.Duration

func (d putOff) Error() string { return "again after " + time.Duration(d).String() }

// RetryAfter returns how long to wait, by a mail server's word, before asking again; 0 if it did not say.
func RetryAfter(err error) time.Duration {
	var d putOff
	errors.As(err, &d)
	return time.Duration(d)
}

// faultOf is what a mail server's error says.
func faultOf(e mail1.Error) error {
	kind := e.Kind
	if kind > fault.Corrupt {
		kind = fault.Internal
	}
	var cause error
	if e.RetryAfter > 0 {
		cause = putOff(time.Duration(min(e.RetryAfter, uint64(longestWait/time.Millisecond))) * time.Millisecond)
	}
	return fault.E("mail server", kind, cause, e.Text)
}

// mail1Transport implements history.Transport.
type mail1Transport struct {
	conn *mail1Conn
	mu   sync.Mutex
	open *mail1Ask
}

// transport gives the means to ask the other side by arrival. Its hello must have come; see greeted.
func (c *mail1Conn) transport() history.Transport { return &mail1Transport{conn: c} }

// Caps implements history.Transport.
func (t *mail1Transport) Caps() history.Caps {
	h := t.conn.says()
	if !t.conn.serves() {
		return history.Caps{}
	}
	return history.Caps{
		Forms: []history.Form{history.ByArrival}, Lists: true, Epoch: h.Epoch, Next: h.Next,
		MaxTopics: int(max(min(h.MaxTopics, mail1.MaxTopics), 1)), MaxHashes: t.conn.perRequest(),
		Oldest: date(h.Oldest), Keep: seconds(h.Keep), Age: seconds(h.Age), Closing: date(h.Closing),
		MembersOnly: h.Flags&mail1.MembersOnly != 0, Member: h.Flags&mail1.Member != 0, Name: h.Name,
	}
}

// longest is where a peer's seconds end: dates and times beyond it make no sense, and would overflow.
const longest = 1 << 33

func seconds(n uint64) time.Duration { return time.Duration(min(n, longest)) * time.Second }

// date is a time in Unix seconds, the zero time for 0.
func date(n uint64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(int64(min(n, longest)), 0).UTC()
}

// Grant implements history.Transport.
func (t *mail1Transport) Grant(bytes int64) {
	t.mu.Lock()
	a := t.open
	t.mu.Unlock()
	if a != nil {
		a.grant(bytes)
	}
}

// Ask implements history.Transport.
func (t *mail1Transport) Ask(form history.Form, q history.Question, answer func(history.Answer)) (func(), error) {
	switch {
	case form != history.ByArrival && form != history.Listing && form != history.ByHash:
		return nil, fault.Errorf("mail/1", fault.Invalid, "the form %q is not asked for by mail/1", form)
	case len(q.Topics) > mail1.MaxTopics || len(q.Hashes) > mail1.MaxHashes:
		return nil, fault.Errorf("mail/1", fault.Limit, "%d topics and %d hashes are asked for; one question may have %d or %d",
			len(q.Topics), len(q.Hashes), mail1.MaxTopics, mail1.MaxHashes)
	}
	a := &mail1Ask{parts: mail1.CodeEnvelopes, last: mail1.CodeEnd, balance: q.Credit, take: func(p mail1Part) { answer(t.answerOf(p)) }}
	if form == history.Listing {
		a.parts = mail1.CodeHashList
	}
	if err := t.conn.start(a, func(id uint64) mail1.Packet { return mail1Request(id, form, q) }); err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.open = a
	t.mu.Unlock()
	return a.cancel, nil
}

func mail1Request(id uint64, form history.Form, q history.Question) mail1.Packet {
	switch form {
	case history.Listing:
		return mail1.Hashes{Question: questionOf(id, q)}
	case history.ByHash:
		return mail1.Fetch{ID: id, Hashes: q.Hashes, Credit: q.Credit}
	}
	return mail1.Page{Question: questionOf(id, q)}
}

func questionOf(id uint64, q history.Question) mail1.Question {
	return mail1.Question{
		ID: id, Topics: q.Topics, Bloom: q.Bloom, From: q.From, To: q.To,
		Epoch: q.Epoch, After: q.After, Until: q.Until, Budget: q.Budget, Credit: q.Credit,
	}
}

func (t *mail1Transport) answerOf(part mail1Part) history.Answer {
	switch p := part.packet.(type) {
	case mail1.Envelopes:
		return history.Got{Envelopes: p.List, Bytes: int64(part.size), Through: p.Through}
	case mail1.HashList:
		list := make([]history.Entry, len(p.List))
		for i, e := range p.List {
			list[i] = history.Entry(e)
		}
		return history.Named{List: list, Bytes: int64(part.size), Through: p.Through}
	case mail1.End:
		return history.Ended{More: p.More, Through: p.Through, Epoch: p.Epoch, Missing: p.Missing}
	case mail1.Error:
		err := faultOf(p)
		return history.Ended{Err: err, RetryAfter: RetryAfter(err), Epoch: t.conn.says().Epoch}
	}
	return history.Lost{Err: part.err}
}

// call asks what is answered by a single packet, and returns that.
func (c *mail1Conn) call(ctx context.Context, last uint64, request func(id uint64) mail1.Packet) (mail1.Packet, error) {
	answer := make(chan mail1Part, 1)
	a := &mail1Ask{parts: mail1.Codes, last: last, take: func(p mail1Part) { answer <- p }}
	if err := c.start(a, request); err != nil {
		return nil, err
	}
	defer a.cancel()
	silent := time.NewTimer(mail1Silent)
	defer silent.Stop()
	select {
	case part := <-answer:
		if e, ok := part.packet.(mail1.Error); ok {
			return nil, faultOf(e)
		}
		return part.packet, part.err
	case <-silent.C:
		return nil, fault.Errorf("mail/1", fault.Timeout, "the mail server said nothing for %v", mail1Silent)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// perRequest is how many hashes the server takes at a time.
func (c *mail1Conn) perRequest() int { return int(max(min(c.says().MaxHashes, mail1.MaxHashes), 1)) }

// Held asks until when the server keeps envelopes, by its word: the zero time for those that it does not have. The times are
// in the order of the hashes.
func (c *mail1Conn) Held(ctx context.Context, hashes []envelope.Hash) ([]time.Time, error) {
	var times []time.Time
	for len(hashes) > 0 {
		n := min(len(hashes), c.perRequest())
		p, err := c.call(ctx, mail1.CodeHeldList, func(id uint64) mail1.Packet { return mail1.Held{ID: id, Hashes: hashes[:n]} })
		if err != nil {
			return nil, err
		}
		list := p.(mail1.HeldList).Until
		if len(list) != n {
			return nil, fault.Errorf("mail/1", fault.Corrupt, "the mail server was asked about %d envelopes and answered for %d", n, len(list))
		}
		for _, until := range list {
			times = append(times, date(until))
		}
		hashes = hashes[n:]
	}
	return times, nil
}

// Join makes this node a device of the member who was given the token. name is what its operator may call the device.
func (c *mail1Conn) Join(ctx context.Context, token, name string) (Membership, error) {
	p, err := c.call(ctx, mail1.CodeJoined, func(id uint64) mail1.Packet { return mail1.Join{ID: id, Token: token, Name: name} })
	if err != nil {
		return Membership{}, err
	}
	j := p.(mail1.Joined)
	return Membership{Name: j.Member, BytesPerDay: j.BytesPerDay, Left: j.Left}, nil
}
