package devp2p

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/restante-im/restante/internal/nodeaddr"
)

// Peer is one connected peer as it was when Peers was called.
type Peer struct {
	Conn      ConnID
	Node      nodeaddr.ID
	PublicKey nodeaddr.Key
	Client    string   // as the peer calls its program; not to be believed
	Protocols []string // that run, such as "name/6"
	Inbound   bool
	Static    bool
	Trusted   bool
	Eager     bool // read at once: see Server.SetEager
	Since     time.Time
	Prefix    string // source prefix, "" for exempt
	Address   string // full remote address, only if asked for
	BytesIn   uint64 // on the wire, handshake included
	BytesOut  uint64
}

// Peers returns the admitted peers in the order in which they connected. Their full addresses are filled in only if asked.
func (s *Server) Peers(withAddress bool) []Peer {
	var all []Peer
	for _, l := range s.open() {
		s.mu.Lock()
		p := Peer{
			Conn: l.id, Node: l.node, PublicKey: l.key, Client: l.client, Protocols: slices.Clone(l.protocols), Inbound: l.inbound,
			Since: l.since, Prefix: l.prefix,
		}
		admitted := l.admitted
		s.mu.Unlock()
		if !admitted {
			continue
		}
		p.Static, p.Trusted, p.Eager = l.static.Load(), l.trusted.Load(), l.eager.Load()
		p.BytesIn, p.BytesOut = l.in.Load(), l.out.Load()
		if withAddress {
			p.Address = l.remote
		}
		all = append(all, p)
	}
	return all
}

// Disconnect ends the connection with a peer; false if there is none. A static peer is dialled again.
func (s *Server) Disconnect(id nodeaddr.ID, reason error) bool {
	s.mu.Lock()
	l := s.peers[id]
	s.mu.Unlock()
	if l == nil {
		return false
	}
	l.end(reason)
	return true
}

// maxEager bounds the nodes that are read at once when they connect.
const maxEager = 512

// SetEager says whether packets of a node are read one by one as they come, or a few milliseconds' worth at a time when
// there are many, which saves work. Somebody who waits for a node's answers wants the former. It counts for the node's
// connection and for later ones; beyond 512 nodes, for its connection only. Under Config.Eager it has no effect.
func (s *Server) SetEager(id nodeaddr.ID, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !on {
		delete(s.eager, id)
	} else if len(s.eager) < maxEager {
		s.eager[id] = true
	}
	if l := s.peers[id]; l != nil {
		l.eager.Store(on || s.cfg.Eager)
	}
}

// Stats counts what happened since Start.
type Stats struct {
	Accepted          uint64 // inbound connections that began a handshake
	TurnedAway        uint64 // inbound connections closed unheard: too fast, too many handshakes
	HandshakeFailures uint64 // inbound handshakes that failed
	Refused           uint64 // peers refused for a limit
	Dials, DialFails  uint64
	Oversize          uint64 // packets above the limit
	Panics            uint64
	BytesIn, BytesOut uint64 // on the wire
	Peers, Pending    int    // admitted peers and open inbound handshakes now
}

type counters struct {
	accepted, turned, handshakes, refused, dials, dialFails, oversize, panics, bytesIn, bytesOut atomic.Uint64
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	peers, pending := len(s.peers), s.gate.pending
	s.mu.Unlock()
	c := &s.stats
	return Stats{
		Accepted: c.accepted.Load(), TurnedAway: c.turned.Load(), HandshakeFailures: c.handshakes.Load(), Refused: c.refused.Load(),
		Dials: c.dials.Load(), DialFails: c.dialFails.Load(), Oversize: c.oversize.Load(), Panics: c.panics.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), Peers: peers, Pending: pending,
	}
}

// Self describes this node to others.
type Self struct {
	Node   nodeaddr.Node // Node.String is the enode URL; Node.Record the ENR. Without listener it has no address.
	Source string        // where the address comes from, for people
	Listen []netip.AddrPort
}

// recordCache keeps the signed record until the address changes; a record's sequence number grows with each change.
type recordCache struct {
	sync.Mutex
	addr nodeaddr.Address
	seq  uint64
	node nodeaddr.Node
}

// Self returns the node's own key and advertised address: the configured one, else the best guess from listeners and
// interfaces at this moment.
func (s *Server) Self() Self {
	g, _ := s.advertised() // checked at Start
	return Self{Node: s.signed(g.addr), Source: g.source, Listen: s.Addrs()}
}

func (s *Server) signed(addr nodeaddr.Address) nodeaddr.Node {
	r := &s.record
	r.Lock()
	defer r.Unlock()
	if r.node.IsZero() || r.addr != addr {
		r.seq = max(r.seq+1, uint64(s.cfg.Now().UnixMilli()))
		n, err := nodeaddr.SignRecord(s.key, addr, r.seq)
		if err != nil {
			n = nodeaddr.New(&s.key.PublicKey, addr)
		}
		r.addr, r.node = addr, n
	}
	return r.node
}

type guess struct {
	addr   nodeaddr.Address
	source string
}

func (s *Server) advertised() (guess, error) {
	listening := s.Addrs()
	if s.cfg.Advertise != "" {
		port := uint16(0)
		if len(listening) > 0 {
			port = listening[0].Port()
		}
		addr, err := nodeaddr.ParseAddress(s.cfg.Advertise, port)
		return guess{addr, "configured"}, err
	}
	if len(listening) == 0 {
		return guess{source: "none: this node does not listen"}, nil
	}
	addrs, _ := s.cfg.Interfaces() // none: the listeners must do
	best, from := bestAddr(listening, addrs)
	return guess{nodeaddr.Address{Host: best.Addr().String(), Port: best.Port()}, from}, nil
}

// bestAddr picks the address under which others most probably reach one of the listeners: public before private before
// link-local before loopback, IPv4 before IPv6.
func bestAddr(listening []netip.AddrPort, interfaces []netip.Addr) (netip.AddrPort, string) {
	best, from, score := netip.AddrPort{}, "", -1
	try := func(addr netip.Addr, port uint16, source string) {
		if sc := reach(addr); sc > score {
			best, from, score = netip.AddrPortFrom(addr, port), source, sc
		}
	}
	for _, ap := range listening {
		if !ap.Addr().IsUnspecified() {
			try(ap.Addr(), ap.Port(), "the listener's address")
			continue
		}
		for _, addr := range interfaces {
			if addr.Is4() || ap.Addr().Is6() {
				try(addr.WithZone(""), ap.Port(), "guessed from the network interfaces")
			}
		}
		try(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ap.Port(), "no network interface found")
	}
	return best, from
}

func reach(addr netip.Addr) int {
	var score int
	switch {
	case addr.IsLoopback():
		score = 0
	case addr.IsLinkLocalUnicast():
		score = 2
	case addr.IsPrivate():
		score = 4
	default:
		score = 6
	}
	if addr.Is4() {
		score++
	}
	return score
}
