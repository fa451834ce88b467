package filter_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/message"
)

var (
	topicA = envelope.Topic{1, 2, 3, 4}
	topicB = envelope.Topic{5, 6, 7, 8}
	epoch  = time.Unix(1_800_000_000, 0)
)

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

// interest writes down what it is told, with owners numbered as they appear.
type interest struct {
	mu    sync.Mutex
	names map[string]int
	log   []string
}

func (i *interest) Want(owner string, topics []envelope.Topic) {
	i.note("want", owner, fmt.Sprint(topics))
}
func (i *interest) Unwant(owner string) { i.note("unwant", owner, "") }
func (i *interest) note(what, owner, rest string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.names == nil {
		i.names = make(map[string]int)
	}
	if _, ok := i.names[owner]; !ok {
		i.names[owner] = len(i.names) + 1
	}
	i.log = append(i.log, strings.TrimSpace(fmt.Sprintf("%s %d %s", what, i.names[owner], rest)))
}

type fixture struct {
	*testing.T
	set      *filter.Set
	clock    *clock
	interest *interest
	nonce    uint64
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{T: t, clock: &clock{now: epoch}, interest: &interest{}}
	f.set = filter.New(filter.Options{Now: f.clock.Now, Interest: f.interest})
	return f
}

func (f *fixture) add(c filter.Criteria) string {
	f.Helper()
	id, err := f.set.Add(c)
	if err != nil {
		f.Fatal(err)
	}
	return id
}

// poll returns the payloads that wait.
func (f *fixture) poll(id string) []string {
	f.Helper()
	list, err := f.set.Poll(id)
	if err != nil {
		f.Fatal(err)
	}
	return payloads(list)
}

func payloads(list []filter.Message) (out []string) {
	for _, m := range list {
		out = append(out, string(m.Opened.Payload))
	}
	return out
}

func (f *fixture) wrap(topic envelope.Topic, data []byte, err error) *envelope.Envelope {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
	f.nonce++
	return envelope.New(uint32(epoch.Unix())+50, 50, topic, data, f.nonce)
}

func (f *fixture) sym(topic envelope.Topic, k message.SymKey, text string, sign *message.PrivateKey) *envelope.Envelope {
	f.Helper()
	data, err := message.SealSymmetric(k, message.Plain{Payload: []byte(text), Sign: sign}, nil)
	return f.wrap(topic, data, err)
}

func (f *fixture) asym(topic envelope.Topic, to message.PublicKey, text string) *envelope.Envelope {
	f.Helper()
	data, err := message.SealAsymmetric(to, message.Plain{Payload: []byte(text)}, nil)
	return f.wrap(topic, data, err)
}

func symKey(t testing.TB, n byte) *message.SymKey {
	t.Helper()
	k, err := message.NewSymKey(append(make([]byte, 31), n))
	if err != nil {
		t.Fatal(err)
	}
	return &k
}

func privateKey(t testing.TB, n byte) *message.PrivateKey {
	t.Helper()
	k, err := message.ParsePrivateKey(append(make([]byte, 31), n))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestMatching(t *testing.T) {
	k1, k2, p1, p2 := symKey(t, 1), symKey(t, 2), privateKey(t, 1), privateKey(t, 2)
	pub1, pub2 := p1.Public(), p2.Public()
	both := []envelope.Topic{topicA, topicB}
	for _, c := range []struct {
		name   string
		want   filter.Criteria
		sign   *message.PrivateKey
		asym   bool
		direct bool
		match  bool
	}{
		{"key and topic", filter.Criteria{Sym: k1, Topics: both[:1]}, nil, false, false, true},
		{"last of several topics", filter.Criteria{Sym: k1, Topics: []envelope.Topic{topicB, topicA}}, nil, false, false, true},
		{"first of several topics", filter.Criteria{Sym: k1, Topics: both}, nil, false, false, true},
		{"any topic", filter.Criteria{Sym: k1}, nil, false, false, true},
		{"another topic", filter.Criteria{Sym: k1, Topics: both[1:]}, nil, false, false, false},
		{"another key", filter.Criteria{Sym: k2}, nil, false, false, false},
		{"private key", filter.Criteria{Private: p1}, nil, true, false, true},
		{"another private key", filter.Criteria{Private: p2}, nil, true, false, false},
		{"symmetric filter, asymmetric message", filter.Criteria{Sym: k1}, nil, true, false, false},
		{"signer", filter.Criteria{Sym: k1, Signer: &pub1}, p1, false, false, true},
		{"another signer", filter.Criteria{Sym: k1, Signer: &pub2}, p1, false, false, false},
		{"signer wanted, unsigned", filter.Criteria{Sym: k1, Signer: &pub1}, nil, false, false, false},
		{"signed, any signer", filter.Criteria{Sym: k1}, p1, false, false, true},
		{"direct not allowed", filter.Criteria{Sym: k1}, nil, false, true, false},
		{"direct allowed", filter.Criteria{Sym: k1, AllowDirect: true}, nil, false, true, true},
		{"direct allowed, not direct", filter.Criteria{Sym: k1, AllowDirect: true}, nil, false, false, true},
		{"enough work", filter.Criteria{Sym: k1, MinPoW: 3}, nil, false, false, true},
		{"too little work", filter.Criteria{Sym: k1, MinPoW: 3.1}, nil, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			id := f.add(c.want)
			env := f.sym(topicA, *k1, "hello", c.sign)
			if c.asym {
				env = f.asym(topicA, pub1, "hello")
			}
			f.set.Offer(env, 3, c.direct)
			if got := len(f.poll(id)) == 1; got != c.match {
				t.Errorf("matched: %v, want %v", got, c.match)
			}
		})
	}
}

