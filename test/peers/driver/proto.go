package driver

import (
	"encoding/hex"
	"encoding/json"
	"strings"
)

// Hex is a byte string that JSON shows as hexadecimal digits; 0x in front is allowed when reading,
// and no digits are nil.
type Hex []byte

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	digits := strings.TrimPrefix(string(text), "0x")
	if digits == "" {
		*h = nil
		return nil
	}
	*h, err = hex.DecodeString(digits)
	return err
}

type request struct {
	ID   uint64          `json:"id"`
	Cmd  string          `json:"cmd"`
	Args json.RawMessage `json:"args,omitempty"`
}

type response struct {
	ID     uint64 `json:"id"`
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Event is what a helper reports unasked. Kind says which other fields are set.
type Event struct {
	Kind    string   `json:"event"`             // message, pooled, peer, packet, envelope, request, mail, complete
	AtNS    int64    `json:"at_ns"`             // Unix nanoseconds
	Peer    Hex      `json:"peer,omitempty"`    // 32-byte node id
	State   string   `json:"state,omitempty"`   // peer: ready, closed, dropped; packet: in, out; envelope: the event's name
	Error   string   `json:"error,omitempty"`   // peer: why
	Code    uint64   `json:"code,omitempty"`    // packet
	Size    int      `json:"size,omitempty"`    // packet, bytes of payload
	Payload Hex      `json:"payload,omitempty"` // packet (up to 4 KiB of it), request (the envelope's RLP), complete (the byte string)
	Hash    Hex      `json:"hash,omitempty"`    // pooled, envelope
	Batch   Hex      `json:"batch,omitempty"`   // envelope
	Topic   Hex      `json:"topic,omitempty"`   // pooled
	Refused []Hex    `json:"refused,omitempty"` // envelope: hashes that the peer refused
	Message *Message `json:"message,omitempty"` // message
	Mail    []Mailed `json:"mail,omitempty"`    // mail: the envelopes of packet 127
	Listed  bool     `json:"listed,omitempty"`  // mail: they came as a list, not one alone
	Last    Hex      `json:"last,omitempty"`    // envelope: the last one's hash, as a mail server says
	Cursor  Hex      `json:"cursor,omitempty"`  // envelope: where to go on, as a mail server says
}

// Mailed is an envelope that came from a mail server.
type Mailed struct {
	Hash  Hex    `json:"hash"`
	Topic Hex    `json:"topic"`
	Sent  uint32 `json:"sent"`
	RLP   Hex    `json:"rlp"`
}

// Message is one that a filter opened.
type Message struct {
	Filter  string  `json:"filter"`
	Payload Hex     `json:"payload"`
	Padding Hex     `json:"padding,omitempty"`
	Hash    Hex     `json:"hash"`
	Topic   Hex     `json:"topic"`
	Sig     Hex     `json:"sig,omitempty"` // 65-byte public key of the signer
	TTL     uint32  `json:"ttl"`
	PoW     float64 `json:"pow"`
	Sent    uint32  `json:"sent"`
}

// FilterSpec is what "subscribe" takes: exactly one of the keys.
type FilterSpec struct {
	SymKey     Hex     `json:"sym_key"`
	PrivateKey Hex     `json:"private_key"`
	Topics     []Hex   `json:"topics"`
	Sig        Hex     `json:"sig"` // public key that must have signed
	MinPoW     float64 `json:"min_pow"`
	AllowP2P   bool    `json:"allow_p2p"`
}

// Draft is a message to seal: exactly one of the keys.
type Draft struct {
	SymKey    Hex     `json:"sym_key"`
	PublicKey Hex     `json:"public_key"`
	Sign      Hex     `json:"sign"` // private key
	Topic     Hex     `json:"topic"`
	Payload   Hex     `json:"payload"`
	Padding   Hex     `json:"padding"`
	TTL       uint32  `json:"ttl"`
	PoWTarget float64 `json:"pow_target"`
	PoWTime   uint32  `json:"pow_time"` // seconds; 0 means 10
}
