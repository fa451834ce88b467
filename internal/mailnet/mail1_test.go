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

var (
	topicA = envelope.Topic{0xa}
	topicB = envelope.Topic{0xb}
	asker  = mail1.Hello{Version: 1}
	server = mail1.Hello{Version: 1, Flags: mail1.Serves, MaxTopics: 1000, MaxHashes: 4096}
)

// fetch runs a whole fetch and returns what came.
func fetch(t *testing.T, c *mail1Conn, p history.Plan, each func()) ([]*envelope.Envelope, history.Report, error) {
	t.Helper()
	var got []*envelope.Envelope
	report, err := history.Run(t.Context(), c.transport(), p, func(_ context.Context, page history.Page) error {
		got = append(got, page.Envelopes...)
		if each != nil {
			each()
		}
		return nil
	}, time.Now)
	return got, report, err
}

func sameEnvelopes(t *testing.T, got, want []*envelope.Envelope) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d envelopes, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Hash() != want[i].Hash() {
			t.Fatalf("envelope %d is not the one that arrived there", i)
		}
	}
}

func every(list []*envelope.Envelope, topic envelope.Topic) (of []*envelope.Envelope) {
	for _, e := range list {
		if e.Topic() == topic {
			of = append(of, e)
		}
	}
	return of
}

func TestMail1FetchGetsAllOfATopic(t *testing.T) {
	s := newPlainServer(t)
	all := s.fill(3000, 700, topicA, topicB)
	c, _ := connect(t, mail1Of(nil), mail1Of(s))
	got, report, err := fetch(t, c, history.Plan{Topics: []envelope.Topic{topicB}}, nil)
	if err != nil || report.End != history.EndComplete || report.LastArrival != 3000 || report.Form != history.ByArrival {
		t.Errorf("%v, %+v", err, report)
	}
	sameEnvelopes(t, got, every(all, topicB))
}

func TestMail1FetchGoesOnAfterACut(t *testing.T) {
	s := newPlainServer(t)
	all := s.fill(2000, 5000, topicA)
	c, far := connect(t, mail1Of(nil), mail1Of(s))
	pages := 0
	got, report, err := fetch(t, c, history.Plan{}, func() {
		if pages++; pages == 3 {
			far.close(errors.New("pulled the plug"))
		}
	})
	if !fault.Is(err, fault.Unavailable) || report.End != history.EndFailed || len(got) == 0 || len(got) == len(all) {
		t.Fatalf("%v, %d envelopes, %+v", err, len(got), report)
	}
	c, _ = connect(t, mail1Of(nil), mail1Of(s))
	rest, report, err := fetch(t, c, history.Plan{After: report.Resume}, nil)
	if err != nil || report.End != history.EndComplete {
		t.Errorf("%v, %+v", err, report)
	}
	sameEnvelopes(t, append(got, rest...), all)
}

func TestMail1FetchStartsAgainInANewEpoch(t *testing.T) {
	s := newPlainServer(t)
	all := s.fill(10, 100, topicA)
	c, _ := connect(t, mail1Of(nil), mail1Of(s))
	before := history.Position{Form: history.ByArrival, Epoch: [8]byte{1}, Arrival: 8}
	got, report, err := fetch(t, c, history.Plan{After: before}, nil)
	if err != nil || !report.Restarted || report.Epoch != s.says.Epoch {
		t.Errorf("%v, %+v", err, report)
	}
	sameEnvelopes(t, got, all)
}

func TestMail1BothWaysOnOneConnection(t *testing.T) {
	s, r := newPlainServer(t), newPlainServer(t)
	of, other := s.fill(500, 3000, topicA), r.fill(700, 2000, topicB)
	c, d := connect(t, mail1Of(r), mail1Of(s))
	done := make(chan []*envelope.Envelope)
	go func() {
		got, _, err := fetch(t, d, history.Plan{}, nil)
		if err != nil {
			t.Error(err)
		}
		done <- got
	}()
	got, _, err := fetch(t, c, history.Plan{}, nil)
	if err != nil {
		t.Error(err)
	}
	sameEnvelopes(t, got, of)
	sameEnvelopes(t, <-done, other)
}

