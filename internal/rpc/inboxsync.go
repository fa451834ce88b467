package rpc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// SyncRequest is the argument of inbox_sync. All of it may be absent.
type SyncRequest struct {
	MaxBytes int64   `json:"maxBytes,omitempty"` // received, over all mail servers; 0: as the configuration says
	First    []Topic `json:"first,omitempty"`    // fetched before others
	Only     []Topic `json:"only,omitempty"`     // no others
	Server   string  `json:"server,omitempty"`   // node id, address or public key: ask only this one
	Alone    bool    `json:"alone,omitempty"`    // compare with no second one
}

// SyncReport is the result of inbox_sync: what came, from whom, and whether that is all.
type SyncReport struct {
	ID       uint64 `json:"id"`
	End      string `json:"end"`  // agreed, complete, answered, over budget, stopped or failed
	Text     string `json:"text"` // for people
	Error    string `json:"error,omitempty"`
	New      int    `json:"new"`      // messages
	NewBytes int64  `json:"newBytes"` // of those
	Bytes    int64  `json:"bytes"`    // received from mail servers, all included
	Left     int64  `json:"left"`     // bytes known to be left

	Began         time.Time `json:"began"`
	Seconds       float64   `json:"seconds"`
	FirstEnvelope float64   `json:"firstEnvelope,omitempty"` // seconds until the first was kept; absent: none came

	Servers []SyncServer `json:"servers"`
	Gaps    []InboxGap   `json:"gaps"`
}

// SyncServer is what a catch-up had from one mail server.
type SyncServer struct {
	Server      string  `json:"server"`
	Name        string  `json:"name"` // for people
	Role        string  `json:"role"` // primary: it hands over the mail; second: it is compared
	Form        string  `json:"form"` // by arrival, paged or bare
	End         string  `json:"end"`  // complete, assumed, limited or failed
	Error       string  `json:"error,omitempty"`
	Envelopes   int     `json:"envelopes"` // that it handed over
	New         int     `json:"new"`       // of those, not had before
	Bytes       int64   `json:"bytes"`     // received, lists included
	ListBytes   int64   `json:"listBytes"`
	Listed      int     `json:"listed"`   // envelopes that it named
	Lacked      int     `json:"lacked"`   // that the other had and it had not
	Fetched     int     `json:"fetched"`  // from it by name, because the other lacked them
	Withheld    int     `json:"withheld"` // named and not handed over
	FirstAnswer float64 `json:"firstAnswer,omitempty"`
	Seconds     float64 `json:"seconds"`
}

// SyncProgress is how far a catch-up is.
type SyncProgress struct {
	ID     uint64  `json:"id"` // 0: of one that the inbox began by itself
	New    int     `json:"new"`
	Bytes  int64   `json:"bytes"`
	Share  float64 `json:"share"` // of the mail server's part, 0 to 1; below 0: unknown
	Server string  `json:"server,omitempty"`
}

func newProgress(p *catchup.Progress) *SyncProgress {
	return &SyncProgress{ID: p.ID, New: p.New, Bytes: p.Bytes, Share: p.Share, Server: serverID(p.Server)}
}

// MaxSyncs is how many calls of inbox_sync may be open at a time.
const MaxSyncs = 32

// Sync catches up, and returns when that has ended, also when it failed on the way.
func (a *inboxAPI) Sync(ctx context.Context, req *SyncRequest) (SyncReport, error) {
	return inboxCall(ctx, a, func(ctx context.Context) (SyncReport, error) {
		var o catchup.Options
		if req != nil {
			var err error
			if o, err = req.options(); err != nil {
				return SyncReport{}, err
			}
		}
		if !a.syncs.enter(MaxSyncs) {
			return SyncReport{}, refuse(fault.Busy, "%d catch-ups are asked for already, the most that may be: wait until one has ended", MaxSyncs)
		}
		defer a.syncs.leave()
		r, err := a.inbox.Sync(ctx, o, nil)
		if r.Began.IsZero() && err != nil {
			return SyncReport{}, err
		}
		if r.Err == nil {
			r.Err = err
		}
		name, err := a.names(ctx)
		return newReport(&r, name), err
	})
}

