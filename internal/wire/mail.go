package wire

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/internal/envelope"
)

// Sizes of what mail servers and their clients exchange, in bytes.
const (
	CursorSize    = 36 // sent time and envelope hash
	oldCursorSize = 40 // some binary requests append the topic
	binaryRange   = 8  // a binary request's lower and upper bound
	binaryBloom   = binaryRange + envelope.BloomSize
	binaryLimit   = binaryBloom + 4
	idSize        = len(envelope.Hash{})
)

// MaxMailLimit is the most envelopes that a request may ask for.
const MaxMailLimit = 1000

// MailRequest asks a mail server for what was sent in a range of time. It is what all forms of a request mean; whether a
// server grants it is the server's business.
type MailRequest struct {
	ID     []byte           // of a plain request; nil for a sealed one, whose id is its envelope's hash
	From   uint32           // Unix seconds, inclusive
	To     uint32           // inclusive; 0 for "until now", the largest number for "no bound"
	Bloom  *envelope.Bloom  // nil when only Topics decide
	Topics []envelope.Topic // when not empty, Bloom does not count
	Limit  uint32           // envelopes; 0 for the server's own limit
	Cursor []byte           // where the page before ended: empty or CursorSize bytes
	Batch  bool             // several envelopes may come in one packet
	Whole  bool             // of the forms that cannot ask for a next page: all is wanted at once. Not encoded
}

// Check reports what a careful client never asks: a range that ends before it starts, for nothing, with a limit above
// MaxMailLimit, or with a cursor or id of the wrong length.
func (r *MailRequest) Check() error {
	switch {
	case r.To != 0 && r.From > r.To:
		return malformedMail("the range ends before it starts")
	case r.Bloom == nil && len(r.Topics) == 0:
		return malformedMail("neither a bloom filter nor topics")
	case r.Limit > MaxMailLimit:
		return malformedMail("a limit of %d is above %d", r.Limit, MaxMailLimit)
	case len(r.Cursor) != 0 && len(r.Cursor) != CursorSize:
		return malformedMail("a cursor of %d bytes, must be %d", len(r.Cursor), CursorSize)
	case r.ID != nil && len(r.ID) != idSize:
		return malformedMail("an id of %d bytes, must be %d", len(r.ID), idSize)
	}
	return nil
}

// Parse reads the packet: a sealed request is an envelope, to be opened and then read with ParseSealed; a plain one is
// the request itself. Exactly one of the two is returned. Both alias the payload. With an error comes the id of a plain
// request, and nothing else of it, as far as it can be read: the refusal must name it.
func (r Request) Parse() (sealed *envelope.Envelope, plain *MailRequest, err error) {
	payload := firstItem(r.Payload)
	if e, err := envelope.Decode(payload); err == nil {
		return e, nil, nil
	}
	items, err := splitItems(payload, 6, 7)
	if err != nil {
		return nil, nil, malformedMail("a mail request is neither an envelope nor a plain request: %v", err)
	}
	m := &MailRequest{Batch: true}
	p := parser{}
	m.ID = append(make([]byte, 0, idSize), p.bytes(items[0])...)
	m.From, m.To, m.Limit = p.uint32(items[1]), p.uint32(items[2]), p.uint32(items[3])
	m.Cursor, m.Bloom = p.bytes(items[4]), p.bloom(items[5])
	if len(items) == 7 {
		m.Topics = p.topics(items[6])
	}
	if p.err != nil {
		return nil, &MailRequest{ID: m.ID}, malformedMail("plain mail request: %v", p.err)
	}
	return nil, m, nil
}

// EncodePlain returns a plain request. Topics are written only for dialects that know them there.
func (d *Dialect) EncodePlain(m MailRequest) Request {
	return Request{encode(func(w rlp.EncoderBuffer) {
		list := w.List()
		w.WriteBytes(m.ID)
		w.WriteUint64(uint64(m.From))
		w.WriteUint64(uint64(m.To))
		w.WriteUint64(uint64(m.Limit))
		w.WriteBytes(m.Cursor)
		writeOptionalBloom(w, m.Bloom)
		if d.keyed {
			writeTopics(w, m.Topics)
		}
		w.ListEnd(list)
	})}
}

// ParseSealed reads the opened payload of a sealed request, in any of the forms that clients have used: binary, or a list
// of 5, 6 or 7 items. The first byte tells them apart: a binary request that starts like a list would ask for the year
// 2072 or later. The request aliases b.
func ParseSealed(b []byte) (MailRequest, error) {
	if len(b) > 0 && b[0] >= 0xc0 {
		return parseSealedList(b)
	}
	return parseSealedBinary(b)
}

func parseSealedBinary(b []byte) (MailRequest, error) {
	switch {
	case len(b) < binaryRange:
		return MailRequest{}, malformedMail("Undersized p2p request: %d bytes, must be %d, or %d and more", len(b), binaryRange, binaryBloom)
	case len(b) > binaryRange && len(b) < binaryBloom:
		return MailRequest{}, malformedMail("Undersized bloom filter in p2p request: %d bytes, must be %d", len(b)-binaryRange, envelope.BloomSize)
	}
	m := MailRequest{From: binary.BigEndian.Uint32(b), To: binary.BigEndian.Uint32(b[4:])}
	bloom := envelope.FullBloom()
	if len(b) >= binaryBloom {
		bloom = envelope.Bloom(b[binaryRange:binaryBloom])
	}
	m.Bloom = &bloom
	if len(b) >= binaryLimit {
		m.Limit = binary.BigEndian.Uint32(b[binaryBloom:])
	}
	if rest := len(b) - binaryLimit; rest == CursorSize || rest == oldCursorSize {
		m.Cursor = b[binaryLimit:][:CursorSize]
	}
	m.Whole = m.Limit == 0 && m.Cursor == nil
	return m, nil
}

