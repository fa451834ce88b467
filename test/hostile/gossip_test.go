package hostile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/wire"
)

// noEnvelopes is the hello of a peer that wants nothing.
func noEnvelopes() wire.Hello { return wire.Hello{Bloom: new(envelope.Bloom), Confirms: true} }

func attacker() conduct {
	return conduct{hellos: map[string][]byte{shh6: hello(shh6, noEnvelopes())}}
}

// TestReplays sends one envelope 100,000 times: it goes out once, and nobody is punished for what loops in the network bring.
func TestReplays(t *testing.T) {
	w := newWorld(t, nil)
	during(w, 16<<20, func() {
		p := w.dial(attacker())
		env := valid(t, envelope.Topic{1}, 60)
		envs := make([]*envelope.Envelope, 1000)
		for i := range envs {
			envs[i] = env
		}
		packet := list(envs...)
		for range 100 {
			p.send(shh6, 1, packet)
		}
		w.stays(p)
		if n := w.counter("envelopes_duplicate_total"); n < 99_999 {
			t.Errorf("%v duplicates were counted", n)
		}
	})
}

// flood sends n envelopes in packets of 500.
func flood(p *peer, n int, make func() *envelope.Envelope) (all bool) {
	for range n / 500 {
		envs := []*envelope.Envelope{}
		for range 500 {
			envs = append(envs, make())
		}
		if !p.send(shh6, 1, list(envs...)) {
			return false
		}
	}
	return true
}

// TestFloodsThroughHonestRelays sends what nobody takes, for reasons that are not the relay's fault: refused, and no disconnect.
func TestFloodsThroughHonestRelays(t *testing.T) {
	for name, make := range map[string]func(now time.Time) (sent time.Time, ttl uint32){
		"TTL 0":           func(now time.Time) (time.Time, uint32) { return now, 0 },
		"from the future": func(now time.Time) (time.Time, uint32) { return now.Add(time.Hour), 60 },
		"expired":         func(now time.Time) (time.Time, uint32) { return now.Add(-15 * time.Second), 10 },
		"very old":        func(now time.Time) (time.Time, uint32) { return now.Add(-time.Hour), 60 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			during(w, 16<<20, func() {
				p := w.dial(attacker())
				flood(p, 10_000, func() *envelope.Envelope {
					sent, ttl := make(time.Now())
					return random(t, sent, ttl, envelope.Topic{1}, 300)
				})
				w.stays(p)
			})
			if n := w.counter("penalties_total"); n != 0 {
				t.Errorf("%v penalties", n)
			}
		})
	}
}

// TestWorklessFlood sends envelopes below the minimum: the sender goes, and is told why.
func TestWorklessFlood(t *testing.T) {
	w := newWorld(t, func(o *node.Options) { o.Gossip.MinPoW = 0.01 })
	during(w, 16<<20, func() {
		p := w.dial(attacker())
		flood(p, 10_000, func() *envelope.Envelope { return random(t, time.Now(), 3000, envelope.Topic{1}, 300) })
		if why := w.gone(p); !strings.Contains(why, "below the minimum proof of work") {
			t.Errorf("reason %q", why)
		}
	})
}

// TestHugeEnvelopes sends envelopes above every usual limit.
func TestHugeEnvelopes(t *testing.T) {
	w := newWorld(t, nil)
	during(w, 16<<20, func() {
		p := w.dial(attacker())
		env := random(t, time.Now(), 60, envelope.Topic{1}, 1<<20)
		for range 10 {
			p.send(shh6, 1, list(env))
		}
		if why := w.gone(p); !strings.Contains(why, "too large") {
			t.Errorf("reason %q", why)
		}
	})
}

// TestPoolIsBounded floods with valid envelopes far beyond the pool: it keeps its size, and the honest ones, which have more
// work, stay in it.
func TestPoolIsBounded(t *testing.T) {
	const poolBytes = 8 << 20
	w := newWorld(t, func(o *node.Options) { o.Gossip.PoolBytes, o.Gossip.MinPoW = poolBytes, 0 })
	during(w, poolBytes+32<<20, func() {
		p := w.dial(attacker())
		flood(p, 50_000, func() *envelope.Envelope { return random(t, time.Now(), 600, envelope.Topic{1}, 1000) })
		w.stays(p)
		st := w.status()
		if st.Pool.Bytes > poolBytes || st.Pool.Envelopes > 20_000 {
			t.Errorf("the pool has %d envelopes, %d bytes", st.Pool.Envelopes, st.Pool.Bytes)
		}
	})
}

