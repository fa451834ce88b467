//go:build peers

package peers_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/wire"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// postMail lets a node send small messages, and returns their envelopes when they are in the archive.
func postMail(t *testing.T, o *ours, p *peerproc.T, count int) *mailbag {
	t.Helper()
	b := &mailbag{letters: map[[32]byte]letter{}}
	list := make([]letter, count)
	for i := range list {
		list[i] = letter{kind: kind{sym: true}, payload: make([]byte, 100)}
		rand.Read(list[i].payload)
	}
	b.post(t, p, list)
	b.sort()
	o.archived(count)
	return b
}

// serverKey is our mail server's public key, as clients read it from its address.
func (o *ours) serverKey() []byte {
	o.t.Helper()
	digits, _, _ := strings.Cut(strings.TrimPrefix(o.enode, "enode://"), "@")
	key, err := hex.DecodeString("04" + digits)
	if err != nil {
		o.t.Fatal(err)
	}
	return key
}

// request seals a payload as the draft says, and asks with it.
func (c *client) request(d peerproc.Draft) [32]byte {
	c.t.Helper()
	sealed := c.Seal(d)
	c.Try(func(ctx context.Context) error { return c.Request(ctx, c.o.id, sealed.Raw) })
	return sealed.Hash
}

// TestStatus162MailRefusals asks for what our mail server does not grant: the node is told why, in the words that it
// knows, and stays.
func TestStatus162MailRefusals(t *testing.T) {
	t.Parallel()
	o := startMail(t)
	c := newClient(t, o, peerproc.Status162)
	b := postMail(t, o, c.T, 5)
	all := b.all(peerproc.RLP7)
	bloom := envelope.FullBloom()
	payload := wire.EncodeSealed(wire.MailRequest{From: all.From, To: all.To, Bloom: &bloom, Batch: true})
	good := peerproc.Draft{SymKey: c.key, Sign: scalar(2), Payload: payload}
	sealed := func(change func(*peerproc.Draft)) func() [32]byte {
		return func() [32]byte {
			d := good
			change(&d)
			return c.request(d)
		}
	}
	history := func(change func(*peerproc.History)) func() [32]byte {
		return func() [32]byte {
			h := all
			h.SymKey = c.key
			change(&h)
			return c.ask(h)
		}
	}
	for _, tc := range []struct {
		name, want string
		ask        func() [32]byte
	}{
		{"another password", wire.TextNotOpened, history(func(h *peerproc.History) { h.SymKey = c.PasswordKey("another") })},
		{"another's key", wire.TextNotOpened, sealed(func(d *peerproc.Draft) { d.SymKey, d.PublicKey = nil, unhexed(receiverPublic) })},
		{"no signature", wire.TextUnsigned, sealed(func(d *peerproc.Draft) { d.Sign = nil })},
		{"nothing in it", "Undersized p2p request", sealed(func(d *peerproc.Draft) { d.Payload = nil })},
		{"half a range", "Undersized p2p request", sealed(func(d *peerproc.Draft) { d.Payload = make([]byte, 7) })},
		{"half a list", "sealed mail request", sealed(func(d *peerproc.Draft) { d.Payload = unhexed("c3010203") })},
		{"a range that ends before it starts", "query range is invalid", history(func(h *peerproc.History) { h.From = h.To + 1 })},
		{"a limit beyond the most", "limit exceeds the maximum allowed value", history(func(h *peerproc.History) { h.Limit = 1001 })},
		{"half a cursor", "cursor", history(func(h *peerproc.History) { h.Cursor = make([]byte, 35) })},
		{"a short filter", "bloom filter", history(func(h *peerproc.History) { h.Bloom = []byte{1} })},
		{"a short filter, plain", "bloom filter", history(func(h *peerproc.History) {
			h.Form, h.ID, h.Bloom = peerproc.Plain, [32]byte{7}, []byte{1}
		})},
	} {
		id := tc.ask()
		if got := c.completed(id); !got.Failed || !strings.Contains(got.Error, tc.want) {
			t.Errorf("%s: the node reports %+v, want a failure with %q", tc.name, got, tc.want)
		}
	}
	stayed(t, c.T)
	c.fetch(b, all)

	// Sealed for the server's own key, which is how Status' nodes ask when they know no password.
	id := sealed(func(d *peerproc.Draft) { d.SymKey, d.PublicKey = nil, o.serverKey() })()
	if got := c.completed(id); got.Failed || got.Last != b.list[4].Hash() {
		t.Errorf("sealed for the server's key: the node reports %+v", got)
	}
	testReplay(t, o, c, good)
}

