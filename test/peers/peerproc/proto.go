package peerproc

import (
	"encoding/hex"
	"encoding/json"
	"strings"
)

// hexBytes is a byte string as the helpers write it.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	digits := strings.TrimPrefix(string(text), "0x")
	if digits == "" {
		*h = nil
		return nil
	}
	*h, err = hex.DecodeString(digits)
	return err
}

// array copies into a fixed size; shorter or longer input leaves zeros or is cut.
func array32(h hexBytes) (a [32]byte) { copy(a[:], h); return a }

func array4(h hexBytes) (a [4]byte) { copy(a[:], h); return a }

// line is what a helper may write: an answer (ID set) or an event (Kind set).
type line struct {
	ID     uint64          `json:"id"`
	Result json.RawMessage `json:"result"`
	Fault  string          `json:"error"` // of an answer; the same key is an event's reason

	Kind    string       `json:"event"`
	AtNS    int64        `json:"at_ns"`
	Peer    hexBytes     `json:"peer"`
	State   string       `json:"state"`
	Code    uint64       `json:"code"`
	Size    int          `json:"size"`
	Payload hexBytes     `json:"payload"`
	Hash    hexBytes     `json:"hash"`
	Batch   hexBytes     `json:"batch"`
	Topic   hexBytes     `json:"topic"`
	Refused []hexBytes   `json:"refused"`
	Message *messageLine `json:"message"`
	Mail    []mailedLine `json:"mail"`
	Listed  bool         `json:"listed"`
	Last    hexBytes     `json:"last"`
	Cursor  hexBytes     `json:"cursor"`
}

type mailedLine struct {
	Hash  hexBytes `json:"hash"`
	Topic hexBytes `json:"topic"`
	Sent  uint32   `json:"sent"`
	RLP   hexBytes `json:"rlp"`
}

type messageLine struct {
	Filter  string   `json:"filter"`
	Payload hexBytes `json:"payload"`
	Padding hexBytes `json:"padding"`
	Hash    hexBytes `json:"hash"`
	Topic   hexBytes `json:"topic"`
	Sig     hexBytes `json:"sig"`
	TTL     uint32   `json:"ttl"`
	PoW     float64  `json:"pow"`
	Sent    uint32   `json:"sent"`
}
