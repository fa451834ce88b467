// Package node assembles the program: it is the map of it. Run makes each part, joins them, and takes them down again in
// the opposite order. What the parts do is theirs; here stands only who is connected to whom.
//
//	peers ── devp2p ── relay(session, wire, gossip) ── filter ── rpc ── programs
//	            │              │       │                          │
//	            │              │       └─────── live mail ─── inbox(catchup, outbox, directory) ── store
//	            │              │                                  │
//	            └─ mailnet ── mailserver ── archive/segment       │
//	                  └───────────── asks other mail servers ─────┘
//
// Fetch runs the smallest node that can ask a mail server.
// Run may be called several times in one process, with different data directories.
package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/mailnet"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/ops"
	"github.com/restante-im/restante/internal/relay"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/wire"
)

// Options say what node to run.
type Options struct {
	Version string // of the program, told to peers and people
	DataDir string // made if it is missing; one running node each
	KeyFile string // made if it is missing
	Socket  string // where programs reach the node
	Flags   string // what commands that ask this node need on their line, with a space before it; "" for nothing

	Network devp2p.Config // Listen, Advertise, Static, Trusted and the limits; the rest is filled in here
	Gossip  gossip.Config // seeds are filled in here

	Dialects  []*wire.Dialect
	OpsListen string // "" for off

	Mail         *MailOptions // nil when the node is no mail server
	MailSettings MailSettings

	Inbox         *InboxOptions // nil when the node keeps no inbox
	InboxSettings inbox.Settings
	RPC           *RPCOptions // HTTP and WebSocket; nil for the local socket only

	Out    io.Writer // what the operator is told at the start
	Log    *slog.Logger
	Reload <-chan Settings // may be nil
}

// RPCOptions say where programs reach the node besides the local socket.
type RPCOptions struct {
	Listen    string   // address and port
	Origins   []string // of web pages that may connect
	TokenFile string   // made if it is missing
}

// Settings are what a running node takes over without a restart.
type Settings struct {
	MinPoW  float64
	MaxSize int // bytes
	Tune    gossip.Tune
	Mail    MailSettings
	Inbox   inbox.Settings
	Static  []nodeaddr.Node
	Trusted []nodeaddr.Node
}

// Node is a running node.
type Node struct {
	opt     Options
	started time.Time
	health  *health.Registry
	relay   *relay.Relay
	filters *filter.Set
	mail    *mail // nil when the node is no mail server
	inbox   *box  // nil when the node keeps no inbox
	mailNet *mailnet.Net
	network *devp2p.Server
	stop    context.CancelFunc
	pool    gossip.Tune // limits now; housekeeping's

	mu      sync.Mutex
	static  map[nodeaddr.ID]bool // from the configuration
	trusted map[nodeaddr.ID]bool
}

// stopTimeout bounds a graceful stop.
const stopTimeout = 8 * time.Second

