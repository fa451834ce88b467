package inbox

import (
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/mailnet"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/outbox"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/store"
	"github.com/restante-im/restante/internal/watch"
)

// Store is where everything is kept; *store.Store is one.
type Store interface {
	Deliver(ctx context.Context, d store.Delivery) (store.Kept, error)
	Known(ctx context.Context, hashes []envelope.Hash) ([]bool, error)
	Mail(ctx context.Context, q store.MailQuery) ([]store.Mail, error)
	Forget(ctx context.Context, topics []envelope.Topic, through uint64) error
	Prune(ctx context.Context, before time.Time, read map[envelope.Topic]uint64) (store.Pruned, error)
	Claims(ctx context.Context) ([]coverage.Claim, error)
	Missing(ctx context.Context) ([]coverage.Missing, error)
	Records(ctx context.Context, kind string) ([]store.Record, error)
	Stats(ctx context.Context) (store.Stats, error)
}

// Relay is the gossip that letters leave by; *relay.Relay is one, with LeastPoW beside it.
type Relay interface {
	Post(env *envelope.Envelope) error
	Want(owner string, topics []envelope.Topic)
	Now() time.Time
	LeastPoW() float64 // what letters must carry at least, so that peers take them
	Relayed() (today, limit int64)
}

// Network keeps mail servers connected.
type Network interface {
	Keep(n nodeaddr.Node) error // from now on; again: try now
	Release(id nodeaddr.ID)
}

// Mail finds connected mail servers.
type Mail interface {
	// Remote waits until a node is connected and can be asked. The error is ctx's.
	Remote(ctx context.Context, node [32]byte) (Remote, error)
}

// Remote is a connected mail server; *mailnet.Remote is one.
type Remote interface {
	Transport(seal mailnet.Seal, form history.Form) (history.Transport, error)
	Held(ctx context.Context, hashes []envelope.Hash) ([]time.Time, error)
	Join(ctx context.Context, token string) (mailnet.Membership, error)
	Peer() session.Peer
	Gone() <-chan struct{} // closed when the connection has ended
}

// Options are what an Inbox is made of.
type Options struct {
	Store      Store
	File       string // where it is, for people
	Protection string // of its key, for people
	Cap        int64  // bytes of mail; 0 for none
	Settings   Settings
	Rand       io.Reader        // secure
	Now        func() time.Time // the clock
	Log        *slog.Logger
	Health     *health.Registry
}

// Settings are what can change while an Inbox runs.
type Settings struct {
	Servers    []string      // links of mail servers that the configuration names
	Only       bool          // only the first of Servers is used
	Alone      bool          // one mail server is enough: nothing is compared
	Since      time.Duration // how far back a new watch asks; 0 for everything
	Keep       time.Duration // for how long acknowledged mail is kept; 0 for ever
	SyncBudget int64         // bytes of a catch-up that names none; 0 for none
	MinPoW     float64       // mail with less is not taken; needs a restart
}

// Joined is what an Inbox works over; see Run.
type Joined struct {
	Relay   Relay
	Network Network
	Mail    Mail
}

// Inbox is the client. Make it with Open.
type Inbox struct {
	*actor
	opt    Options
	topics atomic.Pointer[map[envelope.Topic]struct{}] // what is waited for
	door   *door

	failing bool // of the door: nothing could be written last

	hear       sync.Mutex
	hearers    map[uint64]func(Event)
	lastHearer uint64

	// Of the actor.
	set      Settings
	joined   *Joined
	life     context.Context // ends with Run
	machine  *catchup.Machine
	pending  []catchup.Event // not yet stepped
	stepping bool
	servers  *directory.Directory
	chosen   []directory.Choice
	rechoose bool // something was measured
	letters  *outbox.Machine
	watches  map[string]*watched
	wanted   []coverage.Want // of all watches, by topic
	links    map[nodeaddr.ID]*link
	syncs    map[uint64]*waiter
	lastSync uint64
	saved    time.Time      // when measurements were written last
	pruned   time.Time      // when the store was pruned last
	work     sync.WaitGroup // goroutines that post to the actor
}