// Weakness of docs/weaknesses.md: real peers never compute the proof of work of direct envelopes, so that a
// filter with a minimum misses them.
func TestDirectEnvelopeHasItsProofOfWork(t *testing.T) {
	f := newFixture(t)
	k := symKey(t, 1)
	env := f.sym(topicA, *k, "mail", nil)
	id := f.add(filter.Criteria{Sym: k, MinPoW: env.PoW(), AllowDirect: true})
	over := f.add(filter.Criteria{Sym: k, MinPoW: env.PoW() * 1.01, AllowDirect: true})
	f.set.Offer(env, 0, true)
	list, err := f.set.Poll(id)
	if err != nil || len(list) != 1 || list[0].PoW != env.PoW() || !list[0].Direct {
		t.Errorf("got %+v, %v", list, err)
	}
	if got := f.poll(over); got != nil {
		t.Errorf("a filter that asks for more work got %q", got)
	}
}

func TestMessageFields(t *testing.T) {
	f := newFixture(t)
	p := privateKey(t, 1)
	pub := p.Public()
	id := f.add(filter.Criteria{Private: p})
	env := f.asym(topicB, pub, "x")
	f.set.Offer(env, 0.25, false)
	list, err := f.set.Poll(id)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	want := filter.Message{
		Hash: env.Hash(), Topic: topicB, TTL: 50, Sent: uint32(epoch.Unix()), PoW: 0.25,
		Recipient: &pub, Opened: list[0].Opened,
	}
	if diff := cmp.Diff(want, list[0]); diff != "" {
		t.Error(diff)
	}
}

func TestPollKeepsArrivalOrderAndGivesEachOnce(t *testing.T) {
	f := newFixture(t)
	k := symKey(t, 1)
	id := f.add(filter.Criteria{Sym: k, Topics: []envelope.Topic{topicA}, AllowDirect: true})
	var envs []*envelope.Envelope
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint(i))
		envs = append(envs, f.sym(topicA, *k, want[i], nil))
		f.set.Offer(envs[i], 1, false)
		f.set.Offer(envs[i], 1, false)
	}
	if diff := cmp.Diff(want, f.poll(id)); diff != "" {
		t.Error(diff)
	}
	f.set.Offer(envs[3], 1, false)
	f.set.Offer(envs[3], 1, true)
	if got := f.poll(id); got != nil {
		t.Errorf("given twice: %q", got)
	}
	later := f.add(filter.Criteria{Sym: k})
	f.set.Offer(envs[3], 1, false)
	if got := f.poll(later); len(got) != 1 {
		t.Errorf("a later filter got %q when the envelope was offered again", got)
	}
}

