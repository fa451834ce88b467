package gossip_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

// TestHostileMemory has peers do everything that could fill memory; what is held stays within the bounds.
func TestHostileMemory(t *testing.T) {
	d := newDriver(gossip.Config{PoolCount: 2000, PoolBytes: 1 << 20, SinkConfirms: true, SourceRate: 1e9})
	random := rand.New(rand.NewPCG(1, 2))
	d.join(1)
	long := d.make(7000)
	for round := range 3000 {
		c := gossip.Conn(10 + round)
		d.step(gossip.Joined{Conn: c, Source: fmt.Sprint(round)})
		var list []*envelope.Envelope
		for range 20 {
			// Long and short lives, future and past, sink answers that never come.
			list = append(list, d.sent(random.Int64N(60)-30, 1+uint32(random.IntN(100_000)), topicA, 8+random.IntN(500)))
		}
		d.step(wantAck(1, byte(round), append(list, list[0], list[0], long, list[1], list[0])...))
		d.step(wantAck(c, byte(round), list...))
		d.step(gossip.Required{Conn: c, ByTopics: true, Topics: make([]envelope.Topic, 100)})
		d.step(gossip.Required{Conn: c, MinPoW: ptr(random.Float64())})
		if random.IntN(3) == 0 {
			d.step(gossip.Resolved{Hash: list[0].Hash(), Outcome: gossip.Retry})
		}
		if round > 100 {
			d.step(gossip.Left{Conn: c - 50})
		}
		d.now = d.now.Add(time.Duration(random.IntN(20)) * time.Millisecond)
		d.step(gossip.Tick{})
	}
	s := d.Stats()
	if s.Pooled > 2000 || s.PooledBytes > 1<<20 || s.Held > 1024 || s.Remembered > 1<<17 || s.OpenTickets > 64*120 {
		t.Errorf("stats %+v", s)
	}
	if s.Evicted == 0 || s.AcksSkipped == 0 {
		t.Errorf("the bounds were not reached: %+v", s)
	}
	d.wait(t, 24*time.Hour)
	if s := d.Stats(); s.Pooled != 0 || s.PooledBytes != 0 || s.OpenTickets != 0 {
		t.Errorf("a day later: %+v", s)
	}
}

// TestPacketIsNotKept pools a small envelope of a large packet: the packet must not stay in memory with it.
func TestPacketIsNotKept(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 200 {
		payload := envelope.EncodeList([]*envelope.Envelope{d.make(7000), d.sent(-1000, 1, topicA, 200_000)})
		list, err := envelope.DecodeList(payload, 10)
		if err != nil {
			t.Fatal(err)
		}
		d.step(gossip.Received{Conn: 1, List: list, Bytes: len(payload)})
	}
	d.actions = nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 8<<20 {
		t.Errorf("%d bytes held for 200 small envelopes", held)
	}
	if d.Stats().Pooled != 200 {
		t.Fatal("not pooled")
	}
}

// TestMemoryPerEnvelope states what a pooled envelope costs beside its bytes, with 20 links. W9: the links add nothing.
func TestMemoryPerEnvelope(t *testing.T) {
	const n = 50_000
	d := newDriver(gossip.Config{InFlight: 1 << 30})
	for i := range 20 {
		d.join(gossip.Conn(i))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		d.now = d.now.Add(100 * time.Microsecond)
		d.Step(d.now, received(1, d.sent(0, 7000, topicA, 512)))
		d.Step(d.now, received(2, d.make(0)))
	}
	d.wait(t, time.Second)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%d bytes for each pooled envelope of %d", each, d.Stats().PooledBytes/n)
	if each > 1200 {
		t.Errorf("%d bytes for each pooled envelope", each)
	}
	runtime.KeepAlive(d)
}

// TestRescansAreRare has a peer ask for the whole pool again and again.
func TestRescansAreRare(t *testing.T) {
	d := newDriver(gossip.Config{InFlight: 1 << 30})
	d.join(1)
	for range 20_000 {
		d.receive(1, d.make(7000))
	}
	d.join(2)
	d.wait(t, time.Second)
	start := time.Now()
	for range 2000 {
		d.step(gossip.Required{Conn: 2, ByTopics: true, Topics: []envelope.Topic{topicB}})
	}
	// A look through the whole pool each time takes far longer.
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("2,000 changes took %v", took)
	}
}

// TestUnknownIsIgnored gives events of connections and hashes that do not exist.
func TestUnknownIsIgnored(t *testing.T) {
	d := newDriver(gossip.Config{SinkConfirms: true})
	for _, ev := range []gossip.Event{
		gossip.Left{Conn: 7}, gossip.Drained{Conn: 7, Bytes: 5}, received(7, d.make(50)), gossip.Required{Conn: 7, ByTopics: true},
		gossip.Resolved{Hash: envelope.Hash{1}}, gossip.Confirmed{Conn: 7, Hashes: []envelope.Hash{{1}}}, gossip.Unwanted{Owner: "x"},
		gossip.Tick{},
	} {
		if a := d.step(ev); len(a) != 0 {
			t.Errorf("%T caused %+v", ev, a)
		}
	}
	d.join(1)
	if a := d.step(gossip.Joined{Conn: 1}); len(a) != 0 || d.Stats().Links != 1 {
		t.Errorf("joined twice: %+v", a)
	}
	d.step(gossip.Drained{Conn: 1, Bytes: 1 << 40})
	d.step(gossip.Drained{Conn: 1, Bytes: -5})
}
