package mailnet

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/mail1"
)

// check runs a whole comparison with what is had, to which it adds, and returns what came.
func check(t *testing.T, c *mail1Conn, p history.Plan, have map[envelope.Hash]bool, each func()) ([]*envelope.Envelope, history.Report, error) {
	t.Helper()
	job, err := history.NewCheck(p, c.transport().Caps())
	if err != nil {
		t.Fatal(err)
	}
	var got []*envelope.Envelope
	var mu sync.Mutex
	report, err := history.RunJob(t.Context(), c.transport(), job, func(_ context.Context, page history.Page) error {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range page.Envelopes {
			have[e.Hash()] = true
		}
		got = append(got, page.Envelopes...)
		if each != nil {
			each()
		}
		return nil
	}, func(_ context.Context, list []history.Entry) ([]bool, error) {
		mu.Lock()
		defer mu.Unlock()
		had := make([]bool, len(list))
		for i, e := range list {
			had[i] = have[e.Hash]
		}
		return had, nil
	}, time.Now)
	return got, report, err
}

func TestMail1CheckFetchesWhatIsLacking(t *testing.T) {
	withEach(t, func(t *testing.T, make maker) {
		s, cfg := make(t)
		all := s.fill(12_000, 200, topicA, topicB)
		of := every(all, topicB)
		have := map[envelope.Hash]bool{}
		for _, e := range of[:700] {
			have[e.Hash()] = true
		}
		c, _ := connect(t, mail1Of(nil), cfg)
		got, report, err := check(t, c, history.Plan{Topics: []envelope.Topic{topicB}}, have, nil)
		if err != nil || report.End != history.EndComplete || report.LastArrival != 12_000 || report.Listed != 6000 || report.Fetched != 5300 {
			t.Errorf("%v, %+v", err, report)
		}
		sameEnvelopes(t, got, of[700:])
		more := s.fill(3, 300, topicA, topicB)
		got, report, err = check(t, c, history.Plan{Topics: []envelope.Topic{topicB}, After: report.Resume}, have, nil)
		if err != nil || report.End != history.EndComplete || report.Asked != 2 {
			t.Errorf("%v, %+v", err, report)
		}
		sameEnvelopes(t, got, every(more, topicB))
	})
}

// TestMail1CheckOfWhatIsKnown costs a list and nothing else.
func TestMail1CheckOfWhatIsKnown(t *testing.T) {
	withEach(t, func(t *testing.T, make maker) {
		s, cfg := make(t)
		have := map[envelope.Hash]bool{}
		for _, e := range s.fill(1000, 700, topicA) {
			have[e.Hash()] = true
		}
		c, _ := connect(t, mail1Of(nil), cfg)
		got, r, err := check(t, c, history.Plan{Topics: []envelope.Topic{topicA}}, have, nil)
		if err != nil || len(got) > 0 || r.End != history.EndComplete || r.Listed != 1000 || r.Asked != 1 || r.Pages != 1 {
			t.Errorf("%d envelopes, %+v, %v", len(got), r, err)
		}
		if r.Received > 1000*mail1.ListedSize+100 || r.Received != r.ListBytes {
			t.Errorf("%d bytes for 1000 entries", r.Received)
		}
	})
}

func TestMail1CheckGoesOnAfterACut(t *testing.T) {
	withEach(t, func(t *testing.T, make maker) {
		s, cfg := make(t)
		all := s.fill(2000, 5000, topicA)
		c, far := connect(t, mail1Of(nil), cfg)
		have := map[envelope.Hash]bool{}
		pages := 0
		got, report, err := check(t, c, history.Plan{}, have, func() {
			if pages++; pages == 3 {
				far.close(errors.New("pulled the plug"))
			}
		})
		if !fault.Is(err, fault.Unavailable) || len(got) == 0 || len(got) == len(all) || report.Lacking == 0 {
			t.Fatalf("%v, %d envelopes, %+v", err, len(got), report)
		}
		c, _ = connect(t, mail1Of(nil), cfg)
		rest, report, err := check(t, c, history.Plan{After: report.Resume}, have, nil)
		if err != nil || report.End != history.EndComplete {
			t.Errorf("%v, %+v", err, report)
		}
		sameEnvelopes(t, append(got, rest...), all)
	})
}

