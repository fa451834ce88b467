//go:build peers

package peers_test

import (
	"slices"
	"testing"
	"time"

	"github.com/restante-im/restante/test/peers/peerproc"
)

// TestMailServerBetweenPeers asks go-ethereum's mail server with both clients for what came before them.
func TestMailServerBetweenPeers(t *testing.T) {
	const password = "from peer to peer"
	server := peerproc.ForTest(t, peerproc.Geth6, peerproc.Config{MailDir: t.TempDir(), MailPassword: password})
	key := server.PasswordKey(password)
	topics := [][4]byte{{1, 2, 3, 4}, {5, 6, 7, 8}}
	var posted [][32]byte
	for i := range 4 {
		s := server.Post(peerproc.Draft{SymKey: key, Topic: topics[i%2], TTL: 60, Payload: []byte{byte(i)}, PoWTarget: 0.001})
		server.WaitPooled(s.Hash)
		posted = append(posted, s.Hash)
	}
	now := uint32(time.Now().Unix())
	for _, name := range []string{peerproc.Geth6, peerproc.Status162} {
		t.Run(name, func(t *testing.T) {
			server := server.In(t)
			client := peerproc.ForTest(t, name, peerproc.Config{})
			client.Connect(server.Enode)
			inbox := client.Subscribe(peerproc.Filter{SymKey: key, AllowP2P: true})
			for _, q := range []struct {
				h    peerproc.History
				want [][32]byte
			}{
				{peerproc.History{Form: peerproc.Binary}, posted},
				{peerproc.History{Form: peerproc.Binary, Topics: topics[:1]}, [][32]byte{posted[0], posted[2]}},
			} {
				q.h.SymKey, q.h.From, q.h.To = key, now-100, now+100
				a := client.FetchHistory(server.ID, q.h, time.Second)
				if a.Complete != nil || a.Packets != len(q.want) || a.Listed != 0 || len(a.Mail) != len(q.want) {
					t.Fatalf("%d envelopes in %d packets, %d of them lists, complete %+v, want %d", len(a.Mail), a.Packets, a.Listed, a.Complete, len(q.want))
				}
				for _, m := range a.Mail {
					if !slices.Contains(q.want, m.Hash) || len(m.Raw) == 0 || m.Sent < now-20 {
						t.Errorf("got %x of topic %x, sent %d", m.Hash, m.Topic, m.Sent)
					}
				}
			}
			for range len(posted) {
				inbox.Next()
			}
		})
	}
}
