package wire_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/vectortest"
	"github.com/restante-im/restante/internal/wire"
)

// A behaviour vector says what one real peer did. Where ours does otherwise, a deviation says when and why.
type deviation struct {
	when   func(v inbound) bool
	ours   string
	reason string
}

type inbound struct {
	Code    uint64
	Payload vectortest.Hex
	Length  int `json:"payload_length"`
	Result  string
	Error   string
	Why     string
	Version *int
}

const kept, disconnected = "kept", "disconnected"

// judge compares our verdict with the peer's and accepts a difference only where a rule explains it.
func judge(t testing.TB, i int, v inbound, err error, rules []deviation) {
	t.Helper()
	ours := kept
	if err != nil {
		ours = disconnected
		if fault.Text(err) == "" || (!fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Limit)) {
			t.Errorf("%d %s: error without a reason for the peer: %v", i, v.Why, err)
		}
	}
	if ours == v.Result {
		return
	}
	for _, r := range rules {
		if r.ours == ours && r.when(v) {
			return
		}
	}
	t.Errorf("%d %s: %s (%v), the real peer: %s (%s)", i, v.Why, ours, err, v.Result, v.Error)
}

func dialect(t testing.TB, name string) *wire.Dialect {
	t.Helper()
	d, ok := wire.Lookup(name)
	if !ok {
		t.Fatalf("no dialect %s", name)
	}
	return d
}

func TestVectorsHandshakeInbound(t *testing.T) {
	shh := dialect(t, "shh/6")
	for _, peer := range []string{"geth6", "status162", "statusgo"} {
		vectortest.File(t, "handshake_inbound_"+peer, func(t testing.TB, i int, v inbound) {
			_, err := shh.DecodeHello(v.Code, v.Payload)
			judge(t, i, v, err, nil)
		})
	}
	waku := dialect(t, "waku/1")
	vectortest.Load(t, "waku_handshake_inbound", func(t testing.TB, i int, v inbound) {
		if v.Version == nil || *v.Version != 1 {
			return // rule: waku/0 is not announced, so nobody speaks it to us
		}
		_, err := waku.DecodeHello(v.Code, v.Payload)
		judge(t, i, v, err, nil)
	})
}

type outbound struct {
	MinPoW        vectortest.Float `json:"min_pow"`
	Bloom         vectortest.Hex
	Light         bool
	Confirmations bool
	Payload       vectortest.Hex
	Version       int
	Options       *options
}

func TestVectorsHandshakeOutbound(t *testing.T) {
	d := dialect(t, "shh/6")
	for _, peer := range []string{"geth6", "status162", "statusgo"} {
		vectortest.File(t, "handshake_outbound_"+peer, func(t testing.TB, i int, v outbound) {
			got, err := d.DecodeHello(0, v.Payload)
			if err != nil {
				t.Errorf("%d: %v", i, err)
				return
			}
			if got := d.AwaitsAnswers(v.Payload); got != (peer != "geth6") {
				t.Errorf("%d: %s awaits answers: %v", i, peer, got)
			}
			want := wire.Hello{MinPoW: v.MinPoW.Value(), Light: v.Light, Confirms: v.Confirmations}
			if b, ok := fullOr(v.Bloom); ok {
				want.Bloom = b
			}
			if peer == "statusgo" {
				want.Packets = &wire.Limits{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d: (-want +got)\n%s", i, diff)
			}
			// Ours is what they send, but with the full length of a full filter, and item 5.
			again := encodeHello(d, got)
			if back, err := d.DecodeHello(0, again); err != nil || !cmp.Equal(back, got) {
				t.Errorf("%d: our encoding %x reads as %+v (%v)", i, again, back, err)
			}
			if v.Bloom != nil && peer == "status162" && !bytes.Equal(again, v.Payload) {
				t.Errorf("%d: %x\nwant %x", i, again, v.Payload)
			}
		})
	}
}

func encodeHello(d *wire.Dialect, h wire.Hello) []byte {
	_, payload := d.EncodeHello(h)
	return payload
}

// fullOr returns a vector's bloom filter unless it stands for everything.
func fullOr(b []byte) (*envelope.Bloom, bool) {
	if len(b) == 0 {
		return nil, false
	}
	bloom := envelope.Bloom(b)
	return &bloom, !bloom.IsFull()
}

type options struct {
	MinPoW   *vectortest.Float `json:"0_pow_requirement"`
	Bloom    *vectortest.Hex   `json:"1_bloom_filter"`
	Light    *bool             `json:"2_light_node"`
	Confirms *bool             `json:"3_confirmations_enabled"`
	Packets  *[3]uint64        `json:"4_packet_rate_limits"`
	Topics   *[]envelope.Topic `json:"5_topic_interest"`
	Bytes    *[3]uint64        `json:"6_bytes_rate_limits"`
}

func limits(n *[3]uint64) *wire.Limits {
	if n == nil {
		return nil
	}
	return &wire.Limits{IP: n[0], Peer: n[1], Topic: n[2]}
}

func (o *options) update() wire.Update {
	u := wire.Update{Light: o.Light, Confirms: o.Confirms, Packets: limits(o.Packets), Bytes: limits(o.Bytes)}
	if o.MinPoW != nil {
		pow := o.MinPoW.Value()
		u.MinPoW = &pow
	}
	if o.Topics != nil { // which counts instead of a bloom filter
		u.Topics, u.ByTopics = *o.Topics, true
	} else if o.Bloom != nil {
		full := envelope.FullBloom()
		if u.Bloom = &full; len(*o.Bloom) > 0 {
			*u.Bloom = envelope.Bloom(*o.Bloom)
		}
	}
	return u
}

func (o *options) hello() wire.Hello {
	u := o.update()
	h := wire.Hello{MinPoW: 0.001, Topics: u.Topics, ByTopics: u.ByTopics, Packets: u.Packets, Bytes: u.Bytes}
	if u.MinPoW != nil {
		h.MinPoW = *u.MinPoW
	}
	if u.Bloom != nil && !u.Bloom.IsFull() {
		h.Bloom = u.Bloom
	}
	h.Light = u.Light != nil && *u.Light
	h.Confirms = u.Confirms != nil && *u.Confirms
	return h
}

func TestVectorsWakuHandshakeOutbound(t *testing.T) {
	d := dialect(t, "waku/1")
	vectortest.Load(t, "waku_handshake_outbound", func(t testing.TB, i int, v outbound) {
		got, err := d.DecodeHello(0, v.Payload)
		if v.Version != 1 {
			if err == nil {
				t.Errorf("%d: the older version's form was read", i)
			}
			return
		}
		if err != nil {
			t.Errorf("%d: %v", i, err)
			return
		}
		if diff := cmp.Diff(v.Options.hello(), got); diff != "" {
			t.Errorf("%d: (-want +got)\n%s", i, diff)
		}
		// Byte for byte what the real node writes, except that ours always names a filter or topics.
		again := encodeHello(d, got)
		if o := v.Options; (o.Bloom != nil || o.Topics != nil) && !bytes.Equal(again, v.Payload) {
			t.Errorf("%d: %x\nwant %x", i, again, v.Payload)
		}
	})
}

func TestVectorsWakuStatusOptions(t *testing.T) {
	d := dialect(t, "waku/1")
	type vector struct {
		Payload       vectortest.Hex
		Options       *options
		DecodeError   string `json:"decode_error"`
		ValidateError string `json:"validate_error"`
		Why           string
	}
	vectortest.Load(t, "waku_status_options", func(t testing.TB, i int, v vector) {
		hello, err := d.DecodeHello(0, v.Payload)
		update, updateErr := d.Decode(22, v.Payload, 1<<20)
		if bad := v.DecodeError+v.ValidateError != ""; bad || err != nil || updateErr != nil {
			if !bad || err == nil || updateErr == nil {
				t.Errorf("%d %s: hello %v, update %v, want %q", i, v.Why, err, updateErr, v.DecodeError+v.ValidateError)
			}
			return
		}
		if diff := cmp.Diff(v.Options.hello(), hello); diff != "" {
			t.Errorf("%d %s: hello (-want +got)\n%s", i, v.Why, diff)
		}
		if diff := cmp.Diff(wire.Packet(v.Options.update()), update); diff != "" {
			t.Errorf("%d %s: update (-want +got)\n%s", i, v.Why, diff)
		}
		if v.Why == "encoded by the real encoder" && len(v.Payload) > 1 {
			frames, err := d.Encode(update)
			if err != nil || len(frames) != 1 || !bytes.Equal(frames[0].Payload, v.Payload) {
				t.Errorf("%d: encoded as %x (%v), want %x", i, frames, err, v.Payload)
			}
		}
	})
}

// receive is what a node without a mail server does with a packet, as far as wire decides it.
func receive(d *wire.Dialect, code uint64, payload []byte, trusted bool) error {
	if d.NeedsTrust(code) && !trusted {
		return nil
	}
	p, err := d.Decode(code, payload, envelope.MaxSizeDefault)
	if c, ok := p.(wire.Complete); ok && err == nil {
		_, err = c.Parse()
	}
	return err
}

func TestVectorsPacketInbound(t *testing.T) {
	d := dialect(t, "shh/6")
	refusedEnvelope := deviation{
		when: func(v inbound) bool { return v.Code == 1 && v.Error == "invalid envelope" },
		ours: kept, reason: "wire judges the encoding; whether an envelope is valid is gossip's to say, which forgives late ones",
	}
	ignoredByGeth := deviation{
		when: func(v inbound) bool { return v.Code == 11 || v.Code == 12 || v.Code == 125 },
		ours: disconnected, reason: "geth does not know these codes; who does ends the connection when they are malformed",
	}
	onlyBare := deviation{
		when: func(v inbound) bool { return v.Code == 127 },
		ours: kept, reason: "geth takes only a bare envelope; ours reads lists too, also empty ones",
	}
	rules := map[string][]deviation{"geth6": {refusedEnvelope, ignoredByGeth, onlyBare}}
	for _, peer := range []string{"geth6", "status162", "statusgo"} {
		for prefix, trusted := range map[string]bool{"packet_inbound_": false, "packet_inbound_trusted_": true} {
			vectortest.File(t, prefix+peer, func(t testing.TB, i int, v inbound) {
				judge(t, i, v, receive(d, v.Code, v.Payload, trusted), rules[peer])
			})
		}
	}
}

func TestVectorsWakuPacketInbound(t *testing.T) {
	d := dialect(t, "waku/1")
	rules := []deviation{{
		when: func(v inbound) bool { return v.Code == 1 || v.Code == 11 || v.Code == 12 || v.Code == 22 }, ours: disconnected,
		reason: "the real node logs that it will disconnect for a malformed packet and forgets to; ours does",
	}}
	vectortest.Load(t, "waku_packet_inbound", func(t testing.TB, i int, v inbound) {
		payload := []byte(v.Payload)
		if payload == nil {
			payload = make([]byte, v.Length)
		}
		judge(t, i, v, receive(d, v.Code, payload, false), rules)
	})
}

func TestVectorsConfirmation(t *testing.T) {
	d := dialect(t, "shh/6")
	type vector struct {
		Packet     vectortest.Hex
		Ack        vectortest.Hex `json:"ack_11"`
		Response   vectortest.Hex `json:"response_12"`
		Digest     envelope.Hash  `json:"batch_hash"`
		Errors     []wire.Refused
		Connection string
		Why        string
	}
	vectortest.Load(t, "confirmation", func(t testing.TB, i int, v vector) {
		p, err := d.Decode(1, v.Packet, envelope.MaxSizeDefault)
		if err != nil {
			t.Errorf("%d %s: %v", i, v.Why, err)
			return
		}
		batch := p.(wire.Envelopes)
		if batch.Digest() != v.Digest {
			t.Errorf("%d %s: digest %s, want %s", i, v.Why, batch.Digest(), v.Digest)
		}
		if f := d.EnvelopesFrame(batch.List); f.Code != 1 || !bytes.Equal(f.Payload, v.Packet) {
			t.Errorf("%d %s: encoded as %x", i, v.Why, f)
		}
		var refused []wire.Refused
		for _, e := range v.Errors { // without the number: the dialect supplies it
			refused = append(refused, wire.Refused{Hash: e.Hash, Text: e.Text})
		}
		want := []wire.Frame{{Code: 12, Payload: v.Response}, {Code: 11, Payload: v.Ack}}
		if diff := cmp.Diff(want, d.Answer(batch.Digest(), refused)); diff != "" {
			t.Errorf("%d %s: answer (-want +got)\n%s", i, v.Why, diff)
		}
		if len(v.Errors) == 0 {
			v.Errors = nil
		}
		checkDecode(t, d, 12, v.Response, wire.Report{Digest: v.Digest, Refused: v.Errors})
		checkDecode(t, d, 11, v.Ack, wire.Acknowledged{Digest: v.Digest})
	})
}

func checkDecode(t testing.TB, d *wire.Dialect, code uint64, payload []byte, want wire.Packet) {
	t.Helper()
	got, err := d.Decode(code, payload, envelope.MaxSizeDefault)
	if err != nil {
		t.Errorf("%s packet %d: %v", d, code, err)
		return
	}
	if diff := cmp.Diff(want, got, equalPackets); diff != "" {
		t.Errorf("%s packet %d: (-want +got)\n%s", d, code, diff)
	}
}

// equalPackets compares envelopes by their bytes, and packets of them without what they were decoded from.
var equalPackets = cmp.Options{
	cmp.Comparer(func(a, b *envelope.Envelope) bool { return bytes.Equal(a.Raw(), b.Raw()) }),
	cmp.Transformer("list", func(e wire.Envelopes) []*envelope.Envelope { return e.List }),
}
