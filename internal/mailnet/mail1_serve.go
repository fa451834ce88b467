package mailnet

import (
	"slices"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/mailserver"
)

// mail1Answer is the answer to one request of the peer, and the mail server's Outbox for it.
type mail1Answer struct {
	conn   *mail1Conn
	id     uint64
	style  answerStyle
	ticket uint64 // known to the reader only

	// Known to the mail server's calls only, of which there is one at a time.
	hashes  []envelope.Hash // of a request by hash: those to come
	missing []envelope.Hash // and those passed over
	until   []uint64        // of a held

	// Under the connection's lock.
	queue  []mail1Frame
	credit int64
	moved  time.Time // when a packet was last written, or began to wait
	gone   bool      // nothing more is queued
}

// answerStyle is how records become packets.
type answerStyle uint8

const (
	pageStyle answerStyle = iota
	hashesStyle
	fetchStyle
	heldStyle
)

// serve takes a packet of an asker.
func (c *mail1Conn) serve(p mail1.Packet) error {
	switch p := p.(type) {
	case mail1.Page:
		return c.ask(p.ID, &mail1Answer{style: pageStyle, credit: p.Credit}, c.question(p.Question, false))
	case mail1.Hashes:
		return c.ask(p.ID, &mail1Answer{style: hashesStyle, credit: p.Credit}, c.question(p.Question, true))
	case mail1.Fetch:
		return c.ask(p.ID, &mail1Answer{style: fetchStyle, credit: p.Credit, hashes: p.Hashes}, look(p.Hashes, false))
	case mail1.Held:
		return c.ask(p.ID, &mail1Answer{style: heldStyle, hashes: p.Hashes}, look(p.Hashes, true))
	case mail1.Join:
		return c.join(p)
	case mail1.Bad:
		if c.bad++; c.bad > mail1Bad {
			return p.Err
		}
		c.push(refusal(p.ID, p.Err, 0))
	case mail1.Cancel:
		c.cancelled(p.ID)
	case mail1.Credit:
		c.credited(p.ID, p.Bytes)
	}
	return nil
}

// question prepares what a Page or Hashes asks for.
func (c *mail1Conn) question(q mail1.Question, bare bool) mailserver.Prepare {
	return func() (mailserver.Request, error) {
		if q.Epoch != (mail1.Epoch{}) && q.Epoch != c.cfg.Server.Announce().Epoch {
			return mailserver.Request{}, fault.E("mail/1", fault.NotFound, nil, "this archive began anew: positions of before mean nothing here, start again")
		}
		budget := q.Budget
		if budget == 0 || budget > mail1Budget {
			budget = mail1Budget
		}
		return mailserver.Request{
			Kind: mailserver.History,
			Query: archive.Query{
				Order: archive.ByArrival, Topics: q.Topics, Bloom: q.Bloom, From: q.From, To: q.To,
				AfterArrival: q.After, UntilArrival: q.Until,
			},
			Budget: budget, Bare: bare, Packet: mail1Packet,
		}, nil
	}
}

// mail1Packet is what fits into one packet, of envelopes or of hashes.
var mail1Packet = archive.Bound{Count: min(mail1.MaxEnvelopes, mail1.MaxBulk/mail1.ListedSize-1), Bytes: mail1.MaxBulk - mail1.EnvelopesOverhead}

// look prepares a request by hash. An empty list is one too, not a question for everything.
func look(hashes []envelope.Hash, bare bool) mailserver.Prepare {
	if hashes == nil {
		hashes = []envelope.Hash{}
	}
	return func() (mailserver.Request, error) {
		return mailserver.Request{Kind: mailserver.Look, Hashes: hashes, Bare: bare, Packet: mail1Packet}, nil
	}
}

// ask hands a request to the mail server, or refuses it.
func (c *mail1Conn) ask(id uint64, a *mail1Answer, prepare mailserver.Prepare) error {
	if ok, err := c.open(id, a); !ok {
		return err
	}
	who := mailserver.Asker{Conn: c.peer.Conn, Node: c.peer.ID, Source: c.peer.Source, Trusted: c.peer.Trusted}
	a.ticket = c.cfg.Server.Ask(who, prepare, a)
	return nil
}