// R13 of docs/weaknesses.md: one attempt for each distinct key, and none after one has opened the envelope.
func TestOneAttemptForEachKey(t *testing.T) {
	f := newFixture(t)
	k1, k2, k3 := symKey(t, 1), symKey(t, 2), symKey(t, 3)
	var ids []string
	for i := range 30 {
		for _, k := range []*message.SymKey{k1, k2, k3} {
			c := filter.Criteria{Sym: k}
			if i%2 == 0 {
				c.Topics = []envelope.Topic{topicA}
			}
			ids = append(ids, f.add(c))
		}
	}
	f.set.Offer(f.sym(topicA, *k2, "x", nil), 1, false)
	if st := f.set.Stats(); st.Tried != 2 || st.Opened != 1 || st.Delivered != 30 {
		t.Errorf("tried %d, opened %d, delivered %d; want 2, 1, 30", st.Tried, st.Opened, st.Delivered)
	}
	for i, id := range ids {
		if got, want := len(f.poll(id)) == 1, i%3 == 1; got != want {
			t.Errorf("filter %d: got a message: %v", i, got)
		}
	}
	f.set.Offer(f.sym(topicA, *symKey(t, 9), "x", nil), 1, false)
	if st := f.set.Stats(); st.Tried != 2+3 {
		t.Errorf("a foreign envelope took %d attempts, want 3", st.Tried-2)
	}
}

// R11 of docs/weaknesses.md: filters and what waits are bounded,
// and unpolled filters expire. This test and the five after it.
func TestBoundedByMessages(t *testing.T) {
	f := newFixture(t)
	k := symKey(t, 1)
	id := f.add(filter.Criteria{Sym: k})
	env := f.sym(topicA, *k, "same", nil)
	for i := range uint64(filter.MaxMessages + 10) {
		f.set.Offer(envelope.New(env.Expiry(), env.TTL(), topicA, env.Data(), i), 1, false)
	}
	if n, err := f.set.Dropped(id); n != 10 || err != nil {
		t.Errorf("dropped %d, %v; want 10", n, err)
	}
	if st := f.set.Stats(); st.Waiting != filter.MaxMessages || st.Dropped != 10 {
		t.Errorf("%+v", st)
	}
	list, err := f.set.Poll(id)
	first := envelope.New(env.Expiry(), env.TTL(), topicA, env.Data(), 10).Hash()
	if err != nil || len(list) != filter.MaxMessages || list[0].Hash != first {
		t.Errorf("got %d messages, %v; the oldest should have gone", len(list), err)
	}
	if st := f.set.Stats(); st.Waiting != 0 || st.WaitingBytes != 0 {
		t.Errorf("after the poll: %+v", st)
	}
}

func TestBoundedByBytes(t *testing.T) {
	f := newFixture(t)
	k := symKey(t, 1)
	id := f.add(filter.Criteria{Sym: k})
	big := strings.Repeat("x", 4<<20)
	for range 6 {
		f.set.Offer(f.sym(topicA, *k, big, nil), 1, false)
	}
	if st := f.set.Stats(); st.Waiting != 3 || st.WaitingBytes > filter.MaxBytes || st.Dropped != 3 {
		t.Errorf("%+v", st)
	}
	huge := strings.Repeat("x", message.MaxPayload)
	f.set.Offer(f.sym(topicA, *k, huge, nil), 1, false)
	if got := f.poll(id); len(got) != 1 || len(got[0]) != len(huge) {
		t.Errorf("the newest message must stay, whatever its size; %d wait", len(got))
	}
}

func TestBoundedInTotal(t *testing.T) {
	f := newFixture(t)
	k := symKey(t, 1)
	for range 20 {
		f.add(filter.Criteria{Sym: k})
	}
	big := strings.Repeat("x", 4<<20)
	for range 4 {
		f.set.Offer(f.sym(topicA, *k, big, nil), 1, false)
	}
	if st := f.set.Stats(); st.WaitingBytes > filter.MaxTotalBytes || st.Dropped == 0 {
		t.Errorf("%+v", st)
	}
}

func TestLimits(t *testing.T) {
	f := newFixture(t)
	k := symKey(t, 1)
	topics := make([]envelope.Topic, filter.MaxTopics+1)
	for i, c := range []filter.Criteria{
		{},
		{Sym: k, Private: privateKey(t, 1)},
		{Sym: k, MinPoW: math.NaN()},
		{Sym: k, Topics: topics},
	} {
		if _, err := f.set.Add(c); !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Limit) {
			t.Errorf("criteria %d: %v", i, err)
		}
	}
	for i := range filter.MaxFilters - 1 {
		topic := envelope.Topic{byte(i), byte(i >> 8)}
		f.add(filter.Criteria{Sym: k, Topics: []envelope.Topic{topic}})
	}
	sub, err := f.set.Subscribe(filter.Criteria{Sym: k})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.set.Add(filter.Criteria{Sym: k}); !fault.Is(err, fault.Limit) {
		t.Errorf("one too many: %v", err)
	}
	sub.Close()
	f.add(filter.Criteria{Sym: k})
}

