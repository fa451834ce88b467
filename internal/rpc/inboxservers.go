package rpc

import (
	"context"
	"time"

	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// InboxServer is a mail server that the inbox knows.
type InboxServer struct {
	ID        string    `json:"id"`
	Enode     string    `json:"enode"`
	Name      string    `json:"name,omitempty"`      // as the user calls it
	Note      string    `json:"note,omitempty"`      // the user's own words
	Origin    string    `json:"origin"`              // hand, config, fleet, link or own
	Suggested bool      `json:"suggested,omitempty"` // by a stranger's link: not asked before it is confirmed
	Paused    bool      `json:"paused,omitempty"`
	Preferred bool      `json:"preferred,omitempty"`
	Used      string    `json:"used"` // what it is for now
	Added     time.Time `json:"added"`

	Connected   bool      `json:"connected"`
	Since       time.Time `json:"since,omitzero"`   // connected, or not, since
	Client      string    `json:"client,omitempty"` // the program that it names
	CallsItself string    `json:"callsItself,omitempty"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	LastFailure time.Time `json:"lastFailure,omitzero"`
	LastError   string    `json:"lastError,omitempty"`
	CoolUntil   time.Time `json:"coolUntil,omitzero"` // not asked before, because it failed

	Answered     int      `json:"answered"` // well, of so many questions
	Asked        int      `json:"asked"`
	FirstP50     float64  `json:"firstP50,omitempty"` // seconds until its first answer; absent: not measured
	FirstP95     float64  `json:"firstP95,omitempty"`
	LastP50      float64  `json:"lastP50,omitempty"`      // seconds until its last
	Completeness *float64 `json:"completeness,omitempty"` // 0 to 1, against other servers; absent: not compared
	Compared     int      `json:"compared"`               // envelopes
	Lacked       int      `json:"lacked"`                 // of those
	Withheld     int      `json:"withheld"`               // named and not handed over

	Keep        uint64    `json:"keep,omitempty"` // seconds for which it promises to keep mail; 0: it does not say
	Age         uint64    `json:"age,omitempty"`  // seconds after which it deletes mail; 0: it does not say
	Closing     time.Time `json:"closing,omitzero"`
	MembersOnly bool      `json:"membersOnly,omitempty"`
	Member      bool      `json:"member,omitempty"`
	BytesToday  int64     `json:"bytesToday"`
	BytesTotal  int64     `json:"bytesTotal"`

	Sentences []InboxSentence `json:"sentences"`
}

// InboxSentence tells people one thing about a mail server.
type InboxSentence struct {
	Topic string `json:"topic"`
	Text  string `json:"text"`
}

// ServerChange is the second argument of inbox_changeServer. What is absent stays.
type ServerChange struct {
	Paused    *bool   `json:"paused,omitempty"`
	Preferred *bool   `json:"preferred,omitempty"`
	Only      *bool   `json:"only,omitempty"` // ask this one and nobody else
	Name      *string `json:"name,omitempty"`
	Password  *string `json:"password,omitempty"` // of an older mail server
	Note      *string `json:"note,omitempty"`
}

func newInboxServer(v *directory.View) InboxServer {
	out := InboxServer{
		ID: v.Node.ID().String(), Enode: v.Node.String(), Name: v.Name, Note: v.Note, Origin: v.Origin.String(), Suggested: v.Suggested,
		Paused: v.Paused, Preferred: v.Preferred, Used: v.Used.String(), Added: v.Added,
		Connected: v.Connected, Since: v.Since, Client: v.Client, CallsItself: v.CallsItself, LastSuccess: v.LastSuccess, LastFailure: v.LastFailure, LastError: v.LastError,
		CoolUntil: v.CoolUntil, FirstP50: v.FirstP50.Seconds(), FirstP95: v.FirstP95.Seconds(), LastP50: v.LastP50.Seconds(),
		Answered: v.Answered, Asked: v.Asked, Compared: v.Compared, Lacked: v.Lacked, Withheld: v.Withheld, Keep: seconds(v.Keep), Age: seconds(v.Age), Closing: v.Closing, MembersOnly: v.MembersOnly,
		Member: v.Member, BytesToday: v.BytesToday, BytesTotal: v.BytesTotal, Sentences: []InboxSentence{},
	}
	if v.Completeness >= 0 {
		out.Completeness = &v.Completeness
	}
	for _, s := range v.Sentences {
		out.Sentences = append(out.Sentences, InboxSentence(s))
	}
	return out
}

func seconds(d time.Duration) uint64 { return uint64(max(d, 0) / time.Second) }

// serverID is how a mail server is named in answers; empty for none.
func serverID(id nodeaddr.ID) string {
	if id == (nodeaddr.ID{}) {
		return ""
	}
	return id.String()
}

// Servers lists the mail servers that the inbox knows.
func (a *inboxAPI) Servers(ctx context.Context) ([]InboxServer, error) {
	return inboxCall(ctx, a, func(ctx context.Context) ([]InboxServer, error) {
		list, err := a.inbox.Servers(ctx)
		out := make([]InboxServer, len(list))
		for i := range list {
			out[i] = newInboxServer(&list[i])
		}
		return out, err
	})
}

// AddServer adds a mail server by its address or link. One that the user did not choose, which trusted says, is a
// suggestion until it is confirmed.
func (a *inboxAPI) AddServer(ctx context.Context, link string, trusted *bool) (InboxServer, error) {
	return inboxCall(ctx, a, func(ctx context.Context) (InboxServer, error) {
		if len(link) > directory.MaxLink {
			return InboxServer{}, refuse(fault.Limit, "the link has %d characters; allowed: %d", len(link), directory.MaxLink)
		}
		v, err := a.inbox.AddServer(ctx, link, trusted != nil && *trusted)
		if err != nil {
			return InboxServer{}, err
		}
		return newInboxServer(&v), nil
	})
}

// RemoveServer forgets a mail server.
func (a *inboxAPI) RemoveServer(ctx context.Context, server string) (bool, error) {
	return a.doServer(ctx, server, Inbox.RemoveServer)
}

// ConfirmServer lets a suggested mail server be asked.
func (a *inboxAPI) ConfirmServer(ctx context.Context, server string) (bool, error) {
	return a.doServer(ctx, server, Inbox.ConfirmServer)
}

// ChangeServer changes how a mail server is used.
func (a *inboxAPI) ChangeServer(ctx context.Context, server string, change ServerChange) (InboxServer, error) {
	return inboxCall(ctx, a, func(ctx context.Context) (InboxServer, error) {
		id, err := parseDevice(server)
		if err != nil {
			return InboxServer{}, err
		}
		v, err := a.inbox.ChangeServer(ctx, id, directory.Change(change))
		if err != nil {
			return InboxServer{}, err
		}
		return newInboxServer(&v), nil
	})
}

// ImportFleet adds the mail servers of a list, and returns how many were new.
func (a *inboxAPI) ImportFleet(ctx context.Context, text string, fleet *string) (int, error) {
	return inboxCall(ctx, a, func(ctx context.Context) (int, error) {
		if len(text) > directory.MaxFleet {
			return 0, refuse(fault.Limit, "the list has %d bytes; allowed: %d", len(text), directory.MaxFleet)
		}
		name := ""
		if fleet != nil {
			name = *fleet
		}
		return a.inbox.ImportFleet(ctx, []byte(text), name)
	})
}

// doServer does something with the mail server of this node id, address or public key.
func (a *inboxAPI) doServer(ctx context.Context, server string, f func(Inbox, context.Context, nodeaddr.ID) error) (bool, error) {
	return a.do(ctx, func(ctx context.Context) error {
		id, err := parseDevice(server)
		if err != nil {
			return err
		}
		return f(a.inbox, ctx, id)
	})
}
