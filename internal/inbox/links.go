package inbox

import (
	"cmp"
	"context"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/mailnet"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/outbox"
)

// link is a mail server that is kept connected.
type link struct {
	cancel    context.CancelFunc
	remote    Remote            // nil while it is not connected
	transport history.Transport // with remote

	asking     uint64 // the open question
	cancelOpen func()
}

// cancelAsk gives up the open question, if it is this one.
func (l *link) cancelAsk(ask uint64) {
	if l.asking == ask && l.cancelOpen != nil {
		l.cancelOpen()
		l.asking, l.cancelOpen = 0, nil
	}
}

// connect keeps a mail server connected from now on, or tries at once if it is not.
func (in *Inbox) connect(id nodeaddr.ID) {
	e, ok := in.servers.Entry(id)
	if !ok {
		in.step(catchup.Down{Server: id, Err: fault.E("inbox", fault.NotFound, nil, "this mail server is not in the list any more")})
		return
	}
	l := in.links[id]
	if l != nil && l.remote != nil {
		return
	}
	if err := in.joined.Network.Keep(e.Node); err != nil {
		in.step(catchup.Down{Server: id, Err: err})
		return
	}
	if l != nil {
		return
	}
	ctx, cancel := context.WithCancel(in.life)
	in.links[id] = &link{cancel: cancel}
	in.work.Go(func() { in.follow(ctx, id, e) })
}

func (in *Inbox) disconnect(id nodeaddr.ID) {
	l := in.links[id]
	if l == nil {
		return
	}
	l.cancel()
	delete(in.links, id)
	in.joined.Network.Release(id)
	if l.remote != nil {
		in.note(id, directory.ConnectionLost{})
		in.letterServers()
	}
}

// follow tells the actor when a mail server can be asked and when it cannot any more, until ctx ends.
func (in *Inbox) follow(ctx context.Context, id nodeaddr.ID, e directory.Entry) {
	token := e.Token
	for ctx.Err() == nil {
		remote, err := in.joined.Mail.Remote(ctx, id)
		if err != nil {
			return
		}
		if token != "" {
			_, err := remote.Join(ctx, token)
			in.post(func() { in.joinedServer(id, err) })
			token = ""
		}
		transport, err := transportTo(remote, e.Password)
		if err == nil {
			in.post(func() { in.up(ctx, id, remote, transport) })
		}
		select {
		case <-remote.Gone():
			in.post(func() { in.down(ctx, id, errConnectionEnded) })
		case <-ctx.Done():
		}
	}
}

// commonPassword is the one that servers of the older kind share: it keeps nobody out.
const commonPassword = "status-offline-inbox"

// transportTo gives the means to ask a mail server. A password is worked on for some milliseconds, so only where it is
// needed.
func transportTo(remote Remote, password string) (history.Transport, error) {
	t, err := remote.Transport(mailnet.Seal{}, 0)
	if err != nil || t.Caps().Lists {
		return t, err
	}
	key := message.PasswordKey(cmp.Or(password, commonPassword))
	return remote.Transport(mailnet.Seal{Password: &key}, 0)
}

var errConnectionEnded = fault.E("inbox", fault.Unavailable, nil, "the connection with the mail server ended")

// joinedServer notes what came of an invitation, which is used up by success.
func (in *Inbox) joinedServer(id nodeaddr.ID, err error) {
	if err != nil {
		in.opt.Log.Warn("the invitation to a mail server was not taken", "peer", id.Short(), "err", err)
	}
	in.note(id, directory.Joined{Err: err})
	in.saveServers()
}

func (in *Inbox) up(ctx context.Context, id nodeaddr.ID, remote Remote, t history.Transport) {
	l := in.links[id]
	if l == nil || ctx.Err() != nil {
		return
	}
	l.remote, l.transport = remote, t
	caps := t.Caps()
	in.step(catchup.Up{Server: id, Caps: caps})
	in.note(id, directory.Connected{Caps: caps, Client: remote.Peer().Client}) // catchup does not know its program
	in.letterServers()
}

func (in *Inbox) down(ctx context.Context, id nodeaddr.ID, err error) {
	l := in.links[id]
	if l == nil || ctx.Err() != nil {
		return
	}
	l.remote, l.transport, l.asking, l.cancelOpen = nil, nil, 0, nil
	in.step(catchup.Down{Server: id, Err: err})
	in.letterServers()
}

// DialFailed says that a node could not be reached. It never waits.
func (in *Inbox) DialFailed(id nodeaddr.ID, text string) {
	in.post(func() {
		l := in.links[id]
		if l == nil || l.remote != nil {
			return
		}
		in.step(catchup.Down{Server: id, Err: fault.E("inbox", fault.Unavailable, nil, text)})
	})
}

// letterServers tells the outbox which mail servers can be asked what they hold, the best first.
func (in *Inbox) letterServers() {
	var ev outbox.Servers
	for _, v := range in.servers.Views(in.opt.Now()) {
		if !v.Suggested {
			ev.Known++
		}
	}
	for _, c := range in.servers.Choose(in.opt.Now()) {
		if l := in.links[c.Server]; l != nil && l.transport != nil && l.transport.Caps().Lists {
			ev.List = append(ev.List, c.Server)
		}
	}
	in.letterStep(ev)
}
