package gossip_test

import (
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/gossip"
)

func TestPostWaitsRandomly(t *testing.T) {
	const limit = 500 * time.Millisecond
	d := newDriver(gossip.Config{Seed: 7, PostDelay: limit})
	d.join(1)
	seen := make(map[time.Duration]bool)
	for range 20 {
		e := d.make(50)
		actions := d.step(gossip.Post{Envelope: e})
		if len(of[gossip.Accept](actions)) != 1 || len(of[gossip.Send](actions)) != 0 {
			t.Fatalf("actions = %+v, want Accept and no Send", actions)
		}
		if p := of[gossip.Posted](actions); len(p) != 1 || p[0].Err != nil || p[0].Hash != e.Hash() {
			t.Fatalf("posted = %+v", p)
		}
		if info, ok := d.Lookup(e.Hash()); !ok || !info.Waiting || !info.Own {
			t.Fatalf("lookup = %+v", info)
		}
		start := d.now
		for {
			at, ok := d.Deadline()
			if !ok || at.Sub(start) > limit+2*time.Millisecond {
				t.Fatalf("not sent within %v", limit)
			}
			d.now = at
			if sentTo(d.step(gossip.Tick{}), 1)[e.Hash()] == 1 {
				break
			}
		}
		seen[d.now.Sub(start)] = true
	}
	if len(seen) < 15 {
		t.Errorf("only %d different delays of 20", len(seen))
	}
}

func TestPostImmediately(t *testing.T) {
	d := newDriver(gossip.Config{PostDelay: time.Second})
	d.join(1)
	d.step(gossip.Joined{Conn: 2, Network: 1})
	e := d.make(50)
	actions := d.step(gossip.Post{Envelope: e, Immediate: true})
	if sentTo(actions, 1)[e.Hash()] != 1 || sentTo(actions, 2)[e.Hash()] != 1 {
		t.Fatal("not sent at once on every network")
	}
	// Posting it again is no error and has no effect; nor has its return from a peer.
	actions = append(d.step(gossip.Post{Envelope: e}), d.receive(1, e)...)
	if len(actions) != 1 || of[gossip.Posted](actions)[0].Err != nil {
		t.Errorf("posted twice: %+v", actions)
	}
	f := d.make(50)
	d.now = d.now.Add(time.Second)
	if s := of[gossip.Send](d.step(gossip.Post{Envelope: f, Immediate: true, Networks: gossip.In(1)})); len(s) != 1 || s[0].Conn != 2 {
		t.Errorf("a post for one network went to %+v", s)
	}
}

func TestBadPost(t *testing.T) {
	d := newDriver(gossip.Config{MinPoW: 1})
	for name, e := range map[string]*envelope.Envelope{
		"low PoW": d.make(50), "TTL 0": d.make(0), "old": d.sent(-100, 50, topicA, 32), "future": d.sent(60, 50, topicA, 32),
	} {
		p := of[gossip.Posted](d.step(gossip.Post{Envelope: e}))
		if len(p) != 1 || fault.KindOf(p[0].Err) != fault.Invalid || fault.Text(p[0].Err) == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestPostOutsideOwnFilter(t *testing.T) {
	d := newNarrowDriver(gossip.Config{})
	if p := of[gossip.Posted](d.step(gossip.Post{Envelope: d.make(50)})); p[0].Err != nil {
		t.Errorf("own filter bound an own post: %v", p[0].Err)
	}
}

func TestProgress(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	d.join(2)
	e, other := d.make(50), d.make(50)
	d.step(gossip.Post{Envelope: e, Immediate: true})
	d.receive(1, other)
	both := []envelope.Hash{e.Hash(), other.Hash()}
	for _, c := range []struct{ conn, want int }{{1, 1}, {1, 0}, {2, 2}} {
		p := of[gossip.Progress](d.step(gossip.Confirmed{Conn: gossip.Conn(c.conn), Hashes: both}))
		if c.want == 0 && len(p) == 0 {
			continue
		}
		if len(p) != 1 || p[0].Peers != c.want || p[0].Hash != e.Hash() {
			t.Errorf("progress = %+v, want %d", p, c.want)
		}
	}
	if info, _ := d.Lookup(e.Hash()); info.Confirmed != 2 || info.Known != 2 {
		t.Errorf("lookup = %+v", info)
	}
}
