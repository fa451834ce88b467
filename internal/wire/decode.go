package wire

import (
	"fmt"
	"math"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Decode reads any packet but the first. A payload of more than max bytes, or one without envelopes of more than
// MaxControl, is refused before it is looked at. Bytes after
// the payload's first RLP item are ignored, as all nodes do. An error (kind Invalid or Limit) means that the connection
// must end, and its text tells the peer's operator why. The packet aliases payload, which must not change afterwards.
func (d *Dialect) Decode(code uint64, payload []byte, max int) (Packet, error) {
	if code >= Codes || !d.packets[code].bulk {
		max = min(max, MaxControl)
	}
	if len(payload) > max {
		return nil, fault.Errorf("wire: decode", fault.Limit, "packet %d has %d bytes, the limit is %d", code, len(payload), max)
	}
	if code >= Codes || d.packets[code].decode == nil {
		return Ignored{Why: "packet without meaning in " + d.String()}, nil
	}
	p, err := d.packets[code].decode(d, payload)
	if err != nil {
		return nil, d.malformed(code, err)
	}
	return p, nil
}

// malformed makes the error that ends a connection.
func (d *Dialect) malformed(code uint64, cause error) error {
	text := fmt.Sprintf("malformed packet %d (%s): %v", code, d.packets[code].name, cause)
	return fault.E("wire: decode "+d.String(), fault.Invalid, nil, text)
}

func decodeEnvelopes(_ *Dialect, payload []byte) (Packet, error) {
	list, err := envelope.DecodeList(firstItem(payload), MaxEnvelopes)
	if err != nil {
		return nil, err
	}
	return Envelopes{List: list, payload: payload}, nil
}

// decodeDirect reads a list of envelopes or, as mail servers send a lone one, a bare envelope. Their first items tell
// them apart: a list of envelopes starts with a list, an envelope with its expiry.
func decodeDirect(_ *Dialect, payload []byte) (Packet, error) {
	payload = firstItem(payload)
	content, _, err := rlp.SplitList(payload)
	if err != nil {
		return nil, fmt.Errorf("neither an envelope nor a list of them: %w", err)
	}
	if len(content) == 0 || content[0] >= 0xc0 {
		list, err := envelope.DecodeList(payload, MaxEnvelopes)
		return Direct{List: list}, err
	}
	e, err := envelope.Decode(payload)
	if err != nil {
		return nil, err
	}
	return Direct{List: []*envelope.Envelope{e}}, nil
}

func decodePoW(_ *Dialect, payload []byte) (Packet, error) {
	bits, _, err := rlp.SplitUint64(payload)
	if err != nil {
		return nil, fmt.Errorf("not an integer of 64 bits: %w", err)
	}
	pow, err := powFromBits(bits)
	if err != nil {
		return nil, err
	}
	return Update{MinPoW: &pow}, nil
}

// decodeBloom reads a filter of exactly 64 bytes. Empty, which stands for "everything" in a hello, is refused here by
// all nodes.
func decodeBloom(_ *Dialect, payload []byte) (Packet, error) {
	b, _, err := rlp.SplitString(payload)
	if err != nil {
		return nil, fmt.Errorf("not a byte string: %w", err)
	}
	if len(b) != envelope.BloomSize {
		return nil, fmt.Errorf("%d bytes long, must be %d", len(b), envelope.BloomSize)
	}
	bloom := envelope.Bloom(b)
	return Update{Bloom: &bloom}, nil
}

func decodeLimits(_ *Dialect, payload []byte) (Packet, error) {
	content, _, err := rlp.SplitList(payload)
	if err != nil {
		return nil, fmt.Errorf("not a list: %w", err)
	}
	limits, err := readLimits(content)
	if err != nil {
		return nil, err
	}
	return Update{Packets: limits}, nil
}

// powFromBits reads a requirement. Values that no comparison can use are refused.
func powFromBits(bits uint64) (float64, error) {
	pow := math.Float64frombits(bits)
	if !validPoW(pow) {
		return 0, fmt.Errorf("PoW requirement of %v", pow)
	}
	return pow, nil
}

func validPoW(pow float64) bool { return pow >= 0 && !math.IsInf(pow, 1) }

// bloomFromBytes reads a filter in a hello: 64 bytes, or none for everything. The full filter is nil.
func bloomFromBytes(b []byte) (*envelope.Bloom, error) {
	switch len(b) {
	case 0:
		return nil, nil
	case envelope.BloomSize:
		bloom := envelope.Bloom(b)
		if bloom.IsFull() {
			return nil, nil
		}
		return &bloom, nil
	}
	return nil, fmt.Errorf("bloom filter of %d bytes, must be %d", len(b), envelope.BloomSize)
}

// readLimits reads the content of a list of exactly three numbers.
func readLimits(content []byte) (*Limits, error) {
	var n [3]uint64
	for i := range n {
		var err error
		if n[i], content, err = rlp.SplitUint64(content); err != nil {
			return nil, fmt.Errorf("rate limit %d of 3: %w", i+1, err)
		}
	}
	if len(content) > 0 {
		return nil, fmt.Errorf("more than three rate limits")
	}
	return &Limits{IP: n[0], Peer: n[1], Topic: n[2]}, nil
}

// firstItem cuts off what follows the first RLP item. What is no RLP it leaves to the decoder to refuse.
func firstItem(payload []byte) []byte {
	if _, _, rest, err := rlp.Split(payload); err == nil {
		return payload[: len(payload)-len(rest) : len(payload)-len(rest)]
	}
	return payload
}
