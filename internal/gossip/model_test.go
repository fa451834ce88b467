package gossip_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

// model is the plain truth about a machine: maps, and no cleverness.
type model struct {
	d        *driver
	all      []*envelope.Envelope
	accepted map[envelope.Hash]bool
	links    map[gossip.Conn]*modelLink
	nextConn gossip.Conn
}

type modelLink struct {
	bloom    *envelope.Bloom
	minPoW   float64
	has      map[envelope.Hash]bool
	inFlight int
	stuck    time.Time // since when nothing was drained
}

func (m *model) alive(e *envelope.Envelope) bool { return int64(e.Expiry()) >= m.d.now.Unix() }

func (l *modelLink) wants(e *envelope.Envelope) bool {
	return e.PoW() >= l.minPoW && (l.bloom == nil || l.bloom.AdmitsTopic(e.Topic()))
}

// perform checks each action against the model and carries it out.
func (m *model) perform(t *rapid.T, actions []gossip.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case gossip.Accept:
			if m.accepted[a.Envelope.Hash()] {
				t.Fatalf("accepted twice: %s", a.Envelope.Hash())
			}
			m.accepted[a.Envelope.Hash()] = true
		case gossip.Send:
			l := m.links[a.Conn]
			if l == nil {
				t.Fatalf("sent to %d, who left", a.Conn)
			}
			for _, e := range a.List {
				if l.has[e.Hash()] || !l.wants(e) || !m.alive(e) {
					t.Fatalf("sent to %d: known %v, wanted %v, alive %v", a.Conn, l.has[e.Hash()], l.wants(e), m.alive(e))
				}
				l.has[e.Hash()] = true
			}
			if l.inFlight == 0 {
				l.stuck = m.d.now
			}
			l.inFlight += a.Bytes
			if a.Bytes > maxModelPacket && len(a.List) > 1 {
				t.Fatalf("%d envelopes in a packet of %d bytes", len(a.List), a.Bytes)
			}
		case gossip.Disconnect:
			l := m.links[a.Conn]
			if l == nil || l.inFlight == 0 || m.d.now.Sub(l.stuck) < 10*time.Second {
				t.Fatalf("disconnected %d: %s", a.Conn, a.Reason)
			}
			delete(m.links, a.Conn)
			defer func() { m.perform(t, m.d.step(gossip.Left{Conn: a.Conn})) }()
		case gossip.Skew:
		default:
			t.Fatalf("unexpected %T", a)
		}
	}
}

const maxModelPacket = 4000

func (m *model) conn(t *rapid.T) gossip.Conn {
	var ids []gossip.Conn
	for c := range m.nextConn {
		if m.links[c] != nil {
			ids = append(ids, c)
		}
	}
	if len(ids) == 0 {
		t.Skip("no link")
	}
	return rapid.SampledFrom(ids).Draw(t, "conn")
}

func (m *model) bloom(t *rapid.T) *envelope.Bloom {
	switch rapid.IntRange(0, 3).Draw(t, "bloom") {
	case 0:
		return nil
	case 1:
		return &envelope.Bloom{}
	case 2:
		return ptr(topicA.WideBloom())
	}
	return ptr(topicB.WideBloom())
}

