package gossip_test

import (
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

func bloomOf(topics ...envelope.Topic) envelope.Bloom {
	var b envelope.Bloom
	for _, t := range topics {
		b.Or(t.WideBloom())
	}
	return b
}

func TestInterest(t *testing.T) {
	d := newNarrowDriver(gossip.Config{NoiseSeed: 5})
	_, noise := d.Requirement()
	if noise == nil || noise.IsZero() || noise.IsFull() {
		t.Fatal("no noise in the filter")
	}
	if _, again := newNarrowDriver(gossip.Config{Seed: 99, NoiseSeed: 5}).Requirement(); *again != *noise {
		t.Fatal("noise is not stable")
	}
	if _, other := newNarrowDriver(gossip.Config{NoiseSeed: 6}).Requirement(); *other == *noise {
		t.Fatal("noise is the same everywhere")
	}
	expect := func(what string, actions []gossip.Action, announced bool, topics ...envelope.Topic) {
		t.Helper()
		want := bloomOf(topics...)
		want.Or(*noise)
		a := of[gossip.Announce](actions)
		if (len(a) == 1) != announced {
			t.Fatalf("%s: announced %d times", what, len(a))
		}
		if announced && (a[0].MinPoW != nil || *a[0].Bloom != want) {
			t.Fatalf("%s: announced another filter", what)
		}
		if _, b := d.Requirement(); *b != want {
			t.Fatalf("%s: another filter in force", what)
		}
	}
	a, b := []envelope.Topic{topicA}, []envelope.Topic{topicB}
	expect("first topic", d.step(gossip.Wanted{Owner: "x", Topics: a}), true, topicA)
	expect("same topic", d.step(gossip.Wanted{Owner: "y", Topics: a}), false, topicA)
	expect("second topic", d.step(gossip.Wanted{Owner: "z", Topics: b}), true, topicA, topicB)
	expect("one of two owners", d.step(gossip.Unwanted{Owner: "x"}), false, topicA, topicB)
	expect("much later", d.wait(t, 5*time.Minute), false, topicA, topicB)
	expect("last owner", d.step(gossip.Unwanted{Owner: "y"}), false, topicA, topicB)
	expect("59 s later", d.wait(t, 59*time.Second), false, topicA, topicB)
	expect("60 s later", d.wait(t, time.Second), true, topicB)
	expect("unknown owner", d.step(gossip.Unwanted{Owner: "nobody"}), false, topicB)
	d.step(gossip.Unwanted{Owner: "z"})
	expect("back in time", d.step(gossip.Wanted{Owner: "z", Topics: b}), false, topicB)
	expect("kept", d.wait(t, 5*time.Minute), false, topicB)

	if an := of[gossip.Announce](d.step(gossip.Wanted{Owner: "all"})); len(an) != 1 || !an[0].Bloom.IsFull() {
		t.Fatal("everything was not announced")
	}
	if _, full := d.Requirement(); full != nil {
		t.Fatal("everything is not in force")
	}
	d.step(gossip.Unwanted{Owner: "all"})
	expect("everything no more", d.wait(t, time.Minute), true, topicB)

	fixed := bloomOf(topicA)
	if an := of[gossip.Announce](d.step(gossip.SetBloom{Bloom: &fixed})); len(an) != 1 || *an[0].Bloom != fixed {
		t.Fatal("a set filter was not announced")
	}
	if an := of[gossip.Announce](d.step(gossip.Wanted{Owner: "q", Topics: []envelope.Topic{{7}}})); len(an) != 0 {
		t.Fatal("interest changed a set filter")
	}
	expect("set filter cleared", d.step(gossip.SetBloom{}), true, topicB, envelope.Topic{7})
}

func TestSetMinPoW(t *testing.T) {
	d := newDriver(gossip.Config{})
	a := of[gossip.Announce](d.step(gossip.SetMinPoW{MinPoW: 0.5}))
	if len(a) != 1 || *a[0].MinPoW != 0.5 || a[0].Bloom != nil {
		t.Fatalf("announced %+v", a)
	}
	if a := of[gossip.Announce](d.step(gossip.SetMinPoW{MinPoW: 0.5})); len(a) != 0 {
		t.Error("announced without a change")
	}
	if a := of[gossip.Announce](d.step(gossip.SetMinPoW{MinPoW: -1})); len(a) != 0 {
		t.Error("a negative minimum was taken")
	}
	if pow, _ := d.Requirement(); pow != 0.5 {
		t.Errorf("minimum is %g", pow)
	}
}

func TestSetMaxSize(t *testing.T) {
	d := newDriver(gossip.Config{})
	d.join(1)
	d.step(gossip.SetMaxSize{Bytes: 100})
	if len(of[gossip.Accept](d.receive(1, d.sent(0, 50, topicA, 81)))) != 0 || d.Stats().Refused(envelope.TooLarge) != 1 {
		t.Error("an envelope above the limit was accepted")
	}
	if len(of[gossip.Accept](d.receive(1, d.sent(0, 50, topicA, 80)))) != 1 {
		t.Error("an envelope at the limit was refused")
	}
}
