package inbox_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/mailnet"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/session"
)

// server is an honest mail server in memory, with one connection after the other.
type server struct {
	node  nodeaddr.Node
	epoch [8]byte

	mu    sync.Mutex
	mail  []*envelope.Envelope // arrival i+1
	conn  *connection          // nil while it cannot be reached
	wake  chan struct{}        // closed when conn changes
	asked map[history.Form]int
	token string // the last that was redeemed
}

func newServer(seed byte) *server {
	return &server{node: nodeOf(seed), epoch: [8]byte{seed}, wake: make(chan struct{}), asked: map[history.Form]int{}}
}

func (s *server) keep(list ...*envelope.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mail = append(s.mail, list...)
}

func (s *server) questions() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, asked := range s.asked {
		n += asked
	}
	return n
}

// connect makes it reachable; cut ends the connection.
func (s *server) connect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = &connection{server: s, gone: make(chan struct{})}
	close(s.wake)
	s.wake = make(chan struct{})
}

func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		close(s.conn.gone)
	}
	s.conn = nil
}

// net finds servers, as inbox.Mail and inbox.Network.
type net []*server

func (n net) Remote(ctx context.Context, id [32]byte) (inbox.Remote, error) {
	for {
		wake := make(<-chan struct{})
		for _, s := range n {
			if s.node.ID() != id {
				continue
			}
			s.mu.Lock()
			conn := s.conn
			wake = s.wake
			s.mu.Unlock()
			if conn != nil {
				return conn, nil
			}
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (n net) Keep(nodeaddr.Node) error { return nil }
func (n net) Release(nodeaddr.ID)      {}

// connection is what one connection with a server is good for.
type connection struct {
	*server
	gone chan struct{}
}

func (c *connection) Gone() <-chan struct{} { return c.gone }
func (c *connection) Peer() session.Peer    { return session.Peer{ID: c.node.ID(), Client: "test/1"} }

func (c *connection) Transport(mailnet.Seal, history.Form) (history.Transport, error) { return c, nil }

func (c *connection) Join(_ context.Context, token string) (mailnet.Membership, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
	return mailnet.Membership{Name: "Anna"}, nil
}

// heldFor is what a server promises.
const heldFor = 72 * time.Hour

func (c *connection) Held(_ context.Context, hashes []envelope.Hash) ([]time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]time.Time, len(hashes))
	for i, h := range hashes {
		if slices.ContainsFunc(c.mail, func(e *envelope.Envelope) bool { return e.Hash() == h }) {
			list[i] = time.Now().Add(heldFor)
		}
	}
	return list, nil
}

func (c *connection) Caps() history.Caps {
	c.mu.Lock()
	defer c.mu.Unlock()
	return history.Caps{
		Forms: []history.Form{history.ByArrival}, Epoch: c.epoch, Next: uint64(len(c.mail)) + 1, MaxTopics: 1000, Lists: true,
		MaxHashes: 4096, Keep: heldFor, Age: 30 * 24 * time.Hour, Oldest: time.Unix(1, 0),
	}
}

func (c *connection) Grant(int64) {}

// Ask answers at once, in packets of ten.
func (c *connection) Ask(form history.Form, q history.Question, answer func(history.Answer)) (func(), error) {
	c.mu.Lock()
	c.asked[form]++
	mail := slices.Clone(c.mail)
	c.mu.Unlock()
	select {
	case <-c.gone:
		return nil, fault.E("test", fault.Unavailable, nil, "gone")
	default:
	}
	go func() {
		if form == history.ByHash {
			c.byHash(mail, q, answer)
			return
		}
		var list []*envelope.Envelope
		for i, e := range mail {
			arrival := uint64(i) + 1
			if arrival <= q.After || q.Until > 0 && arrival > q.Until {
				continue
			}
			if slices.Contains(q.Topics, e.Topic()) && e.Sent() >= q.From && (q.To == 0 || e.Sent() <= q.To) {
				list = append(list, e)
			}
			if len(list) == 10 {
				answer(packet(form, list, arrival))
				list = nil
			}
		}
		through := uint64(len(mail))
		if q.Until > 0 {
			through = min(through, q.Until)
		}
		answer(packet(form, list, through))
		answer(history.Ended{Through: through, Epoch: c.epoch})
	}()
	return func() {}, nil
}

func (c *connection) byHash(mail []*envelope.Envelope, q history.Question, answer func(history.Answer)) {
	var list []*envelope.Envelope
	var missing []envelope.Hash
	for _, h := range q.Hashes {
		i := slices.IndexFunc(mail, func(e *envelope.Envelope) bool { return e.Hash() == h })
		if i < 0 {
			missing = append(missing, h)
			continue
		}
		list = append(list, mail[i])
	}
	answer(packet(history.ByHash, list, 0))
	answer(history.Ended{Epoch: c.epoch, Missing: missing})
}

func packet(form history.Form, list []*envelope.Envelope, through uint64) history.Answer {
	if form == history.Listing {
		var named []history.Entry
		for _, e := range list {
			named = append(named, history.Entry{Hash: e.Hash(), Sent: e.Sent(), Size: uint32(e.Size())})
		}
		return history.Named{List: named, Bytes: int64(44 * len(list)), Through: through}
	}
	bytes := int64(0)
	for _, e := range list {
		bytes += int64(len(e.Raw()))
	}
	return history.Got{Envelopes: list, Bytes: bytes, Through: through}
}
