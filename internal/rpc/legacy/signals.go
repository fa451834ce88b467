package legacy

import (
	"context"
	"encoding/hex"
	"sync"

	"github.com/ethereum/go-ethereum/common/hexutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/restante-im/restante/internal/envelope"
)

// Signal tells programs what happened. Event is a Completed or an Expired.
type Signal struct {
	Type  string `json:"type"`
	Event any    `json:"event"`
}

// The types of signals.
const (
	RequestCompleted = "mailserver.request.completed"
	RequestExpired   = "mailserver.request.expired"
)

// Completed says that the mail server has ended its answer, or refused.
type Completed struct {
	RequestID        hexutil.Bytes `json:"requestID"`
	LastEnvelopeHash hexutil.Bytes `json:"lastEnvelopeHash"` // zero if none came
	Cursor           string        `json:"cursor"`           // hex without 0x; "" when this was all
	ErrorMessage     string        `json:"errorMessage"`     // "" when it went well
}

// Expired says that no answer came.
type Expired struct {
	IDs     []string      `json:"ids"`  // null
	Hash    hexutil.Bytes `json:"hash"` // of the request
	Message string        `json:"message"`
}

func completed(id, last envelope.Hash, cursor []byte, problem string) Signal {
	return Signal{RequestCompleted, Completed{
		RequestID: id[:], LastEnvelopeHash: last[:], Cursor: hex.EncodeToString(cursor), ErrorMessage: problem,
	}}
}

func expired(id envelope.Hash, why string) Signal {
	return Signal{RequestExpired, Expired{Hash: id[:], Message: why}}
}

// Signals is the subscription "signals": every signal is pushed as it comes.
func (a *API) Signals(ctx context.Context) (*gethrpc.Subscription, error) {
	if a.opt.Requests == nil {
		return nil, errNowhere
	}
	notifier, ok := gethrpc.NotifierFromContext(ctx)
	if !ok {
		return nil, gethrpc.ErrNotificationsUnsupported
	}
	sub := notifier.CreateSubscription()
	source := a.signals.join()
	go func() {
		defer a.signals.leave(source)
		for {
			select {
			case <-sub.Err():
				return
			case s := <-source:
				if notifier.Notify(sub.ID, s) != nil {
					return
				}
			}
		}
	}()
	return sub, nil
}

// hub passes signals to who listens.
type hub struct {
	mu        sync.Mutex
	listeners map[chan Signal]struct{}
}

func (h *hub) join() chan Signal {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan Signal, MaxSignals)
	if h.listeners == nil {
		h.listeners = map[chan Signal]struct{}{}
	}
	h.listeners[c] = struct{}{}
	return c
}

func (h *hub) leave(c chan Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, c)
}

func (h *hub) send(s Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.listeners {
		select {
		case c <- s:
		default: // it does not keep up
		}
	}
}
