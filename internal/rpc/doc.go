// Package rpc is the node's command interface: JSON-RPC 2.0 over a local socket, HTTP and WebSocket. It has the
// namespaces shh, shhext (package legacy) and net as programs know them from other nodes, with their methods, results
// and error texts; inbox, the user's own client; and node, admin, members and archive for whoever runs the node, which
// are on the local socket only. docs/rpc.md describes every method, and so does NewDocument for programs.
//
// A node calls Listen, New and Server.Serve, and for HTTP and WebSocket ListenWeb, LoadOrCreateToken and
// Server.ServeWeb; a command calls Dial and the methods of Client. What the API needs of the node is declared here:
// Gossip, Admin, Health, Members, Archive and Inbox. The package decodes, asks and encodes; it holds no rules of its own
// beyond the limits below.
//
// The socket belongs to the user who runs the node (mode 0600); whoever can open it may read keys and stop the node.
// Over HTTP and WebSocket a secret in the path stands for that, and web pages are refused unless they are listed.
// Everything is bounded all the same, so that a faulty program cannot take the node down. All methods of Server and
// Client are safe for concurrent use.
package rpc

import (
	"context"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// SocketName is the name of the command socket in the data directory.
const SocketName = "restante.ipc"

// Bounds of the interface.
const (
	MaxConnections  = 64               // open at a time, on the local socket and as WebSockets each
	MaxRequest      = 32 << 20         // bytes of one request or batch; the largest message takes 20 MiB as hex
	MaxBatch        = 100              // requests in a batch
	MaxBatchAnswer  = 64 << 20         // bytes after which the rest of a batch is refused
	MaxPoWTime      = 10 * time.Minute // that one post may work
	MaxMining       = 2                // posts that work at a time, each on all cores allowed
	MaxMiningQueue  = 64               // posts that wait for their turn to work
	DefaultTTL      = 50               // seconds, where a post names none
	MaxSocketPath   = 103              // bytes: what every Unix system takes
	shutdownTimeout = 3 * time.Second  // for calls under way when the server stops
)

// Gossip is what the namespace shh needs of the node. Methods may be called
// concurrently. Errors that people may read are faults or envelope refusals;
// others are shown as internal errors.
type Gossip interface {
	// Post takes an own envelope into the pool and sends it on. It returns once
	// the envelope was accepted or refused, not when peers have it.
	Post(ctx context.Context, env *envelope.Envelope) error
	// PostDirect sends an envelope to one connected peer only, unchecked and
	// unpooled. The error is of kind NotFound if the peer is not connected.
	PostDirect(ctx context.Context, peer nodeaddr.ID, env *envelope.Envelope) error
	// Trust lets a connected peer send direct envelopes until its connection ends.
	// The error is of kind NotFound if the peer is not connected.
	Trust(ctx context.Context, peer nodeaddr.ID) error
	// Connected reports whether the peer is connected now.
	Connected(peer nodeaddr.ID) bool

	// Settings returns what the node accepts now and holds now.
	Settings() Settings
	// SetMinPoW, SetMaxMessageSize and SetBloom change what the node accepts, and
	// tell peers. They return when the change holds.
	SetMinPoW(pow float64) error
	SetMaxMessageSize(bytes int) error
	SetBloom(bloom envelope.Bloom) error

	// Now returns the time by which own envelopes are stamped.
	Now() time.Time
}

// Settings are the figures of shh_info.
type Settings struct {
	MinPoW         float64
	MaxMessageSize int   // bytes, as envelope.Size counts
	PoolEnvelopes  int   //
	PoolBytes      int64 // as envelope.Size counts
}

// Admin is what the namespace node needs of the node.
type Admin interface {
	// Status describes the node. Filters, Pool, the limits and Health are filled in
	// by this package.
	Status() Status
	// Peers lists the connected peers and the static ones that are not, in a stable
	// order.
	Peers() []Peer
	// AddPeer keeps a node connected from now on, until RemovePeer or the end of
	// the process. Adding it again is not an error.
	AddPeer(ctx context.Context, peer nodeaddr.Node) error
	// RemovePeer forgets a static peer and ends its connection. The error is of kind
	// NotFound if the node is neither static nor connected.
	RemovePeer(ctx context.Context, peer nodeaddr.ID) error
	// Reachable connects to the address that the node tells others, and lets whoever answers prove to be this node.
	Reachable(ctx context.Context) Reachability
	// Stop begins to stop the node and returns at once.
	Stop()
}

// Health lists what people should know of; *health.Registry is one.
type Health interface {
	List() []health.Condition
}
