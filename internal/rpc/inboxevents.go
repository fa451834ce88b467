package rpc

import (
	"context"
	"slices"
	"sync"

	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/inbox"
)

// Bounds of `inbox_subscribe "events"`.
const (
	MaxEventReaders = 100 // open at a time
	MaxEvents       = 256 // that wait for one reader; then the oldest goes, and the reader is told
)

// lostKind is the kind of the event that tells a reader how many it has lost.
const lostKind = "lost"

// InboxEvent is what `inbox_subscribe "events"` sends; the fields of its kind are there.
type InboxEvent struct {
	Kind     string        `json:"kind"`            // mail, progress, report, letter, server, watch or lost
	First    uint64        `json:"first,omitempty"` // mail: seq of what was kept
	Last     uint64        `json:"last,omitempty"`
	New      int           `json:"new,omitempty"`  // mail: how many
	Live     bool          `json:"live,omitempty"` // mail: it came by itself
	Progress *SyncProgress `json:"progress,omitempty"`
	Report   *SyncReport   `json:"report,omitempty"`
	Letter   *Letter       `json:"letter,omitempty"`
	Server   string        `json:"server,omitempty"` // id; inbox_servers has the rest
	Watch    string        `json:"watch,omitempty"`  // id; inbox_watches has the rest
	Lost     uint64        `json:"lost,omitempty"`   // events that this reader was too slow for
}

// newEvent decodes nothing secret: keys of letters stay.
func newEvent(e *inbox.Event, name naming) *InboxEvent {
	out := &InboxEvent{Kind: string(e.Kind), First: e.First, Last: e.Last, New: e.New, Live: e.Live, Server: serverID(e.Server), Watch: e.Watch}
	if e.Progress != nil {
		out.Progress = newProgress(e.Progress)
	}
	if e.Report != nil {
		r := newReport(e.Report, name)
		out.Report = &r
	}
	if e.Letter != nil {
		l := newLetter(e.Letter)
		out.Letter = &l
	}
	return out
}

// eventQueue is what waits for one reader.
type eventQueue struct {
	kinds []string // empty: all
	ready chan struct{}

	mu   sync.Mutex
	list []inbox.Event
	lost uint64
}

// add never waits. Of several progresses in a row only the last matters.
func (q *eventQueue) add(e inbox.Event) {
	if len(q.kinds) > 0 && !slices.Contains(q.kinds, string(e.Kind)) {
		return
	}
	q.mu.Lock()
	n := len(q.list)
	switch {
	case e.Kind == inbox.ProgressEvent && n > 0 && q.list[n-1].Kind == inbox.ProgressEvent:
		q.list[n-1] = e
	case n >= MaxEvents:
		q.lost++
		copy(q.list, q.list[1:])
		q.list[n-1] = e
	default:
		q.list = append(q.list, e)
	}
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *eventQueue) take() (list []inbox.Event, lost uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list, lost = q.list, q.lost
	q.list, q.lost = nil, 0
	return list, lost
}

// Events is the subscription "events": what happens is pushed, of the kinds named or of all. A reader that does not keep up
// loses the oldest and is told how many.
func (a *inboxAPI) Events(ctx context.Context, kinds *[]string) (*gethrpc.Subscription, error) {
	notifier, ok := gethrpc.NotifierFromContext(ctx)
	if !ok {
		return nil, gethrpc.ErrNotificationsUnsupported
	}
	if a.inbox == nil {
		return nil, errNoInbox
	}
	q := &eventQueue{ready: make(chan struct{}, 1)}
	if kinds != nil {
		q.kinds = *kinds
	}
	for _, kind := range q.kinds {
		if !slices.Contains(inbox.EventKinds(), inbox.EventKind(kind)) {
			return nil, public(refuse(fault.Invalid, "there are no events of the kind %.40q; allowed: %v", kind, inbox.EventKinds()))
		}
	}
	if !a.readers.enter(MaxEventReaders) {
		return nil, public(refuse(fault.Limit, "%d subscriptions of events are open already, the most that may be", MaxEventReaders))
	}
	sub := notifier.CreateSubscription()
	cancel := a.inbox.Subscribe(q.add)
	go func() {
		defer cancel()
		defer a.readers.leave()
		a.pushEvents(notifier, sub, q)
	}()
	return sub, nil
}

// pushEvents ends when the client unsubscribes or is gone.
func (a *inboxAPI) pushEvents(notifier *gethrpc.Notifier, sub *gethrpc.Subscription, q *eventQueue) {
	for {
		select {
		case <-sub.Err():
			return
		case <-q.ready:
		}
		list, lost := q.take()
		if lost > 0 && notifier.Notify(sub.ID, &InboxEvent{Kind: lostKind, Lost: lost}) != nil {
			return
		}
		for i := range list {
			if notifier.Notify(sub.ID, newEvent(&list[i], a.nameLater(&list[i]))) != nil {
				return
			}
		}
	}
}

// nameLater finds names for the events that need them. Without names ids do.
func (a *inboxAPI) nameLater(e *inbox.Event) naming {
	if e.Report == nil {
		return nil
	}
	ctx, cancel := a.bind(context.Background())
	defer cancel()
	name, _ := a.names(ctx)
	return name
}

// Events sends what happens in the node's inbox to ch, which must be read, until cancel is called or ended yields. Without
// kinds all events are sent.
func (c *Client) Events(ctx context.Context, kinds []string, ch chan<- *InboxEvent) (ended <-chan error, cancel func(), err error) {
	sub, err := c.rpc.Subscribe(ctx, "inbox", ch, "events", kinds)
	if err != nil {
		return nil, nil, clientError(ctx, "inbox_subscribe", err)
	}
	return sub.Err(), sub.Unsubscribe, nil
}
