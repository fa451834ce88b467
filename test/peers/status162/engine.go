package main

import (
	"errors"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/test/peers/driver"
	"github.com/status-im/whisper/whisperv6"
)

// engine is the driver's view of Status' Whisper.
type engine struct {
	*whisperv6.Whisper
	emit func(driver.Event)
}

func newEngine(o driver.Options) (driver.Engine, error) {
	if o.MailDir != "" {
		return nil, errors.New("this module has no mail server")
	}
	c := whisperv6.DefaultConfig
	c.MinimumAcceptedPOW = o.MinPoW
	c.DisableConfirmations = !o.Confirmations
	if o.MaxSize != 0 {
		c.MaxMessageSize = o.MaxSize
	}
	e := &engine{Whisper: whisperv6.New(&c), emit: o.Emit}
	e.SetTimeSource(func() time.Time { return time.Now().Add(o.ClockOffset) })
	e.RegisterServer(e)
	return e, nil
}

// report passes on the events that whisper sends to its own callers. It must keep up: whisper waits for it.
func (e *engine) report(events <-chan whisperv6.EnvelopeEvent) {
	for v := range events {
		d := driver.Event{Kind: "envelope", State: string(v.Event), Peer: v.Peer[:]}
		if v.Hash != (common.Hash{}) {
			d.Hash = v.Hash[:]
		}
		if v.Batch != (common.Hash{}) {
			d.Batch = v.Batch[:]
		}
		switch data := v.Data.(type) {
		case []whisperv6.EnvelopeError:
			for _, f := range data {
				d.Refused = append(d.Refused, f.Hash[:])
			}
		case *whisperv6.MailServerResponse:
			d.Last, d.Cursor = data.LastEnvelopeHash[:], data.Cursor
			if data.Error != nil {
				d.Error = data.Error.Error()
			}
		case whisperv6.SyncEventResponse:
			d.Cursor, d.Error = data.Cursor, data.Error
		}
		e.emit(d)
	}
}

// Archive is called by whisper once for each envelope that it pools, and for each of the answer to a sync request.
func (e *engine) Archive(env *whisperv6.Envelope) {
	h := env.Hash()
	e.emit(driver.Event{Kind: "pooled", Hash: h[:], Topic: env.Topic[:]})
}

// DeliverMail is called by whisper for packet 126.
func (e *engine) DeliverMail(peer *whisperv6.Peer, request *whisperv6.Envelope) {
	raw, _ := rlp.EncodeToBytes(request)
	h := request.Hash()
	e.emit(driver.Event{Kind: "request", Peer: peer.ID(), Payload: raw, Hash: h[:]})
}

// Deliver is called by whisper for the plain form of packet 126.
func (e *engine) Deliver(peer *whisperv6.Peer, request whisperv6.MessagesRequest) {
	raw, _ := rlp.EncodeToBytes(&request)
	e.emit(driver.Event{Kind: "request", Peer: peer.ID(), Payload: raw})
}

// SyncMail is called by whisper for packet 123.
func (e *engine) SyncMail(*whisperv6.Peer, whisperv6.SyncMailRequest) error {
	return errors.New("no archive here")
}

func (e *engine) Run() error {
	events := make(chan whisperv6.EnvelopeEvent, 1024)
	e.SubscribeEnvelopeEvents(events)
	go e.report(events)
	return e.Start(nil)
}

func (e *engine) Seal(d driver.Draft) ([]byte, common.Hash, error) {
	sign, to, err := d.Keys()
	if err != nil {
		return nil, common.Hash{}, err
	}
	p := &whisperv6.MessageParams{
		TTL: d.TTL, Src: sign, Dst: to, KeySym: d.SymKey, Topic: whisperv6.BytesToTopic(d.Topic),
		WorkTime: d.PoWTime, PoW: d.PoWTarget, Payload: d.Payload, Padding: d.Padding,
	}
	m, err := whisperv6.NewSentMessage(p)
	if err != nil {
		return nil, common.Hash{}, err
	}
	env, err := m.Wrap(p, e.GetCurrentTime())
	if err != nil {
		return nil, common.Hash{}, err
	}
	raw, err := rlp.EncodeToBytes(env)
	return raw, env.Hash(), err
}

func decode(raw []byte) (*whisperv6.Envelope, error) {
	env := new(whisperv6.Envelope)
	return env, rlp.DecodeBytes(raw, env)
}

func (e *engine) SendRaw(raw []byte) (common.Hash, error) {
	env, err := decode(raw)
	if err != nil {
		return common.Hash{}, err
	}
	return env.Hash(), e.Send(env)
}

func (e *engine) SendDirect(id, raw []byte) error {
	env, err := decode(raw)
	if err != nil {
		return err
	}
	return e.SendP2PMessage(id, env)
}

func (e *engine) Request(id, raw []byte) error {
	env, err := decode(raw)
	if err != nil {
		return err
	}
	return e.RequestHistoricMessages(id, env)
}

// RequestPlain sends the form of packet 126 that is no envelope.
func (e *engine) RequestPlain(id []byte, p driver.Plain) error {
	return e.SendMessagesRequest(id, whisperv6.MessagesRequest(p))
}

// RequestSync sends packet 123. What comes back is archived, if the peer is trusted.
func (e *engine) RequestSync(id []byte, s driver.Sync) error {
	return e.SyncMessages(id, whisperv6.SyncMailRequest{Lower: s.Lower, Upper: s.Upper, Bloom: s.Bloom, Limit: s.Limit, Cursor: s.Cursor})
}

func (e *engine) TopicBloom(topic []byte) []byte {
	return whisperv6.TopicToBloom(whisperv6.BytesToTopic(topic))
}

func (e *engine) Subscribed(s driver.FilterSpec) (string, error) {
	open, signer, err := s.Keys()
	if err != nil {
		return "", err
	}
	return e.Subscribe(&whisperv6.Filter{
		Src: signer, KeyAsym: open, KeySym: s.SymKey, Topics: s.TopicBytes(), PoW: s.MinPoW, AllowP2P: s.AllowP2P,
		Messages: e.NewMessageStore(),
	})
}

func (e *engine) Retrieve(id string) []driver.Message {
	f := e.GetFilter(id)
	if f == nil {
		return nil
	}
	var out []driver.Message
	for _, m := range f.Retrieve() {
		d := driver.Message{
			Payload: m.Payload, Padding: m.Padding, Hash: m.EnvelopeHash[:], Topic: m.Topic[:],
			TTL: m.TTL, PoW: m.PoW, Sent: m.Sent,
		}
		if m.Src != nil {
			d.Sig = crypto.FromECDSAPub(m.Src)
		}
		out = append(out, d)
	}
	return out
}

func (e *engine) Pool() []common.Hash {
	all := e.Envelopes()
	out := make([]common.Hash, len(all))
	for i, env := range all {
		out[i] = env.Hash()
	}
	return out
}
