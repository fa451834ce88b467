package wire_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/vectortest"
	"github.com/restante-im/restante/internal/wire"
)

type mailStruct struct {
	Struct        string
	RLP           vectortest.Hex
	ID            vectortest.Hex
	From, To      uint32
	Lower, Upper  uint32
	Limit         uint32
	Bloom, Cursor vectortest.Hex
	Final         bool
	Hashes        []envelope.Hash `json:"envelope_hashes"`
	Failed        string          `json:"error_field"`
	Valid         bool
}

func TestVectorsMailStructs(t *testing.T) {
	shh := dialect(t, "shh/6")
	vectortest.Load(t, "mail_structs", func(t testing.TB, i int, v mailStruct) {
		var again []byte
		var err, verdict error
		valid := v.Valid
		switch v.Struct {
		case "MessagesRequest":
			var m *wire.MailRequest
			if _, m, err = (wire.Request{Payload: v.RLP}).Parse(); err == nil {
				verdict, again = m.Check(), shh.EncodePlain(*m).Payload
				checkMail(t, i, *m, v, v.From, v.To)
			}
		case "SyncMailRequest":
			var m wire.MailRequest
			if m, err = (wire.SyncRequest{Payload: v.RLP}).Parse(); err == nil {
				verdict, again = m.CheckSync(), wire.EncodeSync(m).Payload
				checkMail(t, i, m, v, v.Lower, v.Upper)
			}
		case "SyncResponse":
			var p wire.SyncPage
			valid = true
			if p, err = (wire.SyncResponse{Payload: v.RLP}).Parse(); err == nil {
				again = p.Packet().Payload
				want := wire.SyncPage{Cursor: v.Cursor, Final: v.Final, Failed: v.Failed}
				if diff := cmp.Diff(want, p, cmpopts.IgnoreFields(p, "List"), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%d: (-want +got)\n%s", i, diff)
				}
				if len(p.List) != len(v.Hashes) || len(p.List) == 1 && p.List[0].Hash() != v.Hashes[0] {
					t.Errorf("%d: %d envelopes, want %s", i, len(p.List), v.Hashes)
				}
			}
		default:
			t.Errorf("%d: unknown struct %s", i, v.Struct)
			return
		}
		if err != nil || (verdict == nil) != valid {
			t.Errorf("%d %s: parsed with %v, checked with %v, want valid %v", i, v.Struct, err, verdict, valid)
		}
		if !bytes.Equal(again, v.RLP) {
			t.Errorf("%d %s: encoded as %x, want %x", i, v.Struct, again, v.RLP)
		}
	})
}

func checkMail(t testing.TB, i int, got wire.MailRequest, v mailStruct, from, to uint32) {
	t.Helper()
	want := wire.MailRequest{ID: v.ID, From: from, To: to, Limit: v.Limit, Cursor: v.Cursor, Batch: true}
	if len(v.Bloom) > 0 {
		bloom := envelope.Bloom(v.Bloom)
		want.Bloom = &bloom
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%d: (-want +got)\n%s", i, diff)
	}
}

type completion struct {
	RequestID vectortest.Hex `json:"request_id"`
	Last      vectortest.Hex `json:"last_envelope_hash"`
	Cursor    vectortest.Hex
	Error     *string
}

func (c completion) value() wire.Completion {
	m := wire.Completion{Cursor: c.Cursor}
	copy(m.ID[:], c.RequestID)
	copy(m.Last[:], c.Last)
	if c.Error != nil {
		m.Failed, m.Text = true, *c.Error
	}
	return m
}

func TestVectorsRequestCompletePayload(t *testing.T) {
	type vector struct {
		BuiltFrom  *completion `json:"built_from"`
		Parsed     *completion
		Packet     vectortest.Hex
		ParseError string `json:"parse_error"`
		Why        string
	}
	vectortest.Load(t, "request_complete_payload", func(t testing.TB, i int, v vector) {
		got, err := wire.Complete{Payload: v.Packet}.Parse()
		if v.Parsed == nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%d %s: parsed as %+v (%v)", i, v.Why, got, err)
			}
			return
		}
		if err != nil {
			t.Errorf("%d %s: %v", i, v.Why, err)
			return
		}
		if diff := cmp.Diff(v.Parsed.value(), got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%d %s: (-want +got)\n%s", i, v.Why, diff)
		}
		if v.BuiltFrom != nil && !bytes.Equal(v.BuiltFrom.value().Packet().Payload, v.Packet) {
			t.Errorf("%d %s: built another packet", i, v.Why)
		}
	})
}

