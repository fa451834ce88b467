package gossip_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

// traffic has each of the peers send a fresh envelope every second for so many seconds. offset says how far each peer's
// time is ahead of ours. It returns what was done.
func traffic(t *testing.T, d *driver, seconds int, ttl uint32, offsets ...int64) []gossip.Action {
	t.Helper()
	var all []gossip.Action
	drained := 0
	for range seconds {
		for i, ahead := range offsets {
			all = append(all, d.receive(gossip.Conn(1+i), d.sent(ahead, ttl, topicA, 32))...)
		}
		all = append(all, d.wait(t, time.Second)...)
		for ; drained < len(all); drained++ {
			if s, ok := all[drained].(gossip.Send); ok {
				all = append(all, d.step(gossip.Drained{Conn: s.Conn, Bytes: s.Bytes})...)
			}
		}
	}
	return all
}

func withPeers(cfg gossip.Config, n int) *driver {
	d := newDriver(cfg)
	for i := range n {
		d.step(gossip.Joined{Conn: gossip.Conn(1 + i), Source: fmt.Sprintf("prefix %d", i)})
	}
	return d
}

// stamp returns by how much own envelopes are corrected.
func (d *driver) stamp() time.Duration { return d.NetworkTime(d.now).Sub(d.now) }

// TestWrongClock has our clock a minute off in both directions: envelopes are accepted and passed on, also those that came
// before we knew, and own ones are stamped with the network's time.
func TestWrongClock(t *testing.T) {
	for _, ahead := range []int64{60, -60, 3600, -3600} {
		for _, ttl := range []uint32{15, 50} {
			d := withPeers(gossip.Config{}, 4)
			d.join(9)
			all := traffic(t, d, 60, ttl, ahead, ahead, ahead, ahead)
			accepted := make(map[envelope.Hash]int)
			for _, a := range of[gossip.Accept](all) {
				accepted[a.Envelope.Hash()]++
			}
			s := d.Stats()
			// Before it is known that our clock is ahead, envelopes may wait so long that they die.
			if len(accepted) < 200 || s.Sent == 0 {
				t.Errorf("%d s, TTL %d: %d of 240 accepted, %d sent", ahead, ttl, len(accepted), s.Sent)
			}
			if off := d.stamp() - time.Duration(ahead)*time.Second; off.Abs() > 2*time.Second {
				t.Errorf("%d s, TTL %d: own envelopes would be stamped %v off", ahead, ttl, off)
			}
			skew := of[gossip.Skew](all)
			if len(skew) == 0 || !skew[len(skew)-1].Known || skew[len(skew)-1].Offset != d.stamp() {
				t.Errorf("%d s: told %v", ahead, skew)
			}
			before := d.Stats().Accepted
			traffic(t, d, 10, ttl, ahead, ahead, ahead, ahead)
			if n := d.Stats().Accepted - before; n != 40 {
				t.Errorf("%d s, TTL %d: %d of 40 accepted once the time was known", ahead, ttl, n)
			}
		}
	}
}

func TestSmallSkewIsToldAndStamped(t *testing.T) {
	for _, ahead := range []int64{4, -7} {
		d := withPeers(gossip.Config{}, 3)
		traffic(t, d, 60, 50, ahead, ahead, ahead)
		if off := d.stamp() - time.Duration(ahead)*time.Second; off.Abs() > time.Second {
			t.Errorf("%d s: stamped %v off", ahead, off)
		}
	}
}

func TestRightClockIsLeftAlone(t *testing.T) {
	cases := map[string][]int64{
		"all agree":             {0, 0, 0, 0, 0},
		"two of five lie":       {0, 0, 0, 300, 300},
		"two lie the other way": {0, 0, 0, -300, -300},
		"small differences":     {1, -1, 0, 1, -1},
		"too few":               {300, 300},
		"two against two":       {0, 0, 300, 300},
	}
	for name, offsets := range cases {
		for _, ttl := range []uint32{15, 7200} {
			d := withPeers(gossip.Config{}, len(offsets))
			all := traffic(t, d, 60, ttl, offsets...)
			if d.stamp() != 0 {
				t.Errorf("%s, TTL %d: stamps moved by %v", name, ttl, d.stamp())
			}
			for _, s := range of[gossip.Skew](all) {
				if s.Offset != 0 {
					t.Errorf("%s, TTL %d: told %+v", name, ttl, s)
				}
			}
			if len(of[gossip.Disconnect](all)) != 0 {
				t.Errorf("%s: disconnected for the time", name)
			}
		}
	}
}

