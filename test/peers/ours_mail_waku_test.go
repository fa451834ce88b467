//go:build peers

package peers_test

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/wire"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// What Status' node writes and reads over waku/1, as its Go types have it: too few or too many items do not decode.
type (
	wakuPlain struct {
		ID              []byte
		From, To, Limit uint32
		Cursor, Bloom   []byte
		Topics          [][]byte
	}
	wakuSealed struct {
		Lower, Upper uint32
		Bloom        []byte
		Topics       [][]byte
		Limit        uint32
		Cursor       []byte
		Batch        bool
	}
	wakuEnvelope struct {
		Expiry, TTL uint32
		Topic       [4]byte
		Data        []byte
		Nonce       uint64
	}
)

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wakuHello is the hello of a peer that wants no gossip.
func wakuHello() map[string][]byte {
	d, _ := wire.Lookup(waku1)
	_, hello := d.EncodeHello(wire.Hello{Bloom: &envelope.Bloom{}, Confirms: true})
	return map[string][]byte{waku1: hello}
}

// wakuMail sends messages through our mail server over waku/1, waits for the acknowledgement and leaves.
func wakuMail(t *testing.T, o *ours) *mailbag {
	t.Helper()
	h := newHandmade(t, o, wakuHello())
	b := &mailbag{letters: map[[32]byte]letter{}}
	for i, l := range letters(rand.NewChaCha8([32]byte{8}), 0, []int{0, 1, 256, 512, 70 << 10, 900 << 10}) {
		if l.pad {
			continue
		}
		l.topic, l.ttl, l.padding = mailTopics[i%len(mailTopics)], mailTTL, []byte{}
		env := sealBare(t, l)
		b.letters[env.Hash()] = l
		b.list = append(b.list, env)
		payload := envelope.EncodeList([]*envelope.Envelope{env})
		h.send(waku1, 1, payload)
		digest := envelope.Keccak256(payload)
		h.wait("the acknowledgement", func(p packet) bool { return p.code == 11 && bytes.HasSuffix(p.payload, digest[:]) })
	}
	b.sort()
	o.archived(len(b.list)) // at once, as all was acknowledged
	h.server.Close(context.Background())
	return b
}

// wakuAnswer is what came for a request.
type wakuAnswer struct {
	list    []*envelope.Envelope
	packets int
	end     string // packet 125
}

// ask sends a request and waits for the end of its answer.
func (h *handmade) ask(id [32]byte, request []byte) (a wakuAnswer) {
	h.t.Helper()
	h.mu.Lock()
	before := len(h.got)
	h.mu.Unlock()
	h.send(waku1, 126, request)
	h.wait("the end of the answer", func(p packet) bool { return p.code == 125 && bytes.Contains(p.payload, id[:]) })
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.got[before:] {
		switch p.code {
		case 127:
			var list []wakuEnvelope
			if err := rlp.DecodeBytes(p.payload, &list); err != nil {
				h.t.Fatalf("packet 127 is no list of envelopes: %v", err)
			}
			for _, e := range list {
				env, err := envelope.Decode(encoded(h.t, e))
				if err != nil {
					h.t.Fatal(err)
				}
				a.list = append(a.list, env)
			}
			a.packets++
		case 125:
			var end []byte
			if err := rlp.DecodeBytes(p.payload, &end); err != nil {
				h.t.Fatalf("packet 125 is no byte string: %v", err)
			}
			a.end = string(end)
		}
	}
	return a
}

// checked compares an answer with the mail, and returns the cursor.
func (a wakuAnswer) checked(t *testing.T, b *mailbag, id [32]byte, q peerproc.History) []byte {
	t.Helper()
	want, more := b.answer(q)
	if diff := gocmp.Diff(hashesOf(want), hashesOf(a.list)); diff != "" {
		t.Errorf("%+v: %s", q, diff)
	}
	var last [32]byte
	var cursor []byte
	if len(want) > 0 {
		last = want[len(want)-1].Hash()
	}
	if more {
		cursor = cursorOf(want[len(want)-1])
	}
	if end := string(id[:]) + string(last[:]) + string(cursor); a.end != end {
		t.Errorf("the answer ends with %x, want %x", a.end, end)
	}
	return cursor
}

func topicBytes(topics [][4]byte) (list [][]byte) {
	for _, topic := range topics {
		list = append(list, topic[:])
	}
	return list
}

