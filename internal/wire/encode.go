package wire

import (
	"math"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Encode returns the packets that say p, in the order in which they must be sent. An Update may need several, or none
// when it changes nothing. What is only advice and has no place in the dialect is left out: light, confirms and byte
// limits where updates are a packet each. Errors: Invalid for what a dialect has no packet for, or a value no peer
// would take; Limit for a report above MaxReport.
func (d *Dialect) Encode(p Packet) ([]Frame, error) {
	switch p := p.(type) {
	case Envelopes:
		return []Frame{d.EnvelopesFrame(p.List)}, nil
	case Update:
		return d.encodeUpdate(p)
	case Acknowledged:
		return []Frame{{codeAcknowledged, encode(func(w rlp.EncoderBuffer) { w.WriteBytes(p.Digest[:]) })}}, nil
	case Report:
		payload := d.encodeReport(p)
		if len(payload) > MaxReport {
			return nil, fault.Errorf("wire: encode", fault.Limit, "a report of %d refused envelopes is too long", len(p.Refused))
		}
		return []Frame{{codeReport, payload}}, nil
	case Direct:
		raws := make([][]byte, len(p.List))
		for i, e := range p.List {
			raws[i] = e.Raw()
		}
		return []Frame{d.DirectFrame(raws)}, nil
	case Request:
		return d.rawFrame(codeRequest, p.Payload)
	case Complete:
		return d.rawFrame(codeComplete, p.Payload)
	case SyncRequest:
		return d.rawFrame(codeSyncRequest, p.Payload)
	case SyncResponse:
		return d.rawFrame(codeSyncResponse, p.Payload)
	}
	return nil, fault.Errorf("wire: encode", fault.Invalid, "a packet of type %T cannot be sent", p)
}

// EnvelopesFrame is Encode for Envelopes. The envelopes' bytes are spliced as they were received. The caller keeps the
// packet below the receiver's limit; see envelope.ListSize.
func (d *Dialect) EnvelopesFrame(list []*envelope.Envelope) Frame {
	return Frame{codeEnvelopes, envelope.EncodeList(list)}
}

func (d *Dialect) rawFrame(code uint64, payload []byte) ([]Frame, error) {
	if d.packets[code].decode == nil {
		return nil, fault.Errorf("wire: encode", fault.Invalid, "%s has no packet %d", d, code)
	}
	return []Frame{{code, payload}}, nil
}

func (d *Dialect) encodeUpdate(u Update) ([]Frame, error) {
	if u.MinPoW != nil && !validPoW(*u.MinPoW) {
		return nil, fault.Errorf("wire: encode", fault.Invalid, "a PoW requirement of %v cannot be announced", *u.MinPoW)
	}
	if u.ByTopics && (!d.keyed || len(u.Topics) > MaxTopics) {
		u.Bloom, u.ByTopics = bloomOf(u.Topics), false
	}
	if d.keyed {
		payload := encodeOptions(u)
		if len(payload) == 1 { // the empty list: nothing to say
			return nil, nil
		}
		return []Frame{{codeOptions, payload}}, nil
	}
	var frames []Frame
	add := func(code uint64, write func(w rlp.EncoderBuffer)) {
		frames = append(frames, Frame{code, encode(write)})
	}
	if u.MinPoW != nil {
		add(codePoW, func(w rlp.EncoderBuffer) { w.WriteUint64(math.Float64bits(*u.MinPoW)) })
	}
	if u.Bloom != nil {
		add(codeBloom, func(w rlp.EncoderBuffer) { writeBloom(w, u.Bloom) })
	}
	if u.Packets != nil {
		add(codeLimits, func(w rlp.EncoderBuffer) { writeLimits(w, u.Packets) })
	}
	return frames, nil
}

// encode runs write on a buffer and returns its bytes.
func encode(write func(w rlp.EncoderBuffer)) []byte {
	w := rlp.NewEncoderBuffer(nil)
	write(w)
	b := w.ToBytes()
	w.Flush() // returns the buffer to its pool; there is no writer that could fail
	return b
}

// writeBloom writes 64 bytes; all ones for nil.
func writeBloom(w rlp.EncoderBuffer, bloom *envelope.Bloom) {
	if bloom == nil {
		full := envelope.FullBloom()
		bloom = &full
	}
	w.WriteBytes(bloom[:])
}

func writeLimits(w rlp.EncoderBuffer, l *Limits) {
	list := w.List()
	w.WriteUint64(l.IP)
	w.WriteUint64(l.Peer)
	w.WriteUint64(l.Topic)
	w.ListEnd(list)
}

func writeTopics(w rlp.EncoderBuffer, topics []envelope.Topic) {
	list := w.List()
	for i := range topics {
		w.WriteBytes(topics[i][:])
	}
	w.ListEnd(list)
}
