package mailsim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/outbox"
)

// startOutbox makes the outbox of what is stored.
func (c *client) startOutbox() {
	var records [][]byte
	for _, id := range slices.Sorted(maps.Keys(c.store.letters)) {
		records = append(records, c.store.letters[id])
	}
	out, errs := outbox.New(outbox.Config{}, records)
	for _, err := range errs {
		c.w.failf("client %d cannot load a letter: %v", c.index, err)
	}
	c.out = out
}

// writeLetter sends a letter.
func (c *client) writeLetter() {
	if !c.up {
		return
	}
	w := c.w
	key, err := message.NewSymKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		w.failf("no key: %v", err)
		return
	}
	w.report.Letters++
	_, actions, err := c.out.Send(c.now(), outbox.Letter{
		ID: fmt.Sprintf("letter %d", w.report.Letters), Topic: w.topics[w.rand.IntN(len(w.topics))], Sym: &key, Payload: []byte("hello"),
		TTL: w.between(10*time.Minute, maxTTL).Truncate(time.Second), Until: c.now().Add(w.between(time.Hour, 40*time.Hour)),
	})
	if err != nil {
		w.failf("client %d cannot send a letter: %v", c.index, err)
		return
	}
	c.doOutbox(actions)
}

// stepOutbox gives an event to the outbox and carries out what it says.
func (c *client) stepOutbox(ev outbox.Event) {
	if !c.crashes() {
		c.doOutbox(c.out.Step(c.now(), ev))
	}
}

func (c *client) doOutbox(actions []outbox.Action) {
	life := c.life
	for _, action := range actions {
		if c.crashes() || c.life != life {
			return
		}
		switch a := action.(type) {
		case outbox.Seal:
			c.seal(a)
		case outbox.Post:
			c.post(a)
		case outbox.AskHeld:
			c.askHeld(a)
		case outbox.Save:
			c.store.letters[a.ID] = a.Data
		case outbox.Delete:
			delete(c.store.letters, a.ID)
		case outbox.Changed:
			c.checkLetter(a.Entry)
		default:
			c.w.failf("client %d: the outbox says %T", c.index, action)
		}
	}
	if at, ok := c.out.Deadline(); ok {
		c.schedule(1, at, func() { c.stepOutbox(outbox.Tick{}) })
	} else {
		c.due[1] = -1
	}
}

// seal makes an envelope of a letter. What is in it is not looked at here.
func (c *client) seal(a outbox.Seal) {
	w := c.w
	w.made++
	data := binary.BigEndian.AppendUint64(make([]byte, 0, 64), w.made)
	ttl := uint32(a.Letter.TTL / time.Second)
	env := envelope.New(uint32(c.now().Unix())+ttl, ttl, a.Letter.Topic, data, w.made)
	ev := outbox.Sealed{ID: a.ID, Envelope: env}
	if w.fault(0.02) {
		ev = outbox.Sealed{ID: a.ID, Err: fault.E("seal", fault.Timeout, nil, "the work was not done in time")}
	}
	life := c.life
	w.after(w.between(10*time.Millisecond, time.Second), func() {
		if c.life == life {
			c.stepOutbox(ev)
		}
	})
}

// post gives an envelope to the client's own node; with a network, its peers take it on.
func (c *client) post(a outbox.Post) {
	w, life, h := c.w, c.life, a.Envelope.Hash()
	c.later(func() { c.stepOutbox(outbox.Posted{ID: a.ID, Hash: h}) })
	if !c.online || w.fault(0.1) {
		return
	}
	w.spread(a.Envelope, c)
	w.after(w.between(20*time.Millisecond, time.Second), func() {
		if c.life == life {
			c.stepOutbox(outbox.Accepted{Hash: h, Peers: 1 + w.rand.IntN(5)})
		}
	})
}