// TestWaku1Mail asks our mail server over waku/1 as Status' node does: plainly, by topics or by filter, and sealed.
func TestWaku1Mail(t *testing.T) {
	t.Parallel()
	o := startMail(t, "--set", onlyWaku())
	b := wakuMail(t, o)
	h := newHandmade(t, o, wakuHello())
	full := full()
	id := func(n int) (id [32]byte) { // 32 digits, as Status' clients have them
		copy(id[:], fmt.Sprintf("%032x", n))
		return id
	}
	n := 0
	ask := func(q peerproc.History, bloom []byte) wakuAnswer {
		n++
		own := id(n)
		return h.ask(own, encoded(t, wakuPlain{own[:], q.From, q.To, q.Limit, q.Cursor, bloom, topicBytes(q.Topics)}))
	}
	for _, q := range b.questions("") {
		ask(q, nil).checkedIf(t, b, id(n), q, len(q.Topics) > 0)
		bloom := full
		if len(q.Topics) > 0 {
			bloom = bloomOf(topicsOf(q.Topics)...)
		}
		ask(q, bloom).checked(t, b, id(n), q)
	}
	everything := ask(b.all(""), full)
	opened(t, b, everything.list)
	if everything.packets >= len(everything.list) {
		t.Errorf("%d envelopes in %d packets", len(everything.list), everything.packets)
	}
	for q, pages := b.all(""), 1; ; pages++ {
		q.Limit = 5
		if q.Cursor = ask(q, full).checked(t, b, id(n), q); q.Cursor == nil {
			if pages != (len(b.list)+4)/5 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	wakuSealedMail(t, h, b)
	h.stays(o)
}

// checkedIf is checked where something was asked for; what asks for neither topics nor a filter is refused.
func (a wakuAnswer) checkedIf(t *testing.T, b *mailbag, id [32]byte, q peerproc.History, asked bool) {
	t.Helper()
	if asked {
		a.checked(t, b, id, q)
	} else if !strings.HasPrefix(a.end, "ERROR="+string(id[:])+"request is invalid: bloom filter is empty") || len(a.list) > 0 {
		t.Errorf("without topics and filter: %q", a.end)
	}
}

func topicsOf(list [][4]byte) (topics []envelope.Topic) {
	for _, topic := range list {
		topics = append(topics, topic)
	}
	return topics
}

// opened opens every message of the mail.
func opened(t *testing.T, b *mailbag, list []*envelope.Envelope) {
	t.Helper()
	sym, _ := message.NewSymKey(symKey)
	private, err := message.ParsePrivateKey(scalar(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range list {
		l := b.letters[env.Hash()]
		open := func() (*message.Opened, error) { return message.OpenAsymmetric(private, env.Data()) }
		if l.sym {
			open = func() (*message.Opened, error) { return message.OpenSymmetric(sym, env.Data()) }
		}
		if got, err := open(); err != nil || !bytes.Equal(got.Payload, l.payload) || got.Signed != l.signed {
			t.Errorf("%s, %d bytes: opened with %v", l.name, len(l.payload), err)
		}
	}
}

// wakuSealedMail asks with sealed requests.
func wakuSealedMail(t *testing.T, h *handmade, b *mailbag) {
	t.Helper()
	signer, err := message.ParsePrivateKey(scalar(2))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(password string, request wakuSealed) ([32]byte, wakuAnswer) {
		t.Helper()
		data, err := message.SealSymmetric(message.PasswordKey(password), message.Plain{Payload: encoded(t, request), Sign: signer}, crand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		env := envelope.New(uint32(time.Now().Unix())+50, 50, envelope.Topic{}, data, 0)
		return env.Hash(), h.ask(env.Hash(), env.Raw())
	}
	q := b.all("")
	q.Topics = mailTopics[1:3]
	request := wakuSealed{Lower: q.From, Upper: q.To, Bloom: bloomOf(topicsOf(q.Topics)...), Topics: topicBytes(q.Topics), Batch: true}
	id, a := ask(mailPassword, request)
	a.checked(t, b, id, q)
	request.Batch = false
	if id, a = ask(mailPassword, request); a.packets != len(a.list) {
		t.Errorf("one by one, %d envelopes came in %d packets", len(a.list), a.packets)
	}
	a.checked(t, b, id, q)
	id, a = ask("another", request)
	if want := "ERROR=" + string(id[:]) + wire.TextNotOpened; a.end != want || len(a.list) > 0 {
		t.Errorf("with another password: %q, want %q", a.end, want)
	}
}
