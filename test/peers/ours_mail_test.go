//go:build peers

package peers_test

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/wire"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// The mail of these tests lives for seconds, so that it is soon in archives only.
const (
	mailTTL      = 8
	mailPassword = "status-offline-inbox"
)

// mailTopics are those of the mail. Their bloom filters tell them apart.
var mailTopics = [][4]byte{{0xa1, 1, 1, 1}, {0xb2, 7, 40, 2}, {0xc3, 99, 3, 3}, {0xd4, 12, 250, 4}, {0xe5, 200, 17, 5}}

// startMail starts our node as a mail server.
func startMail(t testing.TB, args ...string) *ours {
	t.Helper()
	return startOurs(t, append([]string{"--mailserver", "--set", "archive.min_free=0"}, args...)...)
}

// archived waits until our mail server holds so many envelopes.
func (o *ours) archived(count int) {
	o.t.Helper()
	eventually(o.t, "the mail is in the archive", func() bool {
		return ask[rpc.ArchiveStats](o, "archive_stats").Envelopes == uint64(count)
	})
}

// mailbag is the mail that peers have sent.
type mailbag struct {
	letters map[[32]byte]letter
	list    []*envelope.Envelope // in the order of archives: by sent time and hash
}

// fillMail lets nodes send messages of every kind, on a few topics and in two turns, through our mail server, and leave.
// When it returns, no node pools the mail any more.
func fillMail(t *testing.T, o *ours, helpers ...string) *mailbag {
	t.Helper()
	b := &mailbag{letters: map[[32]byte]letter{}}
	var senders []*peerproc.T
	for _, name := range helpers {
		p := peerproc.ForTest(t, name, peerproc.Config{MinPoW: lowPoW})
		o.connect(p)
		senders = append(senders, p)
	}
	for turn, sizes := range [][]int{{0, 1, 255, 512, 70 << 10}, {100, 256, 300 << 10, 900 << 10}} {
		started := time.Now().Unix()
		for i, p := range senders {
			b.post(t, p, letters(rand.NewChaCha8([32]byte{byte(turn), byte(i)}), 0, sizes))
		}
		eventually(t, "time passes", func() bool { return time.Now().Unix() > started+1 })
	}
	b.sort()
	o.archived(len(b.list))
	for _, p := range senders {
		stayed(t, p)
		p.Close()
	}
	eventually(t, "the pool is empty", func() bool { return o.status().Pool.Envelopes == 0 })
	return b
}

func (b *mailbag) post(t *testing.T, p *peerproc.T, list []letter) {
	t.Helper()
	for i, l := range list {
		l.topic, l.ttl = mailTopics[i%len(mailTopics)], mailTTL
		sent := p.Post(l.draft())
		env, err := envelope.Decode(sent.Raw)
		if err != nil {
			t.Fatal(err)
		}
		b.letters[sent.Hash] = l
		b.list = append(b.list, env)
	}
}

func (b *mailbag) sort() {
	slices.SortFunc(b.list, func(x, y *envelope.Envelope) int { return bytes.Compare(cursorOf(x), cursorOf(y)) })
}

// middle is a second at which some of the mail was sent, and some before and some after.
func (b *mailbag) middle() uint32 { return b.list[len(b.list)/2].Sent() }

// all asks for the whole mail.
func (b *mailbag) all(form peerproc.Form) peerproc.History {
	return peerproc.History{Form: form, From: b.list[0].Sent(), To: b.list[len(b.list)-1].Sent()}
}

func cursorOf(e *envelope.Envelope) []byte { return wire.AppendCursor(nil, e.Sent(), e.Hash()) }