// The real servers' conversations hold every form of a request. Ours reads each one that means something, also those that
// the server at hand could not read; what it answers is not wire's business.
func TestVectorsMailServerTranscripts(t *testing.T) {
	type vector struct {
		Request   vectortest.Hex
		Hash      envelope.Hash `json:"request_hash"`
		Payload   vectortest.Hex
		Encrypted string `json:"encrypted_with"`
		Packets   []struct {
			Code    uint64
			Payload vectortest.Hex
		}
		Complete *completion
		Why      string
	}
	undersized := func(b []byte) bool { return b[0] < 0xc0 && (len(b) < 8 || len(b) > 8 && len(b) < 72) }
	for _, name := range []string{"mailserver_geth_transcript", "mailserver_statusgo_transcript", "mailserver_waku_transcript"} {
		vectortest.File(t, name, func(t testing.TB, i int, v vector) {
			sealed, plain, err := wire.Request{Payload: v.Request}.Parse()
			switch v.Encrypted {
			case "": // a sync request, which rides in another packet
				_, syncErr := wire.SyncRequest{Payload: v.Request}.Parse()
				if malformed := len(v.Request) < 10; err == nil || (syncErr != nil) != malformed {
					t.Errorf("%s %d %s: a sync request: %v, %v", name, i, v.Why, err, syncErr)
				}
			case "plain":
				if err != nil || sealed != nil || plain == nil || plain.From == 0 || plain.To < plain.From {
					t.Errorf("%s %d %s: plain request %+v (%v)", name, i, v.Why, plain, err)
				}
			default:
				if err != nil || plain != nil || sealed.Hash() != v.Hash {
					t.Errorf("%s %d %s: sealed request not read (%v)", name, i, v.Why, err)
				}
				m, err := wire.ParseSealed(v.Payload)
				if (err != nil) != undersized(v.Payload) || err == nil && m.To == 0 {
					t.Errorf("%s %d %s: sealed payload %+v (%v)", name, i, v.Why, m, err)
				}
			}
			for _, p := range v.Packets {
				if p.Code == 125 && v.Complete != nil {
					want := v.Complete.value()
					got, err := wire.Complete{Payload: want.Packet().Payload}.Parse()
					if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil || !bytes.HasSuffix(want.Packet().Payload, p.Payload) {
						t.Errorf("%s %d %s: complete (%v, -want +got)\n%s", name, i, v.Why, err, diff)
					}
				}
			}
		})
	}
}

func TestSealedRequestForms(t *testing.T) {
	topic := envelope.Topic{1, 2, 3, 4}
	bloom := topic.WideBloom()
	cursor := bytes.Repeat([]byte{7}, wire.CursorSize)
	type list = []any
	tests := []struct {
		name    string
		payload []byte
		want    wire.MailRequest
		wantErr string
	}{
		{name: "binary range", payload: []byte{0, 0, 0, 1, 0, 0, 0, 2}, want: wire.MailRequest{From: 1, To: 2, Bloom: ptr(envelope.FullBloom()), Whole: true}},
		{
			name: "binary with cursor", payload: cat([]byte{0, 0, 0, 1, 0, 0, 0, 2}, bloom[:], []byte{0, 0, 0, 9}, cursor),
			want: wire.MailRequest{From: 1, To: 2, Bloom: &bloom, Limit: 9, Cursor: cursor},
		},
		{
			name: "binary with the longer cursor", payload: cat([]byte{0, 0, 0, 1, 0, 0, 0, 2}, bloom[:], []byte{0, 0, 0, 9}, cursor, topic[:]),
			want: wire.MailRequest{From: 1, To: 2, Bloom: &bloom, Limit: 9, Cursor: cursor},
		},
		{name: "binary undersized", payload: make([]byte, 71), wantErr: "Undersized bloom filter in p2p request: 63 bytes"},
		{name: "empty", wantErr: "Undersized p2p request: 0 bytes"},
		{
			name: "five items", payload: enc(t, list{1, 2, bloom[:], 9, cursor}),
			want: wire.MailRequest{From: 1, To: 2, Bloom: &bloom, Limit: 9, Cursor: cursor, Batch: true},
		},
		{
			name: "six items, flag last", payload: enc(t, list{1, 2, bloom[:], 9, cursor, 0}),
			want: wire.MailRequest{From: 1, To: 2, Bloom: &bloom, Limit: 9, Cursor: cursor},
		},
		{
			name: "six items, topics last", payload: enc(t, list{1, 2, "", 9, "", list{topic[:]}}),
			want: wire.MailRequest{From: 1, To: 2, Topics: []envelope.Topic{topic}, Limit: 9, Batch: true},
		},
		{
			name: "seven items", payload: enc(t, list{1, 2, bloom[:], list{topic[:]}, 9, cursor, 1}),
			want: wire.MailRequest{From: 1, To: 2, Bloom: &bloom, Topics: []envelope.Topic{topic}, Limit: 9, Cursor: cursor, Batch: true},
		},
		{name: "eight items", payload: enc(t, list{1, 2, "", list{}, 9, "", 1, 1}), wantErr: "more than 7 items"},
		{name: "short bloom, which crashed servers", payload: enc(t, list{1, 2, bloom[:63], 9, cursor}), wantErr: "bloom filter of 63 bytes"},
		{name: "time beyond 32 bits", payload: enc(t, list{1, 1 << 32, bloom[:], 9, cursor}), wantErr: "32 bits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.ParseSealed(tt.payload)
			wantError(t, err, tt.wantErr)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" && err == nil {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if err == nil {
				got.Whole = false // has no place in the list
				if again, err := wire.ParseSealed(wire.EncodeSealed(got)); err != nil || !cmp.Equal(again, got, cmpopts.EquateEmpty()) {
					t.Errorf("encoded and parsed again: %+v (%v)", again, err)
				}
			}
		})
	}
}

func TestCompletionAsList(t *testing.T) {
	id, last := envelope.Hash{1}, envelope.Hash{2}
	got, err := wire.Complete{Payload: enc(t, []any{id[:], last[:], ""})}.Parse()
	if want := (wire.Completion{ID: id, Last: last}); err != nil || !cmp.Equal(got, want, cmpopts.EquateEmpty()) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	_, err = wire.Complete{Payload: enc(t, []any{id[:31], last[:], ""})}.Parse()
	wantError(t, err, "31, 32 and 0 bytes")
}