// open notes a request as open. The error ends the connection; a request that is refused is neither open nor an error.
func (c *mail1Conn) open(id uint64, a *mail1Answer) (ok bool, err error) {
	a.conn, a.id, a.moved = c, id, c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.answers[id] != nil:
		return false, breach("the peer used the id of an open request for another")
	case c.cfg.Server == nil:
		c.pushLocked(refusal(id, fault.E("mail/1", fault.Unavailable, nil, "this node is no mail server"), 0))
		return false, nil
	case len(c.answers) >= mail1.MaxOpen:
		err := fault.Errorf("mail/1", fault.Busy, "%d requests are open on this connection, which is as many as there may be", mail1.MaxOpen)
		c.pushLocked(refusal(id, err, time.Second))
		return false, nil
	}
	c.answers[id] = a
	return true, nil
}

// refusal ends a request with an error.
func refusal(id uint64, err error, again time.Duration) mail1.Error {
	return mail1.Error{ID: id, Kind: fault.KindOf(err), Text: fault.Text(err), RetryAfter: uint64(max(again, 0).Milliseconds())}
}

// cancelled ends an answer that the peer does not want any more.
func (c *mail1Conn) cancelled(id uint64) {
	c.mu.Lock()
	a := c.answers[id]
	delete(c.answers, id)
	c.mu.Unlock()
	if a != nil {
		a.takeBack(fault.E("mail/1", fault.Closed, nil, "the request was cancelled"))
	}
}

// takeBack ends an answer without a word, and tells the mail server.
func (a *mail1Answer) takeBack(reason error) {
	c := a.conn
	c.mu.Lock()
	dropped := a.clear()
	a.gone = true
	c.mu.Unlock()
	if a.ticket != 0 {
		c.cfg.Server.Cancel(a.ticket)
	}
	dropAll(dropped, reason)
}

func (c *mail1Conn) credited(id uint64, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.answers[id]; a != nil {
		a.credit = min(a.credit, mail1.MaxAmount-bytes) + bytes
		a.moved = c.cfg.Now()
		c.rouse()
	}
}

// clear takes the packets that wait. The lock is held.
func (a *mail1Answer) clear() []mail1Frame {
	dropped := a.queue
	a.queue, a.gone = nil, false
	a.conn.turns = slices.DeleteFunc(a.conn.turns, func(other *mail1Answer) bool { return other == a })
	return dropped
}

// put queues a packet and reports whether it can still be of use.
func (a *mail1Answer) put(f mail1Frame) bool {
	a.conn.mu.Lock()
	defer a.conn.mu.Unlock()
	return a.putLocked(f)
}

func (a *mail1Answer) putLocked(f mail1Frame) bool {
	c := a.conn
	if a.gone || c.reason != nil {
		return false
	}
	if len(a.queue) == 0 {
		a.moved = c.cfg.Now()
		c.turns = append(c.turns, a)
	}
	a.queue = append(a.queue, f)
	a.gone = f.last
	c.rouse()
	return true
}

// fail ends the answer with an error: behind what waits if that may be sent, otherwise in its place.
func (a *mail1Answer) fail(err error, again time.Duration) {
	a.conn.mu.Lock()
	var dropped []mail1Frame
	if a.credit <= 0 && a.conn.answers[a.id] == a {
		dropped = a.clear()
	}
	a.putLocked(lastFrame(refusal(a.id, err, again)))
	a.conn.mu.Unlock()
	dropAll(dropped, err)
}

func lastFrame(p mail1.Packet) mail1Frame {
	code, payload := mail1.Encode(p)
	return mail1Frame{code: code, payload: payload, last: true}
}

// dropAll tells who waits for packets that they will not be written.
func dropAll(list []mail1Frame, reason error) {
	for _, f := range list {
		if f.done != nil {
			f.done(reason)
		}
	}
}

