package mailnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/mailnet"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/session/sessiontest"
	"github.com/restante-im/restante/internal/wire"
)

// join connects two nodes in some dialects and returns the first one's view of the second, which calls itself client.
func join(t testing.TB, a, b *node, client string, dialects ...*wire.Dialect) (*mailnet.Remote, *sessiontest.End) {
	t.Helper()
	lastConn++
	id := [32]byte{byte(lastConn), 7}
	var end *sessiontest.End
	for _, d := range dialects {
		x, y := sessiontest.Pipe(256)
		go a.Serve(session.Peer{Conn: lastConn, ID: id, Client: client}, d, x)
		go b.Serve(session.Peer{Conn: lastConn, ID: [32]byte{1}}, d, y)
		end = x
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := a.net.Remote(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return r, end
}

// TestGreeted: a peer that speaks mail/1 can be reached before it has said hello in a dialect.
func TestGreeted(t *testing.T) {
	a, b := newNode(t, nil, nil), newNode(t, filled(t, nil), nil)
	lastConn++
	there, here := session.Peer{Conn: lastConn, ID: [32]byte{7}, Mail1: true}, session.Peer{Conn: lastConn, ID: [32]byte{8}, Mail1: true}
	own, peers := sessiontest.Pipe(256)
	go a.net.ServeMail1(there, own)
	go b.net.ServeMail1(here, peers)
	r, err := a.net.Remote(t.Context(), there.ID)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Greeted(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("without a hello: %v", err)
	}
	x, y := sessiontest.Pipe(256)
	go a.Serve(there, wire.Dialects()[0], x)
	go b.Serve(here, wire.Dialects()[0], y)
	if err := r.Greeted(t.Context()); err != nil {
		t.Error(err)
	}
	x.Close(io.EOF)
	own.Close(io.EOF)
	for r.Greeted(t.Context()) == nil { // until both ends are noticed
		runtime.Gosched()
	}
}

// some makes envelopes with a few topics, one second apart.
func some(n, size int) (list []*envelope.Envelope) {
	for i := range n {
		data := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2)
		list = append(list, envelope.New(1_700_000_000+uint32(i)+50, 50, envelope.Topic{byte(i % 3)}, data, uint64(i)))
	}
	return list
}

func sealed() mailnet.Seal {
	key := message.PasswordKey(password)
	return mailnet.Seal{Password: &key}
}

func TestFetchInTheOlderForms(t *testing.T) {
	list := some(2500, 400)
	server := newNode(t, filled(t, list), nil)
	own := server.key.Public()
	tests := []struct {
		name, client string
		seal         mailnet.Seal
		form         history.Form
		dialect      *wire.Dialect
		end          history.End
	}{
		{"pages, by password", "restante/x", sealed(), 0, wire.Dialects()[0], history.EndComplete},
		{"pages, by the server's key", "restante/x", mailnet.Seal{Server: &own}, history.Paged, wire.Dialects()[0], history.EndComplete},
		{"pages in the other dialect", "restante/x", sealed(), 0, wire.Dialects()[1], history.EndComplete},
		{"all at once", "Geth/v1.9.20", sealed(), 0, wire.Dialects()[0], history.EndComplete}, // ours ends such answers too
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := join(t, newNode(t, nil, nil), server, tt.client, tt.dialect)
			transport, err := r.Transport(tt.seal, tt.form)
			if err != nil {
				t.Fatal(err)
			}
			got := map[envelope.Hash]int{}
			report, err := history.Run(t.Context(), transport, history.Plan{Topics: []envelope.Topic{{0}, {2}}, From: 1_700_000_100}, func(_ context.Context, p history.Page) error {
				for _, e := range p.Envelopes {
					got[e.Hash()]++
				}
				return nil
			}, nil)
			if err != nil || report.End != tt.end {
				t.Fatalf("ended %v (%v)", report.End, err)
			}
			for i, e := range list {
				want := 0
				if i%3 != 1 && e.Sent() >= 1_700_000_100 {
					want = 1
				}
				if got[e.Hash()] != want {
					t.Fatalf("envelope %d came %d times, want %d", i, got[e.Hash()], want)
				}
			}
		})
	}
}

