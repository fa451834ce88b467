package relay_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/relay"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/session/sessiontest"
	"github.com/restante-im/restante/internal/wire"
)

// sink keeps what it is offered.
type sink struct {
	mu     sync.Mutex
	hashes []envelope.Hash
	direct int
}

func (s *sink) Offer(e *envelope.Envelope, _ float64, direct bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hashes = append(s.hashes, e.Hash())
	if direct {
		s.direct++
	}
}

func (s *sink) count() (all, direct int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.hashes), s.direct
}

type node struct {
	*relay.Relay
	sink   *sink
	health *health.Registry
	skew   time.Duration // of its clock

	progress []int // how many peers had confirmed a post, each time
}

func newNode(t *testing.T, cfg gossip.Config, skew time.Duration) *node {
	t.Helper()
	now := func() time.Time { return time.Now().Add(skew) }
	n := &node{sink: &sink{}, health: health.NewRegistry(now), skew: skew}
	cfg.Full = true
	n.Relay = relay.New(relay.Config{
		Gossip: cfg, Dialects: wire.Dialects(), Sinks: []relay.Sink{n.sink}, Now: now, Log: slog.New(slog.DiscardHandler), Health: n.health,
		Progress: func(hash envelope.Hash, peers int) {
			if all, _ := n.sink.count(); all == 0 || n.Status().MaxSize == 0 { // it may call the relay
				t.Error("progress was told before the envelope")
			}
			n.sink.mu.Lock()
			defer n.sink.mu.Unlock()
			n.progress = append(n.progress, peers)
		},
	})
	return n
}

var conns uint64

func id(i int) [32]byte { return [32]byte{byte(i + 1)} }

// counting counts the packets of envelopes that are written to a transport.
type counting struct {
	session.Transport
	mu      *sync.Mutex
	packets map[uint64]int
}

func (c counting) WritePacket(code uint64, payload []byte) error {
	c.mu.Lock()
	c.packets[code]++
	c.mu.Unlock()
	return c.Transport.WritePacket(code, payload)
}

// join connects two nodes in these dialects, and returns what a sent to b, by packet code, and how to cut them.
func join(a, b *node, ai, bi int, dialects ...*wire.Dialect) (sent counting, cut func()) {
	conns++
	sent = counting{mu: new(sync.Mutex), packets: map[uint64]int{}}
	var ends []*sessiontest.End
	pa := session.Peer{Conn: conns, ID: id(bi), Source: fmt.Sprint("source", bi)}
	pb := session.Peer{Conn: conns, ID: id(ai), Source: fmt.Sprint("source", ai)}
	for _, d := range dialects {
		x, y := sessiontest.Pipe(64)
		ends = append(ends, x)
		go func() { _ = a.Serve(pa, d, counting{x, sent.mu, sent.packets}) }()
		go func() { _ = b.Serve(pb, d, y) }()
	}
	return sent, func() {
		for _, e := range ends {
			e.Close(nil)
		}
	}
}

func draft(n *node, i int) *envelope.Envelope {
	now := uint32(n.Now().Unix())
	return envelope.New(now+50, 50, envelope.Topic{byte(16 * i), 250, 200, 4}, []byte(fmt.Sprint("message ", i)), uint64(i))
}

func close3(nodes ...*node) {
	for _, n := range nodes {
		n.Close()
	}
	synctest.Wait()
}

func TestAPostTravelsThroughARelayAndIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := newNode(t, gossip.Config{}, 0), newNode(t, gossip.Config{}, 0), newNode(t, gossip.Config{}, 0)
		defer close3(a, b, c)
		join(a, b, 0, 1, wire.Dialects()...)
		join(b, c, 1, 2, wire.Dialects()...)
		synctest.Wait()
		for i := range 20 {
			if err := a.Post(draft(a, i)); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		synctest.Wait()
		for name, n := range map[string]*node{"poster": a, "relay": b, "reader": c} {
			if got, _ := n.sink.count(); got != 20 {
				t.Errorf("the %s's sink got %d envelopes", name, got)
			}
		}
		if got := a.Status().Counters.Confirmed; got != 20 {
			t.Errorf("%d posts were confirmed", got)
		}
		if st := b.Status(); len(st.Peers) != 2 || st.Peers[0].EnvelopesIn != 20 || st.Peers[1].EnvelopesOut != 20 {
			t.Errorf("peers of the relay: %+v", st.Peers)
		}
	})
}

