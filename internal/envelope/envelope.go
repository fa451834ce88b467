// Package envelope is the encrypted unit that Whisper nodes pass on: its encoding, hash, topic, bloom sample, proof of
// work and validity, as EIP-627 and the nodes that speak it define them. Start with Decode or DecodeList for what
// arrives, Seal for what is sent, and Check to see whether a node should take an envelope.
//
// The package is pure: it reads no clock and keeps no state. An Envelope never changes and may be shared freely.
package envelope

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/ethereum/go-ethereum/rlp"
)

// Sizes in bytes, as Size counts them.
const (
	Overhead       = 20       // what Size adds to the data
	MaxSizeDefault = 1 << 20  // what nodes accept unless told otherwise
	MaxSizeLimit   = 10 << 20 // the largest limit that nodes allow
)

// Envelope is one decoded or newly built envelope. The zero value is not valid.
type Envelope struct {
	raw, data []byte
	nonce     uint64
	expiry    uint32
	ttl       uint32
	fields    uint32 // length of the first four fields as they stand in raw
	zeros     uint16 // leading zero bits of the work hash
	topic     Topic
	hash      Hash
}

// New builds an envelope of given fields. It copies data.
func New(expiry, ttl uint32, topic Topic, data []byte, nonce uint64) *Envelope {
	w := rlp.NewEncoderBuffer(nil)
	list := w.List()
	w.WriteUint64(uint64(expiry))
	w.WriteUint64(uint64(ttl))
	w.WriteBytes(topic[:])
	w.WriteBytes(data)
	w.WriteUint64(nonce)
	w.ListEnd(list)
	e, err := Decode(w.ToBytes())
	if err != nil {
		panic("envelope: own encoding does not decode: " + err.Error()) // a defect of this package
	}
	return e
}

// Decode reads exactly one envelope in canonical RLP: a list of expiry, TTL, topic, data and nonce. The envelope keeps
// raw and aliases it; it must not be changed afterwards.
func Decode(raw []byte) (*Envelope, error) {
	e := new(Envelope)
	rest, err := e.parse(raw)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("envelope is followed by %d bytes", len(rest))
	}
	sumAll([]*Envelope{e})
	return e, nil
}

// DecodeList reads an RLP list of envelopes, the payload of a packet. The envelopes alias payload, which must not be
// changed afterwards; see Detach. More than max envelopes are refused. Either all decode or none is returned.
func DecodeList(payload []byte, max int) ([]*Envelope, error) {
	content, rest, err := rlp.SplitList(payload)
	if err != nil {
		return nil, fmt.Errorf("not a list of envelopes: %w", err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("list of envelopes is followed by %d bytes", len(rest))
	}
	var block []Envelope // envelopes are allocated in blocks: one allocation for several
	var list []*Envelope
	for len(content) > 0 {
		if len(list) >= max {
			return nil, fmt.Errorf("more than %d envelopes in a packet", max)
		}
		if len(block) == 0 {
			block = make([]Envelope, min(8, 1+len(content)/512))
		}
		e := &block[0]
		block = block[1:]
		if content, err = e.parse(content); err != nil {
			return nil, fmt.Errorf("envelope %d of the packet: %w", len(list)+1, err)
		}
		list = append(list, e)
	}
	sumAll(list)
	return list, nil
}

var errTopic = errors.New("topic is not 4 bytes long")

// parse fills in all fields but the hashes, and returns what follows the envelope.
func (e *Envelope) parse(b []byte) (rest []byte, err error) {
	content, rest, err := rlp.SplitList(b)
	if err != nil {
		return nil, fmt.Errorf("not an envelope: %w", err)
	}
	fields := content
	if e.expiry, content, err = splitUint32(content, "expiry"); err != nil {
		return nil, err
	}
	if e.ttl, content, err = splitUint32(content, "TTL"); err != nil {
		return nil, err
	}
	topic, content, err := rlp.SplitString(content)
	if err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	if len(topic) != len(e.topic) {
		return nil, errTopic
	}
	e.topic = Topic(topic)
	if e.data, content, err = rlp.SplitString(content); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	n := len(fields) - len(content)
	if e.nonce, content, err = rlp.SplitUint64(content); err != nil {
		return nil, fmt.Errorf("nonce: %w", err)
	}
	if len(content) > 0 {
		return nil, errors.New("envelope has more than five fields")
	}
	e.raw = b[: len(b)-len(rest) : len(b)-len(rest)]
	e.fields = uint32(n)
	return rest, nil
}

func splitUint32(b []byte, what string) (uint32, []byte, error) {
	n, rest, err := rlp.SplitUint64(b)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", what, err)
	}
	if n > math.MaxUint32 {
		return 0, nil, fmt.Errorf("%s does not fit into 32 bits", what)
	}
	return uint32(n), rest, nil
}

