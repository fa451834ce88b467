package wire_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/vectortest"
	"github.com/restante-im/restante/internal/wire"
)

// The first argument of the fuzz targets that know dialects chooses one.
func chosen(n uint8) *wire.Dialect {
	all := wire.Dialects()
	return all[int(n)%len(all)]
}

// whole reads a vector file's payloads, whatever the peer made of them.
func whole(f *testing.F, add func(code uint64, payload []byte), names ...string) {
	for _, name := range names {
		vectortest.File(f, name, func(_ testing.TB, _ int, v inbound) { add(v.Code, v.Payload) })
	}
}

func FuzzDecodeHello(f *testing.F) {
	whole(f, func(_ uint64, payload []byte) { f.Add(uint8(0), payload) },
		"handshake_inbound_statusgo", "handshake_outbound_geth6", "handshake_outbound_status162", "handshake_outbound_statusgo")
	whole(f, func(_ uint64, payload []byte) { f.Add(uint8(1), payload) },
		"waku_handshake_inbound", "waku_handshake_outbound", "waku_status_options")
	f.Fuzz(func(t *testing.T, dialect uint8, payload []byte) {
		d := chosen(dialect)
		hello, err := d.DecodeHello(0, payload)
		if err != nil {
			checkReason(t, err)
			return
		}
		again, err := d.DecodeHello(d.EncodeHello(hello))
		if diff := cmp.Diff(hello, again, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s: decoded again with %v (-first +again)\n%s", d, err, diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for i, files := range [][]string{{"packet_inbound_statusgo", "packet_inbound_trusted_statusgo"}, {"waku_packet_inbound", "packet_inbound_trusted_statusgo"}} {
		whole(f, func(code uint64, payload []byte) { f.Add(uint8(i), uint8(code), payload) }, files...)
		vectortest.Load(f, "confirmation", func(_ testing.TB, _ int, v struct {
			Packet   vectortest.Hex
			Response vectortest.Hex `json:"response_12"`
			Ack      vectortest.Hex `json:"ack_11"`
		}) {
			f.Add(uint8(i), uint8(1), []byte(v.Packet))
			f.Add(uint8(i), uint8(12), []byte(v.Response))
			f.Add(uint8(i), uint8(11), []byte(v.Ack))
		})
	}
	whole(f, func(_ uint64, payload []byte) { f.Add(uint8(1), uint8(22), payload) }, "waku_status_options")
	f.Fuzz(func(t *testing.T, dialect, code uint8, payload []byte) {
		d := chosen(dialect)
		p, err := d.Decode(uint64(code), payload, packetLimit)
		if err != nil {
			checkReason(t, err)
			return
		}
		switch p := p.(type) {
		case wire.Ignored:
			return
		case wire.Update:
			if cmp.Equal(p, wire.Update{}) {
				return // says nothing, so nothing is sent
			}
		case wire.Report:
			for i := range p.Refused {
				p.Refused[i].Code = max(p.Refused[i].Code, 1) // 0 stands for the dialect's own number when sent
			}
		}
		frames, err := d.Encode(p)
		if err != nil && fault.Is(err, fault.Limit) {
			return
		}
		if err != nil || len(frames) != 1 {
			t.Fatalf("%s: %T encoded as %d frames (%v)", d, p, len(frames), err)
		}
		again, err := d.Decode(frames[0].Code, frames[0].Payload, packetLimit)
		if diff := cmp.Diff(p, again, equalPackets, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s: decoded again with %v (-first +again)\n%s", d, err, diff)
		}
	})
}

func FuzzMail(f *testing.F) {
	vectortest.Load(f, "mail_structs", func(_ testing.TB, _ int, v mailStruct) { f.Add([]byte(v.RLP)) })
	vectortest.Load(f, "request_complete_payload", func(_ testing.TB, _ int, v struct{ Packet vectortest.Hex }) { f.Add([]byte(v.Packet)) })
	vectortest.File(f, "mailserver_statusgo_transcript", func(_ testing.TB, _ int, v struct{ Request, Payload vectortest.Hex }) {
		f.Add([]byte(v.Request))
		f.Add([]byte(v.Payload))
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(first, again any, err error) {
			t.Helper()
			if diff := cmp.Diff(first, again, equalPackets, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Errorf("parsed again with %v (-first +again)\n%s", err, diff)
			}
		}
		sealed, plain, err := wire.Request{Payload: b}.Parse()
		if err == nil && (sealed == nil) == (plain == nil) {
			t.Error("a request must be either sealed or plain")
		}
		if err == nil && plain != nil {
			_, again, err := chosen(1).EncodePlain(*plain).Parse()
			same(plain, again, err)
		}
		if m, err := wire.ParseSealed(b); err == nil {
			m.Whole = false // has no place in the list
			again, err := wire.ParseSealed(wire.EncodeSealed(m))
			same(m, again, err)
		}
		if m, err := (wire.SyncRequest{Payload: b}).Parse(); err == nil {
			again, err := wire.EncodeSync(m).Parse()
			same(m, again, err)
		}
		if p, err := (wire.SyncResponse{Payload: b}).Parse(); err == nil {
			again, err := p.Packet().Parse()
			same(p, again, err)
		}
		if c, err := (wire.Complete{Payload: b}).Parse(); err == nil {
			if again, err := c.Packet().Parse(); !again.Failed || c.Failed { // an id may look like a failure
				same(c, again, err)
			}
		}
	})
}

// checkReason demands that a connection ends with words.
func checkReason(t *testing.T, err error) {
	t.Helper()
	if k := fault.KindOf(err); k != fault.Invalid && k != fault.Limit || fault.Text(err) == k.String() {
		t.Errorf("error without a reason: %v", err)
	}
	if len(fault.Text(err)) > 500 {
		t.Errorf("reason of %d bytes", len(fault.Text(err)))
	}
	if errors.Unwrap(err) != nil {
		t.Errorf("the reason leans on a cause: %v", err)
	}
}
