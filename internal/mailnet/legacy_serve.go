package mailnet

import (
	"errors"
	"runtime/debug"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/wire"
)

// Bounds of requests in the older forms.
const (
	maxRequest  = 256 << 10 // bytes; the longest list of topics takes 50 KiB
	packetBytes = 64 << 10  // of one packet of an answer, so that gossip waits for moments only
)

// legacyAnswer is the answer to a request in one of the older forms.
type legacyAnswer struct {
	remote *Remote
	link   *session.Link
	sync   bool
	asked  wire.Request
	id     envelope.Hash // of the request; zero before it was read
}

func (n *Net) asker(r *Remote) mailserver.Asker {
	return mailserver.Asker{Conn: r.peer.Conn, Node: r.peer.ID, Source: r.peer.Source, Trusted: r.peer.Trusted}
}

// serve answers a history request. What takes time happens in the mail server's own turn.
func (n *Net) serve(r *Remote, l *session.Link, p wire.Request) {
	out := &legacyAnswer{remote: r, link: l, asked: p}
	switch {
	case len(p.Payload) > maxRequest:
		out.refuse(fault.Errorf("mail request", fault.Limit, "a request of %d bytes is too long, at most %d are read", len(p.Payload), maxRequest))
	case n.cfg.Server == nil:
		out.refuse(fault.E("mail request", fault.Unavailable, nil, "this node is no mail server"))
	default:
		n.cfg.Server.Ask(n.asker(r), n.guard(func() (mailserver.Request, error) { return n.prepare(out) }), out)
	}
}

// serveSync answers another mail server's request for our archive.
func (n *Net) serveSync(r *Remote, l *session.Link, p wire.SyncRequest) {
	out := &legacyAnswer{remote: r, link: l, sync: true}
	switch {
	case n.cfg.Server == nil:
		out.refuse(fault.E("sync request", fault.Unavailable, nil, "this node is no mail server"))
	case len(p.Payload) > maxRequest:
		out.refuse(fault.Errorf("sync request", fault.Limit, "a request of %d bytes is too long", len(p.Payload)))
	default:
		n.cfg.Server.Ask(n.asker(r), n.guard(func() (mailserver.Request, error) {
			m, err := p.Parse()
			if err == nil {
				err = m.CheckSync()
			}
			if err != nil {
				return mailserver.Request{}, err
			}
			if m.Bloom == nil {
				m.Bloom = new(envelope.Bloom)
			}
			req := requestOf(&m)
			req.Kind = mailserver.Sync
			return req, nil
		}), out)
	}
}

// guard makes a defect in reading a request cost an answer, not everybody the process.
func (n *Net) guard(p mailserver.Prepare) mailserver.Prepare {
	return func() (req mailserver.Request, err error) {
		defer func() {
			if r := recover(); r != nil {
				n.cfg.Log.Error("a mail request could not be read for a defect of this program; please report it", "panic", r, "stack", string(debug.Stack()))
				err = fault.E("mail request", fault.Internal, nil, "the mail server has a defect and cannot read this request")
			}
		}()
		return p()
	}
}

// prepare reads a request, opens it if it is sealed, and says what it asks of the archive.
func (n *Net) prepare(out *legacyAnswer) (mailserver.Request, error) {
	sealed, plain, err := out.read()
	if err == nil && sealed != nil {
		plain, err = n.open(sealed, out.remote.peer.ID)
	}
	if err != nil {
		return mailserver.Request{}, err
	}
	if err := plain.Grant(); err != nil {
		return mailserver.Request{}, err
	}
	return requestOf(plain), nil
}

// read reads the request and learns its id.
func (a *legacyAnswer) read() (sealed *envelope.Envelope, plain *wire.MailRequest, err error) {
	sealed, plain, err = a.asked.Parse()
	switch {
	case sealed != nil:
		a.id = sealed.Hash()
	case plain != nil:
		a.id = plain.PaddedID()
	default:
		a.id = envelope.Keccak256(a.asked.Payload)
	}
	return sealed, plain, err
}

