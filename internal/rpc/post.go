package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Post seals a message, does its proof of work and sends it; it returns the
// envelope's hash. Everything that can be refused without the work is refused
// before it: geth works first and then refuses a target below the node's minimum
// or a peer that is not there, with the same texts.
func (a *shhAPI) Post(ctx context.Context, req NewMessage) (hexutil.Bytes, error) {
	ctx, cancel := a.bind(ctx)
	defer cancel()
	p, err := a.plan(&req)
	if err != nil {
		return nil, err
	}
	data, err := p.seal(&req)
	if err != nil {
		return nil, public(err)
	}
	if size, limit := len(data)+envelope.Overhead, a.gossip.Settings().MaxMessageSize; size > limit {
		return nil, fmt.Errorf("envelope of %d bytes is larger than %d", size, limit)
	}
	env, err := a.work.mine(ctx, a.gossip.Now, &req, data)
	if err != nil {
		return nil, err
	}
	if p.direct {
		if err := a.gossip.PostDirect(ctx, p.peer, env); err != nil {
			return nil, peerError(p.peer, err)
		}
	} else if err := a.gossip.Post(ctx, env); err != nil {
		return nil, public(err)
	}
	hash := env.Hash()
	return hash[:], nil
}

// plan is a post whose arguments were checked.
type plan struct {
	sign   *message.PrivateKey // nil: unsigned
	sym    *message.SymKey     // or
	to     message.PublicKey
	direct bool
	peer   nodeaddr.ID // if direct
}

// plan checks the arguments in the documented order.
func (a *shhAPI) plan(req *NewMessage) (*plan, error) {
	p := new(plan)
	var err error
	if (req.SymKeyID == "") == (len(req.PublicKey) == 0) {
		return nil, errSymAsym
	}
	if req.Sig != "" {
		if p.sign, err = a.keys.Pair(req.Sig); err != nil {
			return nil, errBadID
		}
	}
	if req.SymKeyID != "" {
		if req.Topic == (Topic{}) {
			return nil, errNoTopics
		}
		k, err := a.keys.Sym(req.SymKeyID)
		if err != nil {
			return nil, errNoSymKey
		}
		p.sym = &k
	} else if p.to, err = message.ParsePublicKey(req.PublicKey); err != nil {
		return nil, errBadPublicKey
	}
	if limit := uint32(MaxPoWTime / time.Second); req.PowTime > limit {
		return nil, fmt.Errorf("a powTime of %d seconds is more than the %d that are allowed", req.PowTime, limit)
	}
	if p.direct = req.TargetPeer != ""; p.direct {
		if p.peer, err = parsePeer(req.TargetPeer); err != nil {
			return nil, fmt.Errorf("failed to parse target peer: %w", err)
		}
		if !a.gossip.Connected(p.peer) {
			return nil, errNoPeer(p.peer)
		}
	} else if req.PowTarget < a.gossip.Settings().MinPoW {
		return nil, errLowPoW
	}
	if req.TTL == 0 {
		req.TTL = DefaultTTL
	}
	return p, nil
}

func (p *plan) seal(req *NewMessage) ([]byte, error) {
	plain := message.Plain{Payload: req.Payload, Sign: p.sign}
	if len(req.Padding) > 0 {
		plain.Padding = req.Padding
	}
	if p.sym != nil {
		return message.SealSymmetric(*p.sym, plain, nil)
	}
	return message.SealAsymmetric(p.to, plain, nil)
}

// workshop does proofs of work, a few at a time.
type workshop struct {
	slots   chan struct{}
	waiting atomic.Int32
	cores   int
}

func newWorkshop(cores int) *workshop {
	return &workshop{slots: make(chan struct{}, MaxMining), cores: cores}
}

// mine waits for its turn, stamps the envelope and works until the target, the
// time limit, the envelope's death or the end of ctx.
func (w *workshop) mine(ctx context.Context, now func() time.Time, req *NewMessage, data []byte) (*envelope.Envelope, error) {
	draft := func() envelope.Draft {
		return envelope.Draft{
			Expiry: uint32(now().Unix()) + req.TTL, TTL: req.TTL,
			Topic: envelope.Topic(req.Topic), Data: data,
		}
	}
	if req.PowTarget <= 0 { // below 0 geth works all the time for what it then refuses
		env, err := envelope.Seal(ctx, draft(), 0, 1)
		return env, public(err)
	}
	if req.PowTime == 0 {
		return nil, errNoWork(0)
	}
	if err := w.enter(ctx); err != nil {
		return nil, err
	}
	defer w.leave()
	limit := time.Duration(min(req.PowTime, req.TTL)) * time.Second
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	env, err := envelope.Seal(timed, draft(), req.PowTarget, w.cores)
	switch {
	case err == nil:
		return env, nil
	case ctx.Err() != nil:
		return nil, errGone
	case errors.Is(err, context.DeadlineExceeded) && req.TTL < req.PowTime:
		return nil, fmt.Errorf("the message would expire (ttl %d seconds) before its proof of work is done: raise ttl or lower powTarget", req.TTL)
	default:
		return nil, errNoWork(req.PowTime)
	}
}

var (
	errGone   = errors.New("the proof of work was given up: the connection or the node is closing")
	errQueued = fmt.Errorf("%d messages wait for their proof of work already: try again later", MaxMiningQueue)
)

func (w *workshop) enter(ctx context.Context) error {
	if w.waiting.Add(1) > MaxMiningQueue+MaxMining {
		w.waiting.Add(-1)
		return errQueued
	}
	select {
	case w.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		w.waiting.Add(-1)
		return errGone
	}
}

func (w *workshop) leave() {
	<-w.slots
	w.waiting.Add(-1)
}
