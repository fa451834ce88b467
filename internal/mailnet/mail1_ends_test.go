package mailnet

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/session/sessiontest"
)

func TestMail1ErrorsSayWhatCanBeDone(t *testing.T) {
	s := newPlainServer(t)
	c, _ := connect(t, mail1Of(nil), mail1Of(s))
	s.refuse, s.again = fault.E("x", fault.Busy, errors.New("secret"), "too much to do"), 1500*time.Millisecond
	_, err := c.Held(t.Context(), []envelope.Hash{{1}})
	if !fault.Is(err, fault.Busy) || fault.Text(err) != "too much to do" || RetryAfter(err) != 1500*time.Millisecond {
		t.Errorf("%v, again after %v", err, RetryAfter(err))
	}
	s.refuse = errors.New("a defect")
	if _, err = c.Held(t.Context(), []envelope.Hash{{1}}); !fault.Is(err, fault.Internal) || strings.Contains(err.Error(), "defect") {
		t.Error(err)
	}
	_, no := connect(t, mail1Of(nil), mail1Of(s))
	if _, err = no.Held(t.Context(), []envelope.Hash{{1}}); !fault.Is(err, fault.Unavailable) || no.serves() || len(no.transport().Caps().Forms) != 0 {
		t.Error(err)
	}
	if _, err := c.transport().Ask(history.Paged, history.Question{}, nil); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Held(ctx, []envelope.Hash{{1}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestMail1RefusesOneByOne(t *testing.T) {
	s := newPlainServer(t)
	s.fill(1, 10, topicA)
	h := shake(t, mail1Of(s), asker)
	wrong := mail1.Page{Question: mail1.Question{ID: 1, From: 2, To: 1}}
	h.send(wrong)
	if e := h.read().(mail1.Error); e.ID != 1 || e.Kind != fault.Invalid || e.Text == "" {
		t.Errorf("%+v", e)
	}
	h.send(mail1.Page{Question: mail1.Question{ID: 2, Epoch: mail1.Epoch{1}, After: 1}})
	if e := h.read().(mail1.Error); e.ID != 2 || e.Kind != fault.NotFound {
		t.Errorf("%+v", e)
	}
	for id := range uint64(mail1.MaxOpen) { // without credit they stay open
		h.send(mail1.Page{Question: mail1.Question{ID: 10 + id}})
	}
	h.send(mail1.Held{ID: 99})
	if e := h.read().(mail1.Error); e.ID != 99 || e.Kind != fault.Busy || e.RetryAfter == 0 {
		t.Errorf("%+v", e)
	}
	h.bye()
	none := shake(t, mail1Of(nil), asker)
	none.send(mail1.Held{ID: 5})
	if e := none.read().(mail1.Error); e.ID != 5 || e.Kind != fault.Unavailable {
		t.Errorf("%+v", e)
	}
	none.bye()
}

func TestMail1WhatEndsAConnection(t *testing.T) {
	page := mail1.Page{Question: mail1.Question{ID: 1}}
	bad := mail1.Page{Question: mail1.Question{ID: 1, From: 2, To: 1}}
	tests := []struct {
		name string
		act  func(h *hand)
		want string
	}{
		{"an id is used twice", func(h *hand) { h.send(page, page) }, "id of an open request"},
		{"garbage", func(h *hand) { _ = h.end.WritePacket(mail1.CodeCancel, []byte{0xff}) }, "malformed packet 2 (cancel)"},
		{"more than the credit", func(h *hand) {
			h.ask(1)
			list := []*envelope.Envelope{envelope.New(100, 50, topicA, make([]byte, 10), 0)}
			h.send(mail1.Envelopes{ID: 1, List: list}, mail1.Envelopes{ID: 1, List: list})
		}, "more than it was allowed"},
		{"another question's answer", func(h *hand) {
			h.ask(1 << 20)
			h.send(mail1.HashList{ID: 1})
		}, "does not fit"},
		{"wrong requests again and again", func(h *hand) {
			for range mail1Bad + 1 {
				h.send(bad)
			}
		}, "the range ends before it starts"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newPlainServer(t)
			s.fill(1, 10, topicA)
			h := shake(t, mail1Of(s), server)
			tt.act(h)
			if err := <-h.result; err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// ask makes the node ask the test's peer for everything.
func (h *hand) ask(credit int64) {
	h.t.Helper()
	if _, err := h.conn.transport().Ask(history.ByArrival, history.Question{Credit: credit}, func(history.Answer) {}); err != nil {
		h.t.Fatal(err)
	}
	if p := h.read().(mail1.Page); p.Credit != credit {
		h.t.Errorf("asked with %+v", p)
	}
}

func TestMail1HelloComesFirstAndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := sessiontest.Pipe(4)
		begin := time.Now()
		_, result := start(t, mail1Of(nil), near)
		if err := <-result; !fault.Is(err, fault.Timeout) || time.Since(begin) != session.HandshakeTimeout {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		<-far.Closed()
		near, far = sessiontest.Pipe(4)
		_, result = start(t, mail1Of(nil), near)
		_ = far.WritePacket(mail1.Encode(mail1.Cancel{ID: 1}))
		if err := <-result; err == nil || !strings.Contains(err.Error(), "not a hello") {
			t.Error(err)
		}
	})
}

func TestMail1SaysHelloAgainWhenTheServiceChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlainServer(t)
		h := shake(t, mail1Of(s), asker)
		s.fill(5, 10, topicA) // no news
		<-time.After(5 * mail1Look)
		if len(h.got) > 0 {
			t.Errorf("said %+v", h.read())
		}
		s.mu.Lock()
		s.says.Closing = time.Unix(1700000000, 0)
		s.mu.Unlock()
		before := time.Now()
		if p := h.read().(mail1.Hello); p.Closing != 1700000000 || p.Next != 6 || p.Keep != 72*3600 || p.Age != 720*3600 || p.Epoch != s.says.Epoch {
			t.Errorf("%+v", p)
		}
		if time.Since(before) > mail1Look {
			t.Errorf("after %v", time.Since(before))
		}
		h.bye()
	})
}

func TestMail1LostConnectionEndsWhatIsOpen(t *testing.T) {
	s := newPlainServer(t)
	s.fill(100, 5000, topicA)
	h := shake(t, mail1Of(s), server)
	h.send(mail1.Page{Question: mail1.Question{ID: 1}})
	h.ask(1)
	last := make(chan history.Answer, 1)
	if _, err := h.conn.transport().Ask(history.ByArrival, history.Question{Credit: 1}, func(a history.Answer) { last <- a }); err != nil {
		t.Fatal(err)
	}
	held := make(chan error, 1)
	go func() {
		_, err := h.conn.Held(context.Background(), []envelope.Hash{{1}})
		held <- err
	}()
	for asked := false; !asked; {
		_, asked = h.read().(mail1.Held)
	}
	h.bye()
	if lost, ok := (<-last).(history.Lost); !ok || !fault.Is(lost.Err, fault.Unavailable) {
		t.Errorf("%+v", lost)
	}
	if err := <-held; !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	if _, err := h.conn.Held(context.Background(), []envelope.Hash{{1}}); !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	if err := h.conn.greeted(context.Background()); err != nil && !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

func TestMail1WhoDoesNotReadIsCut(t *testing.T) {
	near, far := sessiontest.Pipe(4)
	_, result := start(t, mail1Of(nil), near)
	_ = far.WritePacket(mail1.Encode(asker))
	for id := uint64(1); ; id++ { // nobody reads the refusals
		if far.WritePacket(mail1.Encode(mail1.Held{ID: id})) != nil {
			break
		}
	}
	if err := <-result; !fault.Is(err, fault.Limit) || !strings.Contains(err.Error(), "does not read") {
		t.Error(err)
	}
}

func TestMail1SilentServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := shake(t, mail1Of(nil), server)
		begin := time.Now()
		_, err := h.conn.Held(t.Context(), []envelope.Hash{{1}})
		if !fault.Is(err, fault.Timeout) || time.Since(begin) != mail1Silent {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		h.read()
		if p, ok := h.read().(mail1.Cancel); !ok {
			t.Errorf("%+v", p)
		}
		// What crossed the cancel has no effect.
		h.send(mail1.HeldList{ID: 1, Until: []uint64{1}}, mail1.Envelopes{ID: 1}, mail1.Error{ID: 1})
		synctest.Wait()
		if err := h.conn.ended(); err != nil {
			t.Error(err)
		}
		h.bye()
	})
}