// TestSourcesCountOnce has many liars behind one address prefix.
func TestSourcesCountOnce(t *testing.T) {
	d := newDriver(gossip.Config{})
	offsets := []int64{0, 0, 0}
	for i := range 10 {
		source := "liars"
		if i < 3 {
			source = fmt.Sprint("honest ", i)
		} else {
			offsets = append(offsets, 300)
		}
		d.step(gossip.Joined{Conn: gossip.Conn(1 + i), Source: source})
	}
	traffic(t, d, 60, 50, offsets...)
	if d.stamp() != 0 {
		t.Errorf("stamps moved by %v", d.stamp())
	}
}

// TestFloodsDoNotMoveTime has an attacker whose envelopes honest peers pass on: as far in the future as those allow, or
// back-dated with a long TTL.
func TestFloodsDoNotMoveTime(t *testing.T) {
	for _, c := range []struct {
		ahead int64
		ttl   uint32
		limit time.Duration
	}{{9, 50, 5 * time.Second}, {-3600, 7000, 10 * time.Second}} {
		d := withPeers(gossip.Config{}, 4)
		var all []gossip.Action
		for range 60 {
			for i := range gossip.Conn(4) {
				all = append(all, d.receive(1+i, d.sent(0, 15, topicA, 32))...)
				for range 20 {
					all = append(all, d.receive(1+i, d.sent(c.ahead, c.ttl, topicA, 32))...)
				}
			}
			for _, s := range of[gossip.Send](all) {
				d.step(gossip.Drained{Conn: s.Conn, Bytes: s.Bytes})
			}
			all = append(all[:0], d.wait(t, time.Second)...)
		}
		if d.stamp().Abs() > c.limit {
			t.Errorf("flood %d s ahead moved the stamps by %v", c.ahead, d.stamp())
		}
		if a := of[gossip.Accept](d.receive(1, d.sent(10, 50, topicA, 32), d.sent(0, 50, topicA, 32), d.sent(-15, 15, topicA, 32))); len(a) != 3 {
			t.Errorf("flood %d s ahead changed what is valid: %d of 3 accepted", c.ahead, len(a))
		}
		if a := of[gossip.Accept](d.receive(1, d.sent(11, 50, topicA, 32), d.sent(-16, 15, topicA, 32))); len(a) != 0 {
			t.Errorf("flood %d s ahead changed what is valid", c.ahead)
		}
	}
}

// TestClockIsPutRight sets our clock while we run: the correction ends at once.
func TestClockIsPutRight(t *testing.T) {
	d := withPeers(gossip.Config{}, 3)
	traffic(t, d, 60, 50, -60, -60, -60)
	if d.stamp() == 0 {
		t.Fatal("a wrong clock was not seen")
	}
	d.now = d.now.Add(-60 * time.Second) // without a monotonic reading, only a step back can be seen at once
	skew := of[gossip.Skew](d.step(gossip.Tick{}))
	if d.stamp() != 0 || len(skew) != 1 || skew[0] != (gossip.Skew{}) || d.Stats().ClockJumps != 1 {
		t.Fatalf("stamps corrected by %v after the clock was set, told %v", d.stamp(), skew)
	}
	before := d.Stats().Accepted
	traffic(t, d, 30, 50, 0, 0, 0)
	if n := d.Stats().Accepted - before; n != 90 || d.stamp() != 0 {
		t.Errorf("%d of 90 accepted, stamps corrected by %v", n, d.stamp())
	}
}

// TestMonotonicTime sees that deadlines survive a clock that is set back, and that a sleep does not stop the machine.
func TestMonotonicTime(t *testing.T) {
	d := newDriver(gossip.Config{PostDelay: time.Second})
	d.join(1)
	d.step(gossip.Post{Envelope: d.make(7000)})
	d.now = d.now.Add(-time.Hour)
	d.step(gossip.Tick{})
	sent := d.wait(t, 5*time.Second)
	if len(of[gossip.Send](sent)) != 1 {
		t.Error("an own post did not leave after the clock was set back")
	}
	d.step(gossip.Drained{Conn: 1, Bytes: 1000})
	d.now = d.now.Add(24 * time.Hour) // asleep
	d.step(gossip.Tick{})
	if s := d.Stats(); s.Pooled != 0 || s.Disconnects != 0 {
		t.Errorf("after a day asleep: %+v", s)
	}
}