func TestUnpolledFiltersExpire(t *testing.T) {
	f := newFixture(t)
	k := symKey(t, 1)
	idle := f.add(filter.Criteria{Sym: k, Topics: []envelope.Topic{topicA}})
	polled := f.add(filter.Criteria{Sym: k})
	sub, err := f.set.Subscribe(filter.Criteria{Sym: k, Topics: []envelope.Topic{topicB}})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	f.set.Offer(f.sym(topicA, *k, "x", nil), 1, false)

	if n := f.set.Expire(f.clock.pass(filter.IdleLimit)); n != 0 {
		t.Errorf("%d expired at the limit", n)
	}
	f.poll(polled)
	if n := f.set.Expire(f.clock.pass(time.Second)); n != 1 {
		t.Errorf("%d expired behind the limit, want 1", n)
	}
	if _, err := f.set.Poll(idle); !fault.Is(err, fault.NotFound) || fault.Text(err) != "filter not found" {
		t.Errorf("poll of an expired filter: %v", err)
	}
	if err := f.set.Remove(idle); !fault.Is(err, fault.NotFound) {
		t.Errorf("remove of an expired filter: %v", err)
	}
	if st := f.set.Stats(); st.Filters != 1 || st.Subscriptions != 1 || st.Expired != 1 || st.WaitingBytes != 0 {
		t.Errorf("%+v", st)
	}
}

func TestInterestFollowsTheFilters(t *testing.T) {
	f := newFixture(t)
	k := symKey(t, 1)
	f.add(filter.Criteria{Sym: k, Topics: []envelope.Topic{topicA, topicB, topicA}})
	id := f.add(filter.Criteria{Sym: k})
	sub, err := f.set.Subscribe(filter.Criteria{Sym: k, Topics: []envelope.Topic{topicB}})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.set.Remove(id); err != nil {
		t.Fatal(err)
	}
	sub.Close()
	sub.Close()
	f.set.Expire(f.clock.pass(time.Hour))
	want := []string{
		"want 1 [0x01020304 0x05060708]", "want 2 []", "want 3 [0x05060708]",
		"unwant 2", "unwant 3", "unwant 1",
	}
	if diff := cmp.Diff(want, f.interest.log); diff != "" {
		t.Error(diff)
	}
}

func TestSubscription(t *testing.T) {
	f := newFixture(t)
	k := symKey(t, 1)
	sub, err := f.set.Subscribe(filter.Criteria{Sym: k})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-sub.Ready():
		t.Error("ready with nothing to take")
	default:
	}
	for _, text := range []string{"a", "b"} {
		f.set.Offer(f.sym(topicA, *k, text, nil), 1, false)
	}
	<-sub.Ready()
	if diff := cmp.Diff([]string{"a", "b"}, payloads(sub.Take())); diff != "" {
		t.Error(diff)
	}
	env := f.sym(topicA, *k, "slow", nil)
	for i := range uint64(filter.MaxMessages + 5) {
		f.set.Offer(envelope.New(env.Expiry(), 50, topicA, env.Data(), i), 1, false)
	}
	if sub.Dropped() != 5 {
		t.Errorf("a slow consumer lost %d, want 5", sub.Dropped())
	}
	sub.Close()
	f.set.Offer(f.sym(topicA, *k, "late", nil), 1, false)
	if list := sub.Take(); list != nil {
		t.Errorf("after Close: %q", payloads(list))
	}
}

// Filters come and go while envelopes are offered; run with -race.
func TestConcurrentUse(t *testing.T) {
	f := newFixture(t)
	k := symKey(t, 1)
	env := f.sym(topicA, *k, "x", nil)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(2)
		go func() {
			defer wg.Done()
			for i := range uint64(200) {
				f.set.Offer(envelope.New(env.Expiry(), 50, topicA, env.Data(), i), 1, i%2 == 0)
			}
		}()
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for range 200 {
				id, err := f.set.Add(filter.Criteria{Sym: k, Topics: []envelope.Topic{topicA}, AllowDirect: r.IntN(2) == 0})
				if err != nil {
					t.Error(err)
					return
				}
				f.set.Stats()
				f.set.Expire(epoch)
				f.set.Poll(id)
				if err := f.set.Remove(id); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	if st := f.set.Stats(); st.Filters != 0 || st.Waiting != 0 || st.WaitingBytes != 0 {
		t.Errorf("left behind: %+v", st)
	}
}