// askHeld asks a server what it holds.
func (c *client) askHeld(a outbox.AskHeld) {
	k := c.conns[a.Server]
	s := c.w.serverOf(a.Server)
	ev := outbox.HeldAnswer{Server: a.Server, Hashes: a.Hashes}
	life := c.life
	answer := func() {
		if c.life == life {
			c.stepOutbox(ev)
		}
	}
	failed := func() {
		ev.Err = fault.E("held", fault.Unavailable, nil, "the mail server did not answer")
		answer()
	}
	if k == nil || !k.up || s.form != history.ByArrival || s.denied || c.w.fault(0.05) {
		c.w.after(time.Second, failed)
		return
	}
	c.w.after(s.latency, func() {
		if k.broken {
			c.w.after(time.Second, failed)
			return
		}
		for _, h := range a.Hashes {
			ev.Until = append(ev.Until, s.held(h))
		}
		c.w.after(s.latency, func() {
			if k.broken {
				failed()
				return
			}
			c.hearHeld(s, &ev)
			answer()
		})
	})
}

// hearHeld notes what a server said.
func (c *client) hearHeld(s *server, ev *outbox.HeldAnswer) {
	g := c.ground(s)
	for i, h := range ev.Hashes {
		if !ev.Until[i].IsZero() {
			g.told[h] = append(g.told[h], ev.Until[i])
		} else if c.w.plan.Break == FalseHeld {
			ev.Until[i] = c.now().Add(24 * time.Hour)
		}
	}
}

// tellServers tells the outbox whom it can ask.
func (c *client) tellServers() {
	if !c.up {
		return
	}
	ev := outbox.Servers{Known: len(c.w.servers)}
	for _, s := range c.w.servers {
		if k := c.conns[s.id]; k != nil && k.up && s.form == history.ByArrival {
			ev.List = append(ev.List, s.id)
		}
	}
	c.stepOutbox(ev)
}

// checkLetter checks that no more is said of a letter than servers have said.
func (c *client) checkLetter(e outbox.Entry) {
	switch {
	case e.Text == "":
		c.w.failf("client %d: nothing is said about %q", c.index, e.ID)
	case e.State == outbox.StateFailed && e.Err == "":
		c.w.failf("client %d: %q has failed for no reason", c.index, e.ID)
	case e.State == outbox.StateHeld && len(e.Holders) == 0:
		c.w.failf("client %d: %q is held by nobody", c.index, e.ID)
	}
	for _, h := range e.Holders {
		if !c.founded(e, h) {
			c.w.failf("client %d: %q is called held by %s until %v, which has not said so", c.index, e.ID, h.Server.Short(), h.Until)
		}
	}
}

// founded reports whether a server said what a holder stands for.
func (c *client) founded(e outbox.Entry, h outbox.Holder) bool {
	g := c.ground(c.w.serverOf(h.Server))
	for _, a := range e.Attempts {
		if slices.ContainsFunc(g.told[a.Hash], h.Until.Equal) || h.How == outbox.HowSeen && g.shown[a.Hash] {
			return true
		}
	}
	return false
}

// checkLetters checks, at the very end, that every letter has come to an end that fits the world.
func (c *client) checkLetters() {
	able := slices.ContainsFunc(c.w.servers, func(s *server) bool {
		return s.form == history.ByArrival && !s.denied && !(s.lasting && s.withhold > 0)
	})
	for _, e := range c.out.List("", outbox.MaxOpen) {
		c.checkLetter(e)
		switch {
		case e.State == outbox.StateHeld || e.State == outbox.StateFailed:
		case able && connected(c):
			c.w.failf("client %d: %q is still %v: %s", c.index, e.ID, e.State, e.Text)
		case e.State == outbox.StateSending:
			c.w.failf("client %d: %q was never accepted: %s", c.index, e.ID, e.Text)
		}
	}
}

// connected reports whether a client has a server that can hold letters.
func connected(c *client) bool {
	return slices.ContainsFunc(c.w.servers, func(s *server) bool {
		k := c.conns[s.id]
		return k != nil && k.up && s.form == history.ByArrival && !s.denied && !(s.lasting && s.withhold > 0)
	})
}
