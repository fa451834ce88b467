//go:build peers

package peers_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/restante-im/restante/internal/rpc"
)

// TestGeth6Inbox has an inbox catch up from go-ethereum's mail server, which never says that it is done, and from ours,
// which has a third of the mail.
func TestGeth6Inbox(t *testing.T) {
	t.Parallel()
	b, file := storedMail(t)
	theirs := gethArchive(t, file)
	inbox := startOurs(t, "--set", "inbox.enabled=true", "--set", "inbox.key=file", "--set", fmt.Sprintf("inbox.servers=[%q]", theirs.Enode))
	topics := []rpc.Topic{mailTopics[1], mailTopics[2]}
	want := map[[32]byte]bool{}
	part, err := os.Create(filepath.Join(t.TempDir(), "part"))
	if err != nil {
		t.Fatal(err)
	}
	w, parts := bufio.NewWriter(part), 0
	for i, env := range b.list {
		if topic := rpc.Topic(env.Topic()); topic == topics[0] || topic == topics[1] {
			want[env.Hash()] = true
		}
		if i%3 == 0 {
			w.Write(env.Raw())
			parts++
		}
	}
	if err := errors.Join(w.Flush(), part.Close()); err != nil {
		t.Fatal(err)
	}
	since := b.list[0].Sent()
	ask[rpc.InboxWatch](inbox, "inbox_watch", rpc.NewWatch{Topics: topics, Since: &since})
	r := ask[rpc.SyncReport](inbox, "inbox_sync")
	if r.End != "answered" || len(r.Servers) != 1 {
		t.Errorf("from go-ethereum's alone: %+v", r)
	}
	inbox.has(want)
	for _, line := range ask[[]rpc.InboxCoverage](inbox, "inbox_coverage") {
		if line.Complete != 0 || line.Answered == 0 {
			t.Errorf("nobody said that this is all, but: %+v", line)
		}
	}
	ours := startMail(t)
	ours.importMail(part.Name(), parts)
	ask[rpc.InboxServer](inbox, "inbox_addServer", ours.enode, true)
	eventually(t, "ours is asked too", func() bool {
		return ask[rpc.SyncReport](inbox, "inbox_sync").End == "complete"
	})
	inbox.has(want)
	stayedUp(t, theirs)
}

// has checks that the inbox has these envelopes, each once.
func (o *ours) has(want map[[32]byte]bool) {
	o.t.Helper()
	got := map[[32]byte]int{}
	for after := uint64(0); ; {
		page := ask[rpc.InboxMessages](o, "inbox_messages", rpc.MessageQuery{After: after})
		for _, m := range page.Messages {
			if got[[32]byte(m.Hash)]++; !want[[32]byte(m.Hash)] {
				o.t.Errorf("%x is not wanted", m.Hash)
			}
		}
		if page.Next == after {
			break
		}
		after = page.Next
	}
	for hash, n := range got {
		if n != 1 {
			o.t.Errorf("%x came %d times", hash, n)
		}
	}
	if len(got) != len(want) {
		o.t.Errorf("%d of %d envelopes are there", len(got), len(want))
	}
}
