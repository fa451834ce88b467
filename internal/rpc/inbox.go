package rpc

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/outbox"
	"github.com/restante-im/restante/internal/watch"
)

// Inbox is what the namespace inbox needs of a client. Methods may be called concurrently; they return when they are done
// or ctx is. What changes something returns when the change is durable. Errors are faults. *inbox.Inbox is one.
type Inbox interface {
	// Status tells how the inbox is doing.
	Status(ctx context.Context) (inbox.Status, error)

	// Watch begins to wait for something. The zero Since means as far back as the configuration says.
	Watch(ctx context.Context, s watch.Spec) (watch.Watch, error)
	// Unwatch ends a watch and forgets what came for it alone. NotFound.
	Unwatch(ctx context.Context, id string) error
	// Watches lists what is waited for.
	Watches(ctx context.Context) ([]watch.Watch, error)
	// Messages lists what came after q.After, in the order in which it was kept. next is where to go on; there is
	// nothing more for the moment when it is q.After. NotFound.
	Messages(ctx context.Context, q inbox.Query) (list []inbox.Message, next uint64, err error)
	// Acknowledge says that the reader of a watch has everything up to a message. NotFound.
	Acknowledge(ctx context.Context, watch string, through uint64) error

	// Sync catches up and returns when that has ended, with what is known also where there is an error; the end of ctx
	// stops it. progress is called now and then, never after Sync has returned; nil for nobody.
	Sync(ctx context.Context, o catchup.Options, progress func(catchup.Progress)) (catchup.Report, error)
	// Coverage tells how it stands with each topic of a watch; of all with "". NotFound.
	Coverage(ctx context.Context, watch string) ([]coverage.Line, error)
	// Gaps lists what is missing.
	Gaps(ctx context.Context) ([]coverage.Gap, error)

	// Servers lists the mail servers that are known.
	Servers(ctx context.Context) ([]directory.View, error)
	// AddServer adds the mail server of an address or link; one that is not trusted is a suggestion until ConfirmServer.
	AddServer(ctx context.Context, link string, trusted bool) (directory.View, error)
	// RemoveServer forgets a mail server. NotFound.
	RemoveServer(ctx context.Context, id nodeaddr.ID) error
	// ConfirmServer lets a suggested mail server be asked. NotFound.
	ConfirmServer(ctx context.Context, id nodeaddr.ID) error
	// ChangeServer changes what the user decides about a mail server. NotFound.
	ChangeServer(ctx context.Context, id nodeaddr.ID, c directory.Change) (directory.View, error)
	// ImportFleet adds the mail servers of a list and returns how many were new.
	ImportFleet(ctx context.Context, text []byte, fleet string) (int, error)

	// Send takes a letter on and returns when it is stored. One with the ID of an earlier one is that one.
	Send(ctx context.Context, l outbox.Letter) (outbox.Entry, error)
	// Letters lists letters by the time of their making, at most limit, behind the one with the id after; "" begins.
	Letters(ctx context.Context, after string, limit int) ([]outbox.Entry, error)
	// Letter tells how one stands. NotFound.
	Letter(ctx context.Context, id string) (outbox.Entry, error)
	// GiveUp ends the efforts for a letter. NotFound.
	GiveUp(ctx context.Context, id string) error
	// Forget removes a letter from the list. NotFound.
	Forget(ctx context.Context, id string) error

	// Explain tells what is known of an envelope.
	Explain(ctx context.Context, hash envelope.Hash) (inbox.Explanation, error)
	// Budget tells what was spent today.
	Budget(ctx context.Context) (inbox.Budget, error)

	// Subscribe has f called with each event, one at a time, until cancel is called. f must neither block nor call the
	// inbox.
	Subscribe(f func(inbox.Event)) (cancel func())
}

// InboxStatus is the result of inbox_status.
type InboxStatus struct {
	Protection string    `json:"protection"` // where the file's key is: keyring, passphrase, or "not protected"
	File       string    `json:"file"`
	FileBytes  int64     `json:"fileBytes"`
	Mail       uint64    `json:"mail"` // envelopes kept
	MailBytes  int64     `json:"mailBytes"`
	Cap        int64     `json:"cap"` // of mailBytes; 0: none
	Watches    int       `json:"watches"`
	Topics     int       `json:"topics"`
	Servers    int       `json:"servers"`   // known and usable
	Connected  int       `json:"connected"` // of those
	Gaps       int       `json:"gaps"`      // open
	Letters    int       `json:"letters"`   // still followed
	Syncing    bool      `json:"syncing"`
	LastSync   time.Time `json:"lastSync,omitzero"` // the last catch-up that ended well
	Text       string    `json:"text"`              // for people
}