// Run runs a node until ctx is done or it fails, and returns after everything has stopped. The error is of kind Exists
// if another node uses the data directory.
func Run(ctx context.Context, opt Options) error {
	if err := os.MkdirAll(opt.DataDir, 0o700); err != nil {
		return fault.E("start", fault.Unavailable, err, fmt.Sprintf("the data directory %s cannot be made: check its parent's permissions, or choose another with --data-dir", opt.DataDir))
	}
	unlock, err := lock(filepath.Join(opt.DataDir, "lock"), opt.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	n := &Node{opt: opt, started: time.Now(), stop: stop, health: health.NewRegistry(time.Now)}
	n.pool = gossip.Tune{PoolCount: opt.Gossip.PoolCount, PoolBytes: opt.Gossip.PoolBytes}
	key, created, err := keyring.LoadOrCreateNodeKey(opt.KeyFile, rand.Reader)
	if err != nil {
		return err
	}
	if created {
		opt.Log.Info("a new node key was made; keep a copy: restante key export", "file", opt.KeyFile)
	}

	n.opt.Gossip.Seed, n.opt.Gossip.NoiseSeed = randomSeed(), noiseSeed(key.Bytes())
	if opt.Mail != nil {
		if err := n.openMail(); err != nil {
			return err
		}
		defer n.closeMail()
	}
	n.mailNet = n.newMailNet(key)
	if opt.Inbox != nil {
		if err := n.openInbox(ctx); err != nil {
			return err
		}
		defer n.closeInbox() // after the relay
	}
	n.startRelay()
	defer n.relay.Close()

	socket, err := rpc.Listen(opt.Socket)
	if err != nil {
		return err
	}
	defer socket.Close()
	server, err := rpc.New(rpc.Options{
		Gossip: shell{n}, Admin: shell{n}, Health: n.health, Keys: keyring.New(rand.Reader), Filters: n.filters,
		Members: n.memberDesk(), Archive: n.archiveDesk(), Inbox: n.inboxDesk(), Requests: n.newRequests(n.knownServers),
	})
	if err != nil {
		return err
	}
	if err := n.listen(key.Bytes()); err != nil {
		return err
	}
	defer n.closeNetwork()
	return n.serve(ctx, server, socket)
}

// startRelay makes the relay and joins it to who wants envelopes.
func (n *Node) startRelay() {
	interest := &interest{}
	n.filters = filter.New(filter.Options{Interest: interest})
	cfg := relay.Config{
		Gossip: n.opt.Gossip, Dialects: n.opt.Dialects, Sinks: []relay.Sink{n.filters}, Keeper: n.keeper(), Mail: n.mailNet,
		Now: time.Now, Log: n.opt.Log, Health: n.health,
	}
	if n.inbox != nil {
		cfg.Sinks, cfg.Progress = append(cfg.Sinks, n.inbox), n.inbox.Accepted
	}
	n.relay = relay.New(cfg)
	interest.relay = n.relay
}

// listen opens the network: each dialect is a protocol whose connections the relay serves.
func (n *Node) listen(key []byte) error {
	cfg := n.opt.Network
	cfg.Key, cfg.Name = key, "restante/"+n.opt.Version
	cfg.MaxPacket = relay.MaxPacket
	cfg.Now, cfg.Log, cfg.OnEvent = time.Now, n.opt.Log, n.networkEvent
	cfg.Protocols = gossipProtocols(n.opt.Dialects, n.relay)
	if n.mail != nil || n.inbox != nil {
		cfg.Protocols = append(cfg.Protocols, mailProtocol(n.mailNet))
	}
	var err error
	n.network, err = devp2p.Start(cfg)
	if err != nil {
		return err
	}
	n.static, n.trusted = idsOf(cfg.Static), idsOf(cfg.Trusted)
	return nil
}

func peerOf(c *devp2p.Conn) session.Peer {
	return session.Peer{
		Conn: uint64(c.ID()), ID: c.Node(), Source: c.Prefix(), Client: c.Client(), Inbound: c.Inbound(), Trusted: c.Trusted(),
		Mail1: c.Runs(mail1.Label),
	}
}

// serve answers programs and operators until the node is stopped or a part fails.
func (n *Node) serve(ctx context.Context, server *rpc.Server, socket net.Listener) error {
	parts := newParts(ctx)
	parts.run("the command socket", func(ctx context.Context) error { return server.Serve(ctx, socket) })
	if n.opt.OpsListen != "" {
		handler, err := ops.Handler(n.metrics(), n.health)
		if err != nil {
			return err
		}
		l, err := ops.Listen(n.opt.OpsListen, true)
		if err != nil {
			parts.stop()
			return errors.Join(err, parts.wait())
		}
		n.opt.Log.Info("metrics and health are served", "url", "http://"+l.Addr().String())
		if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
			n.opt.Log.Warn("metrics ask for no password and are open to the network: a loopback address in ops.listen closes them")
		}
		parts.run("metrics", func(ctx context.Context) error { return ops.Serve(ctx, l, handler) })
	}
	if n.opt.RPC != nil {
		if err := n.serveWeb(parts, server); err != nil {
			parts.stop()
			return errors.Join(err, parts.wait())
		}
	}
	if n.mail != nil {
		parts.run("the archive's housekeeping", n.keepMailHouse)
	}
	if n.inbox != nil {
		parts.run("the inbox", n.runInbox)
	}
	parts.run("housekeeping", func(ctx context.Context) error { n.housekeep(ctx); return nil })
	n.welcome()
	return parts.wait()
}

// parts are the goroutines that serve until one fails or ctx is done.
type parts struct {
	ctx   context.Context
	stop  context.CancelFunc
	group sync.WaitGroup
	mu    sync.Mutex
	err   error
}

func newParts(ctx context.Context) *parts {
	p := &parts{}
	p.ctx, p.stop = context.WithCancel(ctx)
	return p
}

func (p *parts) run(what string, f func(context.Context) error) {
	p.group.Go(func() {
		defer p.stop()
		if err := f(p.ctx); err != nil {
			p.mu.Lock()
			p.err = errors.Join(p.err, fmt.Errorf("%s: %w", what, err))
			p.mu.Unlock()
		}
	})
}

func (p *parts) wait() error {
	<-p.ctx.Done()
	p.group.Wait()
	p.stop()
	return p.err
}

func (n *Node) closeNetwork() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := n.network.Close(ctx); err != nil {
		n.opt.Log.Warn("connections were cut", "err", err)
	}
}

// housekeepEvery is how often idle filters are looked for and the health is judged.
const housekeepEvery = 15 * time.Second

func (n *Node) housekeep(ctx context.Context) {
	tick := time.NewTicker(housekeepEvery)
	defer tick.Stop()
	for {
		n.judge()
		if n.inbox != nil {
			n.inbox.saveRelayed(n)
		}
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			n.filters.Expire(now)
		case s := <-n.opt.Reload:
			n.apply(s)
		}
	}
}

func randomSeed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// noiseSeed is stable for an installation, and says nothing of its key.
func noiseSeed(key []byte) uint64 {
	h := envelope.Keccak256(append([]byte("restante bloom noise\x00"), key...))
	return binary.LittleEndian.Uint64(h[:8])
}

// interest passes the filters' topics to the relay, which is made after them.
type interest struct{ relay *relay.Relay }

func (i *interest) Want(owner string, topics []envelope.Topic) { i.relay.Want(owner, topics) }
func (i *interest) Unwant(owner string)                        { i.relay.Unwant(owner) }
