package wire

import (
	"strconv"

	"github.com/restante-im/restante/internal/envelope"
)

// Codes is the number of packet codes of every dialect: 0 to 127.
const Codes = 128

// Packet codes. Codes that a dialect's row below does not list are ignored.
const (
	codeHello        = 0   // the first packet of each side; see handshake.go (positions) and options.go (keys)
	codeEnvelopes    = 1   // [envelope, ...], also for a single one
	codePoW          = 2   // u64: the bits of a float64
	codeBloom        = 3   // 64 bytes
	codeAcknowledged = 11  // 32 bytes: digest of an envelopes packet
	codeReport       = 12  // [1, [digest, [[envelope hash, u64 code, text], ...]]]
	codeLimits       = 20  // [u64 per address, u64 per peer, u64 per topic]
	codeOptions      = 22  // [[key, value], ...]: what changed
	codeSyncRequest  = 123 // mail servers: docs/protocol/gossip.md
	codeSyncResponse = 124
	codeComplete     = 125 // one byte string
	codeRequest      = 126
	codeDirect       = 127 // [envelope, ...], or a bare envelope
)

// Caps on what a peer can send us, and on what we send. The length of a packet is the caller's to choose: Decode's max.
const (
	MaxHello      = envelope.MaxSizeDefault // bytes of a first packet
	MaxControl    = 1 << 20                 // bytes of a packet that carries no envelopes, whatever the limit
	MaxTopics     = 10_000                  // topics of a topic list
	MaxEnvelopes  = 1 << 16                 // envelopes in a packet; honest ones have over 100 bytes each
	MaxReport     = 512 << 10               // bytes of a report that we send
	MaxReportText = 256                     // bytes of one refusal's text, sent or received
)

// What peers take when we refuse an envelope: the number that they expect for a wrong clock. Real nodes send it for every
// kind of refusal, the other numbers never.
const (
	refusedShh  = 36
	refusedWaku = 21
)

// defaultPoWWaku is what waku/1 assumes of a peer that names no requirement.
const defaultPoWWaku = 0.001

// Dialect is one wire protocol of the gossip. It is immutable; compare dialects by pointer.
type Dialect struct {
	name       string
	version    uint
	defaultPoW float64 // requirement of a peer that names none
	refused    uint64  // code of a refusal in a report
	bareDirect bool    // one direct envelope travels without a list around it
	keyed      bool    // the hello and updates are keyed options, otherwise positions and a packet each
	packets    [Codes]rule
}

// positionConfirms is the place, from 1, of the item of a positional hello that announces confirmations.
const positionConfirms = 5

// rule says how a packet code is read. The zero rule ignores the code.
type rule struct {
	name   string
	decode func(d *Dialect, payload []byte) (Packet, error)
	bulk   bool // carries envelopes, so that MaxControl does not hold
	trust  bool // of peers that we did not ask for it, the packet is ignored unread
}

// The dialects, one row each. Callers get pointers to immutable values.
var (
	shh6 = &Dialect{
		name: "shh", version: 6, refused: refusedShh, bareDirect: true,
		packets: [Codes]rule{
			codeHello:        {name: "late status"},
			codeEnvelopes:    {name: "envelopes", decode: decodeEnvelopes, bulk: true},
			codePoW:          {name: "PoW requirement", decode: decodePoW},
			codeBloom:        {name: "bloom filter", decode: decodeBloom},
			codeAcknowledged: {name: "batch acknowledged", decode: decodeAcknowledged},
			codeReport:       {name: "message response", decode: decodeReport},
			codeLimits:       {name: "rate limits", decode: decodeLimits},
			codeSyncRequest:  {name: "sync request", decode: decodeSyncRequest},
			codeSyncResponse: {name: "sync response", decode: decodeSyncResponse, bulk: true, trust: true},
			codeComplete:     {name: "request complete", decode: decodeComplete, trust: true},
			codeRequest:      {name: "mail request", decode: decodeRequest, bulk: true},
			codeDirect:       {name: "direct envelopes", decode: decodeDirect, bulk: true, trust: true},
		},
	}
	waku1 = &Dialect{
		name: "waku", version: 1, refused: refusedWaku, keyed: true, defaultPoW: defaultPoWWaku,
		packets: [Codes]rule{
			codeHello:        {name: "late status"},
			codeEnvelopes:    {name: "envelopes", decode: decodeEnvelopes, bulk: true},
			codeAcknowledged: {name: "batch acknowledged", decode: decodeAcknowledged},
			codeReport:       {name: "message response", decode: decodeReport},
			codeOptions:      {name: "status update", decode: decodeUpdate},
			codeComplete:     {name: "request complete", decode: decodeComplete, trust: true},
			codeRequest:      {name: "mail request", decode: decodeRequest, bulk: true},
			codeDirect:       {name: "direct envelopes", decode: decodeDirect, bulk: true, trust: true},
		},
	}
)

// Dialects returns all dialects, the most widely spoken first. The slice is the caller's.
func Dialects() []*Dialect { return []*Dialect{shh6, waku1} }

// Lookup finds a dialect by its String.
func Lookup(s string) (*Dialect, bool) {
	for _, d := range Dialects() {
		if d.String() == s {
			return d, true
		}
	}
	return nil, false
}

// Name is the capability's name in devp2p.
func (d *Dialect) Name() string { return d.name }

// Version is the capability's version in devp2p.
func (d *Dialect) Version() uint { return d.version }

// Codes is the number of packet codes that the capability takes up.
func (d *Dialect) Codes() uint64 { return Codes }

// String is name/version, as in "shh/6".
func (d *Dialect) String() string { return d.name + "/" + strconv.Itoa(int(d.version)) }

// NeedsTrust reports whether packets with this code count only from a peer that we trust, such as a mail server that we
// asked. From others drop them without Decode: real nodes ignore them unread, even when malformed.
func (d *Dialect) NeedsTrust(code uint64) bool { return code < Codes && d.packets[code].trust }
