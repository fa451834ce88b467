package node

import (
	"context"
	"crypto/rand"
	"sync/atomic"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment"
	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/mailnet"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/members"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/relay"
)

// MailOptions make the node a mail server.
type MailOptions struct {
	Name           string // for people
	MembersOnly    bool
	MembersFile    string
	Password       string // of requests in the older forms; "" for none
	ArchiveDir     string
	ExplainSources bool
}

// MailSettings are what a running mail server takes over without a restart.
type MailSettings struct {
	Limits  mailserver.Limits
	Rules   archive.Rules
	Closing time.Time // zero for not planned
}

// mail is the mail server's parts: gossip ─▶ server ─▶ archive, and requests ─▶ net ─▶ gate ─▶ server.
type mail struct {
	archive   *segment.Archive
	members   *members.Book
	server    *mailserver.Server
	retention atomic.Value // archive.Rules
}

// openMail opens the archive and starts the mail server. Close it with closeMail.
func (n *Node) openMail() error {
	o := n.opt.Mail
	store, err := segment.Open(o.ArchiveDir, segment.Options{Now: time.Now, Rules: n.opt.MailSettings.Rules, Log: n.opt.Log})
	if err != nil {
		return err
	}
	book, err := members.Open(o.MembersFile, rand.Reader, time.Now)
	if err != nil {
		store.Close()
		return err
	}
	var gate mailserver.Gate = mailserver.Open{}
	if o.MembersOnly {
		gate = mailserver.Members{Book: book}
	}
	n.mail = &mail{archive: store, members: book}
	n.mail.server = mailserver.New(mailserver.Options{
		Archive: store, Rules: n.opt.MailSettings.Rules, Gate: gate, Limits: n.opt.MailSettings.Limits,
		Now: time.Now, Health: n.health, Log: n.opt.Log, Rand: rand.Reader,
		Resolved: n.resolved, ExplainSources: o.ExplainSources,
	})
	n.mail.retention.Store(n.opt.MailSettings.Rules)
	n.mail.server.SetClosing(n.opt.MailSettings.Closing)
	return nil
}

// resolved tells the relay what became of envelopes.
func (n *Node) resolved(verdicts []mailserver.Verdict) {
	list := make([]gossip.Resolved, len(verdicts))
	for i, v := range verdicts {
		list[i].Hash = v.Hash
		switch v.Fate {
		case mailserver.Durable:
			list[i].Outcome = gossip.Durable
		case mailserver.Declined:
			list[i].Outcome = gossip.Declined
		default:
			list[i].Outcome = gossip.Retry
		}
	}
	n.relay.Resolve(list)
}

// closeMail finishes what was accepted. The relay is closed before.
func (n *Node) closeMail() {
	n.mail.server.Close()
	if err := n.mail.archive.Close(); err != nil {
		n.opt.Log.Error("the archive was not closed cleanly; it will check itself at the next start", "err", err)
	}
	if err := n.mail.members.SaveUsage(); err != nil {
		n.opt.Log.Warn("what members have used today was not saved", "err", err)
	}
}

// newMailNet makes what carries requests and answers. Without a mail server it says so to those who ask.
func (n *Node) newMailNet(key *message.PrivateKey) *mailnet.Net {
	cfg := mailnet.Config{Key: key, Now: time.Now, Log: n.opt.Log}
	if n.mail != nil {
		cfg.Server, cfg.Name = n.mail.server, n.opt.Mail.Name
		if n.opt.Mail.Password != "" {
			cfg.Passwords = []message.SymKey{message.PasswordKey(n.opt.Mail.Password)}
		}
		cfg.Join = n.join
		cfg.Member = func(node [32]byte) bool { return n.mail.members.Allowed(node) == nil }
	}
	return mailnet.New(cfg)
}

// join makes a node a member for an invitation.
func (n *Node) join(token string, node [32]byte) (mailnet.Membership, error) {
	m, err := n.mail.members.Join(token, node)
	if err != nil {
		return mailnet.Membership{}, err
	}
	left, err := n.mail.members.Spend(node, 0)
	if err != nil {
		return mailnet.Membership{}, err
	}
	if m.BytesPerDay == 0 {
		left = 0 // there is no quota that something could be left of
	}
	return mailnet.Membership{Name: m.Name, BytesPerDay: m.BytesPerDay, Left: left}, nil
}

// mailProtocol is mail/1 as the network runs it.
func mailProtocol(net *mailnet.Net) devp2p.Protocol {
	return devp2p.Protocol{
		Name: mail1.Name, Version: mail1.Version, Codes: mail1.Codes,
		Run: func(c *devp2p.Conn) error { return net.ServeMail1(peerOf(c), c) },
	}
}

// mailEvery is how often the archive is pruned and its health judged.
const mailEvery = 30 * time.Second

func (n *Node) keepMailHouse(ctx context.Context) error {
	tick := time.NewTicker(mailEvery)
	defer tick.Stop()
	for {
		if err := n.mail.server.Housekeep(ctx); err != nil && ctx.Err() == nil {
			n.opt.Log.Error("the archive could not be pruned", "err", err)
		}
		if err := n.mail.members.SaveUsage(); err != nil {
			n.opt.Log.Warn("what members have used today was not saved", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// keeper is the mail server as the relay sees it; nil without one.
func (n *Node) keeper() relay.Keeper {
	if n.mail == nil {
		return nil
	}
	return n.mail.server
}
