package node

import (
	"context"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/relay"
	"github.com/restante-im/restante/internal/rpc"
)

// shell is the node as the command interface sees it: rpc.Gossip and rpc.Admin.
type shell struct{ n *Node }

func (s shell) Post(_ context.Context, env *envelope.Envelope) error { return s.n.relay.Post(env) }

func (s shell) PostDirect(_ context.Context, peer nodeaddr.ID, env *envelope.Envelope) error {
	return s.n.relay.PostDirect(peer, env)
}

func (s shell) Trust(_ context.Context, peer nodeaddr.ID) error  { return s.n.relay.Trust(peer) }
func (s shell) Connected(peer nodeaddr.ID) bool                  { return s.n.relay.Connected(peer) }
func (s shell) SetMinPoW(pow float64) error                      { return s.n.relay.SetMinPoW(pow) }
func (s shell) SetMaxMessageSize(bytes int) error                { return s.n.relay.SetMaxSize(bytes) }
func (s shell) SetBloom(bloom envelope.Bloom) error              { return s.n.relay.SetBloom(bloom) }
func (s shell) Now() time.Time                                   { return s.n.relay.Now() }
func (s shell) AddPeer(_ context.Context, p nodeaddr.Node) error { return s.n.network.AddPeer(p) }
func (s shell) Stop()                                            { s.n.stop() }

// reachTimeout bounds a reachability check.
const reachTimeout = 8 * time.Second

func (s shell) Reachable(ctx context.Context) rpc.Reachability {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	r := s.n.network.CheckReachable(ctx)
	return rpc.Reachability{
		Outcome: r.Outcome.String(), Text: r.Text, Enode: s.n.network.Self().Node.String(), Seconds: r.Took.Seconds(),
	}
}

func (s shell) RemovePeer(_ context.Context, id nodeaddr.ID) error {
	err := s.n.network.RemovePeer(id)
	if fault.Is(err, fault.NotFound) && s.n.network.Disconnect(id, nil) {
		return nil
	}
	return err
}

func (s shell) Settings() rpc.Settings {
	st := s.n.relay.Status()
	return rpc.Settings{
		MinPoW: st.MinPoW, MaxMessageSize: st.MaxSize, PoolEnvelopes: st.Stats.Pooled, PoolBytes: st.Stats.PooledBytes,
	}
}

func (s shell) Status() rpc.Status {
	n := s.n
	st, self := n.relay.Status(), n.network.Self()
	out := rpc.Status{
		Version: n.opt.Version, ID: self.Node.ID().String(), Enode: self.Node.String(), Record: self.Node.Record(),
		DataDir: n.opt.DataDir, Started: n.started, PeersConnected: n.network.Stats().Peers, PeersMax: n.opt.Network.MaxPeers,
		FullNode: st.Bloom == nil || st.Bloom.IsFull(), Counters: n.counters(st),
	}
	if len(self.Listen) > 0 {
		out.Listen = self.Listen[0].String()
	}
	for _, d := range n.opt.Dialects {
		out.Dialects = append(out.Dialects, d.String())
	}
	if n.mail != nil {
		out.Mail = n.mail.status()
	}
	if st.SkewKnown {
		offset := st.Skew.Seconds()
		out.ClockOffset = &offset
	}
	return out
}

// Peers lists the connected peers in the order in which they came, then the static ones that are not connected.
func (s shell) Peers() []rpc.Peer {
	seen := map[uint64]relay.Peer{}
	for _, p := range s.n.relay.Status().Peers {
		seen[p.Conn] = p
	}
	static := map[nodeaddr.ID]devp2p.Status{}
	for _, st := range s.n.network.Static() {
		static[st.Node.ID()] = st
	}
	var list []rpc.Peer
	for _, p := range s.n.network.Peers(true) {
		g := seen[uint64(p.Conn)]
		out := rpc.Peer{
			ID: p.Node.String(), Name: p.Client, Address: p.Address, Connected: true, Since: &p.Since, Inbound: p.Inbound,
			Static: p.Static, Trusted: p.Trusted, Dialects: g.Dialects, MinPoW: g.MinPoW, FullNode: g.Full,
			EnvelopesIn: g.EnvelopesIn, EnvelopesOut: g.EnvelopesOut, BytesIn: p.BytesIn, BytesOut: p.BytesOut,
		}
		if st, ok := static[p.Node]; ok {
			out.Enode = st.Node.String()
		}
		delete(static, p.Node)
		list = append(list, out)
	}
	connected := len(list)
	for id, st := range static {
		list = append(list, rpc.Peer{ID: id.String(), Enode: st.Node.String(), Static: true, Problem: problem(st)})
	}
	slices.SortFunc(list[connected:], func(a, b rpc.Peer) int { return compare(a.ID, b.ID) })
	return list
}

func problem(st devp2p.Status) string {
	if st.LastError == "" {
		return "connecting"
	}
	return st.LastError
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