// Open reads what the store has and makes an Inbox of it. Run must be called next; calls of other methods wait for it.
func Open(ctx context.Context, o Options) (*Inbox, error) {
	in := &Inbox{
		actor: newActor(), opt: o, set: o.Settings, hearers: map[uint64]func(Event){}, servers: directory.New(), watches: map[string]*watched{},
		links: map[nodeaddr.ID]*link{}, syncs: map[uint64]*waiter{},
	}
	in.topics.Store(&map[envelope.Topic]struct{}{})
	in.door = newDoor(o.Store, in.keptLive)
	for _, load := range []func(context.Context) error{in.loadWatches, in.loadServers, in.loadLetters, in.loadMachine} {
		if err := load(ctx); err != nil {
			return nil, err
		}
	}
	go in.door.run()
	return in, nil
}

func (in *Inbox) loadWatches(ctx context.Context) error {
	records, err := in.opt.Store.Records(ctx, kindWatch)
	if err != nil {
		return err
	}
	for _, r := range records {
		w, err := watch.Parse(r.Data)
		if err != nil {
			return err // without it mail would be missed in silence
		}
		in.watches[w.ID] = &watched{Watch: w}
	}
	marks, err := in.opt.Store.Records(ctx, kindRead)
	for _, r := range marks {
		if w := in.watches[r.ID]; w != nil && len(r.Data) == 8 {
			w.read = binary.BigEndian.Uint64(r.Data)
		}
	}
	in.rewant()
	return err
}

func (in *Inbox) loadServers(ctx context.Context) error {
	records, err := in.opt.Store.Records(ctx, kindServer)
	if err != nil {
		return err
	}
	list := make([]directory.Record, len(records))
	for i, r := range records {
		list[i] = directory.Record{ID: r.ID, Data: r.Data}
	}
	for _, err := range in.servers.Load(list) {
		in.opt.Log.Warn("what was known of a mail server is lost; it can be added again", "err", err)
	}
	return in.addConfigured()
}

func (in *Inbox) loadLetters(ctx context.Context) error {
	records, err := in.opt.Store.Records(ctx, kindLetter)
	if err != nil {
		return err
	}
	list := make([][]byte, len(records))
	for i, r := range records {
		list[i] = r.Data
	}
	var problems []error
	in.letters, problems = outbox.New(outbox.Config{Seals: sealers, Rand: in.opt.Rand, Name: in.nameOf}, list)
	for _, err := range problems {
		in.opt.Log.Error("a letter cannot be read and is not followed any more", "err", err)
	}
	return nil
}

func (in *Inbox) loadMachine(ctx context.Context) error {
	cfg := catchup.Config{
		Wants: in.wanted, MinPoW: in.set.MinPoW, Seed: seedOf(in.opt.Rand), Alone: in.set.Alone, MaxBytes: in.set.SyncBudget, Name: in.nameOf,
	}
	var err error
	if cfg.Claims, err = in.opt.Store.Claims(ctx); err != nil {
		return err
	}
	if cfg.Missing, err = in.opt.Store.Missing(ctx); err != nil {
		return err
	}
	records, err := in.opt.Store.Records(ctx, kindFetch)
	if err != nil {
		return err
	}
	for _, r := range records {
		f, err := catchup.ParseOpenFetch(r.Data)
		if err != nil {
			in.opt.Log.Warn("a fetch that was under way starts over", "err", err)
			continue
		}
		cfg.Open = append(cfg.Open, f)
	}
	in.machine = catchup.New(cfg)
	return nil
}

func seedOf(r io.Reader) uint64 {
	var b [8]byte
	_, _ = io.ReadFull(r, b[:]) // without it all clients retry at once, which is no reason to fail
	return binary.LittleEndian.Uint64(b[:])
}

// nameOf is what people call a mail server.
func (in *Inbox) nameOf(id nodeaddr.ID) string {
	if v, ok := in.servers.View(in.opt.Now(), id); ok {
		return cmp.Or(v.Name, v.CallsItself, id.Short())
	}
	return id.Short()
}

