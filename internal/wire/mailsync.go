package wire

import (
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

func decodeRequest(_ *Dialect, payload []byte) (Packet, error)     { return Request{payload}, nil }
func decodeComplete(_ *Dialect, payload []byte) (Packet, error)    { return Complete{payload}, nil }
func decodeSyncRequest(_ *Dialect, payload []byte) (Packet, error) { return SyncRequest{payload}, nil }
func decodeSyncResponse(_ *Dialect, payload []byte) (Packet, error) {
	return SyncResponse{payload}, nil
}

// malformedMail makes the error of a mail packet: kind Invalid, its text fit for the peer.
func malformedMail(format string, a ...any) error {
	return fault.Errorf("wire: mail", fault.Invalid, format, a...)
}

// CheckSync is Check for a request from another mail server: the limit must be there too, and the range bounded.
func (r *MailRequest) CheckSync() error {
	if r.Limit == 0 {
		return malformedMail("no limit")
	}
	if r.From > r.To {
		return malformedMail("the range ends before it starts")
	}
	c := *r
	if c.Bloom == nil { // servers let another server ask for nothing in particular
		c.Bloom = new(envelope.Bloom)
	}
	return c.Check()
}

// Parse reads the packet. The request aliases the payload.
func (r SyncRequest) Parse() (MailRequest, error) {
	items, err := splitItems(firstItem(r.Payload), 5, 5)
	if err != nil {
		return MailRequest{}, malformedMail("sync request: %v", err)
	}
	p := parser{}
	m := MailRequest{
		From: p.uint32(items[0]), To: p.uint32(items[1]), Bloom: p.bloom(items[2]),
		Limit: p.uint32(items[3]), Cursor: p.bytes(items[4]), Batch: true,
	}
	if p.err != nil {
		return MailRequest{}, malformedMail("sync request: %v", p.err)
	}
	return m, nil
}

// EncodeSync returns the packet that asks another mail server for m's range, bloom filter, limit and cursor.
func EncodeSync(m MailRequest) SyncRequest {
	return SyncRequest{encode(func(w rlp.EncoderBuffer) {
		list := w.List()
		w.WriteUint64(uint64(m.From))
		w.WriteUint64(uint64(m.To))
		writeOptionalBloom(w, m.Bloom)
		w.WriteUint64(uint64(m.Limit))
		w.WriteBytes(m.Cursor)
		w.ListEnd(list)
	})}
}

// SyncPage is one packet of the answer to a SyncRequest.
type SyncPage struct {
	List   []*envelope.Envelope
	Cursor []byte // in the last packet: where to go on, empty at the end
	Final  bool
	Failed string // why the server gave up; empty if it did not
}

// Parse reads the packet. The page aliases the payload.
func (r SyncResponse) Parse() (SyncPage, error) {
	items, err := splitItems(firstItem(r.Payload), 4, 4)
	if err != nil {
		return SyncPage{}, malformedMail("sync response: %v", err)
	}
	list, err := envelope.DecodeList(items[0], MaxEnvelopes)
	if err != nil {
		return SyncPage{}, malformedMail("sync response: %v", err)
	}
	p := parser{}
	page := SyncPage{List: list, Cursor: p.bytes(items[1]), Final: p.flag(items[2]), Failed: string(p.bytes(items[3]))}
	if p.err != nil {
		return SyncPage{}, malformedMail("sync response: %v", p.err)
	}
	return page, nil
}

// Packet returns the packet that says p.
func (p SyncPage) Packet() SyncResponse {
	return SyncResponse{encode(func(w rlp.EncoderBuffer) {
		list := w.List()
		w.Write(envelope.EncodeList(p.List)) // raw RLP into a buffer: cannot fail
		w.WriteBytes(p.Cursor)
		w.WriteBool(p.Final)
		w.WriteString(p.Failed)
		w.ListEnd(list)
	})}
}

// writeOptionalBloom writes 64 bytes, or none for nil.
func writeOptionalBloom(w rlp.EncoderBuffer, bloom *envelope.Bloom) {
	if bloom == nil {
		w.WriteBytes(nil)
		return
	}
	w.WriteBytes(bloom[:])
}

// splitItems returns the raw items of a list that has from least to most of them. It stops at the first one too many.
func splitItems(b []byte, least, most int) ([][]byte, error) {
	b, _, err := rlp.SplitList(b)
	if err != nil {
		return nil, fmt.Errorf("not a list: %w", err)
	}
	items := make([][]byte, 0, most)
	for len(b) > 0 {
		if len(items) == most {
			return nil, fmt.Errorf("more than %d items", most)
		}
		_, _, rest, err := rlp.Split(b)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", len(items)+1, err)
		}
		items = append(items, b[:len(b)-len(rest)])
		b = rest
	}
	if len(items) < least {
		return nil, fmt.Errorf("%d items, must be %d or more", len(items), least)
	}
	return items, nil
}

// parser reads raw items and keeps the first error; after one its results are without meaning.
type parser struct{ err error }

func (p *parser) keep(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *parser) uint32(item []byte) uint32 {
	n, _, err := rlp.SplitUint64(item)
	if err == nil && n>>32 != 0 {
		err = fmt.Errorf("%d does not fit into 32 bits", n)
	}
	p.keep(err)
	return uint32(n)
}

func (p *parser) bytes(item []byte) []byte {
	b, _, err := rlp.SplitString(item)
	p.keep(err)
	return b
}

func (p *parser) flag(item []byte) bool {
	n, _, err := rlp.SplitUint64(item)
	if err == nil && n > 1 {
		err = errFlag
	}
	p.keep(err)
	return n == 1
}

// bloom reads a filter of 64 bytes; none is nil. Any other length made real servers crash.
func (p *parser) bloom(item []byte) *envelope.Bloom {
	b := p.bytes(item)
	if p.err != nil || len(b) == 0 {
		return nil
	}
	if len(b) != envelope.BloomSize {
		p.keep(fmt.Errorf("bloom filter of %d bytes, must be %d", len(b), envelope.BloomSize))
		return nil
	}
	bloom := envelope.Bloom(b)
	return &bloom
}

func (p *parser) topics(item []byte) []envelope.Topic {
	if err := checkShape(keyTopics, item); err != nil {
		p.keep(err)
		return nil
	}
	topics, err := readTopics(item)
	p.keep(err)
	return topics
}
