package wire

import (
	"errors"
	"fmt"
	"math"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// EncodeHello returns the first packet. Every dialect says as much of h as it can: one without topic lists announces the
// bloom filter of the topics, as does any when there are more than MaxTopics. A bloom filter is always sent in full
// length, since some nodes refuse the short form for "everything". A MinPoW that no peer would take is sent as 0.
func (d *Dialect) EncodeHello(h Hello) (code uint64, payload []byte) {
	if !validPoW(h.MinPoW) {
		h.MinPoW = 0
	}
	if h.ByTopics && (!d.keyed || len(h.Topics) > MaxTopics) {
		h.Bloom, h.ByTopics = bloomOf(h.Topics), false
	}
	if d.keyed {
		return codeHello, encodeOptions(helloOptions(h))
	}
	return codeHello, d.encodePositions(h)
}

// DecodeHello reads a peer's first packet. An error means that the connection must end; its text tells why. Nothing
// returned aliases payload.
func (d *Dialect) DecodeHello(code uint64, payload []byte) (Hello, error) {
	if code != codeHello {
		return Hello{}, fault.Errorf("wire: hello", fault.Invalid, "packet %d came before the status packet", code)
	}
	if len(payload) > MaxHello {
		return Hello{}, fault.Errorf("wire: hello", fault.Limit, "status packet has %d bytes, the limit is %d", len(payload), MaxHello)
	}
	read := d.decodePositions
	if d.keyed {
		read = d.decodeKeyed
	}
	h, err := read(payload)
	if err != nil {
		return Hello{}, fault.E("wire: hello "+d.String(), fault.Invalid, nil, "bad status packet: "+err.Error())
	}
	return h, nil
}

// encodePositions writes [version, PoW bits, bloom, light, confirms, rate limits], the limits only when there are any.
// Peers that know fewer items do not read the later ones.
func (d *Dialect) encodePositions(h Hello) []byte {
	return encode(func(w rlp.EncoderBuffer) {
		list := w.List()
		w.WriteUint64(uint64(d.version))
		w.WriteUint64(math.Float64bits(h.MinPoW))
		writeBloom(w, h.Bloom)
		w.WriteBool(h.Light)
		w.WriteBool(h.Confirms)
		if h.Packets != nil {
			writeLimits(w, h.Packets)
		}
		w.ListEnd(list)
	})
}

// decodePositions reads what encodePositions writes, and shorter or longer lists. Only the version is needed. Reading
// stops without an error at the first item that is not there or not of its kind: that item and the later ones keep their
// defaults. A flag other than 0 and 1 is such a default too, but reading goes on.
func (d *Dialect) decodePositions(payload []byte) (Hello, error) {
	h := Hello{MinPoW: d.defaultPoW}
	b, _, err := rlp.SplitList(payload)
	if err != nil {
		return h, fmt.Errorf("not a list: %w", err)
	}
	version, b, err := rlp.SplitUint64(b)
	if err != nil {
		return h, fmt.Errorf("version: %w", err)
	}
	if version != uint64(d.version) {
		return h, fmt.Errorf("version %d of the protocol, we speak %d", version, d.version)
	}
	bits, b, err := rlp.SplitUint64(b)
	if err != nil {
		return h, nil
	}
	if h.MinPoW, err = powFromBits(bits); err != nil {
		return h, err
	}
	bloom, b, err := rlp.SplitString(b)
	if err != nil {
		return h, nil
	}
	if h.Bloom, err = bloomFromBytes(bloom); err != nil {
		return h, err
	}
	for _, flag := range []*bool{&h.Light, &h.Confirms} {
		if b, err = readLenientFlag(flag, b); err != nil {
			return h, nil
		}
	}
	if content, _, err := rlp.SplitList(b); err == nil {
		if limits, err := readLimits(content); err == nil {
			h.Packets = limits
		}
	}
	return h, nil
}

// AwaitsAnswers reports whether the sender of a first packet, which DecodeHello accepted, may wait for Answer to what it
// sends. Nodes whose hello ends before the item that announces confirmations do not know them, and ignore them.
func (d *Dialect) AwaitsAnswers(hello []byte) bool {
	if d.keyed {
		return true
	}
	content, _, err := rlp.SplitList(hello)
	if err != nil {
		return false
	}
	n, err := rlp.CountValues(content)
	return err == nil && n >= positionConfirms
}

var errFlag = errors.New("a flag must be 0 or 1")

// readLenientFlag sets flag if the item is the number 1. It fails if the item is no number that fits into a byte.
func readLenientFlag(flag *bool, b []byte) (rest []byte, err error) {
	s, rest, err := rlp.SplitString(b)
	if err != nil {
		return nil, err
	}
	if len(s) > 1 {
		return nil, errFlag
	}
	*flag = len(s) == 1 && s[0] == 1
	return rest, nil
}

// bloomOf is the filter of a topic list, wide enough for peers of both readings of EIP-627.
func bloomOf(topics []envelope.Topic) *envelope.Bloom {
	var bloom envelope.Bloom
	for _, t := range topics {
		bloom.Or(t.WideBloom())
	}
	return &bloom
}
