// Package mailnet carries history requests and their answers over connections, on both sides: it turns what arrives on
// the dialects' links, in any form that clients have used, into requests to a mail server and the answers back into
// packets; it speaks our own protocol mail/1; and it asks other mail servers for whoever fetches.
//
// Make a Net with New, give it to relay.Config.Mail and run ServeMail1 for each mail/1 connection. Remote waits for a
// connected peer and gives the means to ask it. All methods are safe for concurrent use.
package mailnet

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/wire"
)

// Server answers requests; *mailserver.Server is one. Its methods return at once.
type Server interface {
	Ask(who mailserver.Asker, p mailserver.Prepare, out mailserver.Outbox) (ticket uint64)
	Cancel(ticket uint64)
	Left(conn uint64)
	Announce() mailserver.Announcement
}

// Config is what a Net is made of.
type Config struct {
	Server Server // nil when this node is no mail server
	Name   string // of the mail server, for people

	Key       *message.PrivateKey // the node's: signs our requests, opens those sealed for us
	Passwords []message.SymKey    // that requests to us may be sealed with

	// Join makes a peer a member for an invitation's token; nil when nobody can join.
	Join   func(token string, node [32]byte) (Membership, error)
	Member func(node [32]byte) bool // whether a node is a member; nil when that is not known

	Now func() time.Time // the clock
	Log *slog.Logger
}

// Membership is what a member is told of itself.
type Membership struct {
	Name        string
	BytesPerDay int64 // of answers; 0 for no quota
	Left        int64 // of today's
}

// Net joins connections with a mail server and with those who fetch.
type Net struct {
	cfg    Config
	replay *replay

	mu      sync.Mutex
	remotes map[uint64]*Remote
	changed chan struct{} // closed and replaced when a remote changes
}

// New makes a Net without connections.
func New(cfg Config) *Net {
	return &Net{cfg: cfg, replay: newReplay(), remotes: map[uint64]*Remote{}, changed: make(chan struct{})}
}

// Remote is one connected peer.
type Remote struct {
	net     *Net
	peer    session.Peer
	lane    lane
	mail1   *mail1Conn // nil unless both sides speak it
	greeted bool       // at least one link has opened
	links   []*session.Link
	asking  *legacyAsk // the open question in an older form
	users   int        // links and mail/1 runs
	gone    chan struct{}
}

// remote returns the entry of a connection, made if need be. The lock is held.
func (n *Net) remote(peer session.Peer) *Remote {
	r := n.remotes[peer.Conn]
	if r == nil {
		r = &Remote{net: n, peer: peer, gone: make(chan struct{})}
		n.remotes[peer.Conn] = r
	}
	return r
}

// change wakes those who wait for a remote. The lock is held.
func (n *Net) change() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// release forgets a connection when nothing runs on it any more. The lock is held.
func (n *Net) release(r *Remote) (gone bool) {
	if r.users--; r.users > 0 {
		return false
	}
	delete(n.remotes, r.peer.Conn)
	close(r.gone)
	return true
}

// Opened implements relay.Mail.
func (n *Net) Opened(l *session.Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.remote(l.Session().Peer())
	r.users++
	r.greeted = true
	r.links = append(r.links, l)
	n.change()
}

// Closed implements relay.Mail.
func (n *Net) Closed(l *session.Link) {
	peer := l.Session().Peer()
	n.mu.Lock()
	r := n.remotes[peer.Conn]
	known := false
	if r != nil {
		for i, other := range r.links {
			if other == l {
				r.links = append(r.links[:i], r.links[i+1:]...)
				known = true
				break
			}
		}
	}
	var asking *legacyAsk
	gone := false
	if known {
		if r.asking != nil && r.asking.link == l {
			asking, r.asking = r.asking, nil
		}
		gone = n.release(r)
		n.change()
	}
	n.mu.Unlock()
	if gone && n.cfg.Server != nil {
		n.cfg.Server.Left(peer.Conn)
	}
	if asking != nil {
		asking.lost(l.Session().Reason())
	}
}

// Asked implements relay.Mail.
func (n *Net) Asked(l *session.Link, p wire.Packet) {
	n.mu.Lock()
	r := n.remotes[l.Session().Peer().Conn]
	n.mu.Unlock()
	if r == nil {
		return
	}
	switch p := p.(type) {
	case wire.Request:
		n.serve(r, l, p)
	case wire.SyncRequest:
		n.serveSync(r, l, p)
	}
}

// Answered implements relay.Mail.
func (n *Net) Answered(l *session.Link, p wire.Packet) bool {
	n.mu.Lock()
	var asking *legacyAsk
	if r := n.remotes[l.Session().Peer().Conn]; r != nil && r.asking != nil && r.asking.link == l {
		asking = r.asking
	}
	n.mu.Unlock()
	return asking != nil && asking.take(p)
}

// ServeMail1 speaks mail/1 on a connection until it ends, and returns why.
func (n *Net) ServeMail1(peer session.Peer, t session.Transport) error {
	cfg := mail1Config{Name: n.cfg.Name, Join: n.cfg.Join, Member: n.cfg.Member, Now: n.cfg.Now, Log: n.cfg.Log}
	if n.cfg.Server != nil {
		cfg.Server = n.cfg.Server
	}
	c := newMail1Conn(cfg, peer, t)
	n.mu.Lock()
	r := n.remote(peer)
	r.users++
	r.mail1 = c
	n.change()
	n.mu.Unlock()
	err := c.run()
	n.mu.Lock()
	r.mail1 = nil
	gone := n.release(r)
	n.change()
	n.mu.Unlock()
	if gone && n.cfg.Server != nil {
		n.cfg.Server.Left(peer.Conn)
	}
	return err
}

// Remote waits until the node is connected and can be asked: by mail/1 if it serves that, else on a greeted link. The
// error is ctx's.
func (n *Net) Remote(ctx context.Context, node [32]byte) (*Remote, error) {
	for {
		n.mu.Lock()
		r, changed := n.ready(node), n.changed
		var own *mail1Conn
		if r != nil {
			own = r.mail1
		}
		greeted := r != nil && r.greeted
		n.mu.Unlock()
		if own != nil && own.greeted(ctx) == nil && own.serves() || own == nil && greeted {
			return r, nil
		}
		if own != nil && own.ended() == nil && greeted && ctx.Err() == nil {
			return r, nil // it speaks mail/1 only to ask
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ready finds a connection with the node on which all that runs there has begun. The lock is held.
func (n *Net) ready(node [32]byte) *Remote {
	for _, r := range n.remotes {
		if r.peer.ID == node && (r.mail1 != nil || r.greeted && !r.peer.Mail1) {
			return r
		}
	}
	return nil
}

// Greeted waits until the peer has said hello in one of the dialects, without which it cannot be asked in the older
// forms. The error is ctx's, or an Unavailable fault when the connection ended.
func (r *Remote) Greeted(ctx context.Context) error {
	n := r.net
	for {
		n.mu.Lock()
		linked, gone, changed := len(r.links) > 0, n.remotes[r.peer.Conn] != r, n.changed
		n.mu.Unlock()
		switch {
		case linked:
			return nil
		case gone:
			return errGone(nil)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Peer returns who is on the other side.
func (r *Remote) Peer() session.Peer { return r.peer }

// errGone says that a connection has ended.
func errGone(reason error) error {
	return fault.E("mailnet", fault.Unavailable, reason, "the connection with the mail server ended")
}
