package gossip_test

import (
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

func TestExpiry(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	e := d.make(30)
	d.receive(1, e)
	d.wait(t, 30*time.Second)
	if d.Stats().Pooled != 1 {
		t.Fatal("gone in its last second")
	}
	at, ok := d.Deadline()
	if !ok || at.Unix() != t0+31 {
		t.Fatalf("deadline %v, want the second after expiry", at)
	}
	d.wait(t, time.Second)
	if s := d.Stats(); s.Pooled != 0 || s.PooledBytes != 0 || s.Expired != 1 {
		t.Fatalf("stats %+v", s)
	}
	if a := d.receive(1, e); len(of[gossip.Accept](a)) != 0 {
		t.Fatal("accepted again after it expired")
	}
}

func TestLongTTLStaysTwoHoursAndIsAcceptedOnce(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	e := d.make(86_400)
	d.receive(1, e)
	d.wait(t, 2*time.Hour)
	if d.Stats().Pooled != 1 {
		t.Fatal("gone before two hours")
	}
	d.wait(t, time.Second)
	if s := d.Stats(); s.Pooled != 0 || s.Remembered != 1 || s.Penalties != 0 {
		t.Fatalf("stats %+v", s)
	}
	actions := d.step(wantAck(1, 1, e))
	if len(of[gossip.Accept](actions)) != 0 {
		t.Fatal("accepted a second time")
	}
	if a := of[gossip.Ack](actions); len(a) != 1 || len(a[0].Refused) != 0 {
		t.Errorf("acks %+v", a)
	}
}

func TestUnsentIsCounted(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	d.step(gossip.Joined{Conn: 2, Require: gossip.Requirement{Bytes: 1}})
	d.receive(1, d.make(10))
	d.receive(1, d.make(10), d.make(10))
	d.wait(t, 9*time.Second)
	d.step(gossip.Drained{Conn: 2, Bytes: 1 << 20})
	d.wait(t, 10*time.Second)
	if n := d.Stats().Unsent; n != 2 {
		t.Errorf("unsent = %d, want 2", n)
	}
}

// ranked makes an envelope of which only the nonce, hence the proof of work, is searched.
func ranked(d *driver, zeros int) *envelope.Envelope {
	for {
		e := d.make(50)
		n := 0
		for pow := e.PoW() * float64(len(e.Raw())) * 50; pow >= 2; pow /= 2 {
			n++
		}
		if n == zeros {
			return e
		}
	}
}

func TestEviction(t *testing.T) {
	for name, cfg := range map[string]gossip.Config{"count": {PoolCount: 3}, "bytes": {PoolBytes: 3 * 60}} {
		d := newDriver(cfg)
		d.join(1)
		p0, p1, p2, p3 := ranked(d, 0), ranked(d, 2), ranked(d, 3), ranked(d, 4)
		d.receive(1, p2)
		d.receive(1, p0)
		d.receive(1, p1)
		d.receive(1, p3)
		for i, c := range []struct {
			e    *envelope.Envelope
			want bool
		}{{p0, false}, {p1, true}, {p2, true}, {p3, true}} {
			if _, ok := d.Lookup(c.e.Hash()); ok != c.want {
				t.Errorf("%s: envelope %d pooled: %v", name, i, ok)
			}
		}
		if a := of[gossip.Accept](d.receive(1, p0)); len(a) != 0 {
			t.Errorf("%s: an evicted envelope was accepted again", name)
		}
		actions := d.step(wantAck(1, 1, ranked(d, 0)))
		if ack := of[gossip.Ack](actions); len(of[gossip.Accept](actions)) != 0 || len(ack) != 1 || len(ack[0].Refused) != 1 {
			t.Errorf("%s: newcomer below all: %+v", name, actions)
		}
		if s := d.Stats(); s.PoolFull != 1 || s.Evicted != 1 || s.Penalties != 0 {
			t.Errorf("%s: stats %+v", name, s)
		}
		own := ranked(d, 0)
		d.step(gossip.Post{Envelope: own})
		if _, ok := d.Lookup(own.Hash()); !ok {
			t.Errorf("%s: an own post found no room", name)
		}
	}
}

// TestLogIsCompacted has many short envelopes pass behind a long one.
func TestLogIsCompacted(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	long := d.make(5000)
	d.receive(1, long)
	onlyB := topicB.WideBloom()
	for i := range 60 {
		d.step(gossip.Joined{Conn: gossip.Conn(100 + i), Require: gossip.Requirement{Bloom: &onlyB}})
		var batch []*envelope.Envelope
		for range 300 {
			batch = append(batch, d.make(5))
		}
		b := d.sent(0, 50, topicB, 32)
		actions := d.receive(1, append(batch, b)...)
		actions = append(actions, d.wait(t, time.Second)...)
		for j := range i + 1 {
			if n := sentTo(actions, gossip.Conn(100+j))[b.Hash()]; n != 1 {
				t.Fatalf("round %d: link %d got the envelope %d times", i, j, n)
			}
		}
		for _, s := range of[gossip.Send](actions) {
			d.step(gossip.Drained{Conn: s.Conn, Bytes: s.Bytes})
		}
	}
	if _, ok := d.Lookup(long.Hash()); !ok {
		t.Fatal("the long envelope is gone")
	}
	if sentTo(d.join(2), 2)[long.Hash()] != 1 {
		t.Error("a new link did not get the long envelope")
	}
}

// TestSlotsAreReused has many connections come and go: a new one must not inherit what an old one knew.
func TestSlotsAreReused(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	e := d.make(5000)
	d.receive(1, e)
	for i := range 400 {
		c := gossip.Conn(10 + i)
		if sentTo(d.join(c), c)[e.Hash()] != 1 {
			t.Fatalf("connection %d did not get the pool", i)
		}
		d.step(gossip.Left{Conn: c})
		d.now = d.now.Add(time.Second)
	}
}

// TestManyConnections goes beyond the marks that an entry has room for at first.
func TestManyConnections(t *testing.T) {
	d := newDriver(gossip.Config{})
	for i := range 300 {
		d.join(gossip.Conn(i))
	}
	e := d.make(50)
	actions := d.receive(299, e)
	actions = append(actions, d.wait(t, 10*time.Millisecond)...)
	for i := range 300 {
		want := 1
		if i == 299 {
			want = 0
		}
		if n := sentTo(actions, gossip.Conn(i))[e.Hash()]; n != want {
			t.Fatalf("link %d got it %d times", i, n)
		}
	}
}
