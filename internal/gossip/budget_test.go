package gossip_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

const budgetDay = t0 / 86400

// untilMidnight is how far t0 is from the end of its day.
const untilMidnight = ((budgetDay+1)*86400 - t0) * time.Second

func TestRelayBudget(t *testing.T) {
	d := newDriver(gossip.Config{})
	size := int64(len(d.make(50).Raw()))
	d = newDriver(gossip.Config{RelayPerDay: 2 * size, Coalesce: time.Microsecond})
	d.join(1)
	d.join(2)
	give := func() (*envelope.Envelope, []gossip.Action) {
		d.now = d.now.Add(time.Second)
		e := d.make(50)
		return e, d.receive(1, e)
	}
	for n := range 4 {
		e, actions := give()
		if len(of[gossip.Accept](actions)) != 1 {
			t.Fatal("an envelope was not accepted because of the budget")
		}
		if got, want := sentTo(actions, 2)[e.Hash()], 1-n/2; got != want {
			t.Fatalf("envelope %d was sent %d times, want %d", n, got, want)
		}
		if b := of[gossip.RelayBudget](actions); len(b) != 0 != (n == 2) || n == 2 && b[0] != (gossip.RelayBudget{Spent: true, Limit: 2 * size}) {
			t.Fatalf("envelope %d: told %+v", n, b)
		}
	}
	st := d.Stats()
	if st.Relayed != (gossip.Relayed{Day: budgetDay, Bytes: 2 * size}) || !st.RelaySpent || st.RelayPerDay != 2*size {
		t.Errorf("stats = %+v, %v, %d", st.Relayed, st.RelaySpent, st.RelayPerDay)
	}
	d.now = d.now.Add(time.Second)
	own := d.make(50)
	if sentTo(d.step(gossip.Post{Envelope: own, Immediate: true}), 2)[own.Hash()] != 1 {
		t.Error("an own post was held back")
	}
	if st := d.Stats(); st.Relayed.Bytes != 2*size {
		t.Errorf("an own post was counted: %d bytes", st.Relayed.Bytes)
	}
}

func TestRelayBudgetIsRenewed(t *testing.T) {
	for name, renew := range map[string]func(*driver) []gossip.Action{
		"at midnight": func(d *driver) []gossip.Action { return d.wait(t, untilMidnight) },
		"when raised": func(d *driver) []gossip.Action { return d.step(gossip.Tune{RelayPerDay: 1 << 20}) },
		"when lifted": func(d *driver) []gossip.Action { return d.step(gossip.Tune{}) },
	} {
		d := newDriver(gossip.Config{RelayPerDay: 1000, MaxTTL: 24 * time.Hour, Relayed: gossip.Relayed{Day: budgetDay, Bytes: 990}})
		d.join(1)
		d.join(2)
		e := d.make(86400)
		if s := of[gossip.Send](d.receive(1, e)); len(s) != 0 {
			t.Fatalf("%s: what an earlier machine had relayed was not counted", name)
		}
		if s := of[gossip.Send](d.wait(t, untilMidnight/2)); len(s) != 0 {
			t.Fatalf("%s: sent before", name)
		}
		d.now = d.now.Add(-untilMidnight / 2)
		actions := renew(d)
		if b := of[gossip.RelayBudget](actions); len(b) != 1 || b[0].Spent {
			t.Errorf("%s: told %+v", name, b)
		}
		if sentTo(actions, 2)[e.Hash()] != 1 || sentTo(actions, 1)[e.Hash()] != 0 {
			t.Errorf("%s: what was held back did not leave", name)
		}
		if st := d.Stats(); st.RelaySpent {
			t.Errorf("%s: still spent", name)
		}
	}
}

func TestRelayBudgetOfAnotherDay(t *testing.T) {
	d := newDriver(gossip.Config{RelayPerDay: 1000, Relayed: gossip.Relayed{Day: budgetDay - 1, Bytes: 1000}})
	d.join(1)
	d.join(2)
	e := d.make(50)
	if sentTo(d.receive(1, e), 2)[e.Hash()] != 1 {
		t.Error("yesterday's bytes were counted")
	}
}

