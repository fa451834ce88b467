package inbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/store"
)

// Coverage says of each topic of a watch ("" for all watches) how far it is complete, and who says so.
func (in *Inbox) Coverage(ctx context.Context, watchID string) (list []coverage.Line, err error) {
	known := true
	err = in.do(ctx, func() {
		w := in.watches[watchID]
		if known = watchID == "" || w != nil; !known {
			return
		}
		list = in.machine.Summary(in.opt.Now())
		if w != nil {
			list = slices.DeleteFunc(list, func(l coverage.Line) bool { return !w.Covers(l.Topic) })
		}
	})
	if err == nil && !known {
		err = noWatch(watchID)
	}
	return list, err
}

// Gaps returns what is known to be lacking, the oldest first.
func (in *Inbox) Gaps(ctx context.Context) (list []coverage.Gap, err error) {
	err = in.do(ctx, func() { list = in.machine.Gaps(in.opt.Now()) })
	return list, err
}

// Status says how the inbox is doing.
func (in *Inbox) Status(ctx context.Context) (Status, error) {
	kept, err := in.opt.Store.Stats(ctx)
	if err != nil {
		return Status{}, err
	}
	s := Status{
		Protection: in.opt.Protection, File: in.opt.File, FileBytes: kept.File, Mail: kept.Mail, MailBytes: kept.Bytes, Cap: in.opt.Cap,
	}
	err = in.do(ctx, func() {
		now := in.opt.Now()
		at := in.machine.State()
		s.Watches, s.Topics, s.Letters = len(in.watches), len(in.wanted), in.letters.Open()
		s.Servers, s.Syncing, s.LastSync = len(in.servers.Choose(now)), at.Syncing, at.LastGood
		for _, l := range in.links {
			if l.transport != nil {
				s.Connected++
			}
		}
		for _, g := range in.machine.Gaps(now) {
			if !g.Closed {
				s.Gaps++
			}
		}
		s.Text = in.sentence(&s, in.servers.Len(), now)
	})
	return s, err
}

// sentence is how it stands, for people, with a next step where there is one.
func (in *Inbox) sentence(s *Status, known int, now time.Time) string {
	switch {
	case known == 0:
		return "No mail server is known, so nothing that is missed comes back. Add one: restante inbox servers add LINK."
	case s.Servers == 0:
		return "No mail server can be used: all are paused, only suggested, or resting after failures. See `restante inbox servers`."
	case s.Watches == 0:
		return "Nothing is waited for. Say what with `restante inbox watch`."
	case s.Syncing:
		return "Catching up."
	case s.Connected == 0:
		return "No mail server is connected; what is missed comes when one is."
	case s.Gaps > 0:
		return fmt.Sprintf("%s; `restante inbox gaps` says what and why.", count(s.Gaps, "gap is open", "gaps are open"))
	case s.LastSync.IsZero():
		return "Not caught up since the start."
	}
	return fmt.Sprintf("Nothing is known to be lacking; caught up %v ago.", now.Sub(s.LastSync).Round(time.Second))
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Explain says what is known of an envelope.
func (in *Inbox) Explain(ctx context.Context, hash envelope.Hash) (Explanation, error) {
	e := Explanation{Hash: hash, State: "unknown", Text: "This envelope is not known here: it did not come, or is not waited for."}
	mail, err := in.opt.Store.Mail(ctx, store.MailQuery{Hash: &hash, Limit: 1})
	if err != nil {
		return e, err
	}
	have, err := in.opt.Store.Known(ctx, []envelope.Hash{hash})
	if err != nil {
		return e, err
	}
	missing, err := in.opt.Store.Missing(ctx)
	if err != nil {
		return e, err
	}
	err = in.do(ctx, func() {
		e.Letter, _ = in.letters.FindHash(hash)
		switch i := slices.IndexFunc(missing, func(m coverage.Missing) bool { return m.Hash == hash }); {
		case len(mail) > 0:
			in.explainKept(&e, mail[0])
		case have[0]:
			e.State, e.Text = "forgotten", "It came, was acknowledged, and has been deleted since."
		case i >= 0:
			in.explainMissing(&e, missing[i])
		case e.Letter != "":
			e.State, e.Text = "sent", "It was sent from here."
		}
		if e.Letter != "" {
			if l, ok := in.letters.Find(e.Letter); ok {
				e.Text += fmt.Sprintf(" It carries letter %s: %s.", l.ID, l.Text)
			}
		}
	})
	return e, err
}

func (in *Inbox) explainKept(e *Explanation, m store.Mail) {
	e.State, e.Seq, e.Came, e.Server = "kept", m.Seq, m.Came, m.Server
	from := "came live"
	if m.Server != (nodeaddr.ID{}) {
		from = "was handed over by " + in.nameOf(m.Server)
	}
	e.Text = fmt.Sprintf("It %s at %s and is message %d.", from, m.Came.UTC().Format(time.DateTime+" UTC"), m.Seq)
	for _, w := range in.sorted() {
		if w.Covers(m.Envelope.Topic()) {
			e.Watches = append(e.Watches, w.ID)
		}
	}
	if len(e.Watches) == 0 {
		e.Text += " Nothing waits for its topic any more."
	}
}

func (in *Inbox) explainMissing(e *Explanation, m coverage.Missing) {
	e.State = "missing"
	names := make([]string, len(m.Named))
	for i, id := range m.Named {
		names[i] = in.nameOf(id)
	}
	e.Text = fmt.Sprintf("%s named it and did not hand it over; it was asked for %s.", list(names), count(m.Tried, "time since", "times since"))
	if m.Gone {
		e.Text += " No mail server can have it any more: it is lost, unless its sender sends it again."
		return
	}
	e.Text += fmt.Sprintf(" It is asked for again at %s.", m.Next.UTC().Format(time.DateTime+" UTC"))
}

func list(names []string) string {
	switch len(names) {
	case 0:
		return "A mail server"
	case 1:
		return names[0]
	}
	return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
}

// Budget says what was spent today.
func (in *Inbox) Budget(ctx context.Context) (b Budget, err error) {
	err = in.do(ctx, func() {
		now := in.opt.Now()
		b = Budget{Day: now.UTC().Format(time.DateOnly), ByServer: map[nodeaddr.ID]int64{}, PerSync: in.set.SyncBudget}
		for _, v := range in.servers.Views(now) {
			if v.BytesToday > 0 {
				b.ByServer[v.ID()] = v.BytesToday
				b.Fetched += v.BytesToday
			}
		}
		if in.joined != nil {
			b.Relayed, b.RelayedLimit = in.joined.Relay.Relayed()
		}
	})
	return b, err
}

// prune deletes mail that everybody has acknowledged for long enough.
func (in *Inbox) prune() {
	if in.set.Keep <= 0 {
		return
	}
	read := map[envelope.Topic]uint64{}
	for _, w := range in.watches {
		for _, t := range w.Topics {
			if through, ok := read[t]; !ok || w.read < through {
				read[t] = w.read
			}
		}
	}
	before := in.opt.Now().Add(-in.set.Keep)
	in.work.Go(func() {
		pruned, err := in.opt.Store.Prune(in.life, before, read)
		switch {
		case err != nil && in.life.Err() == nil:
			in.opt.Log.Error("old mail was not deleted; it is tried again in an hour", "err", err)
		case pruned.Mail > 0:
			in.opt.Log.Info("old mail was deleted", "envelopes", pruned.Mail, "bytes", pruned.Bytes)
		}
	})
}
