package rpc

import (
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/health"
)

// Names of types and fields below show in error texts that programs may know:
// "json: cannot unmarshal string into Go struct field NewMessage.ttl of type uint32".

// Topic is a topic in its JSON form, hex of exactly four bytes.
type Topic envelope.Topic

// UnmarshalText reads 0x and 8 hex digits.
func (t *Topic) UnmarshalText(text []byte) error {
	return hexutil.UnmarshalFixedText("Topic", text, t[:])
}

// MarshalText writes 0x and 8 hex digits.
func (t Topic) MarshalText() ([]byte, error) { return hexutil.Bytes(t[:]).MarshalText() }

// NewMessage is the argument of shh_post.
type NewMessage struct {
	SymKeyID   string        `json:"symKeyID,omitempty"`
	PublicKey  hexutil.Bytes `json:"pubKey,omitempty"`
	Sig        string        `json:"sig,omitempty"` // id of the key pair that signs
	TTL        uint32        `json:"ttl"`           // seconds; 0 means DefaultTTL
	Topic      Topic         `json:"topic"`
	Payload    hexutil.Bytes `json:"payload"`
	Padding    hexutil.Bytes `json:"padding,omitempty"` // empty: generated
	PowTime    uint32        `json:"powTime"`           // seconds
	PowTarget  float64       `json:"powTarget"`
	TargetPeer string        `json:"targetPeer,omitempty"` // enode URL: send to this peer only
}

// Criteria is the argument of shh_newMessageFilter and of shh_subscribe "messages".
type Criteria struct {
	SymKeyID     string        `json:"symKeyID,omitempty"`
	PrivateKeyID string        `json:"privateKeyID,omitempty"`
	Sig          hexutil.Bytes `json:"sig,omitempty"` // public key of the wanted signer
	MinPow       float64       `json:"minPow"`
	Topics       []Topic       `json:"topics,omitempty"` // empty: any
	AllowP2P     bool          `json:"allowP2P"`
}

// Message is a received message.
type Message struct {
	Sig       hexutil.Bytes `json:"sig,omitempty"` // public key of the signer
	TTL       uint32        `json:"ttl"`
	Timestamp uint32        `json:"timestamp"` // Unix seconds, the sender's claim
	Topic     Topic         `json:"topic"`
	Payload   hexutil.Bytes `json:"payload"`
	Padding   hexutil.Bytes `json:"padding"`
	PoW       float64       `json:"pow"`
	Hash      hexutil.Bytes `json:"hash"`                         // of the envelope
	Dst       hexutil.Bytes `json:"recipientPublicKey,omitempty"` // asymmetric messages only
}

func newMessage(m *filter.Message) *Message {
	out := &Message{
		TTL: m.TTL, Timestamp: m.Sent, Topic: Topic(m.Topic), PoW: m.PoW,
		Payload: m.Opened.Payload, Padding: m.Opened.Padding, Hash: m.Hash[:],
	}
	if m.Opened.Signed {
		out.Sig = m.Opened.Signer[:]
	}
	if m.Recipient != nil {
		out.Dst = m.Recipient[:]
	}
	return out
}

// Info is the result of shh_info.
type Info struct {
	Memory         int64   `json:"memory"`   // bytes of pooled envelopes
	Messages       int     `json:"messages"` // opened messages that wait to be fetched
	MinPow         float64 `json:"minPow"`
	MaxMessageSize int     `json:"maxMessageSize"`
}

// Status is the result of node_status.
type Status struct {
	Version        string    `json:"version"`
	ID             string    `json:"id"`
	Enode          string    `json:"enode"`
	Record         string    `json:"record,omitempty"` // ENR
	Listen         string    `json:"listen,omitempty"` // address and port; empty: takes no connections
	DataDir        string    `json:"dataDir"`
	Started        time.Time `json:"started"`
	Dialects       []string  `json:"dialects"`
	PeersConnected int       `json:"peersConnected"`
	PeersMax       int       `json:"peersMax"`
	MinPoW         float64   `json:"minPow"`
	MaxMessageSize int       `json:"maxMessageSize"`
	FullNode       bool      `json:"fullNode"`              // wants every topic
	ClockOffset    *float64  `json:"clockOffset,omitempty"` // seconds that peers' clocks are ahead of ours; absent: unknown
	Pool           Pool      `json:"pool"`
	Filters        Filters   `json:"filters"`
	Mail           *Mail     `json:"mail,omitempty"` // absent: the node is no mail server
	// Counters are the figures of /metrics worth showing to people, by name.
	Counters map[string]float64 `json:"counters,omitempty"`
	Health   []Condition        `json:"health"`
}

// Mail says how a mail server is doing.
type Mail struct {
	MembersOnly bool      `json:"membersOnly"`
	Envelopes   uint64    `json:"envelopes"` // in the archive
	Disk        int64     `json:"disk"`      // bytes of the archive, all included
	Cap         int64     `json:"cap"`       // of Disk; 0: none
	Oldest      time.Time `json:"oldest,omitzero"`
	Open        int       `json:"open"`     // requests now
	Answered    uint64    `json:"answered"` // requests since the start
	Sent        uint64    `json:"sent"`     // envelopes handed out since the start
	Closing     time.Time `json:"closing,omitzero"`
}

// Reachability is the result of node_reachable.
type Reachability struct {
	Outcome string  `json:"outcome"` // reachable, unreachable or someone else
	Text    string  `json:"text"`    // for people
	Enode   string  `json:"enode"`   // what was tried
	Seconds float64 `json:"seconds"` // how long it took
}

// Pool counts the live envelopes that the node holds.
type Pool struct {
	Envelopes int   `json:"envelopes"`
	Bytes     int64 `json:"bytes"`
}

// Filters counts filters, subscriptions and what waits for them.
type Filters struct {
	Filters       int    `json:"filters"`
	Subscriptions int    `json:"subscriptions"`
	Waiting       int    `json:"waiting"`
	WaitingBytes  int64  `json:"waitingBytes"`
	Delivered     uint64 `json:"delivered"`
	Dropped       uint64 `json:"dropped"` // messages lost because nobody fetched them
	Expired       uint64 `json:"expired"` // filters forgotten because nobody polled them
}

// Peer is an element of node_peers' result.
type Peer struct {
	ID           string     `json:"id"`
	Enode        string     `json:"enode,omitempty"` // as far as known
	Name         string     `json:"name,omitempty"`  // what the peer calls itself
	Address      string     `json:"address,omitempty"`
	Connected    bool       `json:"connected"`
	Since        *time.Time `json:"since,omitempty"` // connected since
	Inbound      bool       `json:"inbound"`
	Static       bool       `json:"static"`
	Trusted      bool       `json:"trusted"`
	Dialects     []string   `json:"dialects,omitempty"`
	MinPoW       float64    `json:"minPow"`
	FullNode     bool       `json:"fullNode"`
	EnvelopesIn  uint64     `json:"envelopesIn"`
	EnvelopesOut uint64     `json:"envelopesOut"`
	BytesIn      uint64     `json:"bytesIn"`
	BytesOut     uint64     `json:"bytesOut"`
	Problem      string     `json:"problem,omitempty"` // why a static peer is not connected
}

// Condition is an element of node_health's result.
type Condition struct {
	Code     string    `json:"code"`
	Severity string    `json:"severity"` // info, warning or critical
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
}

func conditions(list []health.Condition) []Condition {
	out := make([]Condition, 0, len(list))
	for _, c := range list {
		out = append(out, Condition{Code: c.Code, Severity: c.Severity.String(), Text: c.Text, Since: c.Since})
	}
	return out
}