// EncodeBinary returns the payload to seal for servers that read nothing but the oldest form: m's range and bloom filter.
// A To of 0 becomes the largest bound that does not overflow there.
func EncodeBinary(m MailRequest) []byte {
	to := m.To
	if to == 0 || to == math.MaxUint32 {
		to = math.MaxUint32 - 1
	}
	b := binary.BigEndian.AppendUint32(nil, m.From)
	b = binary.BigEndian.AppendUint32(b, to)
	if m.Bloom == nil {
		return b
	}
	return append(b, m.Bloom[:]...)
}

func parseSealedList(b []byte) (MailRequest, error) {
	items, err := splitItems(b, 5, 7)
	if err != nil {
		return MailRequest{}, malformedMail("sealed mail request: %v", err)
	}
	p := parser{}
	m := MailRequest{From: p.uint32(items[0]), To: p.uint32(items[1]), Bloom: p.bloom(items[2]), Batch: true}
	limit, cursor := items[3], items[4]
	switch {
	case len(items) == 7:
		m.Topics, limit, cursor, m.Batch = p.topics(items[3]), items[4], items[5], p.flag(items[6])
	case len(items) == 6 && items[5][0] >= 0xc0:
		m.Topics = p.topics(items[5])
	case len(items) == 6:
		m.Batch = p.flag(items[5])
	}
	m.Limit, m.Cursor = p.uint32(limit), p.bytes(cursor)
	if p.err != nil {
		return MailRequest{}, malformedMail("sealed mail request: %v", p.err)
	}
	return m, nil
}

// EncodeSealed returns the payload to seal in an envelope: the list of 7 items that most servers read.
func EncodeSealed(m MailRequest) []byte {
	return encode(func(w rlp.EncoderBuffer) {
		list := w.List()
		w.WriteUint64(uint64(m.From))
		w.WriteUint64(uint64(m.To))
		writeOptionalBloom(w, m.Bloom)
		writeTopics(w, m.Topics)
		w.WriteUint64(uint64(m.Limit))
		w.WriteBytes(m.Cursor)
		w.WriteBool(m.Batch)
		w.ListEnd(list)
	})
}

// Completion is how a mail server ends an answer.
type Completion struct {
	ID     envelope.Hash // of the request
	Last   envelope.Hash // the last envelope sent; zero if none
	Cursor []byte        // CursorSize bytes when there is more
	Failed bool
	Text   string // why it failed
}

var failed = []byte("ERROR=")

// Parse reads the packet: the byte string that servers send, or the list that one specification describes.
func (c Complete) Parse() (Completion, error) {
	kind, b, _, err := rlp.Split(c.Payload)
	if err != nil {
		return Completion{}, malformedMail("request complete: %v", err)
	}
	if kind == rlp.List {
		return parseCompletionList(firstItem(c.Payload))
	}
	var m Completion
	if rest, ok := bytes.CutPrefix(b, failed); ok && len(rest) >= idSize {
		m.ID, m.Failed, m.Text = envelope.Hash(rest[:idSize]), true, string(rest[idSize:])
		return m, nil
	}
	if len(b) < idSize || len(b) > 2*idSize+CursorSize {
		return m, malformedMail("request complete of %d bytes, must be %d to %d", len(b), idSize, 2*idSize+CursorSize)
	}
	m.ID = envelope.Hash(b[:idSize])
	if b = b[idSize:]; len(b) >= idSize {
		m.Last = envelope.Hash(b[:idSize])
		if b = b[idSize:]; len(b) == CursorSize {
			m.Cursor = b
		}
	}
	return m, nil
}

func parseCompletionList(payload []byte) (m Completion, err error) {
	items, err := splitItems(payload, 3, 3)
	if err != nil {
		return m, malformedMail("request complete: %v", err)
	}
	p := parser{}
	id, last, cursor := p.bytes(items[0]), p.bytes(items[1]), p.bytes(items[2])
	if p.err != nil {
		return m, malformedMail("request complete: %v", p.err)
	}
	if len(id) != idSize || len(last) != idSize || len(cursor) != 0 && len(cursor) != CursorSize {
		return m, malformedMail("request complete with an id, hash and cursor of %d, %d and %d bytes", len(id), len(last), len(cursor))
	}
	return Completion{ID: envelope.Hash(id), Last: envelope.Hash(last), Cursor: cursor}, nil
}

// Packet returns the packet that says m.
func (m Completion) Packet() Complete {
	var b []byte
	if m.Failed {
		b = append(append(append(b, failed...), m.ID[:]...), m.Text...)
	} else {
		b = append(append(append(b, m.ID[:]...), m.Last[:]...), m.Cursor...)
	}
	return Complete{encode(func(w rlp.EncoderBuffer) { w.WriteBytes(b) })}
}