// answer is what a mail server sends for a request, and whether more follows.
func (b *mailbag) answer(h peerproc.History) (list []*envelope.Envelope, more bool) {
	limit := cmp.Or(int(h.Limit), len(b.list))
	for _, e := range b.list {
		switch {
		case e.Sent() < h.From || e.Sent() > h.To:
		case len(h.Topics) > 0 && !slices.Contains(h.Topics, [4]byte(e.Topic())):
		case len(h.Cursor) > 0 && bytes.Compare(cursorOf(e), h.Cursor) <= 0:
		case len(list) == limit:
			return list, true
		default:
			list = append(list, e)
		}
	}
	return list, false
}

// client is a real node that asks our mail server.
type client struct {
	*peerproc.T
	t    testing.TB
	o    *ours
	name string
	key  []byte // of the mail server's password
}

// newClient starts a node that was away.
func newClient(t testing.TB, o *ours, name string) *client {
	t.Helper()
	c := &client{peerproc.ForTest(t, name, peerproc.Config{MinPoW: lowPoW}), t, o, name, nil}
	o.connect(c.T)
	c.key = c.PasswordKey(mailPassword)
	return c
}

// fetch asks with the node's own request code and checks the answer: every envelope once, to the byte, in order, in
// packets of the right kind, and an end that the node understands. It returns the cursor.
func (c *client) fetch(b *mailbag, h peerproc.History) []byte {
	c.t.Helper()
	h.SymKey = c.key
	want, more := b.answer(h)
	a := c.FetchHistory(c.o.id, h, patience)
	var got []*envelope.Envelope
	for _, m := range a.Mail {
		env, err := envelope.Decode(m.Raw)
		if err != nil {
			c.t.Fatalf("%s: an envelope does not decode: %v", h.Form, err)
		}
		got = append(got, env)
	}
	if !slices.EqualFunc(want, got, func(x, y *envelope.Envelope) bool { return bytes.Equal(x.Raw(), y.Raw()) }) {
		c.t.Fatalf("%s %+v: %s came, want %s", h.Form, h, hashesOf(got), hashesOf(want))
	}
	if single := !inLists(h); single && (a.Packets != len(got) || a.Listed > 0) || !single && len(got) > 10 && a.Packets >= len(got) {
		c.t.Errorf("%s: %d envelopes came in %d packets, %d of them lists", h.Form, len(got), a.Packets, a.Listed)
	}
	end := peerproc.Complete{ID: a.Request.Hash}
	if len(want) > 0 {
		end.Last = want[len(want)-1].Hash()
	}
	if more {
		end.Cursor = cursorOf(want[len(want)-1])
	}
	if a.Complete == nil {
		c.t.Fatalf("%s: the answer has no end", h.Form)
	}
	if diff := gocmp.Diff(end, *a.Complete); diff != "" {
		c.t.Errorf("%s: the end of the answer: %s", h.Form, diff)
	}
	if c.name == peerproc.Status162 {
		if diff := gocmp.Diff(end, c.completed(end.ID)); diff != "" {
			c.t.Errorf("%s: the node reports: %s", h.Form, diff)
		}
	}
	return end.Cursor
}

// inLists tells whether whoever asks like this takes several envelopes in a packet.
func inLists(h peerproc.History) bool {
	return h.Batch || h.Form == peerproc.RLP5 || h.Form == peerproc.RLP5Topics || h.Form == peerproc.Plain
}

// completed waits until Status' node reports that a request is done, and returns what it says.
func (c *client) completed(id [32]byte) peerproc.Complete {
	c.t.Helper()
	e := c.Wait(func(e peerproc.Event) bool { return e.Name == "mailserver.request.completed" && e.Hash == id })
	if e.Peer != c.o.id {
		c.t.Errorf("reported of %x, not our mail server", e.Peer)
	}
	return peerproc.Complete{ID: e.Hash, Last: e.Last, Cursor: e.Cursor, Error: e.Reason, Failed: e.Reason != ""}
}

