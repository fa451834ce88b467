package node

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/mailnet"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc/legacy"
)

// requests lets programs ask mail servers by hand: legacy.Requests over this node's connections. What comes goes to the
// message filters; nothing is kept, and no coverage is claimed.
type requests struct {
	n     *Node
	known func() []nodeaddr.Node // mail servers besides those of SetServers, best first; may be nil

	mu    sync.Mutex
	named []nodeaddr.Node      // by SetServers
	kept  map[nodeaddr.ID]bool // those of them that are static peers because of us
}

func (n *Node) newRequests(known func() []nodeaddr.Node) *requests {
	return &requests{n: n, known: known, kept: map[nodeaddr.ID]bool{}}
}

func (r *requests) Connected(node nodeaddr.ID) bool { return r.n.relay.Connected(node) }

func (r *requests) Now() time.Time { return r.n.relay.Now() }

func (r *requests) First() (nodeaddr.Node, error) {
	r.mu.Lock()
	list := r.named
	r.mu.Unlock()
	if r.known != nil {
		list = append(list[:len(list):len(list)], r.known()...)
	}
	for _, node := range list {
		if r.Connected(node.ID()) {
			return node, nil
		}
	}
	return nodeaddr.Node{}, fault.E("shhext", fault.NotFound, nil, "no known mail server is connected: name one, or list some with shhext_updateMailservers")
}

func (r *requests) SetServers(_ context.Context, list []nodeaddr.Node) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	static := map[nodeaddr.ID]bool{}
	for _, st := range r.n.network.Static() {
		static[st.Node.ID()] = true
	}
	var failed error
	wanted := map[nodeaddr.ID]bool{}
	for _, node := range list {
		id := node.ID()
		wanted[id] = true
		if static[id] {
			continue // perhaps by somebody else's wish, and then it stays so
		}
		if err := r.n.network.AddPeer(node); err != nil {
			failed = err
			continue
		}
		static[id], r.kept[id] = true, true
	}
	for id := range r.kept {
		if !wanted[id] {
			delete(r.kept, id)
			if err := r.n.network.RemovePeer(id); err != nil && !fault.Is(err, fault.NotFound) {
				failed = err
			}
		}
	}
	r.named = slices.Clone(list)
	return failed
}

// Ask asks in the older forms also who speaks mail/1: limit and cursor mean there what programs expect of them.
func (r *requests) Ask(ctx context.Context, q legacy.Request) (legacy.Answer, error) {
	after, err := readCursor(q.Cursor, q.From, q.To)
	if err != nil {
		return legacy.Answer{}, err
	}
	remote, err := r.n.mailNet.Remote(ctx, q.Server.ID())
	if err == nil {
		err = remote.Greeted(ctx)
	}
	if err != nil {
		return legacy.Answer{}, err
	}
	seal := mailnet.Seal{Password: q.Password}
	if q.Password == nil {
		key := message.PublicKey(q.Server.Key())
		seal.Server = &key
	}
	transport := remote.Legacy(seal)
	if after.Form != 0 {
		transport, err = remote.Transport(seal, after.Form)
	}
	if err != nil {
		return legacy.Answer{}, err
	}
	plan := history.Plan{Topics: q.Topics, From: q.From, To: q.To, After: after, PageLimit: q.Limit}
	if transport.Caps().Forms[0] != history.Bare { // there all comes at once, and a part of it could not be named
		plan.Limit = q.Limit
	}
	var answer legacy.Answer
	report, err := history.Run(ctx, transport, plan, func(_ context.Context, p history.Page) error {
		for _, env := range p.Envelopes {
			r.n.filters.Offer(env, env.PoW(), true)
			answer.Last = env.Hash()
		}
		return nil
	}, time.Now)
	if err != nil {
		return legacy.Answer{}, err
	}
	if report.End == history.EndLimited {
		answer.Cursor = writeCursor(report.Resume)
	}
	return answer, nil
}

// A cursor is a mail server's own, of legacy.CursorSize bytes, where it gave one. Where there is none but more to ask for,
// four zero bytes, with which no mail server's cursor begins (they are a time of sending), stand before what is left:
//
//	form (1), from (4), to (4), zeros
const cursorMark = 4

func writeCursor(p history.Position) []byte {
	if len(p.Cursor) == legacy.CursorSize {
		return p.Cursor
	}
	b := make([]byte, cursorMark, legacy.CursorSize)
	b = append(b, byte(p.Form))
	b = binary.BigEndian.AppendUint32(b, p.From)
	b = binary.BigEndian.AppendUint32(b, p.To)
	return b[:legacy.CursorSize]
}

func readCursor(b []byte, from, to uint32) (history.Position, error) {
	switch {
	case b == nil:
		return history.Position{}, nil
	case len(b) != legacy.CursorSize:
		return history.Position{}, errCursor()
	case [cursorMark]byte(b) != [cursorMark]byte{}:
		return history.Position{Form: history.Paged, From: from, To: to, Cursor: b}, nil
	}
	p := history.Position{Form: history.Form(b[cursorMark])}
	b = b[cursorMark+1:]
	p.From, p.To = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if p.Form != history.Paged && p.Form != history.Bare || p.From > p.To {
		return history.Position{}, errCursor()
	}
	return p, nil
}

func errCursor() error {
	return fault.E("shhext", fault.Invalid, nil, "the cursor is none that an earlier request to this mail server returned")
}
