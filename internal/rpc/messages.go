package rpc

import (
	"context"

	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/message"
)

// NewMessageFilter installs a filter and returns its id.
func (a *shhAPI) NewMessageFilter(req Criteria) (string, error) {
	c, err := a.criteria(&req, false)
	if err != nil {
		return "", err
	}
	id, err := a.filters.Add(c)
	return id, public(err)
}

// GetFilterMessages returns the messages since the last call.
func (a *shhAPI) GetFilterMessages(id string) ([]*Message, error) {
	list, err := a.filters.Poll(id)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, errNoFilter
		}
		return nil, public(err)
	}
	out := make([]*Message, 0, len(list)) // an empty array, never null
	for i := range list {
		out = append(out, newMessage(&list[i]))
	}
	return out, nil
}

// DeleteMessageFilter removes a filter.
func (a *shhAPI) DeleteMessageFilter(id string) (bool, error) {
	if err := a.filters.Remove(id); err != nil {
		return false, errNoUnsubscribe
	}
	return true, nil
}

// Messages is the subscription "messages": each message is pushed as it comes. A
// reader that does not keep up loses the oldest ones.
func (a *shhAPI) Messages(ctx context.Context, crit Criteria) (*gethrpc.Subscription, error) {
	notifier, ok := gethrpc.NotifierFromContext(ctx)
	if !ok {
		return nil, gethrpc.ErrNotificationsUnsupported
	}
	c, err := a.criteria(&crit, true)
	if err != nil {
		return nil, err
	}
	source, err := a.filters.Subscribe(c)
	if err != nil {
		return nil, public(err)
	}
	sub := notifier.CreateSubscription()
	go push(notifier, sub, source)
	return sub, nil
}

// push ends when the client unsubscribes or is gone.
func push(notifier *gethrpc.Notifier, sub *gethrpc.Subscription, source *filter.Subscription) {
	defer source.Close()
	for {
		select {
		case <-sub.Err():
			return
		case <-source.Ready():
		}
		list := source.Take()
		for i := range list {
			if notifier.Notify(sub.ID, newMessage(&list[i])) != nil {
				return
			}
		}
	}
}

// criteria checks in the documented order. Filters and subscriptions differ in
// two points, as in geth: a subscription by symmetric key needs topics, and the
// text for an unknown private key.
func (a *shhAPI) criteria(req *Criteria, subscription bool) (filter.Criteria, error) {
	c := filter.Criteria{MinPoW: req.MinPow, AllowDirect: req.AllowP2P}
	if (req.SymKeyID == "") == (req.PrivateKeyID == "") {
		return c, errSymAsym
	}
	if len(req.Sig) > 0 {
		signer, err := message.ParsePublicKey(req.Sig)
		if err != nil {
			return c, errBadSigner
		}
		c.Signer = &signer
	}
	for _, t := range req.Topics {
		c.Topics = append(c.Topics, envelope.Topic(t))
	}
	if req.SymKeyID != "" {
		if subscription && len(req.Topics) == 0 {
			return c, errNoTopics
		}
		k, err := a.keys.Sym(req.SymKeyID)
		if err != nil {
			return c, errNoSymKey
		}
		c.Sym = &k
		return c, nil
	}
	k, err := a.keys.Pair(req.PrivateKeyID)
	switch {
	case err == nil:
		c.Private = k
		return c, nil
	case subscription:
		return c, errBadPublicKey
	default:
		return c, errBadID
	}
}
