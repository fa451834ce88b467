package devp2p

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// redialAfter is how long a dial may run before Kick replaces it: it began on a network that was not there.
const redialAfter = 2 * time.Second

// State is what is being done about a static peer.
type State uint8

// The states.
const (
	Waiting   State = iota // until Status.NextTry
	Dialling               // TCP or handshake
	Connected              // by us or by the peer
	Ourselves              // the address is this node's own: never dialled
)

var stateNames = [...]string{"waiting", "dialling", "connected", "this node itself"}

// String names the state.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Status is how things stand with one static peer.
type Status struct {
	Node      nodeaddr.Node
	State     State
	Since     time.Time // when State began
	NextTry   time.Time // while Waiting
	Attempts  int       // failures since the last connection that lasted
	LastError string    // why the last attempt failed or the last connection ended; for people, without addresses
}

// static keeps one peer connected. All but look's channel is guarded by Server.mu.
type static struct {
	again   chan struct{} // look again: something changed
	quit    chan struct{}
	status  Status
	backoff backoff
	dialled time.Time          // when the running attempt began
	cancel  context.CancelFunc // of the running attempt
	kicked  bool               // the running attempt was given up for a new one
}

func (p *static) look() {
	select {
	case p.again <- struct{}{}:
	default:
	}
}

// AddPeer keeps a node connected from now on. A node that is static already gets the new address. Its own address gives an
// error of kind Invalid, more than 512 static peers one of kind Limit.
func (s *Server) AddPeer(n nodeaddr.Node) error {
	const op = "devp2p: add peer"
	switch {
	case n.IsZero() || n.Address().IsZero():
		return fault.E(op, fault.Invalid, nil, "the peer has no address to dial")
	case n.ID() == s.self:
		return fault.E(op, fault.Invalid, nil, "this is the node's own address")
	}
	s.mu.Lock()
	old, room, closed := s.statics[n.ID()], len(s.statics) < maxStatic, s.closed
	if old != nil {
		old.status.Node = n
	}
	s.mu.Unlock()
	switch {
	case closed:
		return errStopping
	case old != nil:
		s.kick(old)
		return nil
	case !room:
		return fault.Errorf(op, fault.Limit, "there are %d static peers already", maxStatic)
	}
	s.addStatic(n)
	return nil
}

func (s *Server) addStatic(n nodeaddr.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.statics[n.ID()] != nil {
		return
	}
	now := s.cfg.Now()
	p := &static{again: make(chan struct{}, 1), quit: make(chan struct{}), status: Status{Node: n, Since: now, NextTry: now}}
	s.statics[n.ID()] = p
	if n.ID() == s.self {
		p.status.State, p.status.LastError = Ourselves, "this is the node's own address"
		return
	}
	if l := s.peers[n.ID()]; l != nil {
		l.static.Store(true)
	}
	s.wg.Add(1)
	go s.keep(p, n.ID())
}

// RemovePeer stops keeping a node connected and ends its connection. A node that is not static gives NotFound.
func (s *Server) RemovePeer(id nodeaddr.ID) error {
	s.mu.Lock()
	p, l := s.statics[id], s.peers[id]
	if p == nil {
		s.mu.Unlock()
		return fault.E("devp2p: remove peer", fault.NotFound, nil, "this node is not a static peer")
	}
	delete(s.statics, id)
	close(p.quit)
	if p.cancel != nil {
		p.cancel()
	}
	if l != nil {
		l.static.Store(false)
	}
	s.mu.Unlock()
	if l != nil {
		l.end(errRemoved)
	}
	return nil
}

// AddTrusted exempts a node from the limits on peers, now and when it connects.
func (s *Server) AddTrusted(id nodeaddr.ID) error { return s.trust(id, true) }

// RemoveTrusted ends the exemption. A connection that exists stays.
func (s *Server) RemoveTrusted(id nodeaddr.ID) error { return s.trust(id, false) }

func (s *Server) trust(id nodeaddr.ID, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !on && !s.trusted[id]:
		return fault.E("devp2p: trust", fault.NotFound, nil, "this node is not trusted")
	case !on:
		delete(s.trusted, id)
	case !s.trusted[id] && len(s.trusted) >= maxTrusted:
		return fault.Errorf("devp2p: trust", fault.Limit, "there are %d trusted nodes already", maxTrusted)
	default:
		s.trusted[id] = true
	}
	if l := s.peers[id]; l != nil {
		l.trusted.Store(on)
	}
	return nil
}

// Kick says that the network is back, or that somebody waits: all back-offs start afresh and every static peer without a
// connection is dialled now. The server does so by itself when the network changes, and when a first peer connects while
// there was none.
func (s *Server) Kick() {
	s.mu.Lock()
	all := make([]*static, 0, len(s.statics))
	for _, p := range s.statics {
		all = append(all, p)
	}
	s.mu.Unlock()
	for _, p := range all {
		s.kick(p)
	}
}

func (s *Server) kick(p *static) {
	s.mu.Lock()
	now := s.cfg.Now()
	p.backoff = backoff{}
	p.status.NextTry = now
	if p.cancel != nil && now.Sub(p.dialled) > redialAfter {
		p.kicked = true
		p.cancel()
	}
	s.mu.Unlock()
	p.look()
}

