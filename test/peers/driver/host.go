package driver

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

const (
	maxPeers    = 1000
	dialTimeout = 5 * time.Second
	redialFirst = 50 * time.Millisecond // pause after a lost connection, doubled up to redialMost
	redialMost  = time.Second

	staticDialed = 1 << 1 // p2p's private flag for "we dialled this on request"
)

// Host is a p2p server that dials for itself, because p2p's own dialler waits 35 s before it tries a node again.
type Host struct {
	Server *p2p.Server

	mu     sync.Mutex
	static map[enode.ID]context.CancelFunc
}

// NewHost starts a server that runs the protocols. An empty listen address means no listener.
func NewHost(name string, key *ecdsa.PrivateKey, listen string, protocols ...p2p.Protocol) (*Host, error) {
	h := &Host{static: map[enode.ID]context.CancelFunc{}}
	h.Server = &p2p.Server{Config: p2p.Config{
		PrivateKey:      key,
		Name:            name,
		MaxPeers:        maxPeers,
		MaxPendingPeers: maxPeers,
		NoDiscovery:     true,
		NoDial:          true,
		ListenAddr:      listen,
		Protocols:       protocols,
	}}
	if err := h.Server.Start(); err != nil {
		return nil, err
	}
	return h, nil
}

// Stop ends redialling and all connections.
func (h *Host) Stop() {
	h.mu.Lock()
	for id, cancel := range h.static {
		cancel()
		delete(h.static, id)
	}
	h.mu.Unlock()
	h.Server.Stop()
}

// Dial connects once; it returns after the devp2p handshake.
func (h *Host) Dial(to *enode.Node) error {
	fd, err := net.DialTimeout("tcp", fmt.Sprintf("%v:%d", to.IP(), to.TCP()), dialTimeout)
	if err != nil {
		return err
	}
	return h.Server.SetupConn(fd, staticDialed, to)
}

// Connected says whether a devp2p connection with the node is up.
func (h *Host) Connected(id enode.ID) bool {
	for _, p := range h.Server.Peers() {
		if p.ID() == id {
			return true
		}
	}
	return false
}

// Keep holds a connection with the node until Drop: it dials again soon after each loss. Its error is the first dial's.
func (h *Host) Keep(to *enode.Node) error {
	h.mu.Lock()
	if _, ok := h.static[to.ID()]; ok {
		h.mu.Unlock()
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.static[to.ID()] = cancel
	h.mu.Unlock()

	var err error
	if !h.Connected(to.ID()) {
		err = h.Dial(to)
	}
	go h.redial(ctx, to)
	return err
}

func (h *Host) redial(ctx context.Context, to *enode.Node) {
	pause := redialFirst
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		switch {
		case h.Connected(to.ID()):
			pause = redialFirst
		case h.Dial(to) != nil:
			pause = min(2*pause, redialMost)
		}
	}
}

// Drop forgets the node and ends its connection; false if there was neither.
func (h *Host) Drop(id enode.ID) bool {
	h.mu.Lock()
	cancel, found := h.static[id]
	delete(h.static, id)
	h.mu.Unlock()
	if found {
		cancel()
	}
	for _, p := range h.Server.Peers() {
		if p.ID() == id {
			p.Disconnect(p2p.DiscRequested)
			found = true
		}
	}
	return found
}
