package mailnet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/mail1"
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
	withEach(t, func(t *testing.T, make maker) {
		s, cfg := make(t)
		all := s.fill(3000, 700, topicA, topicB)
		c, _ := connect(t, mail1Of(nil), cfg)
		got, report, err := fetch(t, c, history.Plan{Topics: []envelope.Topic{topicB}}, nil)
		if err != nil || report.End != history.EndComplete || report.LastArrival != 3000 || report.Form != history.ByArrival {
			t.Errorf("%v, %+v", err, report)
		}
		sameEnvelopes(t, got, every(all, topicB))
	})
}

func TestMail1FetchGoesOnAfterACut(t *testing.T) {
	withEach(t, func(t *testing.T, make maker) {
		s, cfg := make(t)
		all := s.fill(2000, 5000, topicA)
		c, far := connect(t, mail1Of(nil), cfg)
		pages := 0
		got, report, err := fetch(t, c, history.Plan{}, func() {
			if pages++; pages == 3 {
				far.close(errors.New("pulled the plug"))
			}
		})
		if !fault.Is(err, fault.Unavailable) || report.End != history.EndFailed || len(got) == 0 || len(got) == len(all) {
			t.Fatalf("%v, %d envelopes, %+v", err, len(got), report)
		}
		c, _ = connect(t, mail1Of(nil), cfg)
		rest, report, err := fetch(t, c, history.Plan{After: report.Resume}, nil)
		if err != nil || report.End != history.EndComplete {
			t.Errorf("%v, %+v", err, report)
		}
		sameEnvelopes(t, append(got, rest...), all)
	})
}

func TestMail1FetchStartsAgainInANewEpoch(t *testing.T) {
	withEach(t, func(t *testing.T, make maker) {
		s, cfg := make(t)
		all := s.fill(10, 100, topicA)
		c, _ := connect(t, mail1Of(nil), cfg)
		before := history.Position{Form: history.ByArrival, Epoch: [8]byte{1}, Arrival: 8}
		got, report, err := fetch(t, c, history.Plan{After: before}, nil)
		if err != nil || !report.Restarted || report.Epoch != s.says.Epoch {
			t.Errorf("%v, %+v", err, report)
		}
		sameEnvelopes(t, got, all)
	})
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
	withEach(t, func(t *testing.T, make maker) {
		synctest.Test(t, func(t *testing.T) {
			s, cfg := make(t)
			all := s.fill(400, 1000, topicA)
			h := shake(t, cfg, asker)
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
	})
}

func TestMail1CancelStopsAnAnswer(t *testing.T) {
	withEach(t, func(t *testing.T, make maker) {
		synctest.Test(t, func(t *testing.T) {
			s, cfg := make(t)
			s.fill(1000, 1000, topicA)
			h := shake(t, cfg, asker)
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
	})
}

func TestMail1Held(t *testing.T) {
	withEach(t, func(t *testing.T, make maker) {
		s, cfg := make(t)
		asked := []envelope.Hash{{1}}
		for _, e := range s.fill(5000, 20, topicA) {
			asked = append(asked, e.Hash())
		}
		asked = append(asked, envelope.Hash{2}, asked[1])
		c, _ := connect(t, mail1Of(nil), cfg)
		times, err := c.Held(t.Context(), asked)
		if err != nil || len(times) != len(asked) || !times[0].IsZero() || !times[len(times)-2].IsZero() {
			t.Fatalf("%d times, %v", len(times), err)
		}
		if d := time.Until(times[1]); d > s.says.Keep || d < s.says.Keep-time.Minute || !times[1].Equal(times[len(times)-1]) {
			t.Errorf("held for %v", d)
		}
	})
}

func TestMail1FetchNamesWhatIsMissing(t *testing.T) {
	withEach(t, func(t *testing.T, make maker) {
		s, cfg := make(t)
		all := s.fill(2, 10, topicA)
		h := shake(t, cfg, asker)
		h.send(mail1.Fetch{ID: 1, Credit: 1 << 20, Hashes: []envelope.Hash{{1}, all[1].Hash(), {2}, all[0].Hash(), {3}}})
		if p := h.read().(mail1.Envelopes); len(p.List) != 2 || p.List[0].Hash() != all[1].Hash() || p.Through != 0 {
			t.Errorf("%+v", p)
		}
		if p := h.read().(mail1.End); len(p.Missing) != 3 || p.Missing[0] != (envelope.Hash{1}) || p.Missing[2] != (envelope.Hash{3}) || p.More {
			t.Errorf("%+v", p)
		}
		h.bye()
	})
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