// Run works until ctx ends. What comes live is still taken until Close.
func (in *Inbox) Run(ctx context.Context, j Joined) error {
	life, end := context.WithCancel(ctx)
	defer end()
	in.joined, in.life = &j, life
	in.rewant()
	in.choose() // before whoever calls: a catch-up without candidates fails at once
	in.letterServers()
	in.actor.run(life, in.opt.Now, in.due, in.tick)
	end()
	for _, l := range in.links {
		l.cancel()
	}
	in.work.Wait()
	in.saveServers()
	return nil
}

// Close writes what was taken and ends the Inbox, after Run or without it. The store may be closed then.
func (in *Inbox) Close() { in.door.close() }

// saveEvery is how often measurements of mail servers are written; pruneEvery how often old mail is looked for.
const (
	saveEvery  = time.Minute
	pruneEvery = time.Hour
)

// due says when tick must be called next.
func (in *Inbox) due() (at time.Time, ok bool) {
	sooner := func(t time.Time, is bool) {
		if is && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	if in.joined == nil {
		return at, false
	}
	sooner(in.machine.Deadline())
	sooner(in.letters.Deadline())
	sooner(in.servers.NextChange(in.opt.Now()))
	sooner(in.pruned.Add(pruneEvery), true)
	return at, ok
}

func (in *Inbox) tick() {
	now := in.opt.Now()
	if next := in.machine.State().Next; !next.IsZero() && !now.Before(next) {
		in.refresh()
	}
	in.step(catchup.Tick{})
	in.letterStep(outbox.Tick{})
	in.choose()
	if now.Sub(in.saved) >= saveEvery {
		in.saved = now
		in.saveServers()
	}
	if now.Sub(in.pruned) >= pruneEvery {
		in.pruned = now
		in.prune()
	}
}

// Online says that the network is there again, or another one.
func (in *Inbox) Online() {
	in.post(func() {
		if in.joined == nil {
			return
		}
		in.servers.Online()
		in.choose()
		in.step(catchup.Online{})
		in.letterStep(outbox.Online{})
	})
}

// write has something written and waits for it.
func (in *Inbox) write(ctx context.Context, d store.Delivery) error {
	done := make(chan error, 1)
	in.door.put(d, func(_ store.Kept, err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-in.door.closed:
		return errClosed
	}
}

// NotKept is the code of the health condition that mail could not be written.
const NotKept = "inbox-not-kept"

// Offer takes what came by gossip; relay.Sink declares it. What is waited for is kept.
func (in *Inbox) Offer(e *envelope.Envelope, _ float64, direct bool) {
	if _, wanted := (*in.topics.Load())[e.Topic()]; wanted && !direct {
		in.door.offer(e)
	}
}

// wrote tells the user when mail can no longer be kept, and when it can again. It is called by the door.
func (in *Inbox) wrote(err error) {
	switch {
	case err == nil && in.failing:
		in.opt.Log.Info("mail is kept again")
	case err != nil && !in.failing:
		in.opt.Log.Error("mail is not kept; it will be asked for again", "err", err)
	}
	if in.failing = err != nil; in.failing {
		in.opt.Health.Set(NotKept, health.Critical, fault.Text(err)+". Nothing is lost while mail servers keep it.")
	} else {
		in.opt.Health.Clear(NotKept)
	}
}

// keptLive is called by the door.
func (in *Inbox) keptLive(list []*envelope.Envelope, kept store.Kept, err error) {
	in.wrote(err)
	seen := map[envelope.Topic]bool{}
	var topics []envelope.Topic
	for _, e := range list {
		if !seen[e.Topic()] {
			seen[e.Topic()] = true
			topics = append(topics, e.Topic())
		}
	}
	in.post(func() {
		if kept.New > 0 {
			in.tell(Event{Kind: MailEvent, First: kept.First, Last: kept.Last, New: kept.New, Live: true})
		}
		if in.joined != nil {
			in.step(catchup.Live{Topics: topics})
		}
	})
}