// checked is how a comparison with a peer that the test plays ended.
type checked struct {
	got    []*envelope.Envelope
	report history.Report
	err    error
}

// checkHand begins a comparison with the test's peer, which has been asked for its list.
func checkHand(t *testing.T, h *hand) (first mail1.Hashes, end chan checked) {
	end = make(chan checked, 1)
	go func() {
		got, report, err := check(t, h.conn, history.Plan{}, map[envelope.Hash]bool{}, nil)
		end <- checked{got, report, err}
	}()
	first, ok := h.read().(mail1.Hashes)
	if !ok {
		t.Fatal("it does not ask for a list")
	}
	return first, end
}

func listing(list ...*envelope.Envelope) (all []mail1.Listed) {
	for _, e := range list {
		all = append(all, mail1.Listed{Hash: e.Hash(), Sent: e.Sent(), Size: uint32(len(e.Raw()))})
	}
	return all
}

// fetch reads a request by hash.
func (h *hand) fetch() mail1.Fetch {
	h.t.Helper()
	f, ok := h.read().(mail1.Fetch)
	if !ok {
		h.t.Fatal("it does not ask for bodies")
	}
	return f
}

func three() (list []*envelope.Envelope) {
	for i := range uint32(3) {
		list = append(list, envelope.New(1000+i, 50, topicA, make([]byte, 300), 0))
	}
	return list
}

// TestMail1NamedAndNotHandedOver is asked for twice, or believed when the server says that it is gone.
func TestMail1NamedAndNotHandedOver(t *testing.T) {
	h := shake(t, mail1Of(nil), server)
	list := three()
	q, end := checkHand(t, h)
	h.send(mail1.HashList{ID: q.ID, Through: 3, List: listing(list...)}, mail1.End{ID: q.ID, Through: 4})
	f := h.fetch()
	h.send(mail1.Envelopes{ID: f.ID, List: list[2:]}, mail1.End{ID: f.ID, Missing: []envelope.Hash{list[0].Hash()}})
	if f = h.fetch(); len(f.Hashes) != 1 || f.Hashes[0] != list[1].Hash() {
		t.Fatalf("asks again for %x", f.Hashes)
	}
	h.send(mail1.End{ID: f.ID})
	c := <-end
	sameEnvelopes(t, c.got, list[2:])
	if r := c.report; c.err != nil || r.End != history.EndAssumed || r.WithheldCount != 2 || r.LastArrival != 4 {
		t.Errorf("%+v, %v", r, c.err)
	}
	h.bye()
}

func TestMail1BodiesThatWereNotAskedFor(t *testing.T) {
	h := shake(t, mail1Of(nil), server)
	list := three()
	q, end := checkHand(t, h)
	h.send(mail1.HashList{ID: q.ID, Through: 3, List: listing(list[:2]...)}, mail1.End{ID: q.ID, Through: 4})
	f := h.fetch()
	h.send(mail1.Envelopes{ID: f.ID, List: []*envelope.Envelope{list[2], list[0]}}, mail1.Envelopes{ID: f.ID, List: list[1:2]})
	c := <-end
	sameEnvelopes(t, c.got, list[:1])
	if !fault.Is(c.err, fault.Corrupt) || c.report.Discarded[history.NotAsked] != 1 || c.report.Lacking != 1 {
		t.Errorf("%+v", c.report)
	}
	if p, ok := h.read().(mail1.Cancel); !ok || p.ID != f.ID {
		t.Errorf("%+v", p)
	}
	h.bye()
}