// TestManyPostsAreFollowed: however many are under way, each peer's confirmation of each is told.
func TestManyPostsAreFollowed(t *testing.T) {
	const posts = 6000
	synctest.Test(t, func(t *testing.T) {
		a, b, c := newNode(t, gossip.Config{}, 0), newNode(t, gossip.Config{}, 0), newNode(t, gossip.Config{}, 0)
		defer close3(a, b, c)
		for i := range posts {
			e := draft(a, i)
			if err := a.Post(e); err != nil {
				t.Fatal(err)
			}
		}
		join(a, b, 0, 1, wire.Dialects()[0])
		pass(10 * time.Second)
		join(a, c, 0, 2, wire.Dialects()[0])
		pass(10 * time.Second)
		synctest.Wait()
		count := map[int]int{}
		for _, peers := range a.progress {
			count[peers]++
		}
		if count[1] != posts || count[2] != posts || len(count) != 2 {
			t.Errorf("told: %v, want %d by one peer and by two", count, posts)
		}
	})
}

func TestASpentBudgetIsACondition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := newNode(t, gossip.Config{}, 0), newNode(t, gossip.Config{RelayPerDay: 200}, 0), newNode(t, gossip.Config{}, 0)
		defer close3(a, b, c)
		join(a, b, 0, 1, wire.Dialects()[0])
		join(b, c, 1, 2, wire.Dialects()[0])
		synctest.Wait()
		for i := range 20 {
			if err := a.Post(draft(a, i)); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		synctest.Wait()
		all, _ := b.sink.count()
		passed, _ := c.sink.count()
		if st := b.Status().Stats; all != 20 || passed == 20 || !st.RelaySpent || st.Relayed.Bytes > 200 {
			t.Errorf("%d came, %d were passed on, %d bytes", all, passed, st.Relayed.Bytes)
		}
		if today, limit := b.Relayed(); today == 0 || today > 200 || limit != 200 {
			t.Errorf("relayed %d of %d", today, limit)
		}
		if l := b.health.List(); len(l) != 1 || l[0].Code != relay.RelayBudget {
			t.Errorf("conditions: %+v", l)
		}
		b.Tune(gossip.Tune{})
		pass(2 * time.Second)
		synctest.Wait()
		if passed, _ = c.sink.count(); passed != 20 || len(b.health.List()) != 0 {
			t.Errorf("without a limit %d were passed on; conditions: %+v", passed, b.health.List())
		}
	})
}

func TestNothingGoesOutTwiceOnOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newNode(t, gossip.Config{Bridge: true}, 0), newNode(t, gossip.Config{Bridge: true}, 0)
		defer close3(a, b)
		join(a, b, 0, 1, wire.Dialects()...)
		synctest.Wait()
		for i := range 50 {
			if err := a.Post(draft(a, i)); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		synctest.Wait()
		st := b.Status().Stats
		if st.Accepted != 50 || st.Duplicates != 0 {
			t.Errorf("accepted %d, %d duplicates", st.Accepted, st.Duplicates)
		}
	})
}

func TestALateComerGetsThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newNode(t, gossip.Config{}, 0), newNode(t, gossip.Config{}, 0)
		defer close3(a, b)
		now := uint32(a.Now().Unix())
		for i := range 3000 {
			e := envelope.New(now+50, 50, envelope.Topic{byte(i)}, make([]byte, 1000), uint64(i))
			if err := a.Post(e); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		sent, _ := join(a, b, 0, 1, wire.Dialects()[0])
		pass(time.Second)
		synctest.Wait()
		if got, _ := b.sink.count(); got != 3000 {
			t.Errorf("%d envelopes came", got)
		}
		if packets := sent.packets[1]; packets < 3000*1030/(128<<10) || packets > 100 {
			t.Errorf("they came in %d packets", packets)
		}
	})
}

func TestPostsAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newNode(t, gossip.Config{MinPoW: 10}, 0)
		defer close3(a)
		err := a.Post(draft(a, 1))
		if r := new(envelope.Refusal); !errors.As(err, &r) || r.Reason != envelope.LowPoW {
			t.Errorf("a post without work: %v", err)
		}
		if err := a.SetMinPoW(0); err != nil {
			t.Fatal(err)
		}
		if err := a.Post(draft(a, 1)); err != nil {
			t.Errorf("after lowering the requirement: %v", err)
		}
		if err := a.SetMinPoW(-1); !fault.Is(err, fault.Invalid) {
			t.Errorf("negative requirement: %v", err)
		}
		for _, n := range []int{0, envelope.MaxSizeLimit + 1} {
			if err := a.SetMaxSize(n); !fault.Is(err, fault.Invalid) {
				t.Errorf("size %d: %v", n, err)
			}
		}
	})
}

