package node

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Codes of the conditions that the node itself reports; relay.ClockSkew is another.
const (
	NoPeers  = "no-peers"
	PoolFull = "pool-full"
)

// welcome tells the operator what runs and what to try next.
func (n *Node) welcome() {
	self := n.network.Self()
	role := "a Whisper node that relays encrypted envelopes"
	switch {
	case n.mail != nil && n.inbox != nil:
		role = "your inbox, and a mail server that relays and keeps encrypted envelopes"
	case n.mail != nil:
		role = "a mail server that relays and keeps encrypted envelopes"
	case n.inbox != nil:
		role = "your inbox"
	}
	fmt.Fprintf(n.opt.Out, "restante %s: %s\n\n", n.opt.Version, role)
	fmt.Fprintf(n.opt.Out, "  address  %s\n", self.Node)
	fmt.Fprintf(n.opt.Out, "           (%s)\n", self.Source)
	fmt.Fprintf(n.opt.Out, "  data     %s\n", n.opt.DataDir)
	fmt.Fprintf(n.opt.Out, "  socket   %s\n", n.opt.Socket)
	if n.mail != nil {
		fmt.Fprintf(n.opt.Out, "  archive  %s\n", n.opt.Mail.ArchiveDir)
	}
	if n.inbox != nil {
		fmt.Fprintf(n.opt.Out, "  inbox    %s\n", n.opt.Inbox.File)
	}
	if n.opt.OpsListen != "" {
		fmt.Fprintf(n.opt.Out, "  metrics  http://%s/metrics\n", n.opt.OpsListen)
	}
	if n.inbox != nil {
		n.welcomeHome()
		return
	}
	fmt.Fprintf(n.opt.Out, "\nTry in another terminal:\n\n"+
		"  restante status%[1]s\n"+
		"  restante listen%[1]s --topic-text hello --password hello\n"+
		"  restante post%[1]s --topic-text hello --password hello \"Hello, Whisper\"\n", n.opt.Flags)
	if n.mail != nil {
		fmt.Fprintf(n.opt.Out, "  restante fetch --server %q --topic-text hello --password hello --since 1h\n", self.Node)
	}
	fmt.Fprintf(n.opt.Out, "\nOthers connect with `restante peers add ADDRESS`, and so do you with theirs. Stop with Ctrl-C.\n")
}

// welcomeHome tells the user of an inbox what to do next.
func (n *Node) welcomeHome() {
	fmt.Fprintf(n.opt.Out, "\nIn another terminal:\n\n"+
		"  restante inbox servers add%[1]s LINK                                  a mail server that keeps mail for you\n"+
		"  restante inbox watch%[1]s --topic-text hello --password hello         what to wait for\n"+
		"  restante inbox messages%[1]s --follow                                 what has come\n"+
		"  restante inbox status%[1]s                                            what is complete, and what is not\n"+
		"\nStop with Ctrl-C; what comes meanwhile is fetched at the next start.\n", n.opt.Flags)
}

// networkEvent logs what happens to connections. Texts carry no addresses.
func (n *Node) networkEvent(e devp2p.Event) {
	if n.inbox != nil {
		n.inboxEvent(e)
	}
	level := slog.LevelDebug
	switch e.Kind {
	case devp2p.PeerUp, devp2p.PeerDown, devp2p.NetworkChanged:
		level = slog.LevelInfo
	case devp2p.Panicked, devp2p.AcceptFail:
		level = slog.LevelError
	}
	attrs := []any{"why", e.Text}
	if e.Node != (nodeaddr.ID{}) {
		attrs = append(attrs, "peer", e.Node.Short(), "inbound", e.Inbound)
	}
	if e.Conn != 0 {
		attrs = append(attrs, "conn", uint64(e.Conn))
	}
	n.opt.Log.Log(context.Background(), level, e.Kind.String(), attrs...)
}

// judge sets the conditions that follow from figures.
func (n *Node) judge() {
	if n.network.Stats().Peers == 0 {
		n.health.Set(NoPeers, health.Warning, "No peer is connected, so nothing arrives and nothing leaves. Add one with "+
			"`restante peers add ENODE` or network.static, or let others connect to this node.")
	} else {
		n.health.Clear(NoPeers)
	}
	st := n.relay.Status().Stats
	if st.Pooled >= n.pool.PoolCount || st.PooledBytes >= n.pool.PoolBytes*99/100 {
		n.health.Set(PoolFull, health.Warning, fmt.Sprintf("The pool is full (%d envelopes, %d bytes): envelopes with little "+
			"proof of work make room before they expire. Raise gossip.pool_max_envelopes or gossip.pool_max_bytes.", st.Pooled, st.PooledBytes))
	} else {
		n.health.Clear(PoolFull)
	}
}

// apply takes over what changed in the configuration.
func (n *Node) apply(s Settings) {
	if err := n.relay.SetMinPoW(s.MinPoW); err != nil {
		n.opt.Log.Error("reload", "err", err)
	}
	if err := n.relay.SetMaxSize(s.MaxSize); err != nil {
		n.opt.Log.Error("reload", "err", err)
	}
	n.relay.Tune(s.Tune)
	n.pool = s.Tune
	if n.mail != nil {
		n.mail.server.SetLimits(s.Mail.Limits)
		n.mail.setRules(s.Mail.Rules)
		n.mail.server.SetClosing(s.Mail.Closing)
	}
	if n.inbox != nil {
		n.inbox.Apply(s.Inbox)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	report := func(err error) {
		if err != nil {
			n.opt.Log.Error("reload", "err", err)
		}
	}
	static, trusted := idsOf(s.Static), idsOf(s.Trusted)
	for _, node := range s.Static {
		report(n.network.AddPeer(node))
	}
	for id := range n.static {
		if !static[id] {
			report(n.network.RemovePeer(id))
		}
	}
	for id := range trusted {
		report(n.network.AddTrusted(id))
	}
	for id := range n.trusted {
		if !trusted[id] {
			report(n.network.RemoveTrusted(id))
		}
	}
	n.static, n.trusted = static, trusted
}

func idsOf(list []nodeaddr.Node) map[nodeaddr.ID]bool {
	ids := make(map[nodeaddr.ID]bool, len(list))
	for _, node := range list {
		ids[node.ID()] = true
	}
	return ids
}
