package rpc_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/outbox"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/watch"
)

const watchID = "00112233445566aa"

var (
	lobby  = envelope.Topic{0xa1, 0x81, 0x51, 0x8b}
	second = nodeaddr.ID{0xff, 0xee, 0xdd, 0xcc}
	// errFull has a cause that must stay inside.
	errFull = fault.E("fake", fault.Limit, errors.New("secret"), "the inbox is full: raise inbox.cap")
)

// fakeInbox is an inbox with two mail servers and a little of everything. It notes what it is asked; with err it fails.
type fakeInbox struct {
	err error

	mu      sync.Mutex
	asked   []any
	hearers map[int]func(inbox.Event)
	last    int
	heard   chan struct{} // a value for each Subscribe and each cancel
	count   int           // of messages
	size    int           // of each
}

func newFakeInbox() *fakeInbox {
	return &fakeInbox{hearers: map[int]func(inbox.Event){}, heard: make(chan struct{}, 1000), count: 2, size: 5}
}

func withInbox(f *fakeInbox) func(*rpc.Options) { return func(o *rpc.Options) { o.Inbox = f } }

func (f *fakeInbox) note(what ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = what
	return f.err
}

func (f *fakeInbox) noted() []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *fakeInbox) Status(context.Context) (inbox.Status, error) {
	return inbox.Status{Protection: "keyring", File: "/home/anna/inbox.db", FileBytes: 1258291, Mail: 1200, MailBytes: 987654, Cap: 2 << 30, Watches: 1,
		Topics: 1, Servers: 2, Connected: 2, LastSync: day, Text: "Nothing is known to be lacking; caught up 5s ago."}, f.note("status")
}

func fakeWatch() watch.Watch {
	return watch.Watch{ID: watchID, Created: day, Spec: watch.Spec{Name: "lobby", Topics: []envelope.Topic{lobby}, Since: day}}
}

func (f *fakeInbox) Watch(_ context.Context, s watch.Spec) (watch.Watch, error) {
	return watch.Watch{Spec: s, ID: watchID, Created: day}, f.note("watch", s)
}
func (f *fakeInbox) Unwatch(_ context.Context, id string) error { return f.note("unwatch", id) }
func (f *fakeInbox) Watches(context.Context) ([]watch.Watch, error) {
	w := fakeWatch()
	key := message.PasswordKey("lobby")
	w.Sym = &key
	return []watch.Watch{w}, f.note("watches")
}

// Messages are numbered from 1.
func (f *fakeInbox) Messages(_ context.Context, q inbox.Query) (list []inbox.Message, next uint64, err error) {
	next = q.After
	for seq := int(q.After) + 1; seq <= f.count && len(list) < q.Limit; seq++ {
		payload := make([]byte, f.size)
		copy(payload, "hello")
		list = append(list, inbox.Message{Seq: uint64(seq), Watch: watchID, Hash: envelope.Hash{byte(seq)}, Topic: lobby, Sent: uint32(day.Unix()),
			TTL: 60, Came: day, Opened: &message.Opened{Payload: payload}})
		next = uint64(seq)
	}
	return list, next, f.note("messages", q)
}

func (f *fakeInbox) Acknowledge(_ context.Context, watch string, through uint64) error {
	return f.note("acknowledge", watch, through)
}

func fakeGap() coverage.Gap {
	return coverage.Gap{ID: "7c1d", Cause: coverage.Withheld, Topics: []envelope.Topic{lobby}, From: 1795348800, To: 1795348800, Envelopes: 1,
		Bytes: 412, Holders: []nodeaddr.ID{second}, Since: day, Text: "1 message was named by ffeeddcc and not handed over."}
}

func fakeReport() catchup.Report {
	return catchup.Report{ID: 1, End: catchup.EndAgreed, Began: day, Took: 150 * time.Millisecond, FirstEnvelope: 20 * time.Millisecond, New: 118,
		NewBytes: 98304, Bytes: 105800, Servers: []catchup.ServerReport{
			{Server: home().ID(), Role: catchup.Primary, Form: history.ByArrival, End: history.EndComplete, Envelopes: 117, New: 117, Bytes: 100560,
				FirstAnswer: 12 * time.Millisecond, Took: 150 * time.Millisecond},
			{Server: second, Role: catchup.Second, Form: history.ByArrival, End: history.EndComplete, Envelopes: 1, New: 1, Bytes: 5240,
				ListBytes: 4720, Listed: 118, Fetched: 1, FirstAnswer: 15 * time.Millisecond, Took: 140 * time.Millisecond},
		}}
}

func (f *fakeInbox) Sync(ctx context.Context, o catchup.Options, _ func(catchup.Progress)) (catchup.Report, error) {
	if err := f.note("sync", o); err != nil {
		return catchup.Report{}, err
	}
	return fakeReport(), ctx.Err()
}

