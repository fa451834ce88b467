package gossip_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

// BenchmarkRelay takes packets of 10 envelopes at 15,000 envelopes a second and sends them to so many links; credit
// returns at once. ns/op is for one envelope.
func BenchmarkRelay(b *testing.B) {
	for _, links := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("links=%d", links), func(b *testing.B) { benchRelay(b, links, 10) })
	}
	b.Run("links=10,single", func(b *testing.B) { benchRelay(b, 10, 1) })
}

func benchRelay(b *testing.B, links, perPacket int) {
	const ttl = 4
	d := newDriver(gossip.Config{})
	d.join(1)
	for i := range links {
		d.join(gossip.Conn(2 + i))
	}
	list := make([]*envelope.Envelope, b.N)
	for i := range list {
		at := d.now.Add(time.Duration(i) * time.Second / 15_000)
		list[i] = envelope.New(uint32(at.Unix())+ttl, ttl, topicA, fmt.Appendf(make([]byte, 0, 64), "%060d", i), 0)
	}
	sent := 0
	b.ReportAllocs()
	b.ResetTimer()
	perform := func(actions []gossip.Action) {
		var drained []gossip.Drained
		for _, a := range actions {
			if s, ok := a.(gossip.Send); ok {
				sent += len(s.List)
				drained = append(drained, gossip.Drained{Conn: s.Conn, Bytes: s.Bytes})
			}
		}
		for _, ev := range drained {
			d.Step(d.now, ev)
		}
	}
	start := d.now
	for i := 0; i < len(list); i += perPacket {
		d.now = start.Add(time.Duration(i) * time.Second / 15_000)
		if at, ok := d.Deadline(); ok && !at.After(d.now) {
			perform(d.Step(d.now, gossip.Tick{}))
		}
		part := list[i:min(i+perPacket, len(list))]
		perform(d.Step(d.now, gossip.Received{Conn: 1, List: part, Bytes: 100 * len(part)}))
	}
	b.StopTimer()
	b.ReportMetric(float64(sent)/float64(b.N), "sends/op")
}

// BenchmarkDuplicate takes envelopes that are pooled already.
func BenchmarkDuplicate(b *testing.B) {
	d := newDriver(gossip.Config{})
	d.join(1)
	var list []*envelope.Envelope
	for range 1000 {
		list = append(list, d.make(100))
	}
	d.receive(1, list...)
	b.ReportAllocs()
	for i := 0; b.Loop(); i += 10 {
		d.Step(d.now, gossip.Received{Conn: 1, List: list[i%1000 : i%1000+10], Bytes: 1000})
	}
}

// BenchmarkIdle is an hour with 20,000 pooled envelopes and 20 links on which nothing happens.
func BenchmarkIdle(b *testing.B) {
	d := newDriver(gossip.Config{InFlight: 1 << 30})
	for i := range 20 {
		d.join(gossip.Conn(i))
	}
	for i := range 20_000 {
		d.receive(gossip.Conn(i%20), d.make(7100))
		if i%100 == 0 {
			for _, s := range of[gossip.Send](d.wait(b, 3*time.Millisecond)) {
				d.step(gossip.Drained{Conn: s.Conn, Bytes: s.Bytes})
			}
		}
	}
	d.wait(b, 8*time.Second)
	for i := range 20 {
		d.step(gossip.Drained{Conn: gossip.Conn(i), Bytes: 1 << 30})
	}
	d.wait(b, 10*time.Second)
	b.ReportAllocs()
	ticks := 0
	for b.Loop() {
		end := d.now.Add(time.Hour)
		for {
			at, ok := d.Deadline()
			if !ok || at.After(end) {
				break
			}
			d.now = at
			d.Step(d.now, gossip.Tick{})
			ticks++
		}
		if d.Stats().Pooled != 20_000 && ticks == 0 {
			b.Fatalf("%d pooled", d.Stats().Pooled)
		}
	}
	b.ReportMetric(float64(ticks)/float64(b.N), "ticks/hour")
}

// BenchmarkNewLink joins a link to a pool of 20,000.
func BenchmarkNewLink(b *testing.B) {
	d := newDriver(gossip.Config{InFlight: 1 << 30})
	d.join(1)
	for range 20_000 {
		d.receive(1, d.make(7100))
	}
	c := gossip.Conn(1)
	for b.Loop() {
		c++
		d.join(c)
		d.wait(b, 3*time.Millisecond)
		d.step(gossip.Left{Conn: c})
	}
}