// TestMail1AListWithoutEnd is read as far as it was granted, and then given up for what it named.
func TestMail1AListWithoutEnd(t *testing.T) {
	h := shake(t, mail1Of(nil), server)
	q, end := checkHand(t, h)
	through := uint64(0)
	for left := q.Credit; left > 0; {
		p := mail1.HashList{ID: q.ID}
		for range 1000 {
			through++
			p.List = append(p.List, mail1.Listed{Hash: envelope.Hash{byte(through >> 16), byte(through >> 8), byte(through)}, Sent: 1, Size: 1})
		}
		p.Through = through
		_, payload := mail1.Encode(p)
		left -= int64(len(payload))
		h.send(p)
	}
	if p, ok := h.read().(mail1.Cancel); !ok || p.ID != q.ID {
		t.Errorf("%+v", p)
	}
	f := h.fetch()
	h.send(mail1.End{ID: f.ID, Missing: f.Hashes})
	if c := <-end; !fault.Is(c.err, fault.Unavailable) || c.report.WithheldCount != mail1.MaxHashes || len(c.report.Withheld) != history.MaxWithheld {
		t.Errorf("%v, %d withheld", c.err, c.report.WithheldCount)
	}
	h.bye()
}

// TestMail1ASilentLister is given up at each stage.
func TestMail1ASilentLister(t *testing.T) {
	list := three()
	for stage, want := range []time.Duration{10 * time.Second, 30 * time.Second, 10 * time.Second, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := shake(t, mail1Of(nil), server)
			began := time.Now()
			q, end := checkHand(t, h)
			id := q.ID
			if stage > 0 {
				h.send(mail1.HashList{ID: id, Through: 3, List: listing(list...)})
			}
			if stage > 1 {
				h.send(mail1.End{ID: id, Through: 3})
				id = h.fetch().ID
			}
			if stage > 2 {
				h.send(mail1.Envelopes{ID: id, List: list[:1]})
			}
			for cancelled := false; !cancelled; {
				p := h.read()
				if f, ok := p.(mail1.Fetch); ok { // put off, and asked again
					id = f.ID
				}
				c, ok := p.(mail1.Cancel)
				cancelled = ok && c.ID == id && stage != 2
				if stage == 2 && ok {
					break
				}
			}
			if took := time.Since(began); took != want {
				t.Errorf("stage %d: given up after %v", stage, took)
			}
			h.bye()
			if c := <-end; c.err == nil || len(c.got) > 1 {
				t.Errorf("stage %d: %+v", stage, c.report)
			}
		})
	}
}

func TestMail1WhatAServerSaysOfItself(t *testing.T) {
	h := shake(t, mail1Of(nil), mail1.Hello{Version: 1, Flags: mail1.Serves | mail1.MembersOnly | mail1.Member, Epoch: mail1.Epoch{3}, Next: 8, Oldest: 1_600_000_000,
		Keep: 100, Age: 1<<64 - 1, Closing: 1_700_000_000, MaxTopics: 5, MaxHashes: 1 << 40, Name: "post at home"})
	caps := h.conn.transport().Caps()
	if !caps.Lists || caps.Epoch != [8]byte{3} || caps.Next != 8 || caps.MaxTopics != 5 || caps.MaxHashes != mail1.MaxHashes || caps.Name != "post at home" {
		t.Errorf("%+v", caps)
	}
	if !caps.MembersOnly || !caps.Member || caps.Keep != 100*time.Second || caps.Age < 200*365*24*time.Hour || caps.Oldest.Unix() != 1_600_000_000 || caps.Closing.Unix() != 1_700_000_000 {
		t.Errorf("%+v", caps)
	}
	h.send(server)
	h.send(mail1.Held{ID: 1}) // by its answer the hello has been read
	h.read()
	if caps = h.conn.transport().Caps(); caps.Member || !caps.Oldest.IsZero() || !caps.Closing.IsZero() || caps.Age != 0 || caps.MaxTopics != 1000 {
		t.Errorf("%+v", caps)
	}
	h.bye()
}