func (f *fakeInbox) Coverage(_ context.Context, watch string) ([]coverage.Line, error) {
	return []coverage.Line{{Want: coverage.Want{Topic: lobby, Since: 1792756800}, Complete: 1795348800, By: []nodeaddr.ID{home().ID()}, Agreed: 1795348800,
		Answered: 1795348800, AnsweredBy: []nodeaddr.ID{home().ID()}, Gaps: []string{"7c1d"}, Text: "Complete until 12:00, says home."}}, f.note("coverage", watch)
}
func (f *fakeInbox) Gaps(context.Context) ([]coverage.Gap, error) {
	return []coverage.Gap{fakeGap()}, f.note("gaps")
}

func home() nodeaddr.Node {
	n, err := nodeaddr.Parse(testEnode)
	if err != nil {
		panic(err)
	}
	return n
}

func fakeView() directory.View {
	return directory.View{Entry: directory.Entry{Node: home(), Name: "home", Added: day, Token: "secret", Password: "secret"}, Used: directory.Primary,
		Connected: true, Since: day, Client: "Restante/v0.2", LastSuccess: day, Answered: 32, Asked: 32, FirstP50: 10 * time.Millisecond,
		FirstP95: 30 * time.Millisecond, LastP50: 100 * time.Millisecond, Completeness: 1, Compared: 1200, Keep: 72 * time.Hour, Age: 720 * time.Hour,
		BytesToday: 100560, BytesTotal: 100560, Sentences: []directory.Sentence{{Topic: "use", Text: "It is asked first."}}}
}

func (f *fakeInbox) Servers(context.Context) ([]directory.View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []directory.View{fakeView()}, nil
}
func (f *fakeInbox) AddServer(_ context.Context, link string, trusted bool) (directory.View, error) {
	v := fakeView()
	v.Suggested, v.Completeness = !trusted, -1
	return v, f.note("addServer", link, trusted)
}
func (f *fakeInbox) RemoveServer(_ context.Context, id nodeaddr.ID) error {
	return f.note("removeServer", id)
}
func (f *fakeInbox) ConfirmServer(_ context.Context, id nodeaddr.ID) error {
	return f.note("confirmServer", id)
}
func (f *fakeInbox) ChangeServer(_ context.Context, id nodeaddr.ID, c directory.Change) (directory.View, error) {
	return fakeView(), f.note("changeServer", id, c)
}
func (f *fakeInbox) ImportFleet(_ context.Context, text []byte, fleet string) (int, error) {
	return 2, f.note("importFleet", string(text), fleet)
}

func fakeLetter(state outbox.State, text string) outbox.Entry {
	return outbox.Entry{Letter: outbox.Letter{ID: "backup-7", Topic: lobby, TTL: 24 * time.Hour, Until: day.AddDate(0, 0, 7)}, Size: 5, State: state,
		Created: day, Changed: day, Text: text}
}

func heldLetter() outbox.Entry {
	e := fakeLetter(outbox.StateHeld, "Held by 1 mail server until 29 Nov.")
	e.Peers, e.Holders = 3, []outbox.Holder{{Server: home().ID(), Until: day.AddDate(0, 0, 7), Confirmed: day, How: outbox.HowTold}}
	e.Attempts = []outbox.Attempt{{Hash: envelope.Hash{0x6f}, Posted: day, Expires: day.AddDate(0, 0, 1)}}
	return e
}

func (f *fakeInbox) Send(_ context.Context, l outbox.Letter) (outbox.Entry, error) {
	return fakeLetter(outbox.StateSending, "Sending: no peer has confirmed it yet."), f.note("send", l)
}
func (f *fakeInbox) Letters(_ context.Context, after string, limit int) ([]outbox.Entry, error) {
	return []outbox.Entry{heldLetter()}, f.note("letters", after, limit)
}
func (f *fakeInbox) Letter(_ context.Context, id string) (outbox.Entry, error) {
	return heldLetter(), f.note("letter", id)
}
func (f *fakeInbox) GiveUp(_ context.Context, id string) error { return f.note("giveUp", id) }
func (f *fakeInbox) Forget(_ context.Context, id string) error { return f.note("forget", id) }

func (f *fakeInbox) Explain(_ context.Context, h envelope.Hash) (inbox.Explanation, error) {
	return inbox.Explanation{Hash: h, State: "kept", Text: "It was handed over by home at 2026-11-22 12:00:00 UTC and is message 7.", Seq: 7,
		Watches: []string{watchID}, Came: day, Server: home().ID()}, f.note("explain", h)
}
func (f *fakeInbox) Budget(context.Context) (inbox.Budget, error) {
	return inbox.Budget{Day: "2026-11-22", Fetched: 105800, ByServer: map[nodeaddr.ID]int64{second: 5240, home().ID(): 100560}, Relayed: 2 << 20,
		RelayedLimit: 100 << 20}, f.note("budget")
}

func (f *fakeInbox) Subscribe(hear func(inbox.Event)) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	id := f.last
	f.hearers[id] = hear
	f.heard <- struct{}{}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.hearers, id)
		f.heard <- struct{}{}
	}
}

// tell tells those who listen.
func (f *fakeInbox) tell(list ...inbox.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range list {
		for _, hear := range f.hearers {
			hear(e)
		}
	}
}
