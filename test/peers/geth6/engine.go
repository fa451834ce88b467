package main

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	gethnode "github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/whisper/mailserver"
	"github.com/ethereum/go-ethereum/whisper/whisperv6"
	"github.com/restante-im/restante/test/peers/driver"
)

// engine is the driver's view of go-ethereum's Whisper.
type engine struct {
	*whisperv6.Whisper
	mail *mailserver.WMailServer // nil: not a mail server
	emit func(driver.Event)
}

// newWhisper makes a node's Whisper without keeping go-ethereum's node around it.
func newWhisper(minPoW float64, maxSize uint32) (*whisperv6.Whisper, error) {
	if maxSize == 0 {
		maxSize = whisperv6.DefaultMaxMessageSize
	}
	stack, err := gethnode.New(&gethnode.Config{NoUSB: true})
	if err != nil {
		return nil, err
	}
	defer stack.Close()
	return whisperv6.New(stack, &whisperv6.Config{
		MaxMessageSize:                        maxSize,
		MinimumAcceptedPOW:                    minPoW,
		RestrictConnectionBetweenLightClients: true,
	})
}

func newEngine(o driver.Options) (driver.Engine, error) {
	if o.ClockOffset != 0 {
		return nil, fmt.Errorf("go-ethereum's Whisper has no settable clock")
	}
	w, err := newWhisper(o.MinPoW, o.MaxSize)
	if err != nil {
		return nil, err
	}
	e := &engine{Whisper: w, emit: o.Emit}
	if o.MailDir != "" {
		if e.mail, err = newMailServer(w, o.MailDir, o.MailPassword); err != nil {
			return nil, err
		}
	}
	w.RegisterServer(e)
	return e, nil
}

// newMailServer opens go-ethereum's mail server on a LevelDB archive.
func newMailServer(w *whisperv6.Whisper, dir, password string) (*mailserver.WMailServer, error) {
	m := new(mailserver.WMailServer)
	return m, m.Init(w, dir, password, 0)
}

// Archive is called by whisper once for each envelope that it pools.
func (e *engine) Archive(env *whisperv6.Envelope) {
	h := env.Hash()
	if e.mail != nil {
		e.mail.Archive(env)
	}
	e.emit(driver.Event{Kind: "pooled", Hash: h[:], Topic: env.Topic[:]})
}

// DeliverMail is called by whisper for packet 126.
func (e *engine) DeliverMail(peer *whisperv6.Peer, request *whisperv6.Envelope) {
	raw, _ := rlp.EncodeToBytes(request)
	h := request.Hash()
	e.emit(driver.Event{Kind: "request", Peer: peer.ID(), Payload: raw, Hash: h[:]})
	if e.mail != nil {
		e.mail.DeliverMail(peer, request)
	}
}

func (e *engine) Run() error { return e.Start() }

func (e *engine) TopicBloom(topic []byte) []byte { return topicBloom(topic) }

func topicBloom(topic []byte) []byte { return whisperv6.TopicToBloom(whisperv6.BytesToTopic(topic)) }

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
	env, err := m.Wrap(p)
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

func (e *engine) Subscribed(s driver.FilterSpec) (string, error) {
	open, signer, err := s.Keys()
	if err != nil {
		return "", err
	}
	return e.Subscribe(&whisperv6.Filter{
		Src: signer, KeyAsym: open, KeySym: s.SymKey, Topics: s.TopicBytes(), PoW: s.MinPoW, AllowP2P: s.AllowP2P,
		Messages: map[common.Hash]*whisperv6.ReceivedMessage{},
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
