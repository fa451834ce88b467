package gossip_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/vectortest"
)

func decode(t testing.TB, raw vectortest.Hex) *envelope.Envelope {
	t.Helper()
	e, err := envelope.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

type validityVector struct {
	Why            string
	Envelope       vectortest.Hex
	Bloom          vectortest.Hex
	Now            int64
	Outcome        string
	Reason         string
	MinPoW         float64          `json:"min_pow"`
	MaxMessageSize int              `json:"max_message_size"`
	PoW            vectortest.Float `json:"pow_used"`
}

// TestVectorsEnvelopeValidity compares with what a real node does. Rules by which ours differs:
//   - TTL 0 is refused: its proof of work would be infinite.
func TestVectorsEnvelopeValidity(t *testing.T) {
	vectortest.Load(t, "envelope_validity", func(t testing.TB, _ int, v validityVector) {
		env := decode(t, v.Envelope)
		want := v.Outcome
		if env.TTL() == 0 && want == "accepted" {
			want = "rejected"
		}
		for _, own := range []bool{false, true} {
			if own && v.Bloom != nil {
				continue // our own filter does not bind our own posts
			}
			d := newDriver(gossip.Config{MinPoW: v.MinPoW, MaxSize: v.MaxMessageSize})
			d.now = time.Unix(v.Now, 0)
			d.join(1)
			if v.Bloom != nil {
				d.step(gossip.SetBloom{Bloom: (*envelope.Bloom)(v.Bloom)})
			}
			got, pow, text := "", 0.0, ""
			if own {
				got, pow, text = post(d, env)
			} else {
				got, pow, text = relay(d, env)
			}
			if got != want && !(own && want == "dropped" && got == "rejected") {
				t.Errorf("%s (own %v): %s, want %s", v.Why, own, got, want)
			}
			if got == "accepted" && pow != v.PoW.Value() {
				t.Errorf("%s: PoW %g, want %g", v.Why, pow, v.PoW.Value())
			}
			timely := v.Reason == "envelope from future" || v.Reason == "very old envelope" || v.Reason == "huge messages are not allowed"
			if !own && timely && text != v.Reason {
				t.Errorf("%s: the sender is told %q, want %q", v.Why, text, v.Reason)
			}
		}
	})
}

func relay(d *driver, env *envelope.Envelope) (outcome string, pow float64, text string) {
	ev := received(1, env)
	ev.WantAck = true
	actions := d.step(ev)
	if a := of[gossip.Accept](actions); len(a) == 1 {
		return "accepted", a[0].PoW, ""
	}
	if r := of[gossip.Ack](actions)[0].Refused; len(r) == 1 {
		return "rejected", 0, r[0].Text
	}
	return "dropped", 0, ""
}

func post(d *driver, env *envelope.Envelope) (outcome string, pow float64, text string) {
	actions := d.step(gossip.Post{Envelope: env})
	if p := of[gossip.Posted](actions)[0]; p.Err != nil {
		return "rejected", 0, p.Err.Error()
	}
	return "accepted", of[gossip.Accept](actions)[0].PoW, ""
}

// TestVectorsPoWDiscount sees an envelope from the near future with the proof of work that real nodes compute.
func TestVectorsPoWDiscount(t *testing.T) {
	type vector struct {
		Diff     uint32
		Envelope vectortest.Hex
		PoW      vectortest.Float `json:"pow"`
	}
	vectortest.Load(t, "pow_discount", func(t testing.TB, i int, v vector) {
		env := decode(t, v.Envelope)
		if got := env.PoWFuture(v.Diff); got != v.PoW.Value() {
			t.Errorf("vector %d: %g, want %g", i, got, v.PoW.Value())
		}
		if env.TTL() == 0 {
			return
		}
		// diff is sent - now + 1, and 0 stands for an envelope that is not from the future.
		d := newDriver(gossip.Config{})
		d.now = time.Unix(int64(env.Sent())-int64(v.Diff)+1, 0)
		if v.Diff == 0 {
			d.now = time.Unix(int64(env.Sent()), 0)
		}
		d.join(1)
		outcome, pow, _ := relay(d, env)
		if outcome != "accepted" || pow != v.PoW.Value() {
			t.Errorf("vector %d: %s with PoW %g, want %g", i, outcome, pow, v.PoW.Value())
		}
	})
}

func TestVectorsConfirmation(t *testing.T) {
	type vector struct {
		Why       string
		Packet    vectortest.Hex
		BatchHash vectortest.Hex `json:"batch_hash"`
		Now       int64
		MinPoW    float64 `json:"min_pow"`
		Errors    []struct {
			Hash vectortest.Hex
			Text string
		}
	}
	vectortest.Load(t, "confirmation", func(t testing.TB, _ int, v vector) {
		list, err := envelope.DecodeList(v.Packet, 100)
		if err != nil {
			t.Fatal(err)
		}
		var want []gossip.Refused
		for _, e := range v.Errors {
			want = append(want, gossip.Refused{Hash: envelope.Hash(e.Hash), Text: e.Text})
		}
		d := newDriver(gossip.Config{MinPoW: v.MinPoW})
		d.now = time.Unix(v.Now, 0)
		d.join(1)
		for _, round := range []string{"first", "again"} { // a duplicate is not an error
			acks := of[gossip.Ack](d.step(gossip.Received{
				Conn: 1, List: list, Bytes: len(v.Packet), Ticket: envelope.Hash(v.BatchHash), WantAck: true,
			}))
			if len(acks) != 1 || acks[0].Ticket != envelope.Hash(v.BatchHash) {
				t.Fatalf("%s: acks %+v", v.Why, acks)
			}
			if diff := cmp.Diff(want, slices.Clip(acks[0].Refused)); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", v.Why, round, diff)
			}
		}
	})
}
