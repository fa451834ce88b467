package gossip_test

import (
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

func wantAck(c gossip.Conn, digest byte, list ...*envelope.Envelope) gossip.Received {
	ev := received(c, list...)
	ev.WantAck, ev.Ticket = true, envelope.Hash{digest}
	return ev
}

func TestAckWaitsForSink(t *testing.T) {
	d := newDriver(gossip.Config{SinkConfirms: true})
	d.join(1)
	d.join(2)
	a, b, c := d.make(50), d.make(50), d.make(50)
	late := d.sent(-60, 50, topicA, 32)
	if acks := of[gossip.Ack](d.step(wantAck(1, 1, a, b, late))); len(acks) != 0 {
		t.Fatalf("acknowledged before anything was kept: %v", acks)
	}
	// Another peer offers one of them, and one of its own, twice: it waits for the same.
	if acks := of[gossip.Ack](d.step(wantAck(2, 2, b, c, c))); len(acks) != 0 {
		t.Fatalf("acknowledged before anything was kept: %v", acks)
	}
	d.step(gossip.Resolved{Hash: c.Hash(), Outcome: gossip.Durable})
	acks := of[gossip.Ack](d.step(gossip.Resolved{Hash: b.Hash(), Outcome: gossip.Declined}))
	if len(acks) != 1 || acks[0].Conn != 2 || acks[0].Ticket[0] != 2 || len(acks[0].Refused) != 1 || acks[0].Refused[0].Hash != b.Hash() {
		t.Fatalf("acks = %+v, want packet 2 with b refused", acks)
	}
	acks = of[gossip.Ack](d.step(gossip.Resolved{Hash: a.Hash(), Outcome: gossip.Durable}))
	if len(acks) != 1 || acks[0].Conn != 1 || len(acks[0].Refused) != 1 {
		t.Fatalf("acks = %+v, want packet 1 with b refused; what expired a moment ago is not listed", acks)
	}
	// A duplicate of something durable is acknowledged at once, of something declined with the refusal.
	if acks := of[gossip.Ack](d.step(wantAck(2, 3, a, b))); len(acks) != 1 || len(acks[0].Refused) != 1 {
		t.Fatalf("duplicate: %+v", acks)
	}
	if n := d.Stats().OpenTickets; n > 3 {
		t.Errorf("%d tickets open", n)
	}
}

func TestNoLateAck(t *testing.T) {
	d := newDriver(gossip.Config{SinkConfirms: true})
	d.join(1)
	a := d.make(50)
	d.step(wantAck(1, 1, a))
	d.wait(t, 5*time.Second)
	if acks := of[gossip.Ack](d.step(gossip.Resolved{Hash: a.Hash()})); len(acks) != 0 {
		t.Fatalf("acknowledged after 5 s: %v", acks)
	}
	if s := d.Stats(); s.AcksSkipped != 1 || s.OpenTickets != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestTicketsAreBounded(t *testing.T) {
	d := newDriver(gossip.Config{SinkConfirms: true})
	d.join(1)
	var list []*envelope.Envelope
	for i := range 100 {
		e := d.make(50)
		list = append(list, e)
		d.step(wantAck(1, byte(i), e))
	}
	if n := d.Stats().OpenTickets; n != 64 {
		t.Fatalf("%d tickets open, want 64", n)
	}
	acks := 0
	for _, e := range list {
		acks += len(of[gossip.Ack](d.step(gossip.Resolved{Hash: e.Hash()})))
	}
	if acks != 64 {
		t.Errorf("%d acks, want 64", acks)
	}
}

func TestFailedSinkIsTriedAgain(t *testing.T) {
	d := newDriver(gossip.Config{SinkConfirms: true})
	d.join(1)
	a := d.make(100)
	d.step(wantAck(1, 1, a))
	d.step(gossip.Resolved{Hash: a.Hash(), Outcome: gossip.Retry})
	// It comes again by itself, at growing intervals.
	var gaps []time.Duration
	for last := d.now; len(gaps) < 4; {
		at, ok := d.Deadline()
		if !ok {
			t.Fatal("no deadline though an envelope is not archived")
		}
		d.now = at
		for _, acc := range of[gossip.Accept](d.step(gossip.Tick{})) {
			if !acc.Again || acc.Envelope.Hash() != a.Hash() {
				t.Fatalf("accept = %+v", acc)
			}
			gaps, last = append(gaps, d.now.Sub(last)), d.now
			d.step(gossip.Resolved{Hash: a.Hash(), Outcome: gossip.Retry})
		}
	}
	for i, want := range []time.Duration{1, 2, 4, 8} {
		if gaps[i] != want*time.Second {
			t.Errorf("gaps = %v", gaps)
		}
	}
	// And at once when a peer offers it again, who then gets a true acknowledgement.
	d.now = d.now.Add(2 * time.Second)
	d.join(2)
	actions := d.step(wantAck(2, 2, a))
	if acc := of[gossip.Accept](actions); len(acc) != 1 || !acc[0].Again {
		t.Fatalf("offered again: %+v", acc)
	}
	acks := of[gossip.Ack](d.step(gossip.Resolved{Hash: a.Hash(), Outcome: gossip.Durable}))
	if len(acks) != 1 || acks[0].Conn != 2 {
		t.Fatalf("acks = %+v", acks)
	}
	if acc := of[gossip.Accept](d.wait(t, 90*time.Second)); len(acc) != 0 {
		t.Errorf("given to the sinks after it was kept: %+v", acc)
	}
}

func TestLeavingForgetsTickets(t *testing.T) {
	d := newDriver(gossip.Config{SinkConfirms: true})
	d.join(1)
	a := d.make(50)
	d.step(wantAck(1, 1, a))
	d.step(gossip.Left{Conn: 1})
	if acks := of[gossip.Ack](d.step(gossip.Resolved{Hash: a.Hash()})); len(acks) != 0 {
		t.Fatalf("acknowledged to nobody: %v", acks)
	}
}
