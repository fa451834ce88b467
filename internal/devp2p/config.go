package devp2p

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Defaults of Config, taken where a field is zero.
const (
	DefaultMaxPeers            = 50
	DefaultMaxPerPrefix        = 8
	DefaultMaxPending          = 64
	DefaultMaxPendingPerPrefix = 8
	DefaultAcceptRate          = 1.0 // visits a second and prefix, in the long run
	DefaultAcceptBurst         = 20  // visits of one prefix that may come together
	DefaultMaxPacket           = 2 << 20
	DefaultHandshakeTimeout    = 8 * time.Second
	DefaultDialTimeout         = 15 * time.Second
	DefaultWatchInterval       = 500 * time.Millisecond
)

const (
	maxStatic    = 512              // static peers, configured and added
	maxTrusted   = 4096             // trusted node ids
	maxPacketCap = 1<<24 - 1        // what RLPx can carry
	closeBound   = 10 * time.Second // how long Close waits without a deadline of its own
)

// DialFunc opens a connection, as net.Dialer.DialContext does. The address may hold a host name.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Protocol is one protocol that runs on connections whose other side offers it too. If both offer several versions of one
// name, only the highest common one runs.
type Protocol struct {
	Name    string
	Version uint
	Codes   uint64 // number of packet codes; codes run from 0
	// Run speaks the protocol. It is called after both sides agreed on it and must return when ReadPacket or WritePacket
	// fail. What it returns ends the connection; see Conn.Close for how errors are told to the peer.
	Run func(*Conn) error
}

// Config says how to run a Server. Key and Protocols are needed; the zero value of the rest has a meaning of its own.
type Config struct {
	Key  []byte // the node's private key, 32 bytes
	Name string // client name told to peers, "" for "restante"

	// ListenAddrs are the TCP addresses to listen on, host:port; port 0 lets the system choose; ":30303" is IPv4 and IPv6.
	// No entry, or only empty ones: nobody can connect to this node.
	ListenAddrs []string
	// Advertise is host[:port] as others reach this node; "" for a guess from listeners and interfaces.
	Advertise string

	Static  []nodeaddr.Node // kept connected
	Trusted []nodeaddr.Node // exempt from limits on peers; an address is not needed

	// Limits: 0 takes the default, a negative number lifts the limit.
	MaxPeers            int // peers that are neither static nor trusted
	MaxPerPrefix        int // of these, inbound ones from one source prefix (nodeaddr.Prefix)
	MaxPending          int // inbound connections whose handshake is not complete
	MaxPendingPerPrefix int
	AcceptRate          float64
	AcceptBurst         int
	LimitLoopback       bool // apply the limits by prefix to loopback too

	MaxPacket        int // largest payload that ReadPacket hands out, after decompression; at most 2^24-1
	HandshakeTimeout time.Duration
	DialTimeout      time.Duration
	WatchInterval    time.Duration // how often the network is looked at; negative: never
	Eager            bool          // read every packet of every peer at once; see Server.SetEager

	Protocols []Protocol

	DialContext DialFunc // nil: direct TCP; see SOCKS5
	Listen      func(network, address string) (net.Listener, error)
	Interfaces  func() ([]netip.Addr, error) // addresses of this machine
	Now         func() time.Time
	Rand        func() float64 // uniform in [0,1), for jitter; safe for concurrent use

	Log *slog.Logger
	// OnEvent is told what happens, in order per connection. It must return soon, may call the Server, except Close, and
	// may be called from several goroutines.
	OnEvent func(Event)
}

func (c *Config) check() error {
	const op = "devp2p: start"
	if _, err := crypto.ToECDSA(c.Key); err != nil {
		return fault.E(op, fault.Invalid, err, "the node key is not a secp256k1 private key of 32 bytes")
	}
	if len(c.Protocols) == 0 {
		return fault.E(op, fault.Invalid, nil, "no protocol to run")
	}
	seen := make(map[string]bool)
	for _, p := range c.Protocols {
		if p.Name == "" || p.Codes == 0 || p.Run == nil || seen[p.label()] {
			return fault.Errorf(op, fault.Invalid, "protocol %q is incomplete or given twice", p.label())
		}
		seen[p.label()] = true
	}
	if c.MaxPacket < 0 || c.MaxPacket > maxPacketCap {
		return fault.Errorf(op, fault.Invalid, "the packet limit of %d bytes is not between 0 and %d", c.MaxPacket, maxPacketCap)
	}
	if len(c.Static) > maxStatic || len(c.Trusted) > maxTrusted {
		return fault.Errorf(op, fault.Limit, "more than %d static or %d trusted peers", maxStatic, maxTrusted)
	}
	return nil
}

func orDefault[T int | float64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func (c *Config) fill() {
	if c.Name == "" {
		c.Name = "restante"
	}
	orDefault(&c.MaxPeers, DefaultMaxPeers)
	orDefault(&c.MaxPerPrefix, DefaultMaxPerPrefix)
	orDefault(&c.MaxPending, DefaultMaxPending)
	orDefault(&c.MaxPendingPerPrefix, DefaultMaxPendingPerPrefix)
	orDefault(&c.AcceptRate, DefaultAcceptRate)
	orDefault(&c.AcceptBurst, DefaultAcceptBurst)
	orDefault(&c.MaxPacket, DefaultMaxPacket)
	orDefault(&c.HandshakeTimeout, DefaultHandshakeTimeout)
	orDefault(&c.DialTimeout, DefaultDialTimeout)
	orDefault(&c.WatchInterval, DefaultWatchInterval)
	if c.DialContext == nil {
		c.DialContext = new(net.Dialer).DialContext
	}
	if c.Listen == nil {
		c.Listen = net.Listen
	}
	if c.Interfaces == nil {
		c.Interfaces = interfaceAddrs
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
}

// EventKind says what an Event reports.
type EventKind uint8

// The kinds of events.
const (
	PeerUp         EventKind = iota // a connection was admitted; its protocols start
	PeerDown                        // an admitted connection ended; Text says why
	PeerRefused                     // a connection with an identity was not admitted; Text says why
	HandshakeFail                   // an inbound connection did not get as far as an identity and a common protocol
	DialFail                        // a static peer could not be reached
	Panicked                        // a protocol panicked; its connection ends
	NetworkChanged                  // the network is back, or addresses changed
	AcceptFail                      // a listener could not accept for the moment
)

var eventNames = [...]string{"peer up", "peer down", "peer refused", "handshake failed", "dial failed", "panic", "network changed", "accept failed"}

// String names the kind.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "unknown event"
}

// Event is something that happened. Conn and Node are zero where they do not apply. Text is for people and holds no address.
type Event struct {
	Kind    EventKind
	Time    time.Time
	Conn    ConnID
	Node    nodeaddr.ID
	Inbound bool
	Text    string
}
