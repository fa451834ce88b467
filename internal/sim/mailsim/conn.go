package mailsim

import (
	"slices"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// maxGranted bounds what a client may let a server send ahead.
const maxGranted = 8 << 20

// conn is a connection of a client with a server, or the attempt.
type conn struct {
	client  *client
	server  *server
	up      bool          // the client knows that it is there
	broken  bool          // nothing passes any more
	free    time.Duration // what is sent later arrives later
	answer  *answering    // that the server works on
	ask     uint64        // that the client has open; 0: none
	granted int64         // of which the server has made no use yet
}

// line is a server that the machine wants to be connected with.
type line struct {
	tries int
	turn  int // of the waits: only the last one dials
}

// firstWait and longestWait bound the pause before a connection is tried again.
const (
	firstWait   = 2 * time.Second
	longestWait = time.Minute
)

// connect begins a connection and keeps trying, now if it was waiting.
func (c *client) connect(s *server) {
	if c.lines[s.id] == nil {
		c.lines[s.id] = &line{}
	}
	if c.conns[s.id] == nil {
		c.lines[s.id].turn++
		c.dial(s)
	}
}

// disconnect ends it.
func (c *client) disconnect(id nodeaddr.ID) {
	delete(c.lines, id)
	if k := c.conns[id]; k != nil {
		k.shut()
		delete(c.conns, id)
		c.w.note("client %d leaves server %d", c.index, k.server.index)
		c.later(func() {
			if c.conns[id] == nil {
				c.step(catchup.Down{Server: id})
			}
			c.tellServers()
		})
	}
}

// again dials later, if the connection is still wanted then.
func (c *client) again(s *server) {
	l := c.lines[s.id]
	if l == nil {
		return
	}
	l.turn++
	turn, life := l.turn, c.life
	wait := min(firstWait<<min(l.tries, 8), longestWait)
	l.tries++
	c.w.after(wait, func() {
		if c.life == life && c.lines[s.id] == l && l.turn == turn && c.conns[s.id] == nil {
			c.dial(s)
		}
	})
}

// dial tries once.
func (c *client) dial(s *server) {
	k := &conn{client: c, server: s}
	c.conns[s.id] = k
	wait := 2*s.latency + c.w.between(0, 20*time.Millisecond)
	switch {
	case !c.online:
		wait = time.Millisecond
	case c.w.fault(0.05):
		wait = 20 * time.Second // the network swallows it: nobody answers
		c.w.after(wait, func() { c.lost(k, fault.E("dial", fault.Timeout, nil, "nobody answers")) })
		return
	}
	c.w.after(wait, func() {
		switch {
		case k.broken:
		case !s.up || !c.online:
			k.broken = true
			c.lost(k, fault.E("dial", fault.Unavailable, nil, "the mail server is not there"))
		default:
			s.conns = append(s.conns, k)
			caps, at := s.caps(), c.w.now
			c.w.after(s.latency, func() { c.connected(k, caps, at) })
		}
	})
}

// connected tells the machine, unless the connection is over already.
func (c *client) connected(k *conn, caps history.Caps, at time.Duration) {
	if k.broken {
		return
	}
	k.up = true
	c.lines[k.server.id].tries = 0
	c.w.note("client %d is connected with server %d, epoch %x, next %d, oldest %d", c.index, k.server.index, caps.Epoch[:2], caps.Next, caps.Oldest.Unix())
	c.ground(k.server).hello(at)
	c.step(catchup.Up{Server: k.server.id, Caps: caps})
	c.tellServers()
}

// breakOff ends a connection from the server's side; the client learns it late.
func (k *conn) breakOff(late time.Duration) {
	if k.broken {
		return
	}
	k.shut()
	k.server.w.after(late, func() { k.client.lost(k, fault.E("", fault.Unavailable, nil, "the connection broke")) })
}

// shut lets nothing pass any more.
func (k *conn) shut() {
	k.broken = true
	s := k.server
	s.conns = slices.DeleteFunc(s.conns, func(other *conn) bool { return other == k })
}

// lost tells the machine that a connection is gone, or did not come about.
func (c *client) lost(k *conn, err error) {
	if c.conns[k.server.id] != k {
		return
	}
	k.shut()
	delete(c.conns, k.server.id)
	c.w.note("client %d has lost server %d", c.index, k.server.index)
	k.ask = 0
	c.again(k.server)
	c.step(catchup.Down{Server: k.server.id, Err: err})
	c.tellServers()
}

// question sends a question.
func (k *conn) question(a catchup.Ask) {
	c, s, w := k.client, k.server, k.server.w
	w.report.Asks++
	w.note("client %d asks server %d: %v %d, %d topics from %d to %d, arrivals %d to %d, %d hashes", c.index, s.index,
		a.Form, a.Ask, len(a.Question.Topics), a.Question.From, a.Question.To, a.Question.After, a.Question.Until, len(a.Question.Hashes))
	c.asked(a)
	if k.ask != 0 {
		w.failf("client %d asks server %d while a question is open", c.index, s.index)
	}
	k.ask = a.Ask
	k.granted = a.Question.Credit
	work := &answering{c: k, ask: a.Ask, form: a.Form, q: a.Question, credit: a.Question.Credit}
	think := time.Millisecond
	if w.now < w.heal {
		think = w.between(0, s.think)
	}
	w.after(s.latency, func() {
		if k.broken {
			return
		}
		if k.answer != nil {
			k.answer.over = true // one at a time; it was cancelled
		}
		k.answer = work
		w.after(think, func() {
			if !work.over && !k.broken {
				work.begin()
			}
		})
	})
}

// cancel takes a question back.
func (k *conn) cancel(ask uint64) {
	if k.ask == ask {
		k.ask = 0
	}
	k.server.w.after(k.server.latency, func() {
		if k.answer != nil && k.answer.ask == ask {
			k.answer.over = true
		}
	})
}

// grant lets the server send more.
func (k *conn) grant(ask uint64, bytes int64) {
	if k.ask != ask || bytes <= 0 {
		k.server.w.failf("client %d grants %d bytes for a question that is not open", k.client.index, bytes)
		return
	}
	if k.granted += bytes; k.granted > maxGranted {
		k.server.w.failf("client %d lets server %d send %d bytes ahead", k.client.index, k.server.index, k.granted)
	}
	k.server.w.after(k.server.latency, func() {
		if k.answer != nil && k.answer.ask == ask && !k.answer.over {
			k.answer.grant(bytes)
		}
	})
}

// send brings a part of an answer to the client, behind what was sent before.
func (k *conn) send(a *answering, ans history.Answer) {
	w := k.server.w
	k.free = max(k.free, w.now+k.server.latency)
	w.at(k.free, func() {
		if !k.broken && k.client.conns[k.server.id] == k {
			k.client.heard(k, a, ans)
		}
	})
}

// heard passes a part of an answer to the machine, also when it crosses a cancel.
func (c *client) heard(k *conn, a *answering, ans history.Answer) {
	open := k.ask == a.ask
	switch ans := ans.(type) {
	case history.Got:
		k.granted -= ans.Bytes
	case history.Named:
		k.granted -= ans.Bytes
	case history.Ended:
		if open {
			k.ask = 0
		}
	}
	c.ground(k.server).said(a, ans, open)
	if got, ok := ans.(history.Got); ok && c.w.plan.Break == SwallowPacket && len(got.Envelopes) > 0 && c.w.chance(0.1) {
		return
	}
	c.step(catchup.Answered{Server: k.server.id, Ask: a.ask, Answer: ans})
}
