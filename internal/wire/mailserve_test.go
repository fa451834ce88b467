package wire_test

import (
	"bytes"
	"testing"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/vectortest"
	"github.com/restante-im/restante/internal/wire"
)

func TestVectorsMailServerDBKey(t *testing.T) {
	type vector struct {
		Cursor, Key vectortest.Hex
		Hash        envelope.Hash
		Sent        uint32
	}
	vectortest.File(t, "mailserver_db_key", func(t testing.TB, i int, v vector) {
		if got := wire.AppendCursor(nil, v.Sent, v.Hash); !bytes.Equal(got, v.Cursor) {
			t.Errorf("%d: cursor %x, want %x", i, got, v.Cursor)
		}
		for _, b := range [][]byte{v.Cursor, v.Key} {
			if sent, hash, ok := wire.SplitCursor(b); !ok || sent != v.Sent || hash != v.Hash {
				t.Errorf("%d: cursor of %d bytes read as %d %s %v", i, len(b), sent, hash, ok)
			}
		}
	})
}

func TestGrant(t *testing.T) {
	full := envelope.FullBloom()
	cursor := make([]byte, wire.CursorSize)
	tests := []struct {
		name    string
		request wire.MailRequest
		limit   uint32
		to      uint32
		wantErr string
	}{
		{name: "defaults", request: wire.MailRequest{Bloom: &full}, limit: 1000},
		{name: "no upper bound as the largest number", request: wire.MailRequest{From: 7, To: 1<<32 - 1, Bloom: &full, Limit: 5}, limit: 5},
		{name: "all at once", request: wire.MailRequest{Bloom: &full, To: 9, Whole: true}, to: 9},
		{name: "topics alone", request: wire.MailRequest{Topics: []envelope.Topic{{1}}, Cursor: cursor}, limit: 1000},
		{name: "backwards", request: wire.MailRequest{From: 2, To: 1, Bloom: &full}, wantErr: "query range is invalid: lower > upper"},
		{name: "for nothing", request: wire.MailRequest{From: 1, To: 2}, wantErr: "bloom filter is empty"},
		{name: "too much", request: wire.MailRequest{Bloom: &full, Limit: 1001}, wantErr: "limit exceeds the maximum allowed value"},
		{name: "cut cursor", request: wire.MailRequest{Bloom: &full, Cursor: cursor[1:]}, wantErr: "a cursor of 35 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.request.Grant()
			wantError(t, err, tt.wantErr)
			if err == nil && (tt.request.Limit != tt.limit || tt.request.To != tt.to) {
				t.Errorf("limit %d, to %d; want %d, %d", tt.request.Limit, tt.request.To, tt.limit, tt.to)
			}
		})
	}
}

func TestPaddedID(t *testing.T) {
	short := wire.MailRequest{ID: bytes.Repeat([]byte{9}, 16)}
	if got := short.PaddedID(); got[15] != 0 || got[16] != 9 || got[31] != 9 {
		t.Errorf("an id of 16 bytes became %s", got)
	}
	long := wire.MailRequest{ID: append([]byte{1}, bytes.Repeat([]byte{2}, 32)...)}
	if got := long.PaddedID(); got[0] != 2 || got[31] != 2 {
		t.Errorf("an id of 33 bytes became %s", got)
	}
}

// What DirectFrame and SyncFrame splice is what the decoders read, for lists of every length of header.
func TestArchivedEnvelopesTravelAsTheyAre(t *testing.T) {
	for _, d := range wire.Dialects() {
		for _, sizes := range [][]int{{}, {0}, {1, 2}, {30, 30}, {300}, {40000, 40000}, {1 << 20, 1 << 20, 1 << 20}} {
			var raws [][]byte
			for i, size := range sizes {
				raws = append(raws, envelope.New(100, 50, envelope.Topic{byte(i)}, make([]byte, size), uint64(i)).Raw())
			}
			frame := d.DirectFrame(raws)
			p, err := d.Decode(frame.Code, frame.Payload, 16<<20)
			if err != nil {
				t.Fatalf("%s: %v: %v", d, sizes, err)
			}
			wantRaws(t, p.(wire.Direct).List, raws)
			if frame, err = d.SyncFrame(raws); err != nil {
				continue // no sync in this dialect
			}
			p, err = d.Decode(frame.Code, frame.Payload, 16<<20)
			if err != nil {
				t.Fatalf("%s: %v: %v", d, sizes, err)
			}
			page, err := p.(wire.SyncResponse).Parse()
			if err != nil || page.Final || page.Failed != "" {
				t.Fatalf("%s: %v: page %+v (%v)", d, sizes, page, err)
			}
			wantRaws(t, page.List, raws)
		}
	}
}

func wantRaws(t *testing.T, list []*envelope.Envelope, raws [][]byte) {
	t.Helper()
	if len(list) != len(raws) {
		t.Fatalf("%d envelopes, want %d", len(list), len(raws))
	}
	for i, e := range list {
		if !bytes.Equal(e.Raw(), raws[i]) {
			t.Errorf("envelope %d differs", i)
		}
	}
}

func TestEncodeBinary(t *testing.T) {
	bloom := envelope.Topic{1, 2, 3, 4}.WideBloom()
	for _, m := range []wire.MailRequest{{From: 5, To: 9, Bloom: &bloom}, {From: 5, To: 9}} {
		got, err := wire.ParseSealed(wire.EncodeBinary(m))
		if err != nil || got.From != 5 || got.To != 9 || !got.Whole || m.Bloom != nil && *got.Bloom != bloom || m.Bloom == nil && !got.Bloom.IsFull() {
			t.Errorf("%+v was read as %+v (%v)", m, got, err)
		}
	}
	// Servers add one to the upper bound: the largest would wrap around to nothing.
	if got, err := wire.ParseSealed(wire.EncodeBinary(wire.MailRequest{})); err != nil || got.To != 1<<32-2 {
		t.Errorf("no upper bound became %d (%v)", got.To, err)
	}
}

func TestAnswersBarely(t *testing.T) {
	for client, want := range map[string]bool{
		"Geth/v1.9.20/linux": true, "wnode/v6.0/linux-amd64/go1.14": true, "geth-sh": true, "Statusd/v0.62.18": false, "restante/0.1": false, "": false,
	} {
		if got := wire.AnswersBarely(client); got != want {
			t.Errorf("%q: %v", client, got)
		}
	}
}
