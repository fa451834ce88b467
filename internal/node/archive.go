package node

import (
	"context"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/rpc"
)

// archiveDesk is the archive as the command interface sees it; nil without one.
func (n *Node) archiveDesk() rpc.Archive {
	if n.mail == nil {
		return nil
	}
	return &rpc.ArchiveStore{
		Dir: n.opt.Mail.ArchiveDir, Store: n.mail.archive, Rules: n.mail.rules, Now: time.Now, Explained: n.explain,
	}
}

func (n *Node) explain(ctx context.Context, hash envelope.Hash) (rpc.Explanation, error) {
	e, err := n.mail.server.Explain(ctx, hash)
	return rpc.Explanation{
		Hash: e.Hash, State: e.State.String(), Text: e.Text, Arrival: e.Arrival, Arrived: e.Arrived, HeldUntil: e.HeldUntil,
		Served: e.Served, Reason: e.Reason, When: e.When, From: e.From,
	}, err
}

// rules are those that hold now.
func (m *mail) rules() archive.Rules { return m.retention.Load().(archive.Rules) }

// setRules replaces the rules of retention.
func (m *mail) setRules(r archive.Rules) {
	m.retention.Store(r)
	m.server.SetRules(r)
}

// status says how the mail server is doing.
func (m *mail) status() *rpc.Mail {
	stored, served, announced := m.archive.Stats(), m.server.Stats(), m.server.Announce()
	return &rpc.Mail{
		MembersOnly: announced.MembersOnly, Envelopes: stored.Envelopes, Disk: stored.Disk, Cap: m.rules().Cap, Oldest: stored.Oldest,
		Open: served.Running + served.Waiting, Answered: served.Answered, Sent: served.Records, Closing: announced.Closing,
	}
}
