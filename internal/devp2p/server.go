package devp2p

import (
	"context"
	"crypto/ecdsa"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	gethlog "github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Flags of p2p.Server.SetupConn. Its type is not exported; untyped constants convert to it.
const (
	flagStatic  = 1 << 1
	flagInbound = 1 << 2
)

// unlimited lifts go-ethereum's own bound on peers: admission is decided here.
const unlimited = 1 << 20

// Server holds this node's connections. Make one with Start.
type Server struct {
	cfg       Config
	key       *ecdsa.PrivateKey
	self      nodeaddr.ID
	p2p       *p2p.Server
	started   time.Time
	maxPacket atomic.Int64
	stats     counters
	record    recordCache

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup // accept loops, handshakes, keepers, watcher

	mu        sync.Mutex
	closed    bool
	gate      gate
	lastID    ConnID
	links     map[ConnID]*link
	peers     map[nodeaddr.ID]*link // admitted
	statics   map[nodeaddr.ID]*static
	trusted   map[nodeaddr.ID]bool
	eager     map[nodeaddr.ID]bool
	listeners []net.Listener
	idle      chan struct{} // closed when closed and the last link is gone
}

// Start checks the configuration, opens the listeners and begins to dial the static peers.
func Start(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.fill()
	key, err := crypto.ToECDSA(cfg.Key)
	if err != nil {
		return nil, fault.E("devp2p: start", fault.Invalid, err, "the node key is not valid")
	}
	s := &Server{
		cfg: cfg, key: key, self: nodeaddr.New(&key.PublicKey, nodeaddr.Address{}).ID(), started: time.Now(),
		gate: gate{rate: cfg.AcceptRate, burst: float64(cfg.AcceptBurst), maxPending: cfg.MaxPending,
			maxPerPrefix: cfg.MaxPendingPerPrefix, sources: make(map[string]*source)},
		links: make(map[ConnID]*link), peers: make(map[nodeaddr.ID]*link), statics: make(map[nodeaddr.ID]*static),
		trusted: make(map[nodeaddr.ID]bool), eager: make(map[nodeaddr.ID]bool), idle: make(chan struct{}),
	}
	s.maxPacket.Store(int64(cfg.MaxPacket))
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.p2p = s.newP2P()
	if err := s.listen(); err != nil {
		return nil, err
	}
	if _, err := s.advertised(); err != nil {
		s.closeListeners()
		return nil, fault.E("devp2p: start", fault.Invalid, err, "the address to advertise: "+fault.Text(err))
	}
	if err := s.p2p.Start(); err != nil {
		s.closeListeners()
		return nil, fault.E("devp2p: start", fault.Internal, err, "devp2p could not be started")
	}
	s.begin()
	return s, nil
}

// newP2P configures go-ethereum's server to neither listen, dial, discover nor log.
func (s *Server) newP2P() *p2p.Server {
	cfg := p2p.Config{
		PrivateKey: s.key, Name: s.cfg.Name, MaxPeers: unlimited, NoDial: true, NoDiscovery: true,
		Logger: gethlog.NewLogger(identityTap{}),
	}
	for _, proto := range s.cfg.Protocols {
		cfg.Protocols = append(cfg.Protocols, p2p.Protocol{
			Name: proto.Name, Version: proto.Version, Length: proto.Codes, Run: s.runner(proto),
		})
	}
	return &p2p.Server{Config: cfg}
}

func (s *Server) begin() {
	events := make(chan *p2p.PeerEvent, 64)
	sub := s.p2p.SubscribeEvents(events)
	go func() {
		defer sub.Unsubscribe()
		for {
			select {
			case ev := <-events:
				s.dropped(ev)
			case <-s.idle:
				return
			}
		}
	}()
	for _, n := range s.cfg.Trusted {
		s.trusted[n.ID()] = true
	}
	for _, l := range s.listeners {
		s.wg.Add(1)
		go s.accept(l)
	}
	for _, n := range s.cfg.Static {
		s.addStatic(n)
	}
	if s.cfg.WatchInterval > 0 {
		s.wg.Go(func() { s.watch(s.ctx) })
	}
}

// open returns the connections that exist now.
func (s *Server) open() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*link, 0, len(s.links))
	for _, l := range s.links {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *link) int { return int(int64(a.id) - int64(b.id)) })
	return all
}

// newLink registers a connection. Called with s.mu held and the server not closed.
func (s *Server) newLink(fd net.Conn, inbound bool, prefix string) *link {
	s.lastID++
	l := &link{
		id: s.lastID, srv: s, fd: fd, quiet: newQuiet(fd), inbound: inbound, prefix: prefix, opened: s.cfg.Now(),
		decided: make(chan struct{}), done: make(chan struct{}),
	}
	if a := fd.RemoteAddr(); a != nil {
		l.remote = a.String()
	}
	if ap, err := netip.ParseAddrPort(addrString(fd.LocalAddr())); err == nil {
		l.local = ap.Addr().Unmap()
	}
	l.timer = time.AfterFunc(s.cfg.HandshakeTimeout, func() { fd.Close() })
	s.links[l.id] = l
	return l
}

