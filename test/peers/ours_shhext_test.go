//go:build peers

package peers_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/wire"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// The mail that programs ask for in these tests.
var (
	shhextTopic  = [4]byte{0x5e, 0x4e, 0x87, 1}
	shhextSecret = bytes.Repeat([]byte{9}, 32)
)

const shhextCount = 5

// sendMail lets a node of go-ethereum send some messages to a mail server and leave.
func sendMail(t *testing.T, connect func(*peerproc.T)) (list []peerproc.Sealed) {
	t.Helper()
	p := peerproc.ForTest(t, peerproc.Geth6, peerproc.Config{MinPoW: lowPoW})
	connect(p)
	for i := range shhextCount {
		list = append(list, p.Post(peerproc.Draft{
			SymKey: shhextSecret, Topic: shhextTopic, Payload: fmt.Appendf(nil, "mail %d", i), TTL: mailTTL, PoWTarget: 0.01,
		}))
	}
	return list
}

// asker is a program that asks for mail through our node.
type asker struct {
	*served
	server   string // enode URL
	password string // id of the key
	direct   string // filter that takes mail, and one that does not
	live     string
}

func newAsker(t *testing.T, server string, id [32]byte, args ...string) *asker {
	t.Helper()
	a := &asker{served: startServed(t, args...), server: server}
	ask[bool](a.ours, "node_addPeer", server)
	a.waitPeer(id, "connected", nil)
	a.password = ask[string](a.ours, "shh_generateSymKeyFromPassword", mailPassword)
	sym := ask[string](a.ours, "shh_addSymKey", "0x"+hex.EncodeToString(shhextSecret))
	a.direct = ask[string](a.ours, "shh_newMessageFilter", rpc.Criteria{SymKeyID: sym, Topics: []rpc.Topic{shhextTopic}, AllowP2P: true})
	a.live = ask[string](a.ours, "shh_newMessageFilter", rpc.Criteria{SymKeyID: sym, Topics: []rpc.Topic{shhextTopic}})
	return a
}

func (a *asker) request(limit int, cursor string) map[string]any {
	return map[string]any{
		"mailServerPeer": a.server, "symKeyID": a.password, "topics": []rpc.Topic{shhextTopic}, "limit": limit, "cursor": cursor, "force": true,
	}
}

// page asks for one and waits for its end.
func (a *asker) page(limit int, cursor string) (next string) {
	a.t.Helper()
	type end struct {
		Cursor string
		Error  *string
	}
	got := ask[end](a.ours, "shhext_requestMessagesSync", map[string]any{"BaseTimeout": 10 * time.Second, "MaxRetries": 1}, a.request(limit, cursor))
	if got.Error != nil {
		a.t.Fatalf("the mail server says: %s", *got.Error)
	}
	if got.Cursor != "" && len(got.Cursor) != 72 {
		a.t.Errorf("cursor %q", got.Cursor)
	}
	return got.Cursor
}

// came checks that exactly these messages have come to the filter for mail, and none to the other.
func (a *asker) came(want []peerproc.Sealed) {
	a.t.Helper()
	var hashes, wanted [][32]byte
	for _, m := range ask[[]rpc.Message](a.ours, "shh_getFilterMessages", a.direct) {
		hashes = append(hashes, [32]byte(m.Hash))
	}
	for _, s := range want {
		wanted = append(wanted, s.Hash)
	}
	less := func(x, y [32]byte) int { return bytes.Compare(x[:], y[:]) }
	slices.SortFunc(hashes, less)
	slices.SortFunc(wanted, less)
	if !slices.Equal(hashes, wanted) {
		a.t.Errorf("%d messages came: %x, want %x", len(hashes), hashes, wanted)
	}
	if list := ask[[]rpc.Message](a.ours, "shh_getFilterMessages", a.live); len(list) > 0 {
		a.t.Errorf("%d came to the filter that takes no mail", len(list))
	}
}

