package devp2p

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"github.com/restante-im/restante/internal/nodeaddr"
)

// settleTime is how long two nodes that dial each other at the same moment may need to settle on one connection. A second
// connection after that means that the peer has lost the first.
const settleTime = 5 * time.Second

// identityTap is go-ethereum's logger. It writes nothing: no text of go-ethereum's reaches our log. But it learns the
// identity of a connection, which go-ethereum proves and then keeps to itself if it refuses the connection as a duplicate:
// its per-connection logger carries id and address, and the address is ours (see hidden).
type identityTap struct{}

func (identityTap) Enabled(context.Context, slog.Level) bool  { return false }
func (identityTap) Handle(context.Context, slog.Record) error { return nil }
func (t identityTap) WithGroup(string) slog.Handler           { return t }
func (t identityTap) WithAttrs(attrs []slog.Attr) slog.Handler {
	var (
		id   enode.ID
		addr hidden
	)
	for _, a := range attrs {
		switch v := a.Value.Any().(type) {
		case enode.ID:
			id = v
		case hidden:
			addr = v
		}
	}
	if addr.link != nil && id != (enode.ID{}) {
		addr.link.proven.Store((*nodeaddr.ID)(&id))
	}
	return t
}

// takeOver ends a peer's old connection when the peer proved its key on a new one that was refused for it: a phone that
// changed networks would otherwise be kept out until the old connection times out. The peer's next attempt gets in.
func (s *Server) takeOver(l *link, refused error) {
	node := l.proven.Load()
	if node == nil || !errors.Is(refused, p2p.DiscAlreadyConnected) {
		return
	}
	s.mu.Lock()
	old := s.peers[*node]
	dead := old != nil && s.cfg.Now().Sub(old.since) > settleTime
	s.mu.Unlock()
	if dead {
		old.end(errCameAgain)
	}
}