func (req *SyncRequest) options() (o catchup.Options, err error) {
	if req.MaxBytes < 0 {
		return o, refuse(fault.Invalid, "maxBytes is %d; allowed: a number from 0", req.MaxBytes)
	}
	if n := max(len(req.First), len(req.Only)); n > history.MaxTopics {
		return o, refuse(fault.Limit, "%d topics are named; allowed: %d", n, history.MaxTopics)
	}
	o = catchup.Options{MaxBytes: req.MaxBytes, Alone: req.Alone, First: envelopeTopics(req.First), Only: envelopeTopics(req.Only)}
	if req.Server != "" {
		id, err := parseDevice(req.Server)
		if err != nil {
			return o, err
		}
		o.Server = &id
	}
	return o, nil
}

func envelopeTopics(list []Topic) []envelope.Topic {
	var out []envelope.Topic
	for _, t := range list {
		out = append(out, envelope.Topic(t))
	}
	return out
}

// naming says what people call a mail server: by the user's name for it, else its own, else the beginning of its id.
type naming func(nodeaddr.ID) string

func (a *inboxAPI) names(ctx context.Context) (naming, error) {
	list, err := a.inbox.Servers(ctx)
	known := make(map[nodeaddr.ID]string, len(list))
	for i := range list {
		known[list[i].ID()] = cmp.Or(list[i].Name, list[i].CallsItself)
	}
	return func(id nodeaddr.ID) string {
		if name := known[id]; name != "" {
			return name
		}
		return id.Short()
	}, err
}

func newReport(r *catchup.Report, name naming) SyncReport {
	out := SyncReport{ID: r.ID, End: r.End.String(), Text: ending(r, name), New: r.New, NewBytes: r.NewBytes, Bytes: r.Bytes, Left: r.Left,
		Began: r.Began, Seconds: r.Took.Seconds(), FirstEnvelope: r.FirstEnvelope.Seconds(), Servers: []SyncServer{}, Gaps: newGaps(r.Gaps)}
	if r.Err != nil {
		out.Error = fault.Text(r.Err)
	}
	for i := range r.Servers {
		s := &r.Servers[i]
		one := SyncServer{Server: s.Server.String(), Name: name(s.Server), Role: s.Role.String(), Form: s.Form.String(), End: s.End.String(),
			Envelopes: s.Envelopes, New: s.New, Bytes: s.Bytes, ListBytes: s.ListBytes, Listed: s.Listed, Lacked: s.Lacked,
			Fetched: s.Fetched, Withheld: s.Withheld, FirstAnswer: s.FirstAnswer.Seconds(), Seconds: s.Took.Seconds()}
		if s.Err != nil {
			one.Error = fault.Text(s.Err)
		}
		out.Servers = append(out.Servers, one)
	}
	return out
}

// ending says in a sentence how a catch-up ended.
func ending(r *catchup.Report, name naming) string {
	var said, answered []string
	for i := range r.Servers {
		s := &r.Servers[i]
		if s.End == history.EndComplete {
			said = append(said, name(s.Server))
		}
		if s.End != history.EndFailed {
			answered = append(answered, name(s.Server))
		}
	}
	open := slices.ContainsFunc(r.Gaps, func(g coverage.Gap) bool { return !g.Closed })
	switch {
	case len(r.Servers) == 0 && r.End == catchup.EndComplete:
		return "Nothing is waited for, so nobody was asked."
	case open && (r.End == catchup.EndAgreed || r.End == catchup.EndComplete):
		return "All that " + join(said) + " would give came, but something is missing still: the gaps say what."
	case r.End == catchup.EndAgreed:
		return "Complete: " + join(said) + " agree that this is all."
	case r.End == catchup.EndComplete:
		return "Complete, says " + join(said) + "; no second mail server was compared."
	case r.End == catchup.EndAnswered:
		return join(answered) + " answered, but older mail servers do not say whether that is all."
	case r.End == catchup.EndOverBudget && r.Left > 0:
		return fmt.Sprintf("Stopped when the bytes were spent; %d more are known to be left.", r.Left)
	case r.End == catchup.EndOverBudget:
		return "Stopped when the bytes were spent; more may be left."
	case r.End == catchup.EndStopped:
		return "Stopped before the end; what came is kept."
	}
	text := "no mail server could be asked"
	if r.Err != nil {
		text = fault.Text(r.Err)
	}
	return "Failed: " + strings.TrimSuffix(text, ".") + ". What came before is kept."
}