func TestDirectEnvelopesNeedTrust(t *testing.T) {
	for _, d := range wire.Dialects() {
		t.Run(d.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newNode(t, gossip.Config{}, 0), newNode(t, gossip.Config{}, 0)
				defer close3(a, b)
				join(a, b, 0, 1, d)
				synctest.Wait()
				if err := a.PostDirect(id(1), draft(a, 1)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if _, direct := b.sink.count(); direct != 0 {
					t.Error("an unasked envelope was taken")
				}
				if err := b.Trust(id(0)); err != nil {
					t.Fatal(err)
				}
				if err := a.PostDirect(id(1), draft(a, 2)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if _, direct := b.sink.count(); direct != 1 {
					t.Errorf("%d direct envelopes came from a trusted peer", direct)
				}
				if err := a.PostDirect(id(7), draft(a, 2)); !fault.Is(err, fault.NotFound) {
					t.Errorf("to a stranger: %v", err)
				}
				if err := a.Trust(id(7)); !fault.Is(err, fault.NotFound) {
					t.Errorf("trusting a stranger: %v", err)
				}
				if !a.Connected(id(1)) || a.Connected(id(7)) {
					t.Error("who is connected is not known")
				}
			})
		})
	}
}

func TestNarrowerInterestIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newNode(t, gossip.Config{}, 0), newNode(t, gossip.Config{}, 0)
		defer close3(a, b)
		join(a, b, 0, 1, wire.Dialects()...)
		synctest.Wait()
		wanted := draft(a, 4).Topic()
		if err := b.SetBloom(wanted.WideBloom()); err != nil {
			t.Fatal(err)
		}
		pass(11 * time.Second)
		synctest.Wait()
		if a.Status().Peers[0].Full {
			t.Error("the change did not reach the peer")
		}
		for i := range 10 {
			if err := a.Post(draft(a, i)); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		synctest.Wait()
		if got, _ := b.sink.count(); got != 1 {
			t.Errorf("%d envelopes came, one was wanted", got)
		}
		if err := b.SetMinPoW(5); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := a.Status().Peers[0].MinPoW; got != 5 {
			t.Errorf("the peer knows a requirement of %v", got)
		}
	})
}

func TestAWrongClockIsNoticedAndCorrected(t *testing.T) {
	for _, skew := range []time.Duration{time.Minute, -time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				odd := newNode(t, gossip.Config{}, skew)
				nodes := []*node{odd}
				for i := range 4 {
					n := newNode(t, gossip.Config{}, 0)
					nodes = append(nodes, n)
					join(odd, n, 0, i+1, wire.Dialects()[0])
				}
				defer close3(nodes...)
				pass(10 * time.Second)
				for i := range 80 {
					if err := nodes[1+i%4].Post(draft(nodes[1+i%4], i)); err != nil {
						t.Fatal(err)
					}
					pass(time.Second)
				}
				synctest.Wait()
				if got := time.Until(odd.Now()); got.Abs() > 3*time.Second {
					t.Errorf("own envelopes are stamped %v off", got)
				}
				list := odd.health.List()
				if len(list) != 1 || list[0].Code != relay.ClockSkew || !strings.Contains(list[0].Text, "1m") {
					t.Errorf("conditions: %+v", list)
				}
				if err := odd.Post(draft(odd, 200)); err != nil {
					t.Fatal(err)
				}
				pass(time.Second)
				synctest.Wait()
				if got := nodes[2].Status().Stats.Refused(envelope.FromFuture); got != 0 {
					t.Errorf("%d envelopes from the future reached others", got)
				}
			})
		})
	}
}

func TestClosedRelayAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newNode(t, gossip.Config{}, 0), newNode(t, gossip.Config{}, 0)
		defer close3(b)
		join(a, b, 0, 1, wire.Dialects()[0])
		synctest.Wait()
		a.Close()
		synctest.Wait()
		if err := a.Post(draft(b, 1)); !fault.Is(err, fault.Closed) {
			t.Errorf("post: %v", err)
		}
		x, _ := sessiontest.Pipe(1)
		if err := a.Serve(session.Peer{Conn: 99}, wire.Dialects()[0], x); !fault.Is(err, fault.Closed) {
			t.Errorf("serve: %v", err)
		}
		if len(b.Status().Peers) != 0 {
			t.Error("the other side still lists the connection")
		}
	})
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }
