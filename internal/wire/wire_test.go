package wire_test

import (
	"bytes"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/wire"
)

const packetLimit = envelope.MaxSizeDefault

func ptr[T any](v T) *T { return &v }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// enc writes nested lists of numbers, strings and bytes as RLP.
func enc(t testing.TB, v any) []byte {
	t.Helper()
	switch x := v.(type) {
	case int:
		v = uint64(x)
	case float64:
		v = math.Float64bits(x)
	case []any:
		raw := make([]rlp.RawValue, len(x))
		for i := range x {
			raw[i] = enc(t, x[i])
		}
		v = raw
	}
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantError checks that err's text for people contains want, or that there is none when want is empty.
func wantError(t testing.TB, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && (err == nil || !strings.Contains(fault.Text(err), want)):
		t.Errorf("error %v, want one with %q", err, want)
	}
}

func TestDialects(t *testing.T) {
	var names []string
	for _, d := range wire.Dialects() {
		names = append(names, d.String())
		if found, ok := wire.Lookup(d.String()); !ok || found != d {
			t.Errorf("Lookup(%s) finds %v", d, found)
		}
		if d.Codes() != 128 {
			t.Errorf("%s takes %d codes", d, d.Codes())
		}
	}
	if diff := cmp.Diff([]string{"shh/6", "waku/1"}, names); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"", "shh", "shh/5", "waku/0", "SHH/6"} {
		if _, ok := wire.Lookup(name); ok {
			t.Errorf("Lookup(%q) finds a dialect", name)
		}
	}
}

func TestPositionalHello(t *testing.T) {
	d := dialect(t, "shh/6")
	topic := envelope.Topic{1, 2, 3, 4}
	bloom := topic.Bloom()
	type list = []any
	tests := []struct {
		name    string
		items   list
		want    wire.Hello
		wantErr string
	}{
		{name: "all six", items: list{6, 0.5, bloom[:], 1, 1, list{1, 2, 3}}, want: wire.Hello{MinPoW: 0.5, Bloom: &bloom, Light: true, Confirms: true, Packets: &wire.Limits{IP: 1, Peer: 2, Topic: 3}}},
		{name: "version alone", items: list{6}},
		{name: "bloom without a PoW is not read", items: list{6, bloom[:], 1, 1}},
		{name: "PoW as list hides the bad bloom", items: list{6, list{}, "short", 1}},
		{name: "bloom as list ends the reading", items: list{6, 0.5, list{}, 1, 1}, want: wire.Hello{MinPoW: 0.5}},
		{name: "light of 2 is no, reading goes on", items: list{6, 0.5, "", 2, 1}, want: wire.Hello{MinPoW: 0.5, Confirms: true}},
		{name: "light as list ends the reading", items: list{6, 0.5, "", list{}, 1}, want: wire.Hello{MinPoW: 0.5}},
		{name: "two limits are none", items: list{6, 0.5, "", 1, 1, list{1, 2}}, want: wire.Hello{MinPoW: 0.5, Light: true, Confirms: true}},
		{name: "no limits is not the same as not saying", items: list{6, 0.5, "", 0, 0, list{0, 0, 0}}, want: wire.Hello{MinPoW: 0.5, Packets: &wire.Limits{}}},
		{name: "negative PoW", items: list{6, -0.5}, wantErr: "PoW requirement of -0.5"},
		{name: "bloom of one byte", items: list{6, 0.5, 5}, wantErr: "bloom filter of 1 bytes"},
		{name: "older version", items: list{5, 0.5}, wantErr: "version 5 of the protocol, we speak 6"},
		{name: "version as list", items: list{list{6}}, wantErr: "version"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := d.DecodeHello(0, enc(t, tt.items))
			wantError(t, err, tt.wantErr)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestKeyedHello(t *testing.T) {
	d := dialect(t, "waku/1")
	topic := envelope.Topic{1, 2, 3, 4}
	type list = []any
	many := make(list, wire.MaxTopics+1)
	for i := range many {
		many[i] = topic[:]
	}
	tests := []struct {
		name    string
		items   list
		want    wire.Hello
		wantErr string
	}{
		{name: "nothing said", want: wire.Hello{MinPoW: 0.001}},
		{name: "empty topic list wants nothing", items: list{list{5, list{}}}, want: wire.Hello{MinPoW: 0.001, ByTopics: true}},
		{name: "topics beat the bloom, whatever it is", items: list{list{5, list{topic[:]}}, list{1, "short"}}, want: wire.Hello{MinPoW: 0.001, ByTopics: true, Topics: []envelope.Topic{topic}}},
		{name: "a later good value replaces a bad one", items: list{list{0, math.NaN()}, list{0, 0.5}}, want: wire.Hello{MinPoW: 0.5}},
		{name: "a later bad value replaces a good one", items: list{list{0, 0.5}, list{0, math.Inf(1)}}, wantErr: "PoW requirement of +Inf"},
		{name: "unknown keys are skipped, also in between", items: list{list{99, list{"x", list{}}}, list{0, 0.5}}, want: wire.Hello{MinPoW: 0.5}},
		{name: "unknown key without value", items: list{list{99}}, wantErr: "option 99 has no value"},
		{name: "unknown key with two values", items: list{list{99, 1, 2}}, wantErr: "option 99 has more than one value"},
		{name: "the limit of topics", items: list{list{5, many[1:]}}, want: wire.Hello{MinPoW: 0.001, ByTopics: true, Topics: topics(wire.MaxTopics, topic)}},
		{name: "one topic too many", items: list{list{5, many}}, wantErr: "10001 topics, the limit is 10000"},
		{name: "one topic too many, then fewer", items: list{list{5, many}, list{5, many[:1]}}, want: wire.Hello{MinPoW: 0.001, ByTopics: true, Topics: topics(1, topic)}},
		{name: "flag of 2", items: list{list{2, 2}}, wantErr: "a flag must be 0 or 1"},
		{name: "four limits", items: list{list{6, list{1, 2, 3, 4}}}, wantErr: "more than three rate limits"},
		{name: "key is a list", items: list{list{list{}, 1}}, wantErr: "key of an option"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			payload := enc(t, tt.items)
			got, err := d.DecodeHello(0, payload)
			wantError(t, err, tt.wantErr)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			_, err = d.Decode(22, payload, packetLimit)
			wantError(t, err, tt.wantErr)
		})
	}
}

func topics(n int, t envelope.Topic) []envelope.Topic { return repeat(t, n) }

// What a dialect cannot say it says as well as it can.
func TestHelloThatADialectCannotSay(t *testing.T) {
	list := topics(1, envelope.Topic{1, 2, 3, 4})
	bloom := list[0].WideBloom()
	tests := []struct {
		name, dialect string
		hello, want   wire.Hello
	}{
		{"topics become a bloom", "shh/6", wire.Hello{ByTopics: true, Topics: list}, wire.Hello{Bloom: &bloom}},
		{"no topics become an empty bloom", "shh/6", wire.Hello{ByTopics: true}, wire.Hello{Bloom: &envelope.Bloom{}}},
		{"too many topics become a bloom", "waku/1", wire.Hello{ByTopics: true, Topics: topics(wire.MaxTopics+1, list[0])}, wire.Hello{Bloom: &bloom}},
		{"impossible PoW becomes none", "shh/6", wire.Hello{MinPoW: math.NaN()}, wire.Hello{}},
		{"impossible PoW becomes none", "waku/1", wire.Hello{MinPoW: math.Inf(1)}, wire.Hello{}},
		{"byte limits are left out", "shh/6", wire.Hello{Bytes: &wire.Limits{IP: 1}}, wire.Hello{}},
		{"everything", "waku/1", wire.Hello{MinPoW: 1, Bloom: &bloom, Light: true, Confirms: true, Packets: &wire.Limits{IP: 1}, Bytes: &wire.Limits{Peer: 2}},
			wire.Hello{MinPoW: 1, Bloom: &bloom, Light: true, Confirms: true, Packets: &wire.Limits{IP: 1}, Bytes: &wire.Limits{Peer: 2}}},
	}
	for _, tt := range tests {
		t.Run(tt.dialect+" "+tt.name, func(t *testing.T) {
			d := dialect(t, tt.dialect)
			got, err := d.DecodeHello(d.EncodeHello(tt.hello))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// The smallest peers read a bloom filter only in full length.
func TestHelloNamesTheFullBloom(t *testing.T) {
	full := envelope.FullBloom()
	for _, d := range wire.Dialects() {
		if _, payload := d.EncodeHello(wire.Hello{}); !bytes.Contains(payload, full[:]) {
			t.Errorf("%s: %x", d, payload)
		}
	}
}

func testEnvelopes(n, size int) []*envelope.Envelope {
	list := make([]*envelope.Envelope, n)
	for i := range list {
		list[i] = envelope.New(1600000050, 50, envelope.Topic{1, 2, 3, byte(i)}, bytes.Repeat([]byte{byte(i)}, size), uint64(i))
	}
	return list
}

func TestRoundTrip(t *testing.T) {
	bloom := envelope.Topic{1, 2, 3, 4}.WideBloom()
	full := envelope.FullBloom()
	list := testEnvelopes(3, 100)
	both := []wire.Packet{
		wire.Envelopes{List: list},
		wire.Envelopes{},
		wire.Acknowledged{Digest: envelope.Hash{1}},
		wire.Report{Digest: envelope.Hash{1}},
		wire.Report{Digest: envelope.Hash{1}, Refused: []wire.Refused{{Hash: envelope.Hash{2}, Code: 1, Text: "x"}, {Hash: envelope.Hash{3}, Code: math.MaxUint64}}},
		wire.Direct{List: list[:1]},
		wire.Direct{List: list},
		wire.Direct{},
		wire.Request{Payload: []byte{0x80}},
		wire.Complete{Payload: []byte{0x80}},
		wire.Update{MinPoW: ptr(0.0)},
		wire.Update{Bloom: &bloom},
		wire.Update{Bloom: &full},
		wire.Update{Packets: &wire.Limits{}},
	}
	own := map[string][]wire.Packet{
		"shh/6": {wire.SyncRequest{Payload: []byte{0xc0}}, wire.SyncResponse{Payload: []byte{0xc0}}},
		"waku/1": {wire.Update{
			MinPoW: ptr(1.5), Topics: topics(2, envelope.Topic{1}), ByTopics: true, Light: ptr(false), Confirms: ptr(true),
			Packets: &wire.Limits{IP: 1, Peer: 2, Topic: 3}, Bytes: &wire.Limits{},
		}},
	}
	for _, d := range wire.Dialects() {
		for _, p := range append(both[:len(both):len(both)], own[d.String()]...) {
			frames, err := d.Encode(p)
			if err != nil || len(frames) != 1 {
				t.Errorf("%s: %T encoded as %d frames (%v)", d, p, len(frames), err)
				continue
			}
			checkDecode(t, d, frames[0].Code, frames[0].Payload, p)
		}
	}
}

func TestUpdateOfSeveralThings(t *testing.T) {
	bloom := envelope.Topic{1, 2, 3, 4}.WideBloom()
	u := wire.Update{MinPoW: ptr(0.5), Bloom: &bloom, Packets: &wire.Limits{IP: 1}, Light: ptr(true), Bytes: &wire.Limits{}}
	for name, want := range map[string][]uint64{"shh/6": {2, 3, 20}, "waku/1": {22}} {
		d := dialect(t, name)
		frames, err := d.Encode(u)
		if err != nil {
			t.Fatal(err)
		}
		var codes []uint64
		for _, f := range frames {
			codes = append(codes, f.Code)
		}
		if diff := cmp.Diff(want, codes); diff != "" {
			t.Errorf("%s: codes (-want +got)\n%s", d, diff)
		}
		if frames, err := d.Encode(wire.Update{}); err != nil || len(frames) > 0 {
			t.Errorf("%s: an empty update is %v (%v)", d, frames, err)
		}
	}
}

func TestDirectForms(t *testing.T) {
	list := testEnvelopes(2, 10)
	for _, d := range wire.Dialects() {
		one, err := d.Encode(wire.Direct{List: list[:1]})
		if err != nil {
			t.Fatal(err)
		}
		if bare := bytes.Equal(one[0].Payload, list[0].Raw()); bare != (d.Name() == "shh") {
			t.Errorf("%s sends one envelope bare: %v", d, bare)
		}
		// Whatever a dialect sends itself, it reads both forms.
		checkDecode(t, d, 127, list[0].Raw(), wire.Direct{List: list[:1]})
		checkDecode(t, d, 127, envelope.EncodeList(list[:1]), wire.Direct{List: list[:1]})
	}
}

func TestCannotBeSent(t *testing.T) {
	shh, waku := dialect(t, "shh/6"), dialect(t, "waku/1")
	tests := []struct {
		d    *wire.Dialect
		p    wire.Packet
		kind fault.Kind
	}{
		{shh, wire.Ignored{}, fault.Invalid},
		{shh, nil, fault.Invalid},
		{shh, wire.Update{MinPoW: ptr(math.NaN())}, fault.Invalid},
		{waku, wire.Update{MinPoW: ptr(-1.0)}, fault.Invalid},
		{waku, wire.SyncRequest{}, fault.Invalid},
		{waku, wire.SyncResponse{}, fault.Invalid},
		{waku, wire.Report{Refused: make([]wire.Refused, 20_000)}, fault.Limit},
	}
	for _, tt := range tests {
		if frames, err := tt.d.Encode(tt.p); !fault.Is(err, tt.kind) {
			t.Errorf("%s: %T encoded as %d frames (%v), want error %s", tt.d, tt.p, len(frames), err, tt.kind)
		}
	}
	if frames := shh.Answer(envelope.Hash{}, make([]wire.Refused, 20_000)); frames != nil {
		t.Errorf("an answer that hides refusals: %d frames", len(frames))
	}
}

func TestIgnored(t *testing.T) {
	report := func(version int, content any) []byte { return enc(t, []any{version, content}) }
	for name, codes := range map[string][]uint64{"shh/6": {0, 4, 22, 99, 128, math.MaxUint64}, "waku/1": {0, 2, 3, 20, 123, 124}} {
		d := dialect(t, name)
		for _, code := range codes {
			if p, err := d.Decode(code, []byte{0x80}, packetLimit); err != nil || p.(wire.Ignored).Why == "" {
				t.Errorf("%s: packet %d is %v (%v)", d, code, p, err)
			}
		}
		for _, payload := range [][]byte{report(2, "future"), report(1, "no list"), report(1, []any{"short", []any{}})} {
			if p, err := d.Decode(12, payload, packetLimit); err != nil || p.(wire.Ignored).Why == "" {
				t.Errorf("%s: report %x is %v (%v)", d, payload, p, err)
			}
		}
	}
}

func TestPacketLimit(t *testing.T) {
	for _, d := range wire.Dialects() {
		for _, code := range []uint64{0, 1, 99, 126, 127} {
			if _, err := d.Decode(code, make([]byte, 101), 100); !fault.Is(err, fault.Limit) {
				t.Errorf("%s: packet %d above the limit: %v", d, code, err)
			}
		}
		if _, err := d.Decode(99, make([]byte, 100), 100); err != nil {
			t.Errorf("%s: packet at the limit: %v", d, err)
		}
		for _, code := range []uint64{2, 3, 11, 12, 20, 22, 99} {
			if _, err := d.Decode(code, make([]byte, wire.MaxControl+1), 1<<24); !fault.Is(err, fault.Limit) {
				t.Errorf("%s: packet %d without envelopes: %v", d, code, err)
			}
		}
		if _, err := d.Decode(1, envelope.EncodeList(testEnvelopes(3, 1<<19)), 1<<24); err != nil {
			t.Errorf("%s: envelopes: %v", d, err)
		}
		if _, err := d.DecodeHello(0, make([]byte, wire.MaxHello+1)); !fault.Is(err, fault.Limit) {
			t.Errorf("%s: hello above the limit: %v", d, err)
		}
	}
}

// All nodes read one RLP item and leave what follows it.
func TestBytesAfterThePacketAreIgnored(t *testing.T) {
	list := testEnvelopes(2, 10)
	for _, d := range wire.Dialects() {
		code, hello := d.EncodeHello(wire.Hello{MinPoW: 0.5})
		if h, err := d.DecodeHello(code, cat(hello, []byte("more"))); err != nil || h.MinPoW != 0.5 {
			t.Errorf("%s: hello %+v (%v)", d, h, err)
		}
		payload := cat(envelope.EncodeList(list), []byte("more"))
		checkDecode(t, d, 1, payload, wire.Envelopes{List: list})
		p, err := d.Decode(1, payload, packetLimit)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.(wire.Envelopes).Digest(); got != envelope.Keccak256(payload) {
			t.Errorf("%s: the digest is not that of the payload as received", d)
		}
	}
}

func TestNeedsTrust(t *testing.T) {
	for name, want := range map[string][]uint64{"shh/6": {124, 125, 127}, "waku/1": {125, 127}} {
		var got []uint64
		for code := range uint64(200) {
			if dialect(t, name).NeedsTrust(code) {
				got = append(got, code)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

// A claim of a length costs nothing: what is not there is not allocated.
func TestHostileLengths(t *testing.T) {
	huge := [][]byte{
		{0xfb, 0xff, 0xff, 0xff, 0xff},
		{0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0xf8, 0xff, 0x05, 0xfb, 0xff, 0xff, 0xff, 0xff},
		{0xca, 0xc9, 0x05, 0xfb, 0x7f, 0xff, 0xff, 0xff, 0xc0, 0xc0, 0xc0},
	}
	for _, d := range wire.Dialects() {
		for _, payload := range huge {
			n := allocated(func() {
				for code := range uint64(wire.Codes) {
					_, _ = d.Decode(code, payload, packetLimit)
				}
				_, _ = d.DecodeHello(0, payload)
			})
			if n > 64<<10 {
				t.Errorf("%s: %x costs %d bytes", d, payload, n)
			}
		}
	}
}

// allocated is how many bytes f allocates, also those that it drops.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// The worst packets of full size, made of the smallest parts, cost a fixed multiple of their length.
func TestWorstPackets(t *testing.T) {
	tiny := func(n int) []byte {
		return envelope.EncodeList(repeat(envelope.New(0, 0, envelope.Topic{}, nil, 0), n))
	}
	refusals := &bytes.Buffer{}
	if err := rlp.Encode(refusals, []any{uint64(1), []any{envelope.Hash{}, repeat([]any{envelope.Hash{}, uint64(0), ""}, 29_000)}}); err != nil {
		t.Fatal(err)
	}
	packets := []struct {
		name    string
		code    uint64
		payload []byte
		wantErr string
	}{
		{name: "as many envelopes as we take", code: 1, payload: tiny(wire.MaxEnvelopes)},
		{name: "one envelope more", code: 1, payload: tiny(wire.MaxEnvelopes + 1), wantErr: "more than 65536 envelopes"},
		{name: "one direct envelope more", code: 127, payload: tiny(wire.MaxEnvelopes + 1), wantErr: "more than 65536 envelopes"},
		{name: "refusals", code: 12, payload: refusals.Bytes()},
		{name: "options", code: 22, payload: enc(t, repeat[any]([]any{99, 0}, 300_000))},
	}
	for _, d := range wire.Dialects() {
		for _, p := range packets {
			var err error
			n := allocated(func() { _, err = d.Decode(p.code, p.payload, packetLimit) })
			wantError(t, err, p.wantErr)
			if n > 16*packetLimit {
				t.Errorf("%s: %s: %d bytes allocated for %d", d, p.name, n, len(p.payload))
			}
		}
	}
}

func repeat[T any](v T, n int) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = v
	}
	return list
}