// InboxExplanation is the result of inbox_explain.
type InboxExplanation struct {
	Hash    envelope.Hash `json:"hash"`
	State   string        `json:"state"`         // kept, forgotten, missing, sent or unknown
	Text    string        `json:"text"`          // for people
	Seq     uint64        `json:"seq,omitempty"` // the rest as far as it is known
	Watches []string      `json:"watches"`
	Came    time.Time     `json:"came,omitzero"`
	Server  string        `json:"server,omitempty"`
	Letter  string        `json:"letter,omitempty"`
}

// InboxBudget is the result of inbox_budget: bytes, by UTC day.
type InboxBudget struct {
	Day          string        `json:"day"`     // 2006-01-02
	Fetched      int64         `json:"fetched"` // from mail servers
	Servers      []BudgetShare `json:"servers"`
	Relayed      int64         `json:"relayed"`      // passed on for others
	RelayedLimit int64         `json:"relayedLimit"` // 0: none
	PerSync      int64         `json:"perSync"`      // that a catch-up receives which names no limit; 0: no limit
	Text         string        `json:"text"`         // for people
}

// BudgetShare is what one mail server sent.
type BudgetShare struct {
	Server string `json:"server"`
	Name   string `json:"name"` // for people
	Bytes  int64  `json:"bytes"`
}

// inboxAPI is the namespace inbox. Without an inbox every method says so. Methods are in the files inbox*.go, by subject.
type inboxAPI struct {
	inbox   Inbox
	keys    *keyring.Ring
	bind    func(context.Context) (context.Context, context.CancelFunc) // ends work when the connection or the node does
	readers gate                                                        // of events
	syncs   gate
}

func newInboxAPI(i Inbox, keys *keyring.Ring, bind func(context.Context) (context.Context, context.CancelFunc)) *inboxAPI {
	return &inboxAPI{inbox: i, keys: keys, bind: bind}
}

// gate counts who is inside.
type gate struct{ inside atomic.Int32 }

// enter reports whether there was room. Who entered must leave.
func (g *gate) enter(most int32) bool {
	if g.inside.Add(1) > most {
		g.inside.Add(-1)
		return false
	}
	return true
}

func (g *gate) leave() { g.inside.Add(-1) }

var errNoInbox = errors.New("this node keeps no inbox: start it with `restante up`, or set enabled = true under [inbox] in its configuration")

// inboxCall runs one method for as long as somebody waits for it.
func inboxCall[T any](ctx context.Context, a *inboxAPI, f func(context.Context) (T, error)) (T, error) {
	var none T
	if a.inbox == nil {
		return none, errNoInbox
	}
	ctx, cancel := a.bind(ctx)
	defer cancel()
	v, err := f(ctx)
	if err != nil {
		return none, public(err)
	}
	return v, nil
}

// do runs a method that has no result but that it worked.
func (a *inboxAPI) do(ctx context.Context, f func(context.Context) error) (bool, error) {
	return inboxCall(ctx, a, func(ctx context.Context) (bool, error) { return true, f(ctx) })
}

// Status tells how the inbox is doing.
func (a *inboxAPI) Status(ctx context.Context) (InboxStatus, error) {
	return inboxCall(ctx, a, func(ctx context.Context) (InboxStatus, error) {
		st, err := a.inbox.Status(ctx)
		return InboxStatus(st), err
	})
}

// Explain tells what is known of an envelope.
func (a *inboxAPI) Explain(ctx context.Context, hash envelope.Hash) (InboxExplanation, error) {
	return inboxCall(ctx, a, func(ctx context.Context) (InboxExplanation, error) {
		x, err := a.inbox.Explain(ctx, hash)
		out := InboxExplanation{Hash: x.Hash, State: x.State, Text: x.Text, Seq: x.Seq, Watches: x.Watches, Came: x.Came,
			Server: serverID(x.Server), Letter: x.Letter}
		if out.Watches == nil {
			out.Watches = []string{}
		}
		return out, err
	})
}

// Budget tells what was spent today.
func (a *inboxAPI) Budget(ctx context.Context) (InboxBudget, error) {
	return inboxCall(ctx, a, func(ctx context.Context) (InboxBudget, error) {
		b, err := a.inbox.Budget(ctx)
		if err != nil {
			return InboxBudget{}, err
		}
		name, err := a.names(ctx)
		return newBudget(&b, name), err
	})
}