// Static returns the static peers, in the order of their ids.
func (s *Server) Static() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, 0, len(s.statics))
	for _, p := range s.statics {
		st := p.status
		st.Attempts = p.backoff.attempts
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b Status) int {
		x, y := a.Node.ID(), b.Node.ID()
		return cmp.Or(cmp.Compare(string(x[:]), string(y[:])))
	})
	return all
}

// keep is the life of a static peer: wait, dial, watch the connection, again.
func (s *Server) keep(p *static, id nodeaddr.ID) {
	defer s.wg.Done()
	for s.alive(p) {
		l := s.connection(p, id)
		if l == nil {
			if s.await(p, id) {
				s.dial(p)
			}
			continue
		}
		select {
		case <-l.done:
			s.lost(p, l)
		case <-p.quit:
		case <-s.ctx.Done():
		}
	}
}

func (s *Server) alive(p *static) bool {
	select {
	case <-p.quit:
		return false
	case <-s.ctx.Done():
		return false
	default:
		return true
	}
}

// connection returns the peer's connection and notes that it is there.
func (s *Server) connection(p *static, id nodeaddr.ID) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.peers[id]
	if l != nil && p.status.State != Connected {
		p.status.State, p.status.Since, p.status.NextTry = Connected, l.since, time.Time{}
	}
	return l
}

// await returns true when it is time to dial, and false when something else is to be looked at.
func (s *Server) await(p *static, id nodeaddr.ID) bool {
	for {
		s.mu.Lock()
		wait := p.status.NextTry.Sub(s.cfg.Now())
		there := s.peers[id] != nil
		s.mu.Unlock()
		if there {
			return false
		}
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-p.again:
		case <-p.quit:
			timer.Stop()
			return false
		case <-s.ctx.Done():
			timer.Stop()
			return false
		}
		timer.Stop()
	}
}

// dial makes one attempt and returns when it failed or when the peer is admitted.
func (s *Server) dial(p *static) {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.DialTimeout)
	defer cancel()
	s.mu.Lock()
	n := p.status.Node
	p.dialled, p.cancel = s.cfg.Now(), cancel
	p.status.State, p.status.Since, p.status.NextTry = Dialling, p.dialled, time.Time{}
	s.mu.Unlock()
	s.stats.dials.Add(1)
	text, why := s.attempt(ctx, n)
	s.mu.Lock()
	p.cancel = nil
	s.mu.Unlock()
	if text != "" {
		s.failed(p, text, why)
	}
}

// attempt dials and shakes hands; "" means that the peer is admitted.
func (s *Server) attempt(ctx context.Context, n nodeaddr.Node) (text string, why trouble) {
	fd, err := s.cfg.DialContext(ctx, "tcp", n.Address().String())
	if err != nil {
		return dialText(err), troubleOf(err)
	}
	s.mu.Lock()
	if s.closed || s.statics[n.ID()] == nil {
		s.mu.Unlock()
		fd.Close()
		return "the attempt was given up", unkept
	}
	l := s.newLink(fd, false, s.dialPrefix(n, fd))
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { fd.Close() })
	err = s.setup(l, &n)
	stop()
	if err != nil {
		text, why = handshakeText(err), unkept
		if errors.Is(err, p2p.DiscAlreadyConnected) {
			why = noAnswer // it gives the old connection up now, and takes the next
		}
		s.finish(l, text)
		return text, why
	}
	select {
	case <-l.decided:
	case <-l.done:
	}
	if !l.admitted {
		<-l.done
		return l.endText, unkept
	}
	return "", 0
}

// dialPrefix names the source of a peer that was dialled: its own network even where a proxy stands between.
func (s *Server) dialPrefix(n nodeaddr.Node, fd net.Conn) string {
	if ip, ok := n.Address().IP(); ok {
		return nodeaddr.Prefix(ip)
	}
	if p := s.prefix(fd.RemoteAddr()); p != "" {
		return p
	}
	return n.Address().Host
}

func (s *Server) failed(p *static, text string, why trouble) {
	s.stats.dialFails.Add(1)
	s.mu.Lock()
	now := s.cfg.Now()
	wait := time.Duration(0)
	if !p.kicked {
		wait = p.backoff.next(now, why, s.cfg.Rand())
	}
	p.kicked = false
	p.status.State, p.status.Since, p.status.NextTry, p.status.LastError = Waiting, now, now.Add(wait), text
	id, attempts := p.status.Node.ID(), p.backoff.attempts
	s.mu.Unlock()
	s.cfg.Log.Debug("a static peer could not be reached", "node", id.Short(), "why", text, "attempts", attempts, "again_in", wait)
	s.event(Event{Kind: DialFail, Node: id, Text: text})
}

// lost schedules the redial after a connection ended.
func (s *Server) lost(p *static, l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	p.backoff.lived(l.lived)
	p.status.State, p.status.Since, p.status.LastError = Waiting, now, l.endText
	p.status.NextTry = now.Add(p.backoff.next(now, unkept, s.cfg.Rand()))
}

func gethNode(n nodeaddr.Node) *enode.Node { return enode.NewV4(n.Key().ECDSA(), nil, 0, 0) }
