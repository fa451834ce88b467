package devp2p

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const (
	acceptPause    = 50 * time.Millisecond // after a failed accept, doubling
	acceptPauseMax = 2 * time.Second
	// evictAfter is how old an open handshake must be before a newcomer may take its place when all are taken. Honest ones
	// are done by then.
	evictAfter = time.Second
)

func (s *Server) listen() error {
	for _, addr := range s.cfg.ListenAddrs {
		if addr == "" {
			continue
		}
		l, err := s.cfg.Listen("tcp", addr)
		if err != nil {
			s.closeListeners()
			return listenError(addr, err)
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

func listenError(addr string, err error) error {
	const op = "devp2p: listen"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.E(op, fault.Exists, err, fmt.Sprintf("another program listens on %s already: stop it or choose another port", addr))
	case errors.Is(err, syscall.EACCES):
		return fault.E(op, fault.Denied, err, fmt.Sprintf("listening on %s is not allowed: choose a port above 1023", addr))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fault.E(op, fault.Unavailable, err, fmt.Sprintf("%s is not an address of this machine", addr))
	}
	return fault.E(op, fault.Invalid, err, fmt.Sprintf("cannot listen on %s: expected host:port or :port", addr))
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		l.Close()
	}
}

// Addrs returns the addresses that the server listens on.
func (s *Server) Addrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, l := range s.listeners {
		if ap, err := netip.ParseAddrPort(addrString(l.Addr())); err == nil {
			addrs = append(addrs, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
		}
	}
	return addrs
}

func (s *Server) accept(l net.Listener) {
	defer s.wg.Done()
	pause := acceptPause
	for {
		fd, err := l.Accept()
		switch {
		case err == nil:
			pause = acceptPause
			s.receive(fd)
			continue
		case s.ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return
		}
		// Out of file descriptors, mostly. Wait instead of spinning.
		s.cfg.Log.Warn("a connection could not be accepted", "err", stripAddr(err))
		s.event(Event{Kind: AcceptFail, Text: "a connection could not be accepted: " + stripAddr(err).Error()})
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, acceptPauseMax)
	}
}

// receive lets an inbound connection in or closes it.
func (s *Server) receive(fd net.Conn) {
	prefix := s.prefix(fd.RemoteAddr())
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		fd.Close()
		return
	}
	v := s.gate.enter(s.cfg.Now(), prefix)
	if v == full && s.evict() {
		v = s.gate.enter(s.cfg.Now(), prefix)
	}
	if v != welcome {
		s.mu.Unlock()
		s.stats.turned.Add(1)
		fd.Close()
		return
	}
	link := s.newLink(fd, true, prefix)
	s.wg.Add(1)
	s.mu.Unlock()
	s.stats.accepted.Add(1)
	go func() {
		defer s.wg.Done()
		if err := s.setup(link, nil); err != nil {
			s.takeOver(link, err)
			s.finish(link, visitText(err))
		}
	}()
}

// evict ends the oldest open handshake for a newcomer and gives its place back at once. Called with s.mu held.
func (s *Server) evict() bool {
	var oldest *link
	for _, l := range s.links {
		if l.inbound && l.peer == nil && !l.finished && (oldest == nil || l.id < oldest.id) {
			oldest = l
		}
	}
	if oldest == nil || s.cfg.Now().Sub(oldest.opened) < evictAfter {
		return false
	}
	oldest.finished = true
	oldest.timer.Stop()
	delete(s.links, oldest.id)
	s.gate.leave(oldest.prefix)
	oldest.fd.Close()
	close(oldest.done)
	s.stats.handshakes.Add(1)
	return true
}

// setup runs both devp2p handshakes. A panic in them ends the connection only.
func (s *Server) setup(l *link, dest *nodeaddr.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.stats.panics.Add(1)
			s.cfg.Log.Error("a handshake panicked; its connection ends", "conn", l.id, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			l.fd.Close()
			err = errPanic
		}
	}()
	if dest == nil {
		return s.p2p.SetupConn(tracked{l.fd, l}, flagInbound, nil)
	}
	return s.p2p.SetupConn(tracked{l.fd, l}, flagStatic, gethNode(*dest))
}

// prefix names the source of an address for the limits.
func (s *Server) prefix(a net.Addr) string {
	ap, err := netip.ParseAddrPort(addrString(a))
	if err != nil {
		return "unknown"
	}
	if s.cfg.LimitLoopback {
		return nodeaddr.PrefixStrict(ap.Addr())
	}
	return nodeaddr.Prefix(ap.Addr())
}
