//go:build peers

package peers_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// The requirements of these tests. What takes no work has far less than hardPoW, all but surely.
const hardPoW = 0.05

var (
	topicA = envelope.Topic{0xaa, 1, 2, 3}
	topicB = envelope.Topic{0xbb, 4, 5, 6}
)

func bloomOf(topics ...envelope.Topic) []byte {
	var b envelope.Bloom
	for _, t := range topics {
		b.Or(t.WideBloom())
	}
	return b[:]
}

// carried tells whether a packet of envelopes with that hash is among the helper's packets of that kind.
func carried(t testing.TB, p *peerproc.T, kind peerproc.Kind, hash [32]byte) bool {
	t.Helper()
	return p.Count(func(e peerproc.Event) bool {
		if e.Kind != kind || e.Code != 1 {
			return false
		}
		if e.Size > len(e.Payload) {
			t.Fatalf("a packet of %d bytes: only its first %d are known", e.Size, len(e.Payload))
		}
		list, err := envelope.DecodeList(e.Payload, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(list, func(env *envelope.Envelope) bool { return env.Hash() == hash })
	}) > 0
}

func TestGeth6Requirements(t *testing.T)     { testPeerRequires(t, peerproc.Geth6) }
func TestStatus162Requirements(t *testing.T) { testPeerRequires(t, peerproc.Status162) }

// testPeerRequires raises a peer's PoW and narrows its bloom filter: our node sends it what fits and nothing else.
func testPeerRequires(t *testing.T, helper string) {
	t.Parallel()
	o := startOurs(t)
	p := peerproc.ForTest(t, helper, peerproc.Config{MinPoW: lowPoW, Packets: true})
	o.connect(p)
	keys := o.ring()
	post := func(topic envelope.Topic, pow float64) [32]byte {
		t.Helper()
		return o.post(rpc.NewMessage{SymKeyID: keys.sym, TTL: 100, Topic: rpc.Topic(topic), Payload: make([]byte, 100), PowTarget: pow})
	}
	easy := post(topicA, 0)
	p.WaitPooled(easy)

	p.SetMinPoW(hardPoW)
	o.waitPeer(p.ID, "with more PoW", func(q rpc.Peer) bool { return q.MinPoW == hardPoW })
	low, high := post(topicA, 0), post(topicA, 2*hardPoW)
	p.WaitPooled(high)

	p.SetBloom(bloomOf(topicA))
	o.waitPeer(p.ID, "with a filter", func(q rpc.Peer) bool { return !q.FullNode })
	other, wanted := post(topicB, 2*hardPoW), post(topicA, 2*hardPoW)
	p.WaitPooled(wanted)

	for what, hash := range map[string][32]byte{"little PoW": low, "an unwanted topic": other} {
		if carried(t, p, peerproc.PacketIn, hash) {
			t.Errorf("an envelope with %s was sent", what)
		}
	}
	for what, hash := range map[string][32]byte{"the first": easy, "enough PoW": high, "the wanted topic": wanted} {
		if !carried(t, p, peerproc.PacketIn, hash) {
			t.Errorf("the envelope with %s is in no packet: the test sees nothing", what)
		}
	}
	stayed(t, p)
}

func TestGeth6OurRequirements(t *testing.T)     { testWeRequire(t, peerproc.Geth6) }
func TestStatus162OurRequirements(t *testing.T) { testWeRequire(t, peerproc.Status162) }

// testWeRequire raises our PoW and narrows our bloom filter while a peer sends: it learns of both, sends what fits from
// then on, what was on its way is taken, and nobody is disconnected.
func testWeRequire(t *testing.T, helper string) {
	t.Parallel()
	o := startOurs(t)
	p := peerproc.ForTest(t, helper, peerproc.Config{MinPoW: lowPoW, Packets: true})
	o.connect(p)
	post := func(topic envelope.Topic, pow float64) [32]byte {
		t.Helper()
		return p.Post(peerproc.Draft{SymKey: symKey, TTL: 100, Topic: topic, Payload: make([]byte, 100), PoWTarget: pow}).Hash
	}
	keys := o.ring()
	have := map[[32]byte]bool{}
	filter := ask[string](o, "shh_newMessageFilter", rpc.Criteria{SymKeyID: keys.sym})
	reaches := func(what string, hashes ...[32]byte) {
		t.Helper()
		eventually(t, what, func() bool {
			for _, m := range ask[[]*rpc.Message](o, "shh_getFilterMessages", filter) {
				have[[32]byte(m.Hash)] = true
			}
			return !slices.ContainsFunc(hashes, func(h [32]byte) bool { return !have[h] })
		})
	}
	told := func(code uint64) {
		t.Helper()
		p.Wait(func(e peerproc.Event) bool { return e.Kind == peerproc.PacketIn && e.Code == code })
	}

	// The peer sends every 300 ms: these leave after our requirement has changed, or just before.
	var early [][32]byte
	for range 10 {
		early = append(early, post(topicA, 0))
	}
	reaches("early envelopes", early...)
	ask[bool](o, "shh_setMinPoW", hardPoW)
	told(2)
	low, high := post(topicA, 0), post(topicA, 2*hardPoW)
	reaches("what has the work", high)

	ask[bool](o, "shh_setBloomFilter", hexOf(bloomOf(topicA)))
	told(3)
	other, wanted := post(topicB, 2*hardPoW), post(topicA, 2*hardPoW)
	reaches("the wanted topic", wanted)
	if have[low] || have[other] || carried(t, p, peerproc.PacketOut, low) || carried(t, p, peerproc.PacketOut, other) {
		t.Errorf("what did not fit came: low PoW %v, unwanted topic %v", have[low], have[other])
	}
	stayed(t, p)
}

// TestGeth6Allowance sends what fitted until a moment ago, as a peer does that has not read our announcement yet.
func TestGeth6Allowance(t *testing.T) {
	t.Parallel()
	o := startOurs(t)
	p := peerproc.ForTest(t, peerproc.Geth6, peerproc.Config{MinPoW: lowPoW})
	o.connect(p)
	bin, err := peerproc.Build(t.Context(), peerproc.Geth6, "")
	if err != nil {
		t.Fatal(err)
	}
	// The source ignores what it is told.
	source, err := peerproc.StartRaw(bin, "source", "-to", o.enode, "-rate", "50", "-seconds", "6", "-pow", "0.00001", "-linger", "1s")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	eventually(t, "the source's envelopes come", func() bool { return o.status().Pool.Envelopes > 20 })
	ask[bool](o, "shh_setMinPoW", 1.0)
	ask[bool](o, "shh_setBloomFilter", hexOf(bloomOf(topicA)))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var sent peerproc.SourceResult
	if err := source.Result(ctx, &sent); err != nil {
		t.Fatal(err)
	}
	if pool := o.status().Pool.Envelopes; uint64(pool) != sent.Sent || sent.Error != "" {
		t.Errorf("%d were sent within the allowance, %d taken; error %q", sent.Sent, pool, sent.Error)
	}
	stayed(t, p)
	t.Logf("%d envelopes that fitted 6 s ago were taken", sent.Sent)
}

func TestGeth6Direct(t *testing.T)     { testOursDirect(t, peerproc.Geth6) }
func TestStatus162Direct(t *testing.T) { testOursDirect(t, peerproc.Status162) }

// testOursDirect sends direct messages both ways, without trust and with it.
func testOursDirect(t *testing.T, helper string) {
	t.Parallel()
	o := startOurs(t)
	p := peerproc.ForTest(t, helper, peerproc.Config{MinPoW: lowPoW})
	o.connect(p)
	keys := o.ring()
	theirs := p.Subscribe(peerproc.Filter{SymKey: symKey, AllowP2P: true})
	mine := o.subscribe(rpc.Criteria{SymKeyID: keys.sym, Topics: []rpc.Topic{rpc.Topic(topicA)}, AllowP2P: true})
	out := func(text string) [32]byte {
		return o.post(rpc.NewMessage{SymKeyID: keys.sym, TTL: 60, Topic: rpc.Topic(topicA), Payload: []byte(text), TargetPeer: p.Enode})
	}
	in := func(text string) [32]byte {
		sealed := p.Seal(peerproc.Draft{SymKey: symKey, TTL: 60, Topic: topicA, Payload: []byte(text)})
		p.Try(func(ctx context.Context) error { return p.SendDirect(ctx, o.id, sealed.Raw) })
		return sealed.Hash
	}
	out("nobody trusts us")
	in("nobody trusts you")
	p.Try(func(ctx context.Context) error {
		return p.Request(ctx, o.id, p.Seal(peerproc.Draft{SymKey: symKey, TTL: 60, Payload: []byte("history, please")}).Raw)
	})
	eventually(t, "our node counts the request", func() bool {
		return o.status().Counters["restante_requests_total"] == 1
	})

	// What everybody may read comes behind what nobody trusted: so that is over when trust begins.
	public := rpc.NewMessage{SymKeyID: keys.sym, TTL: 60, Topic: rpc.Topic(topicA), Payload: []byte("to everybody")}
	hash := o.post(public)
	if m := theirs.Next(); m.Hash != hash {
		t.Errorf("the peer got %q", m.Payload)
	}
	if m := mine.next(); [32]byte(m.Hash) != hash {
		t.Errorf("our node got %q", m.Payload)
	}
	p.Try(func(ctx context.Context) error { return p.Trust(ctx, o.id) })
	ask[bool](o, "shh_markTrustedPeer", p.Enode)
	hash = out("to you alone")
	if m := theirs.Next(); m.Hash != hash || !bytes.Equal(m.Payload, []byte("to you alone")) {
		t.Errorf("the peer got %q", m.Payload)
	}
	hash = in("to us alone")
	if m := mine.next(); [32]byte(m.Hash) != hash || string(m.Payload) != "to us alone" {
		t.Errorf("our node got %q", m.Payload)
	}
	if n := o.status().Pool.Envelopes; n != 1 {
		t.Errorf("%d envelopes are pooled, want the public one", n)
	}
	stayed(t, p)
}

// TestStatus162Confirmations expects Status' own events about what it sent us.
func TestStatus162Confirmations(t *testing.T) {
	t.Parallel()
	o := startOurs(t)
	p := peerproc.ForTest(t, peerproc.Status162, peerproc.Config{MinPoW: lowPoW})
	o.connect(p)
	for range 3 {
		sent := p.Post(peerproc.Draft{SymKey: symKey, TTL: 30, Payload: []byte("hello"), PoWTarget: 0.000002})
		e := p.Wait(func(e peerproc.Event) bool { return e.Name == "envelope.sent" && e.Hash == sent.Hash })
		ack := p.Wait(func(f peerproc.Event) bool { return f.Name == "batch.acknowleged" && f.Batch == e.Batch })
		if ack.Peer != o.id || len(ack.Refused) != 0 || ack.At.Sub(e.At) > time.Second {
			t.Errorf("acknowledged by %x after %s, refusing %x; want %x, none", ack.Peer, ack.At.Sub(e.At), ack.Refused, o.id)
		}
	}
	// And its confirmations of ours are understood.
	keys := o.ring()
	o.post(rpc.NewMessage{SymKeyID: keys.sym, TTL: 30, Topic: rpc.Topic(topicA), Payload: []byte("confirm this")})
	eventually(t, "the peer's confirmation is counted", func() bool { return o.status().Counters["restante_confirmed_total"] > 0 })
	stayed(t, p)
}

// TestStatus162Refusals lets a peer with a wrong clock send: it is told what was refused, and stays.
func TestStatus162Refusals(t *testing.T) {
	t.Parallel()
	o := startOurs(t)
	p := peerproc.ForTest(t, peerproc.Status162, peerproc.Config{MinPoW: lowPoW, ClockOffset: 60 * time.Second})
	o.connect(p)
	for range 5 {
		sent := p.Post(peerproc.Draft{SymKey: symKey, TTL: 30, Payload: []byte("from the future"), PoWTarget: 0.000002})
		e := p.Wait(func(e peerproc.Event) bool { return e.Name == "envelope.sent" && e.Hash == sent.Hash })
		ack := p.Wait(func(f peerproc.Event) bool { return f.Name == "batch.acknowleged" && f.Batch == e.Batch })
		if ack.Peer != o.id || len(ack.Refused) != 1 || ack.Refused[0] != sent.Hash {
			t.Errorf("refused %x, want %x", ack.Refused, sent.Hash)
		}
	}
	if n := o.status().Pool.Envelopes; n != 0 {
		t.Errorf("%d envelopes from the future were pooled", n)
	}
	stayed(t, p)
}