// ask is fetch without a look at the answer.
func (c *client) ask(h peerproc.History) (id [32]byte) {
	c.t.Helper()
	c.Try(func(ctx context.Context) error {
		sealed, err := c.RequestHistory(ctx, c.o.id, h)
		id = sealed.Hash
		return err
	})
	return id
}

// testReplay lets another node send a request that was heard: that node would learn who reads what.
func testReplay(t *testing.T, o *ours, c *client, d peerproc.Draft) {
	t.Helper()
	sealed := c.Seal(d)
	again := func(p *client) peerproc.Complete {
		p.Try(func(ctx context.Context) error { return p.Request(ctx, o.id, sealed.Raw) })
		return p.completed(sealed.Hash)
	}
	if got := again(c); got.Failed {
		t.Errorf("the first time, the node reports %+v", got)
	}
	thief := newClient(t, o, peerproc.Status162)
	if got := again(thief); !got.Failed || !strings.Contains(got.Error, "came from another node before") {
		t.Errorf("another node, with the same request, reports %+v", got)
	}
	stayed(t, thief.T)
}

// TestGeth6MailRefusals: go-ethereum's node knows no refusals. It ignores them, and stays.
func TestGeth6MailRefusals(t *testing.T) {
	t.Parallel()
	o := startMail(t)
	c := newClient(t, o, peerproc.Geth6)
	b := postMail(t, o, c.T, 5)
	for what, change := range map[string]func(*peerproc.History){
		wire.TextNotOpened:       func(h *peerproc.History) { h.SymKey = c.PasswordKey("another") },
		"query range is invalid": func(h *peerproc.History) { h.From = h.To + 1 },
		"Undersized bloom":       func(h *peerproc.History) { h.Bloom = []byte{1, 2, 3} },
	} {
		h := b.all(peerproc.Binary)
		h.SymKey = c.key
		change(&h)
		a := c.FetchHistory(o.id, h, patience)
		if a.Complete == nil || !strings.Contains(a.Complete.Error, what) || len(a.Mail) > 0 {
			t.Errorf("the refusal is %+v, want %q", a.Complete, what)
		}
	}
	c.fetch(b, b.all(peerproc.Binary))
	stayed(t, c.T)
}

// TestStatus162MailTooOften asks more often than allowed. What is granted is answered, the rest refused, nobody leaves.
func TestStatus162MailTooOften(t *testing.T) {
	t.Parallel()
	o := startMail(t, "--set", "mailserver.requests_per_minute=5")
	c := newClient(t, o, peerproc.Status162)
	b := postMail(t, o, c.T, 3)
	h := b.all(peerproc.RLP7)
	h.SymKey, h.Batch = c.key, true
	var ids [][32]byte
	for range 12 {
		ids = append(ids, c.ask(h))
	}
	refused := 0
	for _, id := range ids {
		got := c.completed(id)
		if got.Failed {
			refused++
			if !strings.HasPrefix(got.Error, wire.TextBusy) {
				t.Errorf("refused with %q, want %q in front", got.Error, wire.TextBusy)
			}
		} else if got.Last != b.list[2].Hash() {
			t.Errorf("answered with %+v", got)
		}
	}
	if granted := len(ids) - refused; granted < 5 || granted > 7 {
		t.Errorf("%d of %d requests were granted, with 5 a minute", granted, len(ids))
	}
	stayed(t, c.T)
}

// TestStatus162MailNone asks our node when it is no mail server: that is said at once, too.
func TestStatus162MailNone(t *testing.T) {
	t.Parallel()
	o := startOurs(t)
	c := newClient(t, o, peerproc.Status162)
	now := uint32(time.Now().Unix())
	for _, form := range []peerproc.Form{peerproc.RLP7, peerproc.Plain} {
		h := peerproc.History{Form: form, From: now - 100, To: now, SymKey: c.key, ID: [32]byte{1}}
		if got := c.completed(c.ask(h)); !got.Failed || !strings.Contains(got.Error, "no mail server") {
			t.Errorf("%s: the node reports %+v", form, got)
		}
	}
	stayed(t, c.T)
}
