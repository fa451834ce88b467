package mailnet_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/mem"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/mailnet"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/relay"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/session/sessiontest"
	"github.com/restante-im/restante/internal/vectortest"
	"github.com/restante-im/restante/internal/wire"
)

// Packet codes, which only the tests of what is on the wire know.
const (
	codeSync     = 123
	codeSyncPage = 124
	codeComplete = 125
	codeRequest  = 126
	codeDirect   = 127
)

const password = "status-offline-inbox"

// node is a node with mailnet, a mail server if it has an archive.
type node struct {
	*relay.Relay
	net    *mailnet.Net
	server *mailserver.Server
	key    *message.PrivateKey
}

func newNode(t testing.TB, store archive.Archive, gate mailserver.Gate) *node {
	t.Helper()
	key, err := message.GeneratePrivateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{key: key}
	cfg := mailnet.Config{Key: key, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if store != nil {
		n.server = mailserver.New(mailserver.Options{Archive: store, Gate: gate, Now: time.Now})
		t.Cleanup(n.server.Close)
		cfg.Server, cfg.Passwords = n.server, []message.SymKey{message.PasswordKey(password)}
	}
	n.net = mailnet.New(cfg)
	n.Relay = relay.New(relay.Config{
		Gossip: gossip.Config{}, Dialects: wire.Dialects(), Mail: n.net,
		Now: time.Now, Log: cfg.Log, Health: health.NewRegistry(time.Now),
	})
	t.Cleanup(n.Relay.Close)
	return n
}

// peer is the bare other end of a connection.
type peer struct {
	t testing.TB
	d *wire.Dialect
	*sessiontest.End
}

var lastConn uint64

// meet connects a bare peer with a node and greets it.
func meet(t testing.TB, n *node, d *wire.Dialect, who session.Peer) *peer {
	t.Helper()
	lastConn++
	who.Conn = lastConn
	a, b := sessiontest.Pipe(256)
	go n.Serve(who, d, b)
	p := &peer{t, d, a}
	t.Cleanup(func() { a.Close(io.EOF) })
	code, payload := d.EncodeHello(wire.Hello{})
	p.write(code, payload)
	if code, _ := p.read(); code != 0 {
		t.Fatalf("the first packet has code %d", code)
	}
	return p
}

func (p *peer) write(code uint64, payload []byte) {
	p.t.Helper()
	if err := p.WritePacket(code, payload); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) read() (uint64, []byte) {
	p.t.Helper()
	late := time.AfterFunc(20*time.Second, func() { p.Close(fmt.Errorf("too late")) })
	defer late.Stop()
	code, payload, err := p.ReadPacket()
	if err != nil {
		p.t.Fatalf("no packet came: %v", err)
	}
	return code, payload
}

// answer is what came back for a request.
type answer struct {
	Envelopes []envelope.Hash
	Packets   int
	Cursor    string
	Failed    string
	ID, Last  envelope.Hash
}

// ask sends a request and reads its answer to the end.
func (p *peer) ask(code uint64, payload []byte) (a answer) {
	p.t.Helper()
	p.write(code, payload)
	for {
		code, payload := p.read()
		packet, err := p.d.Decode(code, payload, 1<<24)
		if err != nil {
			p.t.Fatalf("packet %d: %v", code, err)
		}
		switch packet := packet.(type) {
		case wire.Direct:
			if bare := payload[0] >= 0xc0 && len(packet.List) == 1 && len(packet.List[0].Raw()) == len(payload); bare != (p.d == wire.Dialects()[0] && len(packet.List) == 1) {
				p.t.Errorf("%s: a packet of %d envelopes, bare: %v", p.d, len(packet.List), bare)
			}
			a.add(packet.List)
		case wire.Complete:
			c, err := packet.Parse()
			if err != nil {
				p.t.Fatal(err)
			}
			a.Cursor, a.Failed, a.ID, a.Last = hex.EncodeToString(c.Cursor), c.Text, c.ID, c.Last
			if c.Failed != (c.Text != "") {
				p.t.Errorf("failed %v with the text %q", c.Failed, c.Text)
			}
			return a
		case wire.SyncResponse:
			page, err := packet.Parse()
			if err != nil {
				p.t.Fatal(err)
			}
			a.add(page.List)
			if page.Final {
				a.Cursor, a.Failed = hex.EncodeToString(page.Cursor), page.Failed
				return a
			}
		}
	}
}

func (a *answer) add(list []*envelope.Envelope) {
	a.Packets++
	for _, e := range list {
		a.Envelopes = append(a.Envelopes, e.Hash())
	}
}

// recorded is an archive with the envelopes of the recorded conversations, in their order.
func recorded(t testing.TB) (archive.Archive, []*envelope.Envelope) {
	t.Helper()
	var list []*envelope.Envelope
	vectortest.File(t, "mailserver_archive", func(t testing.TB, i int, v struct{ RLP vectortest.Hex }) {
		e, err := envelope.Decode(v.RLP)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	})
	return filled(t, list), list
}

func filled(t testing.TB, list []*envelope.Envelope) archive.Archive {
	t.Helper()
	store, err := mem.Open(mem.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if _, err := store.Put(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	return store
}

type transcript struct {
	Why, Server string
	Request     vectortest.Hex
	Payload     vectortest.Hex
	Hash        envelope.Hash `json:"request_hash"`
	Encrypted   string        `json:"encrypted_with"`
	Signed      bool
	Connection  string
	Returned    []int // by go-ethereum's server
	Packets     []struct {
		Code      uint64
		Envelopes []int
	}
	Complete *struct {
		Error  string
		Cursor vectortest.Hex
	}
}

// meant is what a request asks for, by our reading; refused is a part of our refusal.
func (v *transcript) meant() (m wire.MailRequest, refused string) {
	var err error
	switch v.Encrypted {
	case "plain":
		_, plain, e := wire.Request{Payload: v.Request}.Parse()
		if err = e; err == nil {
			m = *plain
		}
	case "":
		if m, err = (wire.SyncRequest{Payload: v.Request}).Parse(); err == nil {
			err = m.CheckSync()
		}
	case "other", "other key":
		return m, wire.TextNotOpened
	default:
		if !v.Signed {
			return m, wire.TextUnsigned
		}
		m, err = wire.ParseSealed(v.Payload)
	}
	if err == nil {
		err = m.Grant()
	}
	if err != nil {
		return m, err.Error()[strings.LastIndex(err.Error(), ": ")+2:]
	}
	return m, ""
}

// expected is the right answer: oldest first, both ends inclusive, beyond the cursor, a cursor only if more follows.
func expected(m wire.MailRequest, all []*envelope.Envelope) (list []envelope.Hash, cursor string) {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b *envelope.Envelope) int {
		return strings.Compare(string(wire.AppendCursor(nil, a.Sent(), a.Hash())), string(wire.AppendCursor(nil, b.Sent(), b.Hash())))
	})
	last := ""
	for _, e := range sorted {
		key := string(wire.AppendCursor(nil, e.Sent(), e.Hash()))
		wanted := slices.Contains(m.Topics, e.Topic()) || len(m.Topics) == 0 && m.Bloom != nil && m.Bloom.AdmitsTopic(e.Topic())
		if !wanted || e.Sent() < m.From || m.To != 0 && e.Sent() > m.To {
			continue
		}
		if len(m.Cursor) > 0 && key <= string(m.Cursor[:wire.CursorSize]) {
			continue
		}
		if m.Limit > 0 && len(list) == int(m.Limit) {
			return list, hex.EncodeToString([]byte(last))
		}
		list, last = append(list, e.Hash()), key
	}
	return list, ""
}

// deviation says why the right answer is not the one that the real server gave.
func (v *transcript) deviation(m wire.MailRequest, refused string) string {
	switch {
	case v.Encrypted == "asym":
		return "sealed for the key of another server"
	case v.Complete == nil && v.Connection == "" && strings.Contains(v.Why, "longer than 72 bytes"):
		return "what stands behind the filter is a limit to servers that came later"
	case v.Complete == nil && v.Connection == "":
		return "go-ethereum's server ends answers without a word"
	case v.Encrypted == "":
		return "sync has an ending of its own, and a refusal is no reason to disconnect"
	case strings.Contains(v.Why, "RLP, 6 fields"), strings.Contains(v.Why, "5 fields"), strings.Contains(v.Why, "written spec with topics"):
		return "the real server knows one length of list only"
	case len(m.Topics) > 0 && m.Bloom == nil:
		return "topics alone say enough"
	case len(m.Cursor) > 0 && (v.Payload[0] < 0xc0 || strings.Contains(v.Why, "cursor before the range")):
		return "the real server ignores this cursor, or skips what comes after it"
	case strings.Contains(v.Why, "cursor of 35 bytes"):
		return "starting over in silence is no answer"
	case refused != "" && v.Complete.Error != "":
		return "the words differ"
	case strings.Contains(v.Why, "rate limit"):
		return "the server had another limit"
	}
	return ""
}

func TestVectorsMailServerTranscriptsAreAnswered(t *testing.T) {
	store, all := recorded(t)
	index := map[envelope.Hash]int{}
	for i, e := range all {
		index[e.Hash()] = i
	}
	n := newNode(t, store, nil)
	deviations := map[string]int{}
	for _, name := range []string{"mailserver_geth_transcript", "mailserver_statusgo_transcript", "mailserver_waku_transcript"} {
		d := wire.Dialects()[0]
		if strings.Contains(name, "waku") {
			d = wire.Dialects()[1]
		}
		p := meet(t, n, d, session.Peer{ID: [32]byte{1}, Trusted: true})
		vectortest.File(t, name, func(t testing.TB, i int, v transcript) {
			request, code := []byte(v.Request), uint64(codeRequest)
			m, refused := v.meant()
			if v.Encrypted == "asym" {
				request = seal(t, n.key, v.Payload).Raw()
			}
			if v.Encrypted == "" && strings.Contains(name, "statusgo") {
				code = codeSync
			}
			got := p.ask(code, request)
			var want answer
			if refused == "" {
				want.Envelopes, want.Cursor = expected(m, all)
			}
			if diff := cmp.Diff(want.Envelopes, got.Envelopes); diff != "" || got.Cursor != want.Cursor || !strings.Contains(got.Failed, refused) || (got.Failed == "") != (refused == "") {
				t.Errorf("%s %d %s: cursor %s, failed %q; want cursor %s, failure %q; envelopes (-want +got)\n%s", name, i, v.Why, got.Cursor, got.Failed, want.Cursor, refused, diff)
			}
			if code == codeRequest && v.Encrypted != "plain" && v.Encrypted != "asym" && got.ID != v.Hash {
				t.Errorf("%s %d %s: the answer names the request %s, want %s", name, i, v.Why, got.ID, v.Hash)
			}
			if !m.Batch && refused == "" && got.Packets != len(got.Envelopes) {
				t.Errorf("%s %d %s: %d packets for %d envelopes", name, i, v.Why, got.Packets, len(got.Envelopes))
			}
			theirs := v.Returned
			for _, packet := range v.Packets {
				theirs = append(theirs, packet.Envelopes...)
			}
			if why := v.deviation(m, refused); why != "" {
				deviations[why]++
				if why != "go-ethereum's server ends answers without a word" {
					return
				}
			}
			ours := []int{}
			for _, h := range got.Envelopes {
				ours = append(ours, index[h])
			}
			if diff := cmp.Diff(append([]int{}, theirs...), ours); diff != "" {
				t.Errorf("%s %d %s: another answer than the real server's (-theirs +ours)\n%s", name, i, v.Why, diff)
			}
		})
	}
	t.Logf("answers that are better than the real servers': %v", deviations)
}

func seal(t testing.TB, to *message.PrivateKey, payload []byte) *envelope.Envelope {
	t.Helper()
	data, err := message.SealAsymmetric(to.Public(), message.Plain{Payload: payload, Sign: to}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return envelope.New(uint32(time.Now().Unix())+50, 50, envelope.Topic{}, data, 0)
}