// TestPostAgain: after a restart peers may send us our own post before it is posted again.
func TestPostAgain(t *testing.T) {
	d := newDriver(gossip.Config{RelayPerDay: 1})
	d.join(1)
	d.step(gossip.Joined{Conn: 2, Network: 1})
	e := d.make(50)
	if s := of[gossip.Send](d.receive(1, e)); len(s) != 0 {
		t.Fatal("the budget did not count")
	}
	d.now = d.now.Add(time.Second)
	s := of[gossip.Send](d.step(gossip.Post{Envelope: e}))
	if len(s) != 1 || s[0].Conn != 2 || len(s[0].Own) != 1 || s[0].Own[0] != e.Hash() {
		t.Errorf("sends = %+v, want one to the peer that lacks it", s)
	}
	if p := of[gossip.Progress](d.step(gossip.Confirmed{Conn: 2, Network: 1, Hashes: []envelope.Hash{e.Hash()}})); len(p) != 1 {
		t.Errorf("its confirmation is not followed: %+v", p)
	}
}

// TestPostAgainKeepsItsPlace: in a full pool own posts are the last to go, also those that came back from a peer first.
func TestPostAgainKeepsItsPlace(t *testing.T) {
	d := newDriver(gossip.Config{PoolCount: 4})
	d.join(1)
	own := d.make(50)
	d.receive(1, own)
	for range 8 { // smaller ones have more proof of work
		d.receive(1, d.sent(0, 50, topicA, 8))
	}
	if _, ok := d.Lookup(own.Hash()); ok {
		t.Fatal("the pool is not under pressure")
	}
	own = d.sent(0, 50, topicA, 8)
	d.receive(1, own)
	d.step(gossip.Post{Envelope: own})
	for range 8 {
		d.receive(1, d.sent(0, 50, topicA, 8))
	}
	if info, ok := d.Lookup(own.Hash()); !ok || !info.Own {
		t.Errorf("lookup = %+v, %v", info, ok)
	}
}

// TestRelayBudgetHolds: whatever happens, a day's bytes for others stay within the limit, own posts reach every link at
// once, and what was held back leaves when the limit is lifted.
func TestRelayBudgetHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 5000
		d := newDriver(gossip.Config{RelayPerDay: limit, MaxTTL: 48 * time.Hour, Coalesce: time.Nanosecond})
		own, relayed, day := map[envelope.Hash]bool{}, int64(0), int64(budgetDay)
		others := map[envelope.Hash]bool{}
		has := map[gossip.Conn]map[envelope.Hash]bool{}
		limited := true
		step := func(ev gossip.Event) {
			d.now = d.now.Add(time.Microsecond)
			for queue := []gossip.Event{ev}; len(queue) > 0; queue = queue[1:] {
				if now := d.now.Unix() / 86400; now != day {
					relayed, day = 0, now
				}
				for _, s := range of[gossip.Send](d.step(queue[0])) {
					for _, e := range s.List {
						has[s.Conn][e.Hash()] = true
						if !own[e.Hash()] {
							relayed += int64(len(e.Raw()))
						}
					}
					queue = append(queue, gossip.Drained{Conn: s.Conn, Bytes: s.Bytes})
				}
				if limited && relayed > limit {
					t.Fatalf("%d bytes were relayed in a day", relayed)
				}
			}
		}
		join := func(c gossip.Conn) {
			has[c] = map[envelope.Hash]bool{}
			step(gossip.Joined{Conn: c})
		}
		join(1)
		size := rapid.IntRange(8, 1500)
		t.Repeat(map[string]func(*rapid.T){
			"receive": func(t *rapid.T) {
				e := d.sent(0, 200_000, topicA, size.Draw(t, "size"))
				others[e.Hash()], has[1][e.Hash()] = true, true
				step(received(1, e))
			},
			"post": func(t *rapid.T) {
				e := d.sent(0, 200_000, topicA, size.Draw(t, "size"))
				own[e.Hash()] = true
				step(gossip.Post{Envelope: e, Immediate: true})
			},
			"join": func(*rapid.T) { join(gossip.Conn(len(has) + 1)) },
			"wait": func(t *rapid.T) {
				d.now = d.now.Add(time.Duration(rapid.IntRange(1, 6).Draw(t, "hours")) * time.Hour)
				step(gossip.Tick{})
			},
			"": func(t *rapid.T) {
				for c := range has {
					for h := range own {
						if _, alive := d.Lookup(h); alive && !has[c][h] {
							t.Fatalf("an own post did not reach %d", c)
						}
					}
				}
			},
		})
		limited = false
		step(gossip.Tune{MaxTTL: 48 * time.Hour})
		d.now = d.now.Add(2 * time.Second)
		step(gossip.Tick{})
		for c := range has {
			for h := range others {
				if _, alive := d.Lookup(h); alive && !has[c][h] {
					t.Fatalf("what was held back did not reach %d", c)
				}
			}
		}
	})
}
