package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net"
	"path/filepath"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/mailnet"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/relay"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/store"
	"github.com/restante-im/restante/internal/vault"
)

// InboxOptions say how the node keeps its user's mail.
type InboxOptions struct {
	File string                                          // the database; the key lies beside it, unless it is elsewhere
	Key  vault.Mode                                      // where the key is put when it is made
	Ask  func(prompt string, isNew bool) (string, error) // for a passphrase
	Cap  int64                                           // bytes of mail; 0 for none
}

// box is the inbox and what it stands on.
type box struct {
	*inbox.Inbox
	store *store.Store
	last  gossip.Relayed // saved
}

// openInbox opens the file and reads from it what is waited for. It comes before the relay, which is told at once what was
// passed on today.
func (n *Node) openInbox(ctx context.Context) error {
	o := n.opt.Inbox
	dir, keep := filepath.Dir(o.File), vault.Options{Mode: o.Key, Ask: o.Ask}
	key, protection, err := vault.Open(dir, keep)
	if wanted, ok := protections[o.Key]; err == nil && ok && wanted != protection {
		protection, err = vault.Change(dir, keep)
	}
	if err != nil {
		return err
	}
	kept, err := store.Open(o.File, store.Options{Key: key, Cap: o.Cap, Now: time.Now, Log: n.opt.Log})
	if err != nil {
		return err
	}
	in, err := inbox.Open(ctx, inbox.Options{
		Store: kept, File: o.File, Protection: protectionWord(protection), Cap: o.Cap, Settings: n.opt.InboxSettings,
		Rand: rand.Reader, Now: time.Now, Log: n.opt.Log, Health: n.health,
	})
	if err != nil {
		kept.Close()
		return err
	}
	n.inbox = &box{Inbox: in, store: kept}
	if protection == vault.NotProtected {
		n.health.Set(NotProtected, health.Info, protection.String())
	}
	n.opt.Gossip.Relayed, err = n.inbox.relayed(ctx)
	return err
}

// protections are what the modes lead to; Auto is content with what is there.
var protections = map[vault.Mode]vault.Protection{
	vault.Keyring: vault.KeyringKept, vault.Passphrase: vault.PassphraseKept, vault.File: vault.NotProtected,
}

// NotProtected is the code of the health condition that the inbox's key lies beside it.
const NotProtected = "inbox-not-protected"

// protectionWord is what programs are told.
func protectionWord(p vault.Protection) string {
	switch p {
	case vault.KeyringKept:
		return "keyring"
	case vault.PassphraseKept:
		return "passphrase"
	}
	return "not protected"
}

func (n *Node) closeInbox() {
	n.inbox.Close()
	n.inbox.saveRelayed(n)
	if err := n.inbox.store.Close(); err != nil {
		n.opt.Log.Error("the inbox was not closed cleanly; it will check itself at the next start", "err", err)
	}
}

// Records of what was passed on for others.
const (
	kindRelayed = "relayed"
	relayedID   = "today"
)

// relayed reads what saveRelayed wrote.
func (b *box) relayed(ctx context.Context) (r gossip.Relayed, err error) {
	records, err := b.store.Records(ctx, kindRelayed)
	for _, rec := range records {
		if len(rec.Data) == 16 {
			r.Day = int64(binary.BigEndian.Uint64(rec.Data))
			r.Bytes = int64(binary.BigEndian.Uint64(rec.Data[8:]))
		}
	}
	return r, err
}

// saveRelayed writes how much was passed on today, so that a restart does not begin the day anew.
func (b *box) saveRelayed(n *Node) {
	r := n.relay.Status().Stats.Relayed
	if r == b.last {
		return
	}
	b.last = r
	data := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(r.Day)), uint64(r.Bytes))
	put := []store.Record{{Kind: kindRelayed, ID: relayedID, Data: data}}
	if err := b.store.Apply(context.Background(), put, nil); err != nil {
		n.opt.Log.Warn("what was relayed today was not saved", "err", err)
	}
}

// runInbox joins the inbox with the network.
func (n *Node) runInbox(ctx context.Context) error {
	return n.inbox.Run(ctx, inbox.Joined{Relay: poster{n.relay}, Network: keeper{n}, Mail: asker{n.mailNet}})
}

// poster is the relay as the inbox sees it.
type poster struct {
	*relay.Relay
}

// topPoW bounds what letters are worked for: who demands more gets them from others.
const topPoW = 2

// LeastPoW is what peers ask for, so that they take what is posted.
func (p poster) LeastPoW() float64 {
	st := p.Status()
	least := st.MinPoW
	for _, peer := range st.Peers {
		if peer.MinPoW <= topPoW {
			least = max(least, peer.MinPoW)
		}
	}
	return least
}

// asker finds connected mail servers.
type asker struct{ net *mailnet.Net }

func (a asker) Remote(ctx context.Context, id [32]byte) (inbox.Remote, error) {
	r, err := a.net.Remote(ctx, id)
	if err != nil {
		return nil, err // not a nil pointer in an interface
	}
	return r, nil
}

// keeper keeps mail servers connected for the inbox.
type keeper struct{ *Node }

func (k keeper) Keep(node nodeaddr.Node) error {
	k.network.SetEager(node.ID(), true)
	return k.network.AddPeer(node)
}

// Release leaves those alone whom the configuration names.
func (k keeper) Release(id nodeaddr.ID) {
	k.network.SetEager(id, false)
	k.mu.Lock()
	named := k.static[id]
	k.mu.Unlock()
	if !named {
		_ = k.network.RemovePeer(id) // is not static any more where somebody removed it by hand
	}
}

// inboxEvent tells the inbox of the network.
func (n *Node) inboxEvent(e devp2p.Event) {
	switch e.Kind {
	case devp2p.NetworkChanged:
		n.inbox.Online()
	case devp2p.DialFail:
		n.inbox.DialFailed(e.Node, e.Text)
	}
}

// knownServers are the mail servers that the inbox may ask.
func (n *Node) knownServers() (list []nodeaddr.Node) {
	if n.inbox == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), inboxPatience)
	defer cancel()
	views, err := n.inbox.Servers(ctx)
	if err != nil {
		return nil
	}
	for _, v := range views {
		if !v.Suggested && !v.Paused {
			list = append(list, v.Node)
		}
	}
	return list
}

// inboxDesk is the inbox for programs; nil without one.
func (n *Node) inboxDesk() rpc.Inbox {
	if n.inbox == nil {
		return nil
	}
	return n.inbox
}

// serveWeb answers programs over HTTP and WebSocket.
func (n *Node) serveWeb(parts *parts, server *rpc.Server) error {
	token, err := rpc.LoadOrCreateToken(n.opt.RPC.TokenFile)
	if err != nil {
		return err
	}
	l, err := rpc.ListenWeb(n.opt.RPC.Listen)
	if err != nil {
		return err
	}
	n.opt.Log.Info("programs are answered over HTTP and WebSocket", "url", "http://"+l.Addr().String()+"/", "token", n.opt.RPC.TokenFile)
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		n.opt.Log.Warn("the command interface is open to the network without encryption: a loopback address in rpc.listen closes it, a proxy with TLS protects it")
	}
	parts.run("the HTTP interface", func(ctx context.Context) error {
		return server.ServeWeb(ctx, l, rpc.WebOptions{Token: token, Origins: n.opt.RPC.Origins})
	})
	return nil
}