// opens checks that the node opens every message of the mail, once.
func (c *client) opens(b *mailbag, boxes mailboxes) {
	c.t.Helper()
	seen := map[[32]byte]bool{}
	for _, l := range b.letters {
		got := boxes.next(l)
		sent, ok := b.letters[got.Hash]
		if !ok || seen[got.Hash] {
			c.t.Fatalf("%x came, which nobody sent, or twice", got.Hash)
		}
		seen[got.Hash] = true
		if diff := gocmp.Diff(sent.want(got.Hash, got), got); diff != "" {
			c.t.Fatalf("%s, %d bytes: %.2000s", sent.name, len(sent.payload), diff)
		}
	}
}

func hashesOf(list []*envelope.Envelope) (hashes []string) {
	for _, e := range list {
		hashes = append(hashes, e.Hash().String()[:10])
	}
	return hashes
}

func TestGeth6Mail(t *testing.T)     { testOursMail(t, peerproc.Geth6) }
func TestStatus162Mail(t *testing.T) { testOursMail(t, peerproc.Status162) }

// testOursMail lets both kinds of nodes send and leave; a node that was away then comes and gets everything from our mail
// server, with its own request code.
func testOursMail(t *testing.T, helper string) {
	t.Parallel()
	o := startMail(t)
	b := fillMail(t, o, peerproc.Geth6, peerproc.Status162)
	c := newClient(t, o, helper)
	boxes := mailboxes{
		c.Subscribe(peerproc.Filter{SymKey: symKey, AllowP2P: true}), c.Subscribe(peerproc.Filter{PrivateKey: scalar(1), AllowP2P: true}),
	}
	started := time.Now()
	c.fetch(b, b.all(peerproc.Binary))
	t.Logf("%d envelopes of 1 byte to 900 KiB came in %s", len(b.list), time.Since(started).Round(time.Millisecond))
	c.opens(b, boxes)

	forms := []peerproc.Form{peerproc.Binary}
	if helper == peerproc.Status162 {
		forms = append(forms, peerproc.RLP5, peerproc.RLP5Topics, peerproc.RLP6, peerproc.RLP7, peerproc.Plain)
	}
	serial := byte(0)
	for _, form := range forms {
		for _, batch := range []bool{false, true} {
			if batch && form != peerproc.RLP6 && form != peerproc.RLP7 {
				continue
			}
			for _, h := range b.questions(form) {
				serial++
				h.Batch, h.ID = batch, [32]byte{1, serial}
				h.PoWTarget = 0.0001 * float64(serial%2)
				c.fetch(b, h)
			}
			c.pages(b, form, batch)
		}
	}
	if n := len(c.Pool()); n > 0 {
		t.Errorf("%d envelopes came by gossip", n)
	}
	stayed(t, c.T)
}

// questions are ranges and topics in a form.
func (b *mailbag) questions(form peerproc.Form) (list []peerproc.History) {
	all, mid := b.all(form), b.middle()
	add := func(from, to uint32, topics ...[4]byte) {
		list = append(list, peerproc.History{Form: form, From: from, To: to, Topics: topics})
	}
	add(all.From, all.To)
	add(all.From, all.To, mailTopics[0])
	add(all.From, all.To, mailTopics[1:4]...)
	add(all.From, mid)
	add(mid, all.To, mailTopics[4])
	add(mid, mid)
	add(all.From-1000, all.From-1)             // nothing was sent then
	add(all.From, all.To, [4]byte{9, 9, 9, 9}) // on a topic of nobody
	add(all.To, 1<<32-1)                       // no end, which overflows at other servers
	return list
}

// pages follows the cursor.
func (c *client) pages(b *mailbag, form peerproc.Form, batch bool) {
	c.t.Helper()
	h := b.all(form)
	h.Limit, h.Batch, h.ID = 13, batch, [32]byte{2, byte(len(form))}
	for pages := 1; ; pages++ {
		h.ID[2]++
		if h.Cursor = c.fetch(b, h); len(h.Cursor) == 0 {
			if want := (len(b.list) + 12) / 13; pages != want {
				c.t.Errorf("%s: %d pages, want %d", form, pages, want)
			}
			return
		}
	}
}