// Records implements mailserver.Outbox.
func (a *mail1Answer) Records(list []archive.Record, done func(error)) {
	f := mail1Frame{done: done}
	switch a.style {
	case pageStyle:
		f.code, f.payload = mail1.CodeEnvelopes, mail1.EncodeEnvelopes(a.id, list[len(list)-1].Arrival, bodies(list))
	case hashesStyle:
		listed := make([]mail1.Listed, len(list))
		for i := range list {
			listed[i] = mail1.Listed{Hash: list[i].Hash, Sent: list[i].Sent, Size: uint32(len(list[i].Raw))}
		}
		f.code, f.payload = mail1.Encode(mail1.HashList{ID: a.id, Through: list[len(list)-1].Arrival, List: listed})
	case fetchStyle:
		for i := range list {
			a.skip(list[i].Hash)
		}
		f.code, f.payload = mail1.CodeEnvelopes, mail1.EncodeEnvelopes(a.id, 0, bodies(list))
	case heldStyle:
		keep, now := a.conn.cfg.Server.Announce().Keep, a.conn.cfg.Now()
		for i := range list {
			a.skip(list[i].Hash)
			held := time.Unix(int64(list[i].Arrived), 0).Add(keep)
			if held.Before(now) {
				held = now // it is still there
			}
			a.until = append(a.until, unix(held))
		}
		done(nil)
		return
	}
	if !a.put(f) {
		done(fault.E("mail/1", fault.Closed, nil, "the request is over"))
	}
}

// bodies lists the records' bytes.
func bodies(list []archive.Record) [][]byte {
	raw := make([][]byte, len(list))
	for i := range list {
		raw[i] = list[i].Raw
	}
	return raw
}

// skip moves on behind a hash that was asked for; those before it are not stored.
func (a *mail1Answer) skip(to envelope.Hash) {
	for len(a.hashes) > 0 {
		h := a.hashes[0]
		a.hashes = a.hashes[1:]
		if h == to {
			return
		}
		a.missed(h)
	}
}

func (a *mail1Answer) missed(h envelope.Hash) {
	if a.style == heldStyle {
		a.until = append(a.until, 0)
		return
	}
	a.missing = append(a.missing, h)
}

// End implements mailserver.Outbox.
func (a *mail1Answer) End(o mailserver.Outcome) {
	if o.Err != nil {
		a.fail(o.Err, o.RetryAfter)
		return
	}
	if !o.More {
		for _, h := range a.hashes {
			a.missed(h)
		}
	}
	if a.style == heldStyle {
		a.put(lastFrame(mail1.HeldList{ID: a.id, Until: a.until}))
		return
	}
	epoch := a.conn.cfg.Server.Announce().Epoch
	a.put(lastFrame(mail1.End{ID: a.id, Epoch: epoch, Through: o.Through, More: o.More, Missing: a.missing}))
}

// join makes the peer a member. The member list is on disk, so it happens beside the reader, one at a time.
func (c *mail1Conn) join(p mail1.Join) error {
	a := &mail1Answer{}
	if ok, err := c.open(p.ID, a); !ok {
		return err
	}
	c.joins++
	switch {
	case c.cfg.Join == nil:
		a.fail(fault.E("mail/1", fault.NotFound, nil, "this mail server has no members to join"), 0)
	case c.joins > mail1Joins:
		a.fail(fault.Errorf("mail/1", fault.Limit, "%d invitations were tried on this connection: connect again", mail1Joins), 0)
	default:
		c.joiners.Go(func() { c.tryJoin(a, p.Token) })
	}
	return nil
}

func (c *mail1Conn) tryJoin(a *mail1Answer, token string) {
	m, err := c.cfg.Join(token, c.peer.ID)
	if err != nil {
		a.fail(err, 0)
		return
	}
	a.put(lastFrame(mail1.Joined{ID: a.id, Member: m.Name, BytesPerDay: max(m.BytesPerDay, 0), Left: max(m.Left, 0)}))
	c.mu.Lock()
	c.joined = true
	c.mu.Unlock()
	c.greet()
}
