package inbox

import (
	"context"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/outbox"
	"github.com/restante-im/restante/internal/store"
)

// heldTimeout bounds a question whether a mail server holds letters.
const heldTimeout = 20 * time.Second

// sealers is how many letters are worked on at a time; their proof of work takes a core each.
const sealers = 1

// Send takes a letter on. It returns when the letter is stored, from when on the program sees to it, also after a restart;
// Letter tells what became of it. A letter with the id of an earlier one is that one.
func (in *Inbox) Send(ctx context.Context, l outbox.Letter) (e outbox.Entry, err error) {
	var wrong error
	stored := make(chan error, 1)
	if err := in.do(ctx, func() {
		var actions []outbox.Action
		if e, actions, wrong = in.letters.Send(in.opt.Now(), l); wrong == nil {
			in.perform(actions, func(err error) { stored <- err })
		}
	}); err != nil || wrong != nil {
		return e, firstError(err, wrong)
	}
	select {
	case err = <-stored:
		return e, err
	case <-ctx.Done():
		return e, ctx.Err()
	}
}

func firstError(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// Letters returns letters by the time of their making, from the one behind after on ("" for the first), at most limit.
func (in *Inbox) Letters(ctx context.Context, after string, limit int) (list []outbox.Entry, err error) {
	err = in.do(ctx, func() { list = in.letters.List(after, limit) })
	return list, err
}

// Letter returns one letter. The error is of kind NotFound when there is none of that id.
func (in *Inbox) Letter(ctx context.Context, id string) (e outbox.Entry, err error) {
	found := false
	err = in.do(ctx, func() { e, found = in.letters.Find(id) })
	if err == nil && !found {
		err = fault.Errorf("letter", fault.NotFound, "there is no letter %.64q; `restante inbox letters` lists them", id)
	}
	return e, err
}

// GiveUp ends the efforts for a letter, which is failed then.
func (in *Inbox) GiveUp(ctx context.Context, id string) error {
	return in.letterEvent(ctx, id, outbox.GiveUp{ID: id})
}

// Forget removes a letter from the list. Copies that others have remain.
func (in *Inbox) Forget(ctx context.Context, id string) error {
	return in.letterEvent(ctx, id, outbox.Forget{ID: id})
}

func (in *Inbox) letterEvent(ctx context.Context, id string, ev outbox.Event) error {
	if _, err := in.Letter(ctx, id); err != nil {
		return err
	}
	stored := make(chan error, 1)
	if err := in.do(ctx, func() {
		in.perform(in.letters.Step(in.opt.Now(), ev), func(err error) { stored <- err })
	}); err != nil {
		return err
	}
	select {
	case err := <-stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// letterStep tells the outbox what happened.
func (in *Inbox) letterStep(ev outbox.Event) { in.perform(in.letters.Step(in.opt.Now(), ev), nil) }

// perform carries out what the outbox decided: first everything is written, and only then something leaves. stored is told,
// once, how the writing ended; nil for nobody.
func (in *Inbox) perform(actions []outbox.Action, stored func(error)) {
	var d store.Delivery
	var rest []outbox.Action
	for _, action := range actions {
		switch a := action.(type) {
		case outbox.Save:
			d.Put = append(d.Put, store.Record{Kind: kindLetter, ID: a.ID, Data: a.Data})
		case outbox.Delete:
			d.Delete = append(d.Delete, store.Record{Kind: kindLetter, ID: a.ID})
		case outbox.Changed:
			in.tell(Event{Kind: LetterEvent, Letter: &a.Entry})
		default:
			rest = append(rest, a)
		}
	}
	if len(d.Put)+len(d.Delete) == 0 {
		in.carryOut(rest)
		if stored != nil {
			stored(nil)
		}
		return
	}
	in.door.put(d, func(_ store.Kept, err error) {
		if err != nil {
			in.opt.Log.Error("what became of a letter was not written", "err", err)
		}
		if stored != nil {
			stored(err)
		}
		in.post(func() { in.carryOut(rest) })
	})
}

func (in *Inbox) carryOut(actions []outbox.Action) {
	for _, action := range actions {
		switch a := action.(type) {
		case outbox.Seal:
			in.seal(a)
		case outbox.Post:
			err := in.joined.Relay.Post(a.Envelope)
			in.letterStep(outbox.Posted{ID: a.ID, Hash: a.Envelope.Hash(), Err: err})
		case outbox.AskHeld:
			in.askHeld(a)
		}
	}
}

// seal works on a letter's envelope.
func (in *Inbox) seal(a outbox.Seal) {
	in.work.Go(func() {
		env, err := in.sealed(a)
		in.post(func() { in.letterStep(outbox.Sealed{ID: a.ID, Envelope: env, Err: err}) })
	})
}

func (in *Inbox) sealed(a outbox.Seal) (*envelope.Envelope, error) {
	l := a.Letter
	plain := message.Plain{Payload: l.Payload, Sign: l.Sign}
	var data []byte
	var err error
	if l.Sym != nil {
		data, err = message.SealSymmetric(*l.Sym, plain, in.opt.Rand)
	} else {
		data, err = message.SealAsymmetric(*l.To, plain, in.opt.Rand)
	}
	if err != nil {
		return nil, err
	}
	ttl := uint32(l.TTL / time.Second)
	draft := envelope.Draft{Expiry: uint32(in.joined.Relay.Now().Unix()) + ttl, TTL: ttl, Topic: l.Topic, Data: data}
	ctx, cancel := context.WithTimeout(in.life, sealLimit)
	defer cancel()
	return envelope.Seal(ctx, draft, max(l.PoW, in.joined.Relay.LeastPoW()), 1)
}

// sealLimit bounds the work for one letter.
const sealLimit = 10 * time.Minute

// askHeld asks a connected mail server which letters it holds.
func (in *Inbox) askHeld(a outbox.AskHeld) {
	l := in.links[a.Server]
	if l == nil || l.remote == nil {
		in.letterStep(outbox.HeldAnswer{Server: a.Server, Hashes: a.Hashes, Err: errNotConnected})
		return
	}
	remote := l.remote
	in.work.Go(func() {
		ctx, cancel := context.WithTimeout(in.life, heldTimeout)
		defer cancel()
		until, err := remote.Held(ctx, a.Hashes)
		in.post(func() { in.letterStep(outbox.HeldAnswer{Server: a.Server, Hashes: a.Hashes, Until: until, Err: err}) })
	})
}

var errNotConnected = fault.E("inbox", fault.Unavailable, nil, "the mail server is not connected")

// Accepted takes the relay's word that peers have an own post. It never waits.
func (in *Inbox) Accepted(hash envelope.Hash, peers int) {
	in.post(func() { in.letterStep(outbox.Accepted{Hash: hash, Peers: peers}) })
}

// lettersHeldBy tells the outbox what a mail server has named or handed over.
func (in *Inbox) lettersHeldBy(server nodeaddr.ID, hashes []envelope.Hash) {
	if in.letters.Open() > 0 {
		in.letterStep(outbox.Seen{Server: server, Hashes: hashes})
	}
}