// TestPoolInOnePacket is a well-meaning peer with a big pool, which comes in one packet, far above the usual limit.
func TestPoolInOnePacket(t *testing.T) {
	w := newWorld(t, nil)
	// Either end keeps its buffers, about twice the packet, with the connection; the envelopes come on top.
	during(w, 48<<20, func() {
		p := w.dial(attacker())
		envs := []*envelope.Envelope{}
		for range 4000 {
			envs = append(envs, random(t, time.Now(), 60, envelope.Topic{1}, 1000))
		}
		p.send(shh6, 1, list(envs...))
		eventually(t, "all is pooled", func() bool { return w.status().Pool.Envelopes >= 4000 })
		w.stays(p)
	})
}

// TestBloomFlapping changes a peer's filter thousands of times while the pool is big.
func TestBloomFlapping(t *testing.T) {
	w := newWorld(t, nil)
	fill(w, 5000, 500)
	during(w, 16<<20, func() {
		p := w.dial(conduct{hellos: speaks(shh6)})
		d, _ := wire.Lookup(shh6)
		full, none := envelope.FullBloom(), envelope.Bloom{}
		began := time.Now()
		for i := range 2000 {
			u := wire.Update{Bloom: &none}
			if i%2 == 0 {
				u.Bloom = &full
			}
			frames, err := d.Encode(u)
			if err != nil {
				t.Fatal(err)
			}
			p.send(shh6, frames[0].Code, frames[0].Payload)
		}
		w.stays(p)
		t.Logf("2000 changes in %s", time.Since(began).Round(time.Millisecond))
	})
}

// TestInterestFlapping changes a peer's list of 10,000 topics again and again while the pool is big.
func TestInterestFlapping(t *testing.T) {
	w := newWorld(t, nil)
	fill(w, 5000, 500)
	during(w, 24<<20, func() {
		p := w.dial(conduct{hellos: speaks(waku1)})
		d, _ := wire.Lookup(waku1)
		var packets [2]wire.Frame
		for i := range packets {
			topics := make([]envelope.Topic, wire.MaxTopics)
			for j := range topics {
				topics[j] = envelope.Topic{byte(i), byte(j), byte(j >> 8)}
			}
			frames, err := d.Encode(wire.Update{Topics: topics, ByTopics: true})
			if err != nil {
				t.Fatal(err)
			}
			packets[i] = frames[0]
		}
		for i := range 500 {
			p.send(waku1, packets[i%2].Code, packets[i%2].Payload)
		}
		w.stays(p)
	})
}

// fill pools envelopes.
func fill(w *world, count, size int) {
	w.t.Helper()
	p := w.dial(attacker())
	for range count / 500 {
		envs := []*envelope.Envelope{}
		for range 500 {
			envs = append(envs, random(w.t, time.Now(), 300, envelope.Topic{7}, size))
		}
		p.send(shh6, 1, list(envs...))
	}
	eventually(w.t, "the pool is filled", func() bool { return w.status().Pool.Envelopes >= count })
	p.close()
}

// TestTickets opens thousands of acknowledgements: all are answered, none stays open.
func TestTickets(t *testing.T) {
	w := newWorld(t, nil)
	during(w, 24<<20, func() {
		p := w.dial(attacker())
		for range 5000 {
			p.send(shh6, 1, list(random(t, time.Now(), 60, envelope.Topic{1}, 100)))
		}
		w.stays(p)
		eventually(t, "all are answered", func() bool { return w.counter("acknowledged_total") >= 5000 })
		if n := w.counter("open_tickets"); n != 0 {
			t.Errorf("%v tickets are open", n)
		}
	})
}

// TestSlowReader connects to a node with a big pool and reads nothing.
func TestSlowReader(t *testing.T) {
	w := newWorld(t, func(o *node.Options) { o.Gossip.SlowReader, o.Gossip.MinPoW = time.Second, 0 })
	fill(w, 3000, 8000)
	during(w, 16<<20, func() {
		p := w.dial(conduct{hellos: speaks(shh6), mute: true})
		if why := w.gone(p); !strings.Contains(why, "slow reader") {
			t.Errorf("reason %q", why)
		}
	})
}

// TestNeverReadsAnswers lets the node write thousands of reports that it does not read.
func TestNeverReadsAnswers(t *testing.T) {
	w := newWorld(t, nil)
	during(w, 24<<20, func() {
		c := attacker()
		c.mute = true
		p := w.dial(c)
		envs := []*envelope.Envelope{}
		for range 1000 {
			envs = append(envs, random(t, time.Now().Add(time.Hour), 60, envelope.Topic{1}, 8))
		}
		packet := list(envs...)
		for range 400 {
			if !p.send(shh6, 1, packet) {
				break
			}
		}
		if why := w.gone(p); !strings.Contains(why, "does not read") {
			t.Errorf("reason %q", why)
		}
	})
}