func TestMail1AnswerKeepsToItsCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlainServer(t)
		all := s.fill(400, 1000, topicA)
		h := shake(t, mail1Of(s), asker)
		const credit = 100 << 10
		h.send(mail1.Page{Question: mail1.Question{ID: 9, Credit: credit}})
		got, bytes := 0, 0
		take := func() {
			for synctest.Wait(); len(h.got) > 0; synctest.Wait() {
				r := <-h.got
				e := r.packet.(mail1.Envelopes)
				got, bytes = got+len(e.List), bytes+r.size
				if want := all[got-1].Hash(); e.List[len(e.List)-1].Hash() != want || e.Through != uint64(got) {
					t.Error("out of order")
				}
			}
		}
		take()
		if bytes < credit || bytes > credit+mail1.MaxBulk {
			t.Errorf("%d bytes for a credit of %d", bytes, credit)
		}
		h.send(mail1.Credit{ID: 9, Bytes: credit}, mail1.Credit{ID: 8, Bytes: credit})
		before := bytes
		take()
		if more := bytes - before; more < credit-mail1.MaxBulk || more > credit+mail1.MaxBulk || got == len(all) {
			t.Errorf("%d more bytes for a further credit of %d", more, credit)
		}
		if s.underWay > 4 {
			t.Errorf("%d packets under way", s.underWay)
		}
		// A request without need of credit is answered meanwhile.
		h.send(mail1.Held{ID: 10, Hashes: []envelope.Hash{all[0].Hash()}})
		if p, ok := h.read().(mail1.HeldList); !ok || p.ID != 10 {
			t.Errorf("%+v", p)
		}
		start := time.Now()
		e, ok := h.read().(mail1.Error)
		if !ok || e.ID != 9 || e.Kind != fault.Timeout || time.Since(start) > mail1Stall+2*mail1Look {
			t.Errorf("after %v: %+v", time.Since(start), e)
		}
		synctest.Wait()
		if s.unanswered() > 0 {
			t.Error("the mail server still works on it")
		}
		h.bye()
	})
}

func TestMail1CancelStopsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlainServer(t)
		s.fill(1000, 1000, topicA)
		h := shake(t, mail1Of(s), asker)
		h.send(mail1.Page{Question: mail1.Question{ID: 1, Credit: 1}})
		if _, ok := h.read().(mail1.Envelopes); !ok {
			t.Error("no envelopes")
		}
		h.send(mail1.Cancel{ID: 1}, mail1.Cancel{ID: 77}, mail1.Credit{ID: 1, Bytes: 1 << 30})
		synctest.Wait()
		if len(h.got) > 0 || s.unanswered() > 0 {
			t.Errorf("%d packets after the cancel, %d requests open", len(h.got), s.unanswered())
		}
		h.send(mail1.Page{Question: mail1.Question{ID: 2, After: 999, Credit: 1}})
		if p := h.read().(mail1.Envelopes); p.ID != 2 || len(p.List) != 1 {
			t.Errorf("%+v", p)
		}
		if p := h.read().(mail1.End); p.Through != 1000 || p.More || p.Epoch != s.says.Epoch {
			t.Errorf("%+v", p)
		}
		h.bye()
	})
}