// join lists names as a sentence has them.
func join(names []string) string {
	switch n := len(names); n {
	case 0:
		return "a mail server"
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

// InboxGap is something that no mail server has handed over: a stretch of time, or envelopes that were named.
type InboxGap struct {
	ID        string    `json:"id"`
	Cause     string    `json:"cause"` // not asked, failed, over budget, withheld, expired or reset
	Text      string    `json:"text"`  // for people
	Topics    []Topic   `json:"topics"`
	From      uint32    `json:"from"` // Unix seconds, sent, both inclusive
	To        uint32    `json:"to"`
	Envelopes int       `json:"envelopes"` // known by name; 0: only the time is known
	Bytes     int64     `json:"bytes"`     // of those
	Holders   []string  `json:"holders"`   // mail servers that may have it
	Since     time.Time `json:"since,omitzero"`
	Closed    bool      `json:"closed"` // nobody will fill it
}

func newGap(g *coverage.Gap) InboxGap {
	return InboxGap{ID: g.ID, Cause: g.Cause.String(), Text: g.Text, Topics: topics(g.Topics), From: g.From, To: g.To,
		Envelopes: g.Envelopes, Bytes: g.Bytes, Holders: serverIDs(g.Holders), Since: g.Since, Closed: g.Closed}
}

func newGaps(list []coverage.Gap) []InboxGap {
	out := make([]InboxGap, len(list))
	for i := range list {
		out[i] = newGap(&list[i])
	}
	return out
}

func serverIDs(list []nodeaddr.ID) []string {
	out := make([]string, len(list))
	for i, id := range list {
		out[i] = id.String()
	}
	return out
}

// Gaps lists what is missing.
func (a *inboxAPI) Gaps(ctx context.Context) ([]InboxGap, error) {
	return inboxCall(ctx, a, func(ctx context.Context) ([]InboxGap, error) {
		list, err := a.inbox.Gaps(ctx)
		return newGaps(list), err
	})
}

// InboxCoverage is how it stands with one topic.
type InboxCoverage struct {
	Topic      Topic    `json:"topic"`
	Since      uint32   `json:"since"` // Unix seconds, sent, as all of these; 0: from the beginning
	Rank       int      `json:"rank"`
	Complete   uint32   `json:"complete"` // until then mail servers said that they gave all they had; 0: nothing is complete
	By         []string `json:"by"`       // who said so
	Agreed     uint32   `json:"agreed"`   // until then two said so
	Answered   uint32   `json:"answered"` // until then there was an answer, also of those that do not say that it is all
	AnsweredBy []string `json:"answeredBy"`
	Gaps       []string `json:"gaps"` // ids
	Text       string   `json:"text"` // for people
}

// Coverage tells how it stands with the topics of a watch, or with all.
func (a *inboxAPI) Coverage(ctx context.Context, watch *string) ([]InboxCoverage, error) {
	return inboxCall(ctx, a, func(ctx context.Context) ([]InboxCoverage, error) {
		id := ""
		if watch != nil {
			id = *watch
		}
		list, err := a.inbox.Coverage(ctx, id)
		out := make([]InboxCoverage, len(list))
		for i := range list {
			l := &list[i]
			out[i] = InboxCoverage{Topic: Topic(l.Topic), Since: l.Since, Rank: l.Rank, Complete: l.Complete, By: serverIDs(l.By), Agreed: l.Agreed,
				Answered: l.Answered, AnsweredBy: serverIDs(l.AnsweredBy), Gaps: append([]string{}, l.Gaps...), Text: l.Text}
		}
		return out, err
	})
}

func newBudget(b *inbox.Budget, name naming) InboxBudget {
	out := InboxBudget{Day: b.Day, Fetched: b.Fetched, Servers: []BudgetShare{}, Relayed: b.Relayed, RelayedLimit: b.RelayedLimit, PerSync: b.PerSync}
	for id, n := range b.ByServer {
		out.Servers = append(out.Servers, BudgetShare{Server: id.String(), Name: name(id), Bytes: n})
	}
	slices.SortFunc(out.Servers, func(a, b BudgetShare) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Server, b.Server))
	})
	out.Text = fmt.Sprintf("Today %d bytes came from mail servers, and %d were passed on for others.", b.Fetched, b.Relayed)
	return out
}