func (m *model) actions() map[string]func(*rapid.T) {
	pow := func(t *rapid.T) float64 { return rapid.SampledFrom([]float64{0, 0.0005, 0.01}).Draw(t, "pow") }
	return map[string]func(*rapid.T){
		"join": func(t *rapid.T) {
			l := &modelLink{bloom: m.bloom(t), minPoW: pow(t), has: map[envelope.Hash]bool{}}
			c := m.nextConn
			m.nextConn++
			m.links[c] = l
			m.perform(t, m.d.step(gossip.Joined{Conn: c, Require: gossip.Requirement{Bloom: l.bloom, MinPoW: l.minPoW}}))
		},
		"leave": func(t *rapid.T) {
			c := m.conn(t)
			delete(m.links, c)
			m.perform(t, m.d.step(gossip.Left{Conn: c}))
		},
		"receive": func(t *rapid.T) {
			c := m.conn(t)
			var list []*envelope.Envelope
			for range rapid.IntRange(1, 8).Draw(t, "n") {
				if len(m.all) > 0 && rapid.Bool().Draw(t, "old") {
					list = append(list, rapid.SampledFrom(m.all).Draw(t, "which"))
					continue
				}
				topic := rapid.SampledFrom([]envelope.Topic{topicA, topicB}).Draw(t, "topic")
				e := m.d.sent(-rapid.Int64Range(0, 3).Draw(t, "age"), uint32(rapid.IntRange(1, 20).Draw(t, "ttl")), topic, rapid.IntRange(8, 1500).Draw(t, "size"))
				m.all, list = append(m.all, e), append(list, e)
			}
			for _, e := range list {
				if m.alive(e) {
					m.links[c].has[e.Hash()] = true
				}
			}
			before := len(m.accepted)
			fresh := map[envelope.Hash]bool{}
			for _, e := range list {
				if m.alive(e) && !m.accepted[e.Hash()] {
					fresh[e.Hash()] = true
				}
			}
			m.perform(t, m.d.receive(c, list...))
			if len(m.accepted)-before != len(fresh) {
				t.Fatalf("%d accepted, want %d", len(m.accepted)-before, len(fresh))
			}
		},
		"require": func(t *rapid.T) {
			c := m.conn(t)
			ev := gossip.Required{Conn: c}
			if rapid.Bool().Draw(t, "which") {
				b := m.bloom(t)
				m.links[c].bloom = b
				if b == nil {
					b = ptr(envelope.FullBloom())
				}
				ev.Bloom = b
			} else {
				m.links[c].minPoW = pow(t)
				ev.MinPoW = ptr(m.links[c].minPoW)
			}
			m.perform(t, m.d.step(ev))
		},
		"drain": func(t *rapid.T) {
			c := m.conn(t)
			l := m.links[c]
			n := rapid.IntRange(0, l.inFlight).Draw(t, "bytes")
			l.inFlight -= n
			l.stuck = m.d.now
			m.perform(t, m.d.step(gossip.Drained{Conn: c, Bytes: n}))
		},
		"wait": func(t *rapid.T) {
			span := time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond
			m.run(t, m.d.now.Add(span), false)
		},
		"": func(t *rapid.T) {
			pooled := 0
			for _, e := range m.all {
				if m.accepted[e.Hash()] && int64(e.Expiry()) >= m.d.now.Unix() {
					pooled++
				}
			}
			if s := m.d.Stats(); s.Pooled != pooled {
				t.Fatalf("%d pooled, want %d", s.Pooled, pooled)
			}
		},
	}
}

// run lets time pass. Readers take everything at once when drain is set.
func (m *model) run(t *rapid.T, end time.Time, drain bool) {
	for {
		if drain {
			for c := range m.nextConn {
				if l := m.links[c]; l != nil && l.inFlight > 0 {
					n := l.inFlight
					l.inFlight, l.stuck = 0, m.d.now
					m.perform(t, m.d.step(gossip.Drained{Conn: c, Bytes: n}))
				}
			}
		}
		at, ok := m.d.Deadline()
		if !ok || at.After(end) {
			break
		}
		m.d.now = at
		m.perform(t, m.d.step(gossip.Tick{}))
	}
	m.d.now = end
	m.perform(t, m.d.step(gossip.Tick{}))
}

// settled checks that, once everybody has read, every link has what it wants and can get.
func (m *model) settled(t *rapid.T) {
	m.run(t, m.d.now.Add(1500*time.Millisecond), true)
	m.run(t, m.d.now, true)
	for c := range m.nextConn {
		l := m.links[c]
		if l == nil {
			continue
		}
		for _, e := range m.all {
			if m.accepted[e.Hash()] && m.alive(e) && l.wants(e) && !l.has[e.Hash()] {
				t.Fatalf("%d never got %s", c, e.Hash())
			}
		}
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			d:        newDriver(gossip.Config{Packet: maxModelPacket, InFlight: 10_000, PerPacket: 8}),
			accepted: map[envelope.Hash]bool{}, links: map[gossip.Conn]*modelLink{},
		}
		t.Repeat(m.actions())
		m.settled(t)
	})
}

// TestDeterminism gives two machines the same events.
func TestDeterminism(t *testing.T) {
	run := func() string {
		d := newNarrowDriver(gossip.Config{Seed: 3, NoiseSeed: 4, PostDelay: time.Second, PoolCount: 200})
		var out strings.Builder
		note := func(actions []gossip.Action) {
			for _, a := range actions {
				if s, ok := a.(gossip.Send); ok {
					for _, e := range s.List {
						out.WriteString(e.Hash().String())
					}
				}
				fmt.Fprintf(&out, "%T", a)
			}
			at, ok := d.Deadline()
			fmt.Fprint(&out, at.UnixNano(), ok)
		}
		for i := range 20 {
			note(d.step(gossip.Wanted{Owner: fmt.Sprint(i % 7), Topics: []envelope.Topic{topicA, {byte(i)}}}))
			note(d.step(gossip.Joined{Conn: gossip.Conn(i), Network: gossip.Network(i % 2), Source: fmt.Sprint(i % 3)}))
			for j := range 30 {
				note(d.receive(gossip.Conn((i+j)%20), d.make(uint32(1+j)), d.sent(0, 20, envelope.Topic{byte(j)}, 40)))
				note(d.step(gossip.Post{Envelope: d.make(40)}))
			}
			note(d.wait(t, 300*time.Millisecond))
			note(d.step(gossip.Unwanted{Owner: fmt.Sprint(i % 5)}))
		}
		return out.String()
	}
	first := run()
	for range 3 {
		if run() != first {
			t.Fatal("the same events led to other actions")
		}
	}
}
