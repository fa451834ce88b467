package rpc

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// networkID is what programs expect of the network that the node's dialects come from.
const networkID = "1"

// netAPI is the namespace net, as programs for Ethereum nodes know it.
type netAPI struct{ admin Admin }

// Version returns the network's id. Nodes for messages do not tell networks apart.
func (a *netAPI) Version() string { return networkID }

// Listening reports whether the node takes connections.
func (a *netAPI) Listening() bool { return a.admin.Status().Listen != "" }

// PeerCount returns how many peers are connected.
func (a *netAPI) PeerCount() hexutil.Uint { return hexutil.Uint(a.admin.Status().PeersConnected) }

// adminAPI is the namespace admin, as far as clients of Ethereum nodes need it to look at a node's connections.
type adminAPI struct {
	admin Admin
	node  *nodeAPI
}

// NodeInfo is the result of admin_nodeInfo.
type NodeInfo struct {
	ID         string         `json:"id"`
	Name       string         `json:"name"`
	Enode      string         `json:"enode"`
	ENR        string         `json:"enr"`
	IP         string         `json:"ip"` // that the enode URL names; empty if it has none
	Ports      NodePorts      `json:"ports"`
	ListenAddr string         `json:"listenAddr"` // empty: takes no connections
	Protocols  map[string]any `json:"protocols"`  // by name; values are empty objects
}

// NodePorts are a node's ports.
type NodePorts struct {
	Discovery int `json:"discovery"` // 0: there is none
	Listener  int `json:"listener"`
}

// PeerInfo is an element of admin_peers' result.
type PeerInfo struct {
	Enode     string         `json:"enode"` // empty if it is not known
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Caps      []string       `json:"caps"`
	Network   PeerNetwork    `json:"network"`
	Protocols map[string]any `json:"protocols"` // by name; values are empty objects
}

// PeerNetwork says how a peer is connected.
type PeerNetwork struct {
	LocalAddress  string `json:"localAddress"` // always empty
	RemoteAddress string `json:"remoteAddress"`
	Inbound       bool   `json:"inbound"`
	Trusted       bool   `json:"trusted"`
	Static        bool   `json:"static"`
}

// NodeInfo describes the node.
func (a *adminAPI) NodeInfo() NodeInfo {
	st := a.admin.Status()
	out := NodeInfo{
		ID: st.ID, Name: "restante/" + st.Version, Enode: st.Enode, ENR: st.Record, ListenAddr: st.Listen,
		Protocols: protocols(st.Dialects),
	}
	if host, port, err := net.SplitHostPort(enodeAddress(st.Enode)); err == nil {
		if ip, err := netip.ParseAddr(host); err == nil {
			out.IP = ip.String()
		}
		out.Ports.Listener, _ = strconv.Atoi(port)
	}
	return out
}

// Peers lists the connected peers.
func (a *adminAPI) Peers() []PeerInfo {
	list := []PeerInfo{}
	for _, p := range a.admin.Peers() {
		if p.Connected {
			list = append(list, PeerInfo{
				Enode: p.Enode, ID: p.ID, Name: p.Name, Caps: append([]string{}, p.Dialects...), Protocols: protocols(p.Dialects),
				Network: PeerNetwork{RemoteAddress: p.Address, Inbound: p.Inbound, Trusted: p.Trusted, Static: p.Static},
			})
		}
	}
	return list
}

// AddPeer keeps a node connected until the process ends.
func (a *adminAPI) AddPeer(ctx context.Context, enode string) (bool, error) {
	return a.node.AddPeer(ctx, enode)
}

// RemovePeer forgets a static peer and disconnects it.
func (a *adminAPI) RemovePeer(ctx context.Context, enode string) (bool, error) {
	return a.node.RemovePeer(ctx, enode)
}

func protocols(dialects []string) map[string]any {
	out := map[string]any{}
	for _, d := range dialects {
		name, _, _ := strings.Cut(d, "/")
		out[name] = struct{}{}
	}
	return out
}

// enodeAddress is what stands between the @ and the query of an enode URL.
func enodeAddress(url string) string {
	_, address, _ := strings.Cut(url, "@")
	address, _, _ = strings.Cut(address, "?")
	return address
}
