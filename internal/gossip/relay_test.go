package gossip_test

import (
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

func TestRelayAtOnce(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	d.join(2)
	e := d.make(50)
	actions := d.receive(1, e)
	accepts := of[gossip.Accept](actions)
	if len(accepts) != 1 || accepts[0].Envelope.Hash() != e.Hash() || accepts[0].From != 1 {
		t.Fatalf("accepts = %+v", accepts)
	}
	sends := of[gossip.Send](actions)
	if len(sends) != 1 || sends[0].Conn != 2 || sends[0].Bytes != envelope.ListSize(sends[0].List) {
		t.Fatalf("sends = %+v, want one to 2", sends)
	}
	if more := d.receive(2, e); len(more) != 0 {
		t.Fatalf("a duplicate caused %+v", more)
	}
}

func TestCoalesce(t *testing.T) {
	d := newDriver(gossip.Config{Coalesce: 2 * time.Millisecond})
	d.join(1)
	d.join(2)
	d.receive(1, d.make(50))
	for range 10 {
		d.now = d.now.Add(100 * time.Microsecond)
		if s := of[gossip.Send](d.receive(1, d.make(50))); len(s) != 0 {
			t.Fatalf("sent %d packets within the pause", len(s))
		}
	}
	at, ok := d.Deadline()
	if want := time.Unix(t0, 0).Add(2 * time.Millisecond); !ok || !at.Equal(want) {
		t.Fatalf("deadline = %v, want %v", at, want)
	}
	s := of[gossip.Send](d.wait(t, 2*time.Millisecond))
	if len(s) != 1 || len(s[0].List) != 10 {
		t.Fatalf("sends = %v, want one of 10 envelopes", s)
	}
}

// TestServedEarly: a packet near the end of the pause takes along what waits, instead of a wake-up of its own.
func TestServedEarly(t *testing.T) {
	d := newDriver(gossip.Config{Coalesce: 5 * time.Millisecond})
	d.join(1)
	d.join(2)
	d.receive(1, d.make(50))
	d.now = d.now.Add(2900 * time.Microsecond)
	if s := of[gossip.Send](d.receive(1, d.make(50))); len(s) != 0 {
		t.Fatalf("sent %d packets too early", len(s))
	}
	d.now = d.now.Add(100 * time.Microsecond)
	s := of[gossip.Send](d.receive(1, d.make(50)))
	if len(s) != 1 || len(s[0].List) != 2 {
		t.Fatalf("sends = %v, want one of 2 envelopes", s)
	}
}

// TestNewPeerGetsPool is W8: a pool larger than a packet must not lock out new peers.
func TestNewPeerGetsPool(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	const n = 3000
	want := make(map[envelope.Hash]bool)
	for range n {
		e := d.sent(0, 50, topicA, 900)
		want[e.Hash()] = true
		d.receive(1, e)
	}
	actions := d.join(2)
	got, inFlight := 0, 0
	for rounds := 0; got < n && rounds < 100; rounds++ {
		sends := of[gossip.Send](actions)
		for _, s := range sends {
			got += len(s.List)
			inFlight += s.Bytes
			if s.Bytes > 128<<10 {
				t.Fatalf("packet of %d bytes", s.Bytes)
			}
			for _, e := range s.List {
				if !want[e.Hash()] {
					t.Fatalf("sent twice or unknown: %s", e.Hash())
				}
				delete(want, e.Hash())
			}
		}
		if inFlight > 512<<10 {
			t.Fatalf("%d bytes in flight", inFlight)
		}
		d.now = d.now.Add(time.Millisecond)
		actions = nil
		for _, s := range sends {
			actions = append(actions, d.step(gossip.Drained{Conn: 2, Bytes: s.Bytes})...)
			inFlight -= s.Bytes
		}
		actions = append(actions, d.wait(t, 3*time.Millisecond)...)
	}
	if got != n || len(want) != 0 {
		t.Fatalf("got %d of %d", got, n)
	}
}

func TestLargeEnvelopeAlone(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	d.receive(1, d.sent(0, 50, topicA, 900))
	big := d.sent(0, 50, topicA, 700<<10)
	d.receive(1, big)
	d.receive(1, d.sent(0, 50, topicA, 900))
	huge := d.sent(0, 50, topicA, 1<<20-20)
	if len(of[gossip.Accept](d.receive(1, huge))) != 1 {
		t.Fatal("an envelope of the largest size was refused")
	}
	actions := d.join(2)
	for range 5 {
		for _, s := range of[gossip.Send](actions) {
			if s.Bytes > 128<<10 && len(s.List) != 1 {
				t.Fatalf("%d bytes in a packet of %d", s.Bytes, len(s.List))
			}
			actions = append(actions, d.step(gossip.Drained{Conn: 2, Bytes: s.Bytes})...)
		}
		more := d.wait(t, 3*time.Millisecond)
		actions = append(actions, more...)
		for _, s := range of[gossip.Send](more) {
			actions = append(actions, d.step(gossip.Drained{Conn: 2, Bytes: s.Bytes})...)
		}
	}
	sent := sentTo(actions, 2)
	if len(sent) != 3 || sent[big.Hash()] != 1 {
		t.Fatalf("sent %d envelopes, want 3 with the big one", len(sent))
	}
	if d.Stats().Oversize != 1 {
		t.Fatalf("oversize = %d, want 1: its packet would exceed 1 MiB", d.Stats().Oversize)
	}
}

func TestSlowReader(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	d.join(2)
	s := of[gossip.Send](d.receive(1, d.make(50)))
	d.wait(t, 9*time.Second)
	d.step(gossip.Drained{Conn: 2, Bytes: s[0].Bytes})
	if a := of[gossip.Disconnect](d.wait(t, 60*time.Second)); len(a) != 0 {
		t.Fatalf("an idle link was cut: %v", a)
	}
	d.receive(1, d.make(50))
	a := of[gossip.Disconnect](d.wait(t, 11*time.Second))
	if len(a) != 1 || a[0].Conn != 2 || a[0].Reason == "" {
		t.Fatalf("disconnects = %v, want 2", a)
	}
	if s := of[gossip.Send](d.receive(1, d.make(50))); len(s) != 0 {
		t.Fatal("sent to a connection that is being cut")
	}
}

func TestOnceOnConnectionWithTwoDialects(t *testing.T) {
	for _, bridge := range []bool{false, true} {
		d := newDriver(gossip.Config{Bridge: bridge})
		d.join(1)
		d.step(gossip.Joined{Conn: 2, Network: 0})
		d.step(gossip.Joined{Conn: 2, Network: 1})
		d.step(gossip.Joined{Conn: 3, Network: 1})
		e := d.make(50)
		actions := d.receive(1, e)
		actions = append(actions, d.wait(t, 10*time.Millisecond)...)
		if n := sentTo(actions, 2)[e.Hash()]; n != 1 {
			t.Errorf("bridge %v: sent %d times on the double connection", bridge, n)
		}
		if n := sentTo(actions, 3)[e.Hash()]; (n == 1) != bridge {
			t.Errorf("bridge %v: sent %d times to the other network", bridge, n)
		}
		// When it comes on the other network too, it belongs there as well.
		actions = d.step(gossip.Received{Conn: 2, Network: 1, List: []*envelope.Envelope{e}, Bytes: 100})
		actions = append(actions, d.wait(t, 10*time.Millisecond)...)
		if n := sentTo(actions, 3)[e.Hash()]; (n == 1) == bridge {
			t.Errorf("bridge %v: sent %d times to the other network after it came there", bridge, n)
		}
		if n := sentTo(actions, 1)[e.Hash()]; n != 0 {
			t.Errorf("sent back to where it came from")
		}
	}
}

func TestRequirements(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	a, b := d.sent(0, 50, topicA, 32), d.sent(0, 50, topicB, 32)
	d.receive(1, a, b)
	onlyA := topicA.WideBloom()
	cases := []struct {
		name   string
		ev     gossip.Joined
		wa, wb int
	}{
		{"all", gossip.Joined{}, 1, 1},
		{"bloom", gossip.Joined{Require: gossip.Requirement{Bloom: &onlyA}}, 1, 0},
		{"zero bloom", gossip.Joined{Require: gossip.Requirement{Bloom: &envelope.Bloom{}}}, 0, 0},
		{"topics", gossip.Joined{Require: gossip.Requirement{ByTopics: true, Topics: []envelope.Topic{topicB}}}, 0, 1},
		{"no topics", gossip.Joined{Require: gossip.Requirement{ByTopics: true}}, 0, 0},
		{"pow", gossip.Joined{Require: gossip.Requirement{MinPoW: 1e9}}, 0, 0},
		{"pow met", gossip.Joined{Require: gossip.Requirement{MinPoW: min(a.PoW(), b.PoW())}}, 1, 1},
	}
	for i, c := range cases {
		c.ev.Conn = gossip.Conn(10 + i)
		sent := sentTo(d.step(c.ev), c.ev.Conn)
		if sent[a.Hash()] != c.wa || sent[b.Hash()] != c.wb {
			t.Errorf("%s: sent A %d, B %d times, want %d, %d", c.name, sent[a.Hash()], sent[b.Hash()], c.wa, c.wb)
		}
	}
}

func TestWidenedRequirement(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	a, b := d.sent(0, 50, topicA, 32), d.sent(0, 50, topicB, 32)
	d.receive(1, a, b)
	onlyA := topicA.WideBloom()
	d.step(gossip.Joined{Conn: 2, Require: gossip.Requirement{Bloom: &onlyA}})
	d.now = d.now.Add(time.Second)
	sent := sentTo(d.step(gossip.Required{Conn: 2, Bloom: ptr(envelope.FullBloom())}), 2)
	if sent[a.Hash()] != 0 || sent[b.Hash()] != 1 {
		t.Fatalf("after widening: A %d, B %d times", sent[a.Hash()], sent[b.Hash()])
	}
	d.step(gossip.Required{Conn: 2, MinPoW: ptr(1e9)})
	c := d.make(50)
	if s := sentTo(d.receive(1, c), 2); len(s) != 0 {
		t.Fatal("sent below the peer's minimum")
	}
	all := d.step(gossip.Required{Conn: 2, MinPoW: ptr(0.0)})
	all = append(all, d.wait(t, 2*time.Second)...)
	if s := sentTo(all, 2); len(s) != 1 || s[c.Hash()] != 1 {
		t.Fatalf("after lowering the minimum: %v", s)
	}
}

func TestPaceByAnnouncedRates(t *testing.T) {
	d := newDriver(gossip.Config{InFlight: 1 << 30})
	d.join(1)
	d.step(gossip.Joined{Conn: 2, Require: gossip.Requirement{Packets: 5}})
	d.step(gossip.Joined{Conn: 3, Require: gossip.Requirement{Bytes: 10_000}})
	var all []gossip.Action
	for range 100 {
		all = append(all, d.receive(1, d.sent(0, 100, topicA, 1000))...)
		all = append(all, d.wait(t, 100*time.Millisecond)...)
		for _, s := range of[gossip.Send](all) {
			d.step(gossip.Drained{Conn: s.Conn, Bytes: s.Bytes})
		}
	}
	packets, bytes := 0, 0
	for _, s := range of[gossip.Send](all) {
		if s.Conn == 2 {
			packets++
		} else {
			bytes += s.Bytes
		}
	}
	if packets < 30 || packets > 50 {
		t.Errorf("%d packets in 10 s to a peer that takes 5 a second", packets)
	}
	if bytes < 80_000 || bytes > 110_000 {
		t.Errorf("%d bytes in 10 s to a peer that takes 10,000 a second", bytes)
	}
}

// TestDoubleConnectionBringsBothNetworks has an envelope of two networks come once, on a connection with both: it must
// reach the peers of either.
func TestDoubleConnectionBringsBothNetworks(t *testing.T) {
	for network := range gossip.Network(2) {
		d := newDriver(gossip.Config{})
		d.step(gossip.Joined{Conn: 1, Network: 0})
		d.step(gossip.Joined{Conn: 1, Network: 1})
		d.step(gossip.Joined{Conn: 2, Network: 0})
		d.step(gossip.Joined{Conn: 3, Network: 1})
		e := d.make(50)
		ev := received(1, e)
		ev.Network = network
		actions := d.step(ev)
		if sentTo(actions, 2)[e.Hash()] != 1 || sentTo(actions, 3)[e.Hash()] != 1 {
			t.Errorf("an envelope that came on network %d did not reach both", network)
		}
	}
}

// TestSlowLine has a peer that takes 20 kB a second. It is not cut while it reads, and what is fresh does not queue behind
// half a megabyte.
func TestSlowLine(t *testing.T) {
	const rate = 20_000
	d := newDriver(gossip.Config{})
	d.join(1)
	for range 2000 {
		d.receive(1, d.sent(0, 7000, topicA, 900))
	}
	type packet struct {
		gossip.Send
		at time.Time
	}
	var line []packet
	sent, worst := 0, time.Duration(0)
	take := func(actions []gossip.Action) {
		for _, a := range actions {
			switch a := a.(type) {
			case gossip.Send:
				sent += len(a.List)
				line = append(line, packet{a, d.now})
			case gossip.Disconnect:
				t.Fatalf("after %v: %s", d.now.Sub(time.Unix(t0, 0)), a.Reason)
			}
		}
	}
	take(d.step(gossip.Joined{Conn: 2, Network: 0}))
	take(d.step(gossip.Joined{Conn: 2, Network: 1}))
	for free := d.now; len(line) > 0; {
		p := line[0]
		line = line[1:]
		if free.Before(d.now) {
			free = d.now
		}
		free = free.Add(time.Duration(p.Bytes) * time.Second / rate)
		take(d.wait(t, free.Sub(d.now)))
		if sent > 500 {
			worst = max(worst, free.Sub(p.at))
		}
		take(d.step(gossip.Drained{Conn: p.Conn, Network: p.Network, Bytes: p.Bytes}))
	}
	if sent != 2000 {
		t.Errorf("%d of 2,000 sent", sent)
	}
	if worst > 2*time.Second {
		t.Errorf("packets wait up to %v", worst)
	}
}