// Expiry returns the Unix second after which the envelope is dead.
func (e *Envelope) Expiry() uint32 { return e.expiry }

// TTL returns the seconds that the envelope lives.
func (e *Envelope) TTL() uint32 { return e.ttl }

// Sent returns the Unix second at which the sender claims to have sent it: expiry minus TTL, modulo 2^32.
func (e *Envelope) Sent() uint32 { return e.expiry - e.ttl }

// Topic returns the topic.
func (e *Envelope) Topic() Topic { return e.topic }

// Data returns the encrypted message. It aliases the envelope and must not be changed.
func (e *Envelope) Data() []byte { return e.data }

// Nonce returns the proof-of-work nonce.
func (e *Envelope) Nonce() uint64 { return e.nonce }

// Raw returns the canonical RLP, as received. It must not be changed.
func (e *Envelope) Raw() []byte { return e.raw }

// Hash returns the envelope's identity.
func (e *Envelope) Hash() Hash { return e.hash }

// Size returns the length of the data plus Overhead: the size that limits speak of.
func (e *Envelope) Size() int { return Overhead + len(e.data) }

// PoW returns the proof of work, 2^(leading zero bits) / size / TTL. A TTL of 0 counts as 1.
func (e *Envelope) PoW() float64 { return e.PoWFuture(0) }

// PoWFuture returns the proof of work of an envelope from the near future: ahead, in seconds, is added to its TTL.
func (e *Envelope) PoWFuture(ahead uint32) float64 {
	lifetime := max(uint64(e.ttl)+uint64(ahead), 1)
	// The order of division is that of all peers: values are compared bit for bit.
	return math.Exp2(float64(e.zeros)) / float64(e.workSize()) / float64(lifetime)
}

// Detach returns an envelope that owns its bytes, for keeping one envelope of a large packet without the packet. When
// the bytes are the envelope's alone already it returns e itself.
func (e *Envelope) Detach() *Envelope {
	d := *e
	raw := make([]byte, len(e.raw))
	copy(raw, e.raw)
	d.raw = raw
	tail := len(e.raw) - uintSize(e.nonce)
	d.data = raw[tail-len(e.data) : tail]
	return &d
}

// uintSize is the length of an integer's RLP.
func uintSize(n uint64) int {
	if n < 0x80 {
		return 1
	}
	return 1 + (bits.Len64(n)+7)/8
}

// listHeaderSize is the length of the RLP header of a list whose content has n bytes.
func listHeaderSize(n int) int {
	if n < 56 {
		return 1
	}
	return 1 + (bits.Len64(uint64(n))+7)/8
}

// appendListHeader appends the RLP header of a list whose content has n bytes.
func appendListHeader(b []byte, n int) []byte {
	if n < 56 {
		return append(b, 0xc0+byte(n))
	}
	size := (bits.Len64(uint64(n)) + 7) / 8
	b = append(b, 0xf7+byte(size))
	for i := size - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b
}

// ListSize returns the length of EncodeList's result.
func ListSize(list []*Envelope) int {
	n := 0
	for _, e := range list {
		n += len(e.raw)
	}
	return listHeaderSize(n) + n
}

// EncodeList returns the RLP list of the envelopes, their bytes as received.
func EncodeList(list []*Envelope) []byte {
	n := 0
	for _, e := range list {
		n += len(e.raw)
	}
	b := appendListHeader(make([]byte, 0, listHeaderSize(n)+n), n)
	for _, e := range list {
		b = append(b, e.raw...)
	}
	return b
}

// workSize is the length of the RLP of the first four fields: the divisor of the proof of work.
func (e *Envelope) workSize() int { return listHeaderSize(int(e.fields)) + int(e.fields) }

// appendWork appends what the proof of work hashes but for the nonce: the RLP of the first four fields.
func (e *Envelope) appendWork(b []byte) []byte {
	end := len(e.raw) - uintSize(e.nonce)
	b = appendListHeader(b, int(e.fields))
	return append(b, e.raw[end-int(e.fields):end]...)
}
