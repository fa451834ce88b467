package gossip_test

import (
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

func TestBudgetsPauseAndDropNothing(t *testing.T) {
	const rate = 100_000
	cases := map[string]struct {
		cfg    gossip.Config
		events []gossip.Joined
		paused bool
	}{
		"peer":            {gossip.Config{PeerRate: rate, PeerBurst: rate}, []gossip.Joined{{Conn: 1, Source: "a"}}, true},
		"source":          {gossip.Config{SourceRate: rate, SourceBurst: rate}, []gossip.Joined{{Conn: 1, Source: "a"}, {Conn: 2, Source: "a"}}, true},
		"other source":    {gossip.Config{SourceRate: rate, SourceBurst: 8 * rate}, []gossip.Joined{{Conn: 1, Source: "a"}, {Conn: 2, Source: "b"}}, false},
		"exempt":          {gossip.Config{PeerRate: rate, PeerBurst: rate}, []gossip.Joined{{Conn: 1}}, false},
		"trusted":         {gossip.Config{PeerRate: rate, PeerBurst: rate}, []gossip.Joined{{Conn: 1, Source: "a", Trusted: true}}, false},
		"limits disabled": {gossip.Config{}, []gossip.Joined{{Conn: 1, Source: "a"}}, false},
	}
	for name, c := range cases {
		d := newDriver(c.cfg)
		for _, ev := range c.events {
			d.step(ev)
		}
		var all []gossip.Action
		for i := range 12 {
			ev := c.events[i%len(c.events)]
			all = append(all, d.receive(ev.Conn, d.sent(0, 50, topicA, 50_000))...)
		}
		if n := len(of[gossip.Accept](all)); n != 12 {
			t.Errorf("%s: %d of 12 accepted", name, n)
		}
		pauses := of[gossip.Pause](all)
		if c.paused != (len(pauses) > 0) {
			t.Errorf("%s: %d pauses", name, len(pauses))
		}
		for _, p := range pauses {
			if p.For <= 0 || p.For > time.Second {
				t.Errorf("%s: pause of %v", name, p.For)
			}
		}
		if s := d.Stats(); s.Penalties != 0 {
			t.Errorf("%s: punished for traffic", name)
		}
	}
}

func TestReconnectingRenewsNoBudget(t *testing.T) {
	d := newDriver(gossip.Config{SourceRate: 1000, SourceBurst: 100_000})
	d.step(gossip.Joined{Conn: 1, Source: "a"})
	d.receive(1, d.sent(0, 50, topicA, 100_000))
	for c := gossip.Conn(2); c < 10; c++ {
		d.step(gossip.Left{Conn: c - 1})
		d.step(gossip.Joined{Conn: c, Source: "a"})
		if len(of[gossip.Pause](d.receive(c, d.sent(0, 50, topicA, 1000)))) != 1 {
			t.Fatal("a new connection has a new budget")
		}
	}
	d.step(gossip.Left{Conn: 9})
	d.now = d.now.Add(time.Hour)
	d.step(gossip.Joined{Conn: 20, Source: "a"})
	if len(of[gossip.Pause](d.receive(20, d.sent(0, 50, topicA, 1000)))) != 0 {
		t.Error("the budget does not come back")
	}
}

// flood sends so many packets of one envelope and returns the reason for which the connection was ended, if it was.
func flood(t *testing.T, d *driver, n int, make func() *envelope.Envelope) string {
	t.Helper()
	for range n {
		if a := of[gossip.Disconnect](d.receive(1, make())); len(a) > 0 {
			return a[0].Reason
		}
	}
	return ""
}

func TestPenalties(t *testing.T) {
	cases := []struct {
		name string
		make func(d *driver) *envelope.Envelope
		cut  bool
	}{
		{"expired", func(d *driver) *envelope.Envelope { return d.sent(-60, 50, topicA, 8) }, false},
		{"very old", func(d *driver) *envelope.Envelope { return d.sent(-1000, 50, topicA, 8) }, false},
		{"future", func(d *driver) *envelope.Envelope { return d.sent(100, 50, topicA, 8) }, false},
		{"TTL 0", func(d *driver) *envelope.Envelope { return d.make(0) }, false},
		{"long TTL", func(d *driver) *envelope.Envelope { return d.make(1 << 30) }, false},
		{"low PoW", func(d *driver) *envelope.Envelope { return d.sent(0, 50_000_000, topicA, 8) }, true},
		{"unwanted", func(d *driver) *envelope.Envelope { return d.sent(0, 50, topicB, 8) }, true},
		{"huge", func(d *driver) *envelope.Envelope { return d.sent(0, 50, topicA, 1<<20+1) }, true},
	}
	for _, c := range cases {
		d := newNarrowDriver(gossip.Config{MinPoW: 1e-12, NoiseSeed: 1})
		d.step(gossip.Wanted{Owner: "x", Topics: []envelope.Topic{topicA}})
		if c.name == "low PoW" {
			d.step(gossip.SetMinPoW{MinPoW: 0.1})
		}
		d.wait(t, 2*time.Minute) // any allowance is over
		d.join(1)
		reason := flood(t, d, 500, func() *envelope.Envelope { return c.make(d) })
		if (reason != "") != c.cut {
			t.Errorf("%s: disconnected for %q", c.name, reason)
		}
	}
}

func TestPenaltiesAreForgiven(t *testing.T) {
	d := newNarrowDriver(gossip.Config{})
	d.wait(t, time.Minute)
	d.join(1)
	for range 200 {
		if reason := flood(t, d, 1, func() *envelope.Envelope { return d.make(50) }); reason != "" {
			t.Fatalf("cut for one envelope in 5 s: %s", reason)
		}
		d.wait(t, 5*time.Second)
	}
}

func TestAllowance(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	d.step(gossip.SetMinPoW{MinPoW: 1e6})
	d.step(gossip.SetBloom{Bloom: &envelope.Bloom{}})
	d.wait(t, 9*time.Second)
	if len(of[gossip.Accept](d.receive(1, d.make(50)))) != 1 {
		t.Fatal("refused within the allowance")
	}
	d.wait(t, 2*time.Second)
	if len(of[gossip.Accept](d.receive(1, d.make(50)))) != 0 {
		t.Fatal("accepted after the allowance")
	}
	// What peers had on the way is refused but not punished.
	if reason := flood(t, d, 100, func() *envelope.Envelope { return d.make(50) }); reason != "" {
		t.Fatalf("punished soon after a change: %s", reason)
	}
	// Lowering takes effect at once.
	d.step(gossip.SetMinPoW{MinPoW: 0})
	d.step(gossip.SetBloom{Bloom: ptr(envelope.FullBloom())})
	if len(of[gossip.Accept](d.receive(1, d.make(50)))) != 1 {
		t.Fatal("refused though the requirement was lowered")
	}
}

// TestDiscountIsNotPunished lets a peer whose clock is ahead pass on what it rightly found good enough.
func TestDiscountIsNotPunished(t *testing.T) {
	d := newDriver(gossip.Config{})
	probe := d.sent(9, 10, topicA, 32)
	d.step(gossip.SetMinPoW{MinPoW: probe.PoW() * 0.9})
	d.wait(t, 2*time.Minute)
	d.join(1)
	n := 0
	for n < 200 {
		if e := d.sent(9, 10, topicA, 32); e.PoW() >= probe.PoW()*0.9 {
			n++
			if len(of[gossip.Disconnect](d.receive(1, e))) > 0 {
				t.Fatal("cut for a difference of clocks")
			}
		}
	}
	if d.Stats().Refused(envelope.LowPoW) == 0 {
		t.Fatal("nothing was refused: the case is not reached")
	}
}