// ask asks one question and returns the last answer.
func ask(t *testing.T, transport history.Transport, q history.Question) history.Answer {
	t.Helper()
	last := make(chan history.Answer, 1)
	_, err := transport.Ask(transport.Caps().Forms[0], q, func(a history.Answer) {
		if _, ok := a.(history.Got); !ok {
			last <- a
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-last:
		return a
	case <-time.After(20 * time.Second):
		t.Fatal("no answer came")
		return nil
	}
}

func TestRefusalsHaveTheirKind(t *testing.T) {
	server := newNode(t, filled(t, some(1, 100)), nil)
	wrong := message.PasswordKey("wrong")
	tests := []struct {
		name string
		to   *node
		seal mailnet.Seal
		q    history.Question
		kind fault.Kind
		text string
	}{
		{"wrong password", server, mailnet.Seal{Password: &wrong}, history.Question{}, fault.Denied, wire.TextNotOpened},
		{"neither password nor key", server, mailnet.Seal{}, history.Question{}, fault.Invalid, "neither"},
		{"backwards", server, sealed(), history.Question{From: 2, To: 1}, fault.Invalid, "lower > upper"},
		{"limit", server, sealed(), history.Question{Limit: 1001}, fault.Invalid, "limit exceeds"},
		{"no mail server", newNode(t, nil, nil), sealed(), history.Question{}, fault.Unavailable, "no mail server"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := join(t, newNode(t, nil, nil), tt.to, "restante/x", wire.Dialects()[0])
			ended, ok := ask(t, r.Legacy(tt.seal), tt.q).(history.Ended)
			if !ok || fault.KindOf(ended.Err) != tt.kind || !strings.Contains(fault.Text(ended.Err), tt.text) {
				t.Errorf("ended with %v, want %v: …%s…", ended.Err, tt.kind, tt.text)
			}
		})
	}
}

func TestOneQuestionAtATime(t *testing.T) {
	a := newNode(t, nil, nil)
	p := meetAsServer(t, a)
	r, err := a.net.Remote(t.Context(), p.id)
	if err != nil {
		t.Fatal(err)
	}
	transport := r.Legacy(sealed())
	answers := make(chan history.Answer, 8)
	answer := func(a history.Answer) { answers <- a }
	cancel, err := transport.Ask(history.Paged, history.Question{}, answer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.Ask(history.Paged, history.Question{}, answer); !fault.Is(err, fault.Busy) {
		t.Errorf("a second question: %v", err)
	}
	for code := uint64(0); code != codeRequest; {
		code, _ = p.read()
	}
	// What comes for it is taken while it is open, and not after it was given up.
	e := some(1, 100)[0]
	frame := p.d.DirectFrame([][]byte{e.Raw()})
	p.write(frame.Code, frame.Payload)
	if got, ok := (<-answers).(history.Got); !ok || len(got.Envelopes) != 1 || got.Envelopes[0].Hash() != e.Hash() {
		t.Errorf("got %v", got)
	}
	cancel()
	cancel()
	if _, err := transport.Ask(history.Paged, history.Question{}, answer); err != nil {
		t.Fatalf("after the first was given up: %v", err)
	}
	for code := uint64(0); code != codeRequest; {
		code, _ = p.read()
	}
	p.Close(errors.New("gone"))
	if lost, ok := (<-answers).(history.Lost); !ok || !fault.Is(lost.Err, fault.Unavailable) {
		t.Errorf("the connection ended, the answer is %v", lost)
	}
	if _, err := transport.Ask(history.Paged, history.Question{}, answer); !fault.Is(err, fault.Unavailable) {
		t.Errorf("asked without a connection: %v", err)
	}
}

// bareServer is a bare peer with an identity.
type bareServer struct {
	*peer
	id [32]byte
}

func meetAsServer(t *testing.T, n *node) bareServer {
	t.Helper()
	id := [32]byte{9, byte(lastConn)}
	return bareServer{meet(t, n, wire.Dialects()[0], session.Peer{ID: id}), id}
}

func TestLargeEnvelopesAreNoReasonToCutTheReader(t *testing.T) {
	list := some(12, 900_000)
	server := newNode(t, filled(t, list), nil)
	p := meet(t, server, wire.Dialects()[0], session.Peer{ID: [32]byte{1}})
	request := wire.Dialects()[0].EncodePlain(wire.MailRequest{ID: make([]byte, 32), Bloom: full()})
	if got := p.ask(codeRequest, request.Payload); len(got.Envelopes) != len(list) || got.Failed != "" {
		t.Errorf("%d of %d envelopes came, failed %q", len(got.Envelopes), len(list), got.Failed)
	}
}

func full() *envelope.Bloom {
	bloom := envelope.FullBloom()
	return &bloom
}

func TestReplays(t *testing.T) {
	server := newNode(t, filled(t, some(3, 100)), nil)
	d := wire.Dialects()[0]
	request := seal(t, server.key, wire.EncodeSealed(wire.MailRequest{Bloom: full(), Batch: true})).Raw()
	owner := meet(t, server, d, session.Peer{ID: [32]byte{1}})
	for range 2 { // who asked may ask again
		if got := owner.ask(codeRequest, request); len(got.Envelopes) != 3 || got.Failed != "" {
			t.Errorf("the owner got %d envelopes, failed %q", len(got.Envelopes), got.Failed)
		}
	}
	thief := meet(t, server, d, session.Peer{ID: [32]byte{2}})
	if got := thief.ask(codeRequest, request); len(got.Envelopes) != 0 || !strings.Contains(got.Failed, "another node before") {
		t.Errorf("the thief got %d envelopes, failed %q", len(got.Envelopes), got.Failed)
	}
}
