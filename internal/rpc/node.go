package rpc

import (
	"context"
	"fmt"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// nodeAPI is the namespace node, which the command line uses.
type nodeAPI struct {
	admin   Admin
	gossip  Gossip
	filters *filter.Set
	health  Health
}

// Status describes the node as it is now.
func (a *nodeAPI) Status() Status {
	st := a.admin.Status()
	set, f := a.gossip.Settings(), a.filters.Stats()
	st.MinPoW, st.MaxMessageSize = set.MinPoW, set.MaxMessageSize
	st.Pool = Pool{Envelopes: set.PoolEnvelopes, Bytes: set.PoolBytes}
	st.Filters = Filters{
		Filters: f.Filters, Subscriptions: f.Subscriptions, Waiting: f.Waiting, WaitingBytes: f.WaitingBytes,
		Delivered: f.Delivered, Dropped: f.Dropped, Expired: f.Expired,
	}
	st.Health = conditions(a.health.List())
	return st
}

// Peers lists connected and static peers.
func (a *nodeAPI) Peers() []Peer {
	if list := a.admin.Peers(); list != nil {
		return list
	}
	return []Peer{}
}

// AddPeer keeps a node connected until the process ends.
func (a *nodeAPI) AddPeer(ctx context.Context, enode string) (bool, error) {
	n, err := nodeaddr.Parse(enode)
	if err == nil {
		err = a.admin.AddPeer(ctx, n)
	}
	return err == nil, public(err)
}

// RemovePeer forgets a static peer and disconnects it.
func (a *nodeAPI) RemovePeer(ctx context.Context, enode string) (bool, error) {
	n, err := nodeaddr.ParseIdentity(enode)
	if err != nil {
		return false, public(err)
	}
	if err := a.admin.RemovePeer(ctx, n.ID()); err != nil {
		if fault.Is(err, fault.NotFound) {
			return false, fmt.Errorf("there is no peer %s", n.ID())
		}
		return false, public(err)
	}
	return true, nil
}

// Health lists the present conditions, the worst first.
func (a *nodeAPI) Health() []Condition { return conditions(a.health.List()) }

// Reachable connects to the node's own address, as others would.
func (a *nodeAPI) Reachable(ctx context.Context) Reachability { return a.admin.Reachable(ctx) }

// Stop stops the node.
func (a *nodeAPI) Stop() bool {
	a.admin.Stop()
	return true
}
