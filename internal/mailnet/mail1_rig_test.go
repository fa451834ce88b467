package mailnet

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/mem"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/session/sessiontest"
)

// plainServer is a mail server without a scheduler: each request is a goroutine with a few packets under way.
type plainServer struct {
	t       testing.TB
	archive archive.Archive

	mu       sync.Mutex
	says     mailserver.Announcement
	refuse   error         // all requests
	again    time.Duration // with it
	tickets  uint64
	open     map[uint64]context.CancelFunc
	asked    int
	underWay int // packets, the most seen
	kinds    []mailserver.Kind
}

func newPlainServer(t testing.TB) *plainServer {
	a, err := mem.Open(mem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &plainServer{t: t, archive: a, open: map[uint64]context.CancelFunc{}}
	s.says = mailserver.Announcement{Epoch: a.Stats().Epoch, Keep: 72 * time.Hour, Age: 720 * time.Hour}
	return s
}

// fill stores envelopes and returns them, in the order of their arrivals.
func (s *plainServer) fill(n, size int, topics ...envelope.Topic) []*envelope.Envelope {
	s.t.Helper()
	list := make([]*envelope.Envelope, n)
	now := uint32(time.Now().Unix())
	for i := range list {
		data := make([]byte, size)
		binary.BigEndian.PutUint32(data, uint32(i))
		list[i] = envelope.New(now+50, 50, topics[i%len(topics)], data, uint64(i))
	}
	if _, err := s.archive.Put(context.Background(), list); err != nil {
		s.t.Fatal(err)
	}
	return list
}

func (s *plainServer) Announce() mailserver.Announcement {
	s.mu.Lock()
	defer s.mu.Unlock()
	says := s.says
	says.Next = s.archive.Stats().Next
	return says
}

func (s *plainServer) Ask(_ mailserver.Asker, prepare mailserver.Prepare, out mailserver.Outbox) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets++
	s.asked++
	ticket := s.tickets
	ctx, cancel := context.WithCancel(context.Background())
	s.open[ticket] = cancel
	err, again := s.refuse, s.again
	go func() {
		defer s.Cancel(ticket)
		if err != nil {
			out.End(mailserver.Outcome{Err: err, RetryAfter: again})
			return
		}
		s.answer(ctx, prepare, out)
	}()
	return ticket
}

func (s *plainServer) Cancel(ticket uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.open[ticket]; cancel != nil {
		cancel()
		delete(s.open, ticket)
	}
}

func (s *plainServer) Left(uint64) {}

