package mailnet

import (
	"context"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
)

// Transport gives the means to ask the peer for history: mail/1 if it serves that, else the older forms. A form other
// than 0 is the only one used; the error says that the peer does not have it. To ask a peer in an older form that speaks
// mail/1 as well, wait for Greeted first.
func (r *Remote) Transport(seal Seal, form history.Form) (history.Transport, error) {
	r.net.mu.Lock()
	c := r.mail1
	r.net.mu.Unlock()
	own := c != nil && c.serves()
	switch {
	case own && (form == 0 || form == history.ByArrival):
		return c.transport(), nil
	case form == history.ByArrival:
		return nil, fault.E("fetch", fault.Invalid, nil, "this mail server does not speak mail/1: leave the form out, and it is asked in the form that it knows")
	case form == 0:
		return r.Legacy(seal), nil
	}
	return only{r.Legacy(seal), form}, nil
}

// About is what a mail server says of itself; only those that speak mail/1 say anything.
type About struct {
	Name    string    // for people
	Closing time.Time // when its service ends; zero when that is not planned
}

// About returns what the peer has said of itself so far.
func (r *Remote) About() About {
	r.net.mu.Lock()
	c := r.mail1
	r.net.mu.Unlock()
	if c == nil || !c.serves() {
		return About{}
	}
	h := c.says()
	about := About{Name: h.Name}
	if h.Closing != 0 {
		about.Closing = time.Unix(int64(h.Closing), 0).UTC()
	}
	return about
}

// Join redeems an invitation's token, so that the peer serves us as a member.
func (r *Remote) Join(ctx context.Context, token string) (Membership, error) {
	r.net.mu.Lock()
	c := r.mail1
	r.net.mu.Unlock()
	if c == nil || !c.serves() {
		return Membership{}, fault.E("join", fault.Invalid, nil, "this mail server knows no invitations: ask its operator to add your node by its key")
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