// requestOf is a granted request in the mail server's terms.
func requestOf(m *wire.MailRequest) mailserver.Request {
	req := mailserver.Request{
		Kind: mailserver.History, Limit: int(m.Limit),
		Query:  archive.Query{Order: archive.BySent, Topics: m.Topics, From: m.From, To: m.To},
		Packet: archive.Bound{Count: wire.MaxMailLimit, Bytes: packetBytes},
	}
	if len(m.Topics) == 0 && m.Bloom != nil && !m.Bloom.IsFull() {
		req.Query.Bloom = m.Bloom
	}
	if sent, hash, ok := wire.SplitCursor(m.Cursor); ok {
		req.Query.After = archive.Key{Sent: sent, Hash: hash}
	}
	if !m.Batch {
		req.Packet.Count = 1
	}
	return req
}

// open opens a sealed request with the passwords, or with our own key. It must be signed, as real servers demand; who
// signed says nothing. The same request from another peer is a replay: it would tell that peer who reads what.
func (n *Net) open(e *envelope.Envelope, from [32]byte) (*wire.MailRequest, error) {
	opened, err := n.unseal(e.Data())
	if err != nil {
		return nil, fault.E("mail request", fault.Denied, err, wire.TextNotOpened)
	}
	if !opened.Signed {
		return nil, fault.E("mail request", fault.Denied, nil, wire.TextUnsigned)
	}
	if !n.replay.first(e.Hash(), from) {
		return nil, fault.E("mail request", fault.Denied, nil, "this very request came from another node before: seal a new one")
	}
	m, err := wire.ParseSealed(opened.Payload)
	return &m, err
}

func (n *Net) unseal(data []byte) (*message.Opened, error) {
	for _, key := range n.cfg.Passwords {
		opened, err := message.OpenSymmetric(key, data)
		if err == nil || errors.Is(err, message.ErrMalformed) {
			return opened, err
		}
	}
	return message.OpenAsymmetric(n.cfg.Key, data)
}

// Records implements mailserver.Outbox.
func (a *legacyAnswer) Records(list []archive.Record, done func(error)) {
	raws := make([][]byte, len(list))
	for i := range list {
		raws[i] = list[i].Raw
	}
	frame := a.link.Dialect().DirectFrame(raws)
	if a.sync {
		var err error
		if frame, err = a.link.Dialect().SyncFrame(raws); err != nil {
			done(err)
			return
		}
	}
	a.remote.lane.push(laneItem{link: a.link, frame: frame, done: done})
}

// End implements mailserver.Outbox.
func (a *legacyAnswer) End(o mailserver.Outcome) {
	var cursor []byte
	if o.More && o.Err == nil {
		cursor = wire.AppendCursor(nil, o.Last.Sent, o.Last.Hash)
	}
	text := ""
	if o.Err != nil {
		text = fault.Text(o.Err)
		if kind := fault.KindOf(o.Err); kind == fault.Busy || kind == fault.Limit {
			text = wire.TextBusy + ": " + text
		}
	}
	if a.sync {
		a.send(wire.SyncPage{Cursor: cursor, Final: true, Failed: text}.Packet())
		return
	}
	if a.id == (envelope.Hash{}) && len(a.asked.Payload) <= maxRequest {
		_, _, _ = a.read() // it was refused unread, and still has a right to its name
	}
	a.send(wire.Completion{ID: a.id, Last: o.Last.Hash, Cursor: cursor, Failed: o.Err != nil, Text: text}.Packet())
}

// refuse ends an answer that never reached the mail server.
func (a *legacyAnswer) refuse(err error) { a.End(mailserver.Outcome{Err: err}) }

func (a *legacyAnswer) send(p wire.Packet) {
	frames, err := a.link.Dialect().Encode(p)
	if err != nil {
		return // a dialect without this packet has no request that it would answer
	}
	for _, f := range frames {
		a.remote.lane.push(laneItem{link: a.link, frame: f})
	}
}