// TestLateIsNotSkew has a slow line on which envelopes wait until they are dead: our clock is not to blame.
func TestLateIsNotSkew(t *testing.T) {
	d := withPeers(gossip.Config{}, 3)
	for range 60 {
		for c := range gossip.Conn(3) {
			var list []*envelope.Envelope
			for range 64 {
				list = append(list, d.sent(-45, 15, topicA, 1000))
			}
			d.receive(1+c, list...)
		}
		d.wait(t, time.Second)
	}
	if a := of[gossip.Accept](d.receive(1, d.sent(0, 15, topicA, 32))); len(a) != 1 {
		t.Error("what is fresh was refused")
	}
}

func TestHeldEnvelopesAreBounded(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	for range 3000 {
		d.receive(1, d.sent(100, 50, topicA, 4000))
	}
	if n := d.Stats().Held; n == 0 || n > 1024 {
		t.Errorf("%d envelopes held", n)
	}
}

// TestPostByWrongClock posts, with a clock that is ahead, an envelope that is stamped right and already dead by that clock.
func TestPostByWrongClock(t *testing.T) {
	d := withPeers(gossip.Config{}, 3)
	traffic(t, d, 30, 7000, -60, -60, -60) // nothing ever expires: it is not proven that we are wrong
	if d.stamp() > -55*time.Second {
		t.Fatalf("stamps corrected by %v", d.stamp())
	}
	e := d.sent(int64(d.stamp().Seconds()), 15, topicA, 32)
	actions := d.step(gossip.Post{Envelope: e, Immediate: true})
	actions = append(actions, d.wait(t, 10*time.Millisecond)...)
	if p := of[gossip.Posted](actions); p[0].Err != nil || sentTo(actions, 1)[e.Hash()] != 1 {
		t.Fatalf("posted %+v, sent %v", p, sentTo(actions, 1))
	}
	d.wait(t, 10*time.Second)
	if _, ok := d.Lookup(e.Hash()); !ok {
		t.Error("gone from the pool before it expired")
	}
}

// TestWrongBeliefIsGivenUp has peers of whom most are wrong at first: once honest ones are the majority our clock is
// believed again, though only what they send now speaks for it.
func TestWrongBeliefIsGivenUp(t *testing.T) {
	d := newDriver(gossip.Config{})
	for i := range 8 {
		d.step(gossip.Joined{Conn: gossip.Conn(1 + i), Source: fmt.Sprint(i)})
	}
	traffic(t, d, 30, 15, 60, 60, 60)
	if d.stamp() == 0 {
		t.Fatal("the case is not reached")
	}
	traffic(t, d, 30, 15, 60, 60, 60, 0, 0, 0, 0, 0)
	if d.stamp() != 0 {
		t.Errorf("stamps still corrected by %v", d.stamp())
	}
	before := d.Stats().Accepted
	traffic(t, d, 10, 15, 60, 60, 60, 0, 0, 0, 0, 0)
	if n := d.Stats().Accepted - before; n != 50 {
		t.Errorf("%d of 50 accepted", n)
	}
}

// TestPeersThatCorrectThemselves has peers that had a wrong time for a while, as nodes do in a part of the network in which
// wrong clocks are the majority. What they sent then must not speak against what all send since.
func TestPeersThatCorrectThemselves(t *testing.T) {
	const ours = -51 // where the network's time is, by our clock
	for _, was := range []int64{ours + 40, ours - 40} {
		d := withPeers(gossip.Config{}, 4)
		traffic(t, d, 60, 15, ours, ours, ours, ours)
		traffic(t, d, 20, 15, ours, ours, was, was)
		traffic(t, d, 60, 15, ours, ours, ours, ours)
		if off := d.stamp() - ours*time.Second; off.Abs() > 2*time.Second {
			t.Errorf("peers were %d s off: stamped %v off a minute after they corrected themselves", was-ours, off)
		}
		before := d.Stats().Accepted
		traffic(t, d, 10, 15, ours, ours, ours, ours)
		if n := d.Stats().Accepted - before; n != 40 {
			t.Errorf("peers were %d s off: %d of 40 accepted a minute after they corrected themselves", was-ours, n)
		}
	}
}

// TestRightClockAmongCorrectedPeers has our clock right, and most peers wrong for a while.
func TestRightClockAmongCorrectedPeers(t *testing.T) {
	for _, was := range []int64{40, -40} {
		d := withPeers(gossip.Config{}, 3)
		traffic(t, d, 40, 15, 0, was, was)
		if d.stamp() == 0 {
			t.Fatal("the case is not reached")
		}
		traffic(t, d, 60, 15, 0, 0, 0)
		if d.stamp() != 0 {
			t.Errorf("peers were %d s off: stamps still corrected by %v", was, d.stamp())
		}
	}
}