func (s *plainServer) unanswered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func (s *plainServer) answer(ctx context.Context, prepare mailserver.Prepare, out mailserver.Outbox) {
	req, err := prepare()
	if err != nil {
		out.End(mailserver.Outcome{Err: err})
		return
	}
	s.mu.Lock()
	s.kinds = append(s.kinds, req.Kind)
	s.mu.Unlock()
	pages, o := s.pages(ctx, req)
	slots := make(chan struct{}, 4)
	failed := make(chan error, 1)
	for _, page := range pages {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		case <-failed:
			return
		}
		s.mu.Lock()
		s.underWay = max(s.underWay, len(slots))
		s.mu.Unlock()
		out.Records(page, func(err error) {
			<-slots
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if ctx.Err() == nil {
		out.End(o)
	}
}

// pages reads the whole answer.
func (s *plainServer) pages(ctx context.Context, req mailserver.Request) (pages [][]archive.Record, o mailserver.Outcome) {
	records, o := s.records(ctx, req)
	var page []archive.Record
	bytes := 0
	for _, rec := range records {
		size := len(rec.Raw)
		if req.Bare {
			size = mailserver.BareSize
		}
		if len(page) > 0 && (bytes+size > req.Packet.Bytes || len(page) == req.Packet.Count) {
			pages, page, bytes = append(pages, page), nil, 0
		}
		page, bytes = append(page, rec), bytes+size
	}
	if len(page) > 0 {
		pages = append(pages, page)
	}
	return pages, o
}

func (s *plainServer) records(ctx context.Context, req mailserver.Request) (list []archive.Record, o mailserver.Outcome) {
	spent := int64(0)
	if req.Hashes != nil {
		found, err := s.archive.Find(ctx, req.Hashes, !req.Bare)
		for _, rec := range found {
			if rec.Arrival > 0 {
				list = append(list, rec)
			}
		}
		return list, mailserver.Outcome{Err: err, Looked: len(req.Hashes)}
	}
	walk, err := s.archive.Walk(ctx, req.Query)
	if err != nil {
		return nil, mailserver.Outcome{Err: err}
	}
	defer walk.Close()
	o.Through = s.archive.Stats().Next - 1
	for {
		page, err := walk.Next(ctx, archive.Bound{Count: 1, Bytes: 1})
		if err != nil {
			return nil, mailserver.Outcome{Err: err}
		}
		for _, rec := range page.Records {
			if spent += int64(len(rec.Raw)); len(list) > 0 && req.Budget > 0 && spent > req.Budget {
				o.More, o.Through = true, list[len(list)-1].Arrival
				return list, o
			}
			list = append(list, rec)
		}
		if page.Done {
			return list, o
		}
	}
}

// maker makes a mail server to test with, and the plain one whose archive it has.
type maker func(t *testing.T) (*plainServer, mail1Config)

// withEach runs a test with the mail server of this file and with the real one.
func withEach(t *testing.T, test func(t *testing.T, make maker)) {
	t.Run("plain server", func(t *testing.T) {
		test(t, func(t *testing.T) (*plainServer, mail1Config) {
			s := newPlainServer(t)
			return s, mail1Of(s)
		})
	})
	t.Run("mail server", func(t *testing.T) {
		test(t, func(t *testing.T) (*plainServer, mail1Config) {
			s := newPlainServer(t)
			real := mailserver.New(mailserver.Options{Archive: s.archive, Rules: archive.Rules{Min: s.says.Keep, Age: s.says.Age}, Now: time.Now})
			t.Cleanup(real.Close)
			return s, mail1Of(real)
		})
	})
}

func mail1Of(s Server) mail1Config { return mail1Config{Server: s, Now: time.Now} }

// start runs one side of a connection; its end is part of the test.
func start(t testing.TB, cfg mail1Config, end session.Transport) (*mail1Conn, chan error) {
	t.Helper()
	c := newMail1Conn(cfg, session.Peer{Conn: 7, ID: [32]byte{7}, Source: "192.0.2.0/24"}, end)
	result := make(chan error, 1)
	go func() { result <- c.run() }()
	return c, result
}

// connect joins two nodes, which have greeted each other.
func connect(t testing.TB, a, b mail1Config) (ca, cb *mail1Conn) {
	t.Helper()
	near, far := sessiontest.Pipe(4)
	ca, resultA := start(t, a, near)
	cb, resultB := start(t, b, far)
	for _, c := range []*mail1Conn{ca, cb} {
		if err := c.greeted(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		near.Close(nil)
		<-resultA
		<-resultB
	})
	return ca, cb
}

// hand is a peer played by the test, packet by packet.
type hand struct {
	t      testing.TB
	end    *sessiontest.End
	conn   *mail1Conn
	result chan error
	got    chan received // closed at the end of the connection
}

type received struct {
	packet mail1.Packet
	size   int
}

// shake connects a node with a peer that the test plays, which says so first.
func shake(t testing.TB, cfg mail1Config, says mail1.Hello) *hand {
	t.Helper()
	near, far := sessiontest.Pipe(0)
	h := &hand{t: t, end: far, got: make(chan received, 1000)}
	h.conn, h.result = start(t, cfg, near)
	go func() {
		defer close(h.got)
		for {
			code, payload, err := far.ReadPacket()
			if err != nil {
				return
			}
			p, err := mail1.Decode(code, payload)
			if err != nil {
				t.Error(err)
			}
			h.got <- received{p, len(payload)}
		}
	}()
	h.send(says)
	if _, ok := h.read().(mail1.Hello); !ok {
		t.Fatal("the first packet is no hello")
	}
	if err := h.conn.greeted(context.Background()); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hand) send(list ...mail1.Packet) {
	h.t.Helper()
	for _, p := range list {
		if err := h.end.WritePacket(mail1.Encode(p)); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *hand) read() mail1.Packet {
	h.t.Helper()
	r, ok := <-h.got
	if !ok {
		h.t.Fatalf("the connection has ended: %v", h.end.Reason())
	}
	return r.packet
}

// bye ends the connection and waits for it.
func (h *hand) bye() error {
	h.end.Close(nil)
	return <-h.result
}