// TestShhext asks our own mail server: page by page, in the older form from a mail server's own cursor, and with signals.
func TestShhext(t *testing.T) {
	o := startMail(t)
	sent := sendMail(t, o.connect)
	o.archived(shhextCount)
	eventually(t, "the pool is empty", func() bool { return o.status().Pool.Envelopes == 0 })
	// A node with an inbox speaks mail/1 with the mail server as well, and asks all the same.
	for _, args := range [][]string{nil, {"--set", "inbox.enabled=true", "--set", "inbox.key=file"}} {
		a := newAsker(t, o.enode, o.id, args...)
		pages, cursor := 0, ""
		for {
			pages++
			if cursor = a.page(2, cursor); cursor == "" {
				break
			}
		}
		if pages != 3 {
			t.Errorf("%d pages", pages)
		}
		a.came(sent)
	}

	b := newAsker(t, o.enode, o.id)
	slices.SortFunc(sent, func(x, y peerproc.Sealed) int { return bytes.Compare(x.Hash[:], y.Hash[:]) })
	env := decodeSealed(t, sent[0])
	before := wire.AppendCursor(nil, env.Sent()-1, env.Hash())
	if next := b.page(1000, hex.EncodeToString(before)); next != "" {
		t.Errorf("then %s", next)
	}
	b.came(sent)
	shhextSignals(t, newAsker(t, o.enode, o.id), sent)
}

// shhextSignals asks over WebSocket and waits for the signal.
func shhextSignals(t *testing.T, a *asker, sent []peerproc.Sealed) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := gethrpc.DialContext(ctx, a.ws())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	type signal struct {
		Type  string
		Event struct{ RequestID, Hash, LastEnvelopeHash, Cursor, ErrorMessage, Message string }
	}
	signals := make(chan signal, 10)
	sub, err := c.Subscribe(ctx, "shhext", signals, "signals")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	var id string
	if err := c.CallContext(ctx, &id, "shhext_requestMessages", a.request(0, "")); err != nil {
		t.Fatal(err)
	}
	s := <-signals
	known := slices.ContainsFunc(sent, func(x peerproc.Sealed) bool {
		return s.Event.LastEnvelopeHash == "0x"+hex.EncodeToString(x.Hash[:])
	})
	if s.Type != "mailserver.request.completed" || s.Event.RequestID != id || !known || s.Event.ErrorMessage != "" || s.Event.Cursor != "" {
		t.Errorf("%+v", s)
	}
	a.came(sent)
	if err := c.CallContext(ctx, nil, "shhext_updateMailservers", []string{a.server}); err != nil {
		t.Error(err)
	}
	first := a.request(0, "")
	delete(first, "mailServerPeer") // the first known one
	if err := c.CallContext(ctx, &id, "shhext_requestMessages", first); err != nil {
		t.Fatal(err)
	}
	if s := <-signals; s.Type != "mailserver.request.completed" || s.Event.RequestID != id {
		t.Errorf("%+v", s)
	}
}

// TestShhextGeth6 asks go-ethereum's mail server, which answers in the oldest form.
func TestShhextGeth6(t *testing.T) {
	m := peerproc.ForTest(t, peerproc.Geth6, peerproc.Config{MinPoW: lowPoW, MailDir: t.TempDir(), MailPassword: mailPassword})
	sent := sendMail(t, func(p *peerproc.T) { p.Connect(m.Enode) })
	for _, s := range sent {
		m.WaitPooled(s.Hash)
	}
	eventually(t, "the pool is empty", func() bool { return len(m.Pool()) == 0 })
	a := newAsker(t, m.Enode, m.ID)
	if next := a.page(0, ""); next != "" {
		t.Errorf("then %s", next)
	}
	a.came(sent)
}

func decodeSealed(t *testing.T, s peerproc.Sealed) *envelope.Envelope {
	t.Helper()
	env, err := envelope.Decode(s.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return env
}