func TestMail1QuestionsByHash(t *testing.T) {
	s := newPlainServer(t)
	all := s.fill(5000, 200, topicA, topicB)
	c, _ := connect(t, mail1Of(nil), mail1Of(s))
	var hashes []envelope.Hash
	var through uint64
	for more := true; more; {
		var err error
		q := history.Question{After: through, Budget: 500_000}
		through, more, err = c.Hashes(t.Context(), q, func(list []mail1.Listed, at uint64) error {
			for i := range list {
				e := all[len(hashes)]
				if list[i] != (mail1.Listed{Hash: e.Hash(), Sent: e.Sent(), Size: uint32(len(e.Raw()))}) {
					t.Fatalf("%+v", list[i])
				}
				hashes = append(hashes, e.Hash())
			}
			if at != uint64(len(hashes)) {
				t.Errorf("through %d after %d", at, len(hashes))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(hashes) != len(all) {
		t.Fatalf("%d of %d hashes", len(hashes), len(all))
	}
	asked := append([]envelope.Hash{{1}}, hashes...)
	asked = append(asked, envelope.Hash{2}, hashes[0])
	var got []*envelope.Envelope
	missing, err := c.FetchHashes(t.Context(), asked, func(list []*envelope.Envelope) error {
		got = append(got, list...)
		return nil
	})
	if err != nil || len(missing) != 2 || missing[0] != (envelope.Hash{1}) || missing[1] != (envelope.Hash{2}) {
		t.Errorf("missing %x, %v", missing, err)
	}
	if len(got) == len(all)+1 { // the hash that was asked for twice fell into two requests
		got = got[:len(all)]
	}
	sameEnvelopes(t, got, all)
	times, err := c.Held(t.Context(), asked)
	if err != nil || len(times) != len(asked) || !times[0].IsZero() || !times[len(times)-2].IsZero() {
		t.Fatalf("%d times, %v", len(times), err)
	}
	if d := time.Until(times[1]); d > s.says.Keep || d < s.says.Keep-time.Minute {
		t.Errorf("held for %v", d)
	}
}

func TestMail1FetchNamesWhatIsMissing(t *testing.T) {
	s := newPlainServer(t)
	all := s.fill(2, 10, topicA)
	h := shake(t, mail1Of(s), asker)
	h.send(mail1.Fetch{ID: 1, Credit: 1 << 20, Hashes: []envelope.Hash{{1}, all[1].Hash(), {2}, all[0].Hash(), {3}}})
	if p := h.read().(mail1.Envelopes); len(p.List) != 2 || p.List[0].Hash() != all[1].Hash() || p.Through != 0 {
		t.Errorf("%+v", p)
	}
	if p := h.read().(mail1.End); len(p.Missing) != 3 || p.Missing[0] != (envelope.Hash{1}) || p.Missing[2] != (envelope.Hash{3}) || p.More {
		t.Errorf("%+v", p)
	}
	h.bye()
}

func TestMail1Join(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := mail1Of(newPlainServer(t))
		cfg.Join = func(token string, node [32]byte) (Membership, error) {
			if token != "right" || node != [32]byte{7} {
				return Membership{}, fault.E("members", fault.Denied, nil, "this invitation is not valid")
			}
			return Membership{Name: "Alice", BytesPerDay: 100, Left: 99}, nil
		}
		c, _ := connect(t, mail1Of(nil), cfg)
		if _, err := c.Join(t.Context(), "wrong", ""); !fault.Is(err, fault.Denied) || fault.Text(err) != "this invitation is not valid" {
			t.Error(err)
		}
		m, err := c.Join(t.Context(), "right", "phone")
		if err != nil || m != (Membership{Name: "Alice", BytesPerDay: 100, Left: 99}) {
			t.Errorf("%+v, %v", m, err)
		}
		synctest.Wait()
		if c.says().Flags&mail1.Member == 0 {
			t.Error("the member does not know that it is one")
		}
		for range mail1Joins {
			_, err = c.Join(t.Context(), "wrong", "")
		}
		if !fault.Is(err, fault.Limit) {
			t.Errorf("guessing ended with %v", err)
		}
	})
	c, _ := connect(t, mail1Of(nil), mail1Of(newPlainServer(t)))
	if _, err := c.Join(t.Context(), "right", ""); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

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
