package mailnet

import (
	"context"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
)

// Transport gives the means to ask the peer for history: mail/1 if it serves that, else the older forms. A form other
// than 0 is the only one used; the error says that the peer does not have it. To ask a peer in an older form that speaks
// mail/1 as well, wait for Greeted first.
func (r *Remote) Transport(seal Seal, form history.Form) (history.Transport, error) {
	c := r.own()
	switch {
	case c != nil && (form == 0 || form == history.ByArrival):
		return c.transport(), nil
	case form == history.ByArrival:
		return nil, fault.E("fetch", fault.Invalid, nil, "this mail server does not speak mail/1: leave the form out, and it is asked in the form that it knows")
	case form == 0:
		return r.Legacy(seal), nil
	}
	return only{r.Legacy(seal), form}, nil
}

// Held asks until when the peer keeps envelopes, by its word: the zero time for those that it does not have. The times
// are in the order of the hashes. The error is a fault, or ctx's.
func (r *Remote) Held(ctx context.Context, hashes []envelope.Hash) ([]time.Time, error) {
	c, err := r.needed("held", "this mail server does not speak mail/1, and so cannot say what it holds")
	if err != nil {
		return nil, err
	}
	return c.Held(ctx, hashes)
}

// Gone is closed when the connection with the peer has ended.
func (r *Remote) Gone() <-chan struct{} { return r.gone }

// own returns the mail/1 connection, if the peer serves that; else nil.
func (r *Remote) own() *mail1Conn {
	r.net.mu.Lock()
	c := r.mail1
	r.net.mu.Unlock()
	if c == nil || !c.serves() {
		return nil
	}
	return c
}

// needed is own, with an error instead of none.
func (r *Remote) needed(op, otherwise string) (*mail1Conn, error) {
	if c := r.own(); c != nil {
		return c, nil
	}
	select {
	case <-r.gone:
		return nil, errGone(nil)
	default:
		return nil, fault.E(op, fault.Invalid, nil, otherwise)
	}
}

// Join redeems an invitation's token, so that the peer serves us as a member.
func (r *Remote) Join(ctx context.Context, token string) (Membership, error) {
	c, err := r.needed("join", "this mail server knows no invitations: ask its operator to add your node by its key")
	if err != nil {
		return Membership{}, err
	}
	return c.Join(ctx, token, "")
}

// only restricts a transport to one form.
type only struct {
	history.Transport
	form history.Form
}

func (o only) Caps() history.Caps {
	caps := o.Transport.Caps()
	caps.Forms = []history.Form{o.form}
	return caps
}
