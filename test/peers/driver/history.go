package driver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/ethereum/go-ethereum/rlp"
)

// History is a question to a mail server, in one of the forms that clients have written over the years.
type History struct {
	// Form is how the question is written. Sealed: "binary" (from, to, then bloom, limit and cursor as far as they are
	// given), "rlp5", "rlp5topics" (the topics last), "rlp6" or "rlp7" (lists of so many items). Or "plain", not sealed.
	Form   string `json:"form"`
	From   uint32 `json:"from"`
	To     uint32 `json:"to"`
	Topics []Hex  `json:"topics"`
	Bloom  Hex    `json:"bloom"` // empty: that of the topics; without topics the full one, and none in "binary"
	Limit  uint32 `json:"limit"`
	Cursor Hex    `json:"cursor"`
	Batch  bool   `json:"batch"` // rlp6, rlp7
	ID     Hex    `json:"id"`    // plain
}

// Plain is the record that some clients send instead of an envelope.
type Plain struct {
	ID     []byte
	From   uint32
	To     uint32
	Limit  uint32
	Cursor []byte
	Bloom  []byte
}

// plainAsker is an Engine whose Whisper can send a Plain.
type plainAsker interface {
	RequestPlain(id []byte, p Plain) error
}

// Payload is what is sealed. bloomOf computes a topic's bloom filter.
func (h History) Payload(bloomOf func(topic []byte) []byte) ([]byte, error) {
	bloom, topics := h.bloom(bloomOf), make([][]byte, 0, len(h.Topics))
	for _, t := range h.Topics {
		topics = append(topics, t)
	}
	switch h.Form {
	case "binary":
		return h.binary(bloom), nil
	case "rlp5":
		return rlp.EncodeToBytes([]any{h.From, h.To, bloom, h.Limit, h.Cursor})
	case "rlp5topics":
		return rlp.EncodeToBytes([]any{h.From, h.To, bloom, h.Limit, h.Cursor, topics})
	case "rlp6":
		return rlp.EncodeToBytes([]any{h.From, h.To, bloom, h.Limit, h.Cursor, h.Batch})
	case "rlp7":
		return rlp.EncodeToBytes([]any{h.From, h.To, bloom, topics, h.Limit, h.Cursor, h.Batch})
	}
	return nil, fmt.Errorf("a history request has no form %q", h.Form)
}

func (h History) binary(bloom []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, h.From)
	b = binary.BigEndian.AppendUint32(b, h.To)
	if len(h.Bloom)+len(h.Topics)+int(h.Limit)+len(h.Cursor) > 0 {
		b = append(b, bloom...)
	}
	if h.Limit > 0 || len(h.Cursor) > 0 {
		b = binary.BigEndian.AppendUint32(b, h.Limit)
	}
	return append(b, h.Cursor...)
}

func (h History) bloom(bloomOf func([]byte) []byte) []byte {
	if len(h.Bloom) > 0 {
		return h.Bloom
	}
	const size = 64
	bloom := make([]byte, size)
	for i := range bloom {
		if len(h.Topics) == 0 {
			bloom[i] = math.MaxUint8
		}
	}
	for _, t := range h.Topics {
		for i, b := range bloomOf(t) {
			bloom[i] |= b
		}
	}
	return bloom
}

type historyArgs struct {
	peerArgs
	History
	SymKey    Hex     `json:"sym_key"` // what the request is sealed with
	Sign      Hex     `json:"sign"`    // private key; empty: the node's own
	PoWTarget float64 `json:"pow_target"`
}

// requestTime is how long clients mine a request, in seconds.
const requestTime = 5

// history asks as the implementation's own clients do, and answers with the request's id.
func history(n *node, a historyArgs) (any, error) {
	id, err := a.id()
	if err != nil {
		return nil, err
	}
	if a.Form == "plain" {
		asker, ok := n.engine.(plainAsker)
		if !ok {
			return nil, errors.New("this implementation knows no plain requests")
		}
		bloom := a.bloom(n.engine.TopicBloom)
		return sealed{Hash: a.ID}, asker.RequestPlain(id[:], Plain{a.ID, a.From, a.To, a.Limit, a.Cursor, bloom})
	}
	payload, err := a.Payload(n.engine.TopicBloom)
	if err != nil {
		return nil, err
	}
	sign := a.Sign
	if len(sign) == 0 {
		sign = n.key
	}
	raw, hash, err := n.engine.Seal(Draft{SymKey: a.SymKey, Sign: sign, Payload: payload, PoWTarget: a.PoWTarget, PoWTime: requestTime})
	if err != nil {
		return nil, err
	}
	return sealed{Hash: hash[:], RLP: raw}, n.engine.Request(id[:], raw)
}

// Sync asks another mail server for what it has.
type Sync struct {
	Lower  uint32 `json:"from"`
	Upper  uint32 `json:"to"`
	Bloom  Hex    `json:"bloom"`
	Limit  uint32 `json:"limit"`
	Cursor Hex    `json:"cursor"`
}

// syncAsker is an Engine whose Whisper can ask for a Sync.
type syncAsker interface {
	RequestSync(id []byte, s Sync) error
}

type syncArgs struct {
	peerArgs
	Sync
}

func requestSync(n *node, a syncArgs) (any, error) {
	id, err := a.id()
	if err != nil {
		return nil, err
	}
	asker, ok := n.engine.(syncAsker)
	if !ok {
		return nil, errors.New("this implementation does not sync")
	}
	return nil, asker.RequestSync(id[:], a.Sync)
}
