//go:build peers

package peers_test

import (
	"context"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// TestStatus162MailKept kills our mail server the moment that Status' node reports an acknowledgement. Started again, it
// serves all that was acknowledged.
func TestStatus162MailKept(t *testing.T) {
	t.Parallel()
	const rounds = 6
	o := startMail(t)
	listen := o.status().Listen
	from := uint32(time.Now().Unix()) - 1
	acked := map[[32]byte]bool{}
	for range rounds {
		killDuring(t, o, acked)
		o.start(listen)
	}
	c := newClient(t, o, peerproc.Status162)
	got := map[[32]byte]int{}
	h := peerproc.History{Form: peerproc.RLP7, SymKey: c.key, From: from, To: uint32(time.Now().Unix()), Batch: true}
	for {
		a := c.FetchHistory(o.id, h, patience)
		for _, m := range a.Mail {
			got[m.Hash]++
		}
		if a.Complete == nil || a.Complete.Failed {
			t.Fatalf("the answer ends with %+v", a.Complete)
		}
		if h.Cursor = a.Complete.Cursor; h.Cursor == nil {
			break
		}
	}
	for hash := range acked {
		if got[hash] == 0 {
			t.Errorf("%x was acknowledged and is lost", hash)
		}
	}
	for hash, n := range got {
		if n > 1 {
			t.Errorf("%x came %d times", hash, n)
		}
	}
	t.Logf("%d envelopes were acknowledged before %d kills, %d are there", len(acked), rounds, len(got))
}

// killDuring lets Status' node send, kills our mail server at the first acknowledgement and notes what was acknowledged.
// The sender is gone afterwards: what is there later was on our disk.
func killDuring(t *testing.T, o *ours, acked map[[32]byte]bool) {
	t.Helper()
	p := peerproc.ForTest(t, peerproc.Status162, peerproc.Config{MinPoW: lowPoW})
	defer p.Close()
	o.connect(p)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	kill := o.cmd.Process.Kill
	go func() {
		_, err := p.Node.Wait(ctx, isAck)
		kill()
		done <- err
	}()
	for sent := 0; len(done) == 0; sent++ {
		p.Post(peerproc.Draft{SymKey: symKey, TTL: 60, Topic: mailTopics[sent%len(mailTopics)], Payload: make([]byte, 2000), PoWTarget: 0.000002})
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	<-o.ended
	p.WaitGone(o.id)
	batches := map[[32]byte]bool{}
	p.Count(func(e peerproc.Event) bool {
		if isAck(e) {
			if batches[e.Batch] = true; len(e.Refused) > 0 {
				t.Errorf("%d envelopes were refused", len(e.Refused))
			}
		}
		return false
	})
	before := len(acked)
	p.Count(func(e peerproc.Event) bool {
		if e.Name == "envelope.sent" && batches[e.Batch] {
			acked[e.Hash] = true
		}
		return false
	})
	if len(acked) == before {
		t.Error("an acknowledgement of nothing")
	}
}

func isAck(e peerproc.Event) bool { return e.Name == "batch.acknowleged" }

// TestStatus162MailSync lets Status' node sync as mail servers do: a stranger is told why not and stays, one that the
// operator trusts gets everything, page by page, in the form that its own code takes.
func TestStatus162MailSync(t *testing.T) {
	t.Parallel()
	friend := peerproc.ForTest(t, peerproc.Status162, peerproc.Config{MinPoW: lowPoW})
	o := startMail(t, "--trusted", friend.Enode)
	b := fillMail(t, o, peerproc.Geth6)
	all := b.all("")
	bloom := envelope.FullBloom()
	ask := peerproc.Sync{From: all.From, To: all.To, Bloom: bloom[:], Limit: 7}

	stranger := newClient(t, o, peerproc.Status162)
	stranger.Try(func(ctx context.Context) error { return stranger.Trust(ctx, o.id) }) // or it takes no answer
	if e := syncPage(o, stranger.T, ask, 0); !strings.Contains(e.Reason, "syncs only with mail servers that its operator trusts") || len(e.Cursor) > 0 {
		t.Errorf("a stranger's sync ended with %+v", e)
	}
	if n := stranger.Count(peerproc.Of(peerproc.Pooled)); n > 0 {
		t.Errorf("a stranger got %d envelopes", n)
	}
	h := b.all(peerproc.RLP7)
	h.Batch = true
	stranger.fetch(b, h) // what readers ask is answered all the same
	stayed(t, stranger.T)

	o.connect(friend)
	friend.Try(func(ctx context.Context) error { return friend.Trust(ctx, o.id) })
	pages := 1
	for ; ; pages++ {
		e := syncPage(o, friend, ask, pages-1)
		if e.Reason != "" {
			t.Fatalf("page %d ended with %q", pages, e.Reason)
		}
		if ask.Cursor = e.Cursor; len(e.Cursor) == 0 {
			break
		}
	}
	var got []string
	friend.Count(func(e peerproc.Event) bool {
		if e.Kind == peerproc.Pooled {
			got = append(got, envelope.Hash(e.Hash).String()[:10])
		}
		return false
	})
	if diff := gocmp.Diff(hashesOf(b.list), got); diff != "" || pages != (len(b.list)+6)/7 {
		t.Errorf("%d pages; what was archived: %s", pages, diff)
	}
	if n := len(friend.Pool()); n > 0 {
		t.Errorf("%d envelopes came by gossip", n)
	}
	testSyncRefusals(t, o, friend, all)
	stayed(t, friend)
}

// syncPage asks for a page, and waits for its end; so many ended before.
func syncPage(o *ours, p *peerproc.T, ask peerproc.Sync, before int) peerproc.Event {
	p.Try(func(ctx context.Context) error { return p.RequestSync(ctx, o.id, ask) })
	var last peerproc.Event
	pos := 0
	for range before + 1 {
		p.Try(func(ctx context.Context) (err error) {
			last, pos, err = p.WaitAfter(ctx, pos, isSynced)
			return err
		})
	}
	return last
}

func isSynced(e peerproc.Event) bool { return e.Name == "mailserver.sync.finished" }

// testSyncRefusals asks for what makes other mail servers disconnect, as far as the node's own code sends it.
func testSyncRefusals(t *testing.T, o *ours, friend *peerproc.T, all peerproc.History) {
	t.Helper()
	for what, ask := range map[string]peerproc.Sync{
		"bloom filter": {From: all.From, To: all.To, Limit: 7, Bloom: []byte{1}},
		"cursor":       {From: all.From, To: all.To, Limit: 7, Bloom: make([]byte, 64), Cursor: make([]byte, 35)},
	} {
		if e := syncPage(o, friend, ask, friend.Count(isSynced)); !strings.Contains(e.Reason, what) {
			t.Errorf("ended with %q, want %q", e.Reason, what)
		}
	}
	e := syncPage(o, friend, peerproc.Sync{From: all.From, To: all.To, Limit: 7}, friend.Count(isSynced))
	if e.Reason != "" || len(e.Cursor) > 0 {
		t.Errorf("asked for nothing in particular, it ended with %+v", e)
	}
}
