package inbox_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/store"
	"github.com/restante-im/restante/internal/watch"
)

var (
	topic = envelope.Topic{1, 2, 3, 4}
	key   = message.PasswordKey("hello")
)

func nodeOf(seed byte) nodeaddr.Node {
	b := make([]byte, 32)
	b[31] = seed
	k, err := message.ParsePrivateKey(b)
	if err != nil {
		panic(err)
	}
	pub := k.Public()
	n, err := nodeaddr.Parse("enode://" + pub.String()[4:] + "@127.0.0.1:30303")
	if err != nil {
		panic(err)
	}
	return n
}

// letterOf is an envelope whose payload is a number.
func letterOf(t testing.TB, n int, to envelope.Topic) *envelope.Envelope {
	t.Helper()
	payload := binary.BigEndian.AppendUint32(nil, uint32(n))
	data, err := message.SealSymmetric(key, message.Plain{Payload: payload}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e, err := envelope.Seal(t.Context(), envelope.Draft{Expiry: uint32(time.Now().Unix()) + 3600, TTL: 3600, Topic: to, Data: data}, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// gossip is a relay that hands posts to servers.
type gossip struct {
	mu     sync.Mutex
	wanted []envelope.Topic
	posts  []*envelope.Envelope
	to     []*server
}

func (g *gossip) Post(e *envelope.Envelope) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.posts = append(g.posts, e)
	for _, s := range g.to {
		s.keep(e)
	}
	return nil
}

func (g *gossip) Want(_ string, topics []envelope.Topic) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wanted = topics
}

func (g *gossip) Now() time.Time          { return time.Now() }
func (g *gossip) LeastPoW() float64       { return 0 }
func (g *gossip) Relayed() (int64, int64) { return 7, 100 }

// rig is an inbox over a store in a directory, two servers and a relay.
type rig struct {
	t       testing.TB
	options store.Options
	path    string
	store   *store.Store
	inbox   *inbox.Inbox
	relay   *gossip
	servers net
	set     inbox.Settings
	health  *health.Registry
	stop    func()
}

func newRig(t testing.TB, servers ...*server) *rig {
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "inbox.db"), servers: servers, relay: &gossip{to: servers}, health: health.NewRegistry(time.Now)}
	r.options = store.Options{Key: [32]byte{1}, Now: time.Now}
	for _, s := range servers {
		s.connect()
		r.set.Servers = append(r.set.Servers, s.node.String())
	}
	return r
}

// start runs the inbox; it is stopped at the end of the test, if not before.
func (r *rig) start() *rig {
	r.t.Helper()
	var err error
	if r.store, err = store.Open(r.path, r.options); err != nil {
		r.t.Fatal(err)
	}
	r.inbox, err = inbox.Open(context.Background(), inbox.Options{
		Store: r.store, File: r.path, Protection: "not protected", Settings: r.set, Rand: rand.Reader, Now: time.Now,
		Log: slog.New(slog.DiscardHandler), Health: r.health,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	in := r.inbox
	go func() { ended <- in.Run(ctx, inbox.Joined{Relay: r.relay, Network: r.servers, Mail: r.servers}) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
		in.Close()
		if err := r.store.Close(); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(r.stop)
	return r
}

func (r *rig) watch(spec watch.Spec) watch.Watch {
	r.t.Helper()
	if spec.Topics == nil {
		spec.Topics, spec.Sym = []envelope.Topic{topic}, &key
	}
	w, err := r.inbox.Watch(r.ctx(), spec)
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

func (r *rig) sync(o catchup.Options) catchup.Report {
	r.t.Helper()
	report, err := r.inbox.Sync(r.ctx(), o, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

// numbers are the payloads of all messages, in order.
func (r *rig) numbers(watch string) (list []int) {
	r.t.Helper()
	for after := uint64(0); ; {
		messages, next, err := r.inbox.Messages(r.ctx(), inbox.Query{Watch: watch, After: after})
		if err != nil {
			r.t.Fatal(err)
		}
		if next == after {
			return list
		}
		for _, m := range messages {
			list = append(list, int(binary.BigEndian.Uint32(m.Opened.Payload)))
		}
		after = next
	}
}

// patience bounds each wait.
const patience = 20 * time.Second

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.t.Cleanup(cancel)
	return ctx
}
