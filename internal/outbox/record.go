package outbox

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const version = 1 // raised when an older program must not read a record

// stored is a letter as it is written, its keys and payload included until it is done. Fields may be added; a program that
// does not know one passes over it.
type stored struct {
	Version int            `json:"version"`
	ID      string         `json:"id"`
	Topic   envelope.Topic `json:"topic"`
	Sym     string         `json:"sym,omitempty"` // hex
	To      string         `json:"to,omitempty"`
	Sign    string         `json:"sign,omitempty"` // hex
	Payload []byte         `json:"payload,omitempty"`
	TTL     int64          `json:"ttl"` // seconds
	PoW     float64        `json:"pow,omitempty"`
	Until   time.Time      `json:"until"`

	Size      int             `json:"size"`
	Digest    envelope.Hash   `json:"digest"`
	State     string          `json:"state"`
	Done      bool            `json:"done,omitempty"`
	Peers     int             `json:"peers,omitempty"`
	Holders   []storedHolder  `json:"holders,omitempty"`
	HeldSince time.Time       `json:"heldSince,omitzero"`
	Attempts  []storedAttempt `json:"attempts,omitempty"`
	Envelope  []byte          `json:"envelope,omitempty"` // of the last attempt
	Err       string          `json:"error,omitempty"`
	Created   time.Time       `json:"created"`
	Changed   time.Time       `json:"changed"`
}

type storedHolder struct {
	Server    string    `json:"server"`
	Until     time.Time `json:"until,omitzero"`
	Confirmed time.Time `json:"confirmed"`
	Told      bool      `json:"told,omitempty"`
}

type storedAttempt struct {
	Hash    envelope.Hash `json:"hash"`
	Posted  time.Time     `json:"posted,omitzero"`
	Expires time.Time     `json:"expires"`
}

// digest identifies what a letter says and to whom, without revealing a key.
func (l *Letter) digest() envelope.Hash {
	b := slices.Clone(l.Topic[:])
	if l.Sym != nil {
		id := l.Sym.ID()
		b = append(append(b, 's'), id[:]...)
	}
	if l.To != nil {
		b = append(append(b, 't'), l.To[:]...)
	}
	if l.Sign != nil {
		public := l.Sign.Public()
		b = append(append(b, 'w'), public[:]...)
	}
	return envelope.Keccak256(append(append(b, 'p'), l.Payload...))
}

func (l *letter) record() []byte {
	s := stored{
		Version: version, ID: l.ID, Topic: l.Topic, Payload: l.Payload, TTL: int64(l.TTL / time.Second), PoW: l.PoW, Until: l.Until,
		Size: l.Size, Digest: l.digestOf, State: l.State.String(), Done: l.Done, Peers: l.Peers, HeldSince: l.heldSince,
		Err: l.Err, Created: l.Created, Changed: l.Changed,
	}
	if l.Sym != nil {
		s.Sym = hex.EncodeToString(l.Sym.Bytes())
	}
	if l.To != nil {
		s.To = l.To.String()
	}
	if l.Sign != nil {
		s.Sign = hex.EncodeToString(l.Sign.Bytes())
	}
	for _, h := range l.Holders {
		s.Holders = append(s.Holders, storedHolder{Server: h.Server.String(), Until: h.Until, Confirmed: h.Confirmed, Told: h.How == HowTold})
	}
	for _, a := range l.Attempts {
		s.Attempts = append(s.Attempts, storedAttempt(a))
	}
	if l.env != nil {
		s.Envelope = l.env.Raw()
	}
	data, _ := json.Marshal(s) // cannot fail: times and numbers were checked when they came in
	return data
}

const recordOp = "outbox: load"

func parseRecord(data []byte) (*letter, error) {
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, unreadable(err)
	}
	if s.Version > version {
		return nil, fault.E(recordOp, fault.Invalid, nil, "a letter was written by a newer version and was left out until you update")
	}
	l, err := s.letter()
	if err != nil || s.Version < 1 {
		return nil, unreadable(err)
	}
	return l, nil
}

func unreadable(cause error) error {
	return fault.E(recordOp, fault.Corrupt, cause, "the record of a letter is damaged and was left out: look whether it arrived, or send it again")
}

var errBounds = errors.New("a value is out of its bounds")

// letter is the stored letter, or what about it cannot be.
func (s *stored) letter() (*letter, error) {
	state := slices.Index(stateNames[:], s.State)
	l := &letter{digestOf: s.Digest, heldSince: s.HeldSince}
	l.Entry = Entry{
		Letter: Letter{
			ID: s.ID, Topic: s.Topic, Payload: s.Payload, TTL: time.Duration(s.TTL) * time.Second, PoW: s.PoW, Until: s.Until.UTC(),
		},
		Size: s.Size, State: State(max(state, 0)), Done: s.Done, Peers: min(max(s.Peers, 0), maxPeers),
		Err: s.Err, Created: s.Created.UTC(), Changed: s.Changed.UTC(),
	}
	if state < 0 || l.State == StateHeld && len(s.Holders) == 0 || s.Size < 0 || s.Size > MaxPayload ||
		len(s.Holders) > MaxHolders || len(s.Attempts) > MaxAttempts ||
		s.TTL < 1 || s.TTL > int64(MaxTTL/time.Second) || s.PoW < 0 || s.PoW > MaxPoW || s.ID == "" || len(s.ID) > MaxID {
		return nil, errBounds
	}
	if err := s.keys(&l.Letter); err != nil {
		return nil, err
	}
	for _, h := range s.Holders {
		id, err := hex.DecodeString(h.Server)
		if err != nil || len(id) != len(nodeaddr.ID{}) {
			return nil, errBounds
		}
		how := HowSeen
		if h.Told {
			how = HowTold
		}
		l.Holders = append(l.Holders, Holder{Server: nodeaddr.ID(id), Until: h.Until.UTC(), Confirmed: h.Confirmed.UTC(), How: how})
	}
	for _, a := range s.Attempts {
		l.Attempts = append(l.Attempts, Attempt{Hash: a.Hash, Posted: a.Posted.UTC(), Expires: a.Expires.UTC()})
	}
	if n := len(l.Attempts); len(s.Envelope) > 0 && n > 0 {
		if env, err := envelope.Decode(s.Envelope); err == nil && env.Hash() == l.Attempts[n-1].Hash {
			l.env = env // otherwise it is sealed anew
		}
	}
	return l, nil
}

// keys reads the keys. A letter that is done needs none.
func (s *stored) keys(l *Letter) error {
	if s.To != "" {
		l.To = new(message.PublicKey)
		if err := l.To.UnmarshalText([]byte(s.To)); err != nil {
			return err
		}
	}
	if s.Done {
		return nil
	}
	if s.Size != len(s.Payload) || (s.Sym == "") == (s.To == "") {
		return errBounds
	}
	if s.Sym != "" {
		b, err := hex.DecodeString(s.Sym)
		if err != nil {
			return err
		}
		k, err := message.NewSymKey(b)
		if err != nil {
			return err
		}
		l.Sym = &k
	}
	if s.Sign != "" {
		b, err := hex.DecodeString(s.Sign)
		if err != nil {
			return err
		}
		if l.Sign, err = message.ParsePrivateKey(b); err != nil {
			return err
		}
	}
	return nil
}