// admit decides on a peer whose identity is known, before its first protocol runs.
func (s *Server) admit(l *link, peer *p2p.Peer) {
	defer close(l.decided)
	node := nodeaddr.ID(peer.ID())
	s.mu.Lock()
	l.peer, l.node, l.client, l.since = peer, node, cleanName(peer.Fullname()), s.cfg.Now()
	if pub := peer.Node().Pubkey(); pub != nil {
		l.key = nodeaddr.KeyOf(pub)
	}
	for _, proto := range s.cfg.Protocols {
		if peer.RunningCap(proto.Name, []uint{proto.Version}) {
			l.protocols = append(l.protocols, proto.label())
		}
	}
	kept := s.statics[node]
	l.static.Store(kept != nil)
	l.eager.Store(s.cfg.Eager || s.eager[node])
	l.trusted.Store(s.trusted[node])
	l.refusal = s.refuse(l)
	ev := Event{Kind: PeerUp, Conn: l.id, Node: node, Inbound: l.inbound, Text: l.client}
	if l.refusal == nil {
		l.admitted = l.timer.Stop() // false: the handshake took too long, the socket is closed
		if !l.admitted {
			l.refusal = fault.E("devp2p: admit", fault.Timeout, nil, "the handshake took too long")
		}
	}
	if l.admitted {
		s.peers[node] = l
		if l.inbound {
			s.gate.leave(l.prefix)
		}
	} else {
		l.why = l.refusal
		ev.Kind, ev.Text = PeerRefused, reasonText(l.refusal)
		s.stats.refused.Add(1)
	}
	first := l.admitted && len(s.peers) == 1
	s.mu.Unlock()
	if kept != nil {
		kept.look()
	}
	if first {
		s.Kick()
	}
	s.cfg.Log.Debug(ev.Kind.String(), "conn", l.id, "node", node.Short(), "inbound", l.inbound, "client", l.client, "protocols", l.protocols)
	s.event(ev)
}

// refuse says why a peer may not stay, nil for welcome. Called with s.mu held.
func (s *Server) refuse(l *link) error {
	if s.closed {
		return errStopping
	}
	if l.static.Load() || l.trusted.Load() {
		return nil
	}
	all, near := 0, 0
	for _, other := range s.peers {
		if other.static.Load() || other.trusted.Load() || other.node == l.node {
			continue
		}
		all++
		if other.inbound && other.prefix == l.prefix {
			near++
		}
	}
	switch {
	case s.cfg.MaxPeers >= 0 && all >= s.cfg.MaxPeers:
		return errFull
	case s.cfg.MaxPerPrefix >= 0 && l.inbound && l.prefix != "" && near >= s.cfg.MaxPerPrefix:
		return errPrefixFull
	}
	return nil
}

// dropped finishes the link of a peer whose protocols have all returned.
func (s *Server) dropped(ev *p2p.PeerEvent) {
	if ev.Type != p2p.PeerEventTypeDrop {
		return
	}
	id, err := strconv.ParseUint(strings.TrimPrefix(ev.RemoteAddress, hiddenPrefix), 10, 64)
	if err != nil {
		return
	}
	s.mu.Lock()
	l := s.links[ConnID(id)]
	s.mu.Unlock()
	if l != nil {
		s.finish(l, dropText(ev.Error))
	}
}

// finish is the end of every link. text is the remote's reason; our own goes first.
func (s *Server) finish(l *link, text string) {
	now := s.cfg.Now()
	s.mu.Lock()
	if l.finished {
		s.mu.Unlock()
		return
	}
	l.finished = true
	l.timer.Stop()
	l.endText = text
	if l.why != nil {
		l.endText = reasonText(l.why)
	}
	delete(s.links, l.id)
	if l.admitted {
		l.lived = now.Sub(l.since)
		if s.peers[l.node] == l {
			delete(s.peers, l.node)
		}
	} else if l.inbound {
		s.gate.leave(l.prefix)
	}
	ev := Event{Kind: PeerDown, Conn: l.id, Node: l.node, Inbound: l.inbound, Text: l.endText}
	s.mu.Unlock()
	l.fd.Close()
	if l.admitted {
		s.cfg.Log.Debug("peer down", "conn", l.id, "node", l.node.Short(), "why", ev.Text)
		s.event(ev)
	} else if l.inbound && l.peer == nil {
		s.stats.handshakes.Add(1)
		ev.Kind = HandshakeFail
		s.event(ev)
	}
	close(l.done)
	s.mu.Lock()
	s.checkIdle()
	s.mu.Unlock()
}

// checkIdle is called with s.mu held.
func (s *Server) checkIdle() {
	if s.closed && len(s.links) == 0 {
		select {
		case <-s.idle:
		default:
			close(s.idle)
		}
	}
}

func (s *Server) event(ev Event) {
	ev.Time = s.cfg.Now()
	s.cfg.OnEvent(ev)
}

// SetMaxPacket changes the packet limit for all connections; values outside 1 to 2^24-1 are brought into that range.
func (s *Server) SetMaxPacket(bytes int) {
	s.maxPacket.Store(int64(min(max(bytes, 1), maxPacketCap)))
}

// Close stops listening and dialling, tells all peers that the node stops, and waits until every Run has returned; at most
// until ctx ends, or 10 s if it has no deadline. Connections that remain then are cut, and the error is of kind Timeout.
// Closing again does nothing.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.checkIdle()
	s.mu.Unlock()
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, closeBound)
		defer cancel()
	}
	s.cancel()
	s.closeListeners()
	for _, l := range s.open() {
		l.end(errStopping)
	}
	stopped := make(chan struct{})
	go func() {
		s.p2p.Stop()
		s.wg.Wait()
		<-s.idle
		close(stopped)
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
	}
	for _, l := range s.open() {
		l.fd.Close()
	}
	return fault.E("devp2p: close", fault.Timeout, ctx.Err(), "some protocols did not end in time; their connections were cut")
}

func addrString(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
