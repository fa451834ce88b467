package mailserver_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/mem"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/mailserver"
)

// line is an Outbox whose packets leave later, from another goroutine, or are lost.
type line struct {
	queue chan func(error)
	ends  atomic.Int32
	over  chan struct{}
	sent  atomic.Int32
}

func (l *line) Records(list []archive.Record, done func(error)) {
	l.sent.Add(int32(len(list)))
	l.queue <- done
}

func (l *line) End(mailserver.Outcome) {
	if l.ends.Add(1) == 1 {
		close(l.over)
	}
}

// TestManyAtOnce lets requests, cancellations, losses, new envelopes and Close meet, for the race detector: everything ends.
func TestManyAtOnce(t *testing.T) {
	a, err := mem.Open(mem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	everything(t, a)
	var verdicts atomic.Int64
	s := mailserver.New(mailserver.Options{Archive: a, Now: time.Now, Resolved: func(list []mailserver.Verdict) { verdicts.Add(int64(len(list))) }})
	var all sync.WaitGroup
	for conn := range uint64(8) {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(conn, 1))
			for i := range 40 {
				playOne(t, s, mailserver.Asker{Conn: conn*1000 + uint64(i), Source: "s"}, rnd)
				s.Keep(mails(50, 50)[i], "s")
				s.Refused(envelope.Hash{byte(i)}, "no", "s")
				s.Announce()
			}
		})
	}
	all.Wait()
	s.Close()
	st := s.Stats()
	if verdicts.Load() != 320 || st.Running+st.Waiting != 0 || st.UnderWay != 0 || st.Requests != st.Answered+st.Gone {
		t.Errorf("%d verdicts, %+v", verdicts.Load(), st)
	}
}

// playOne asks, and reads to the end, cancels, loses or leaves.
func playOne(t *testing.T, s *mailserver.Server, who mailserver.Asker, rnd *rand.Rand) {
	l := &line{queue: make(chan func(error), 1000), over: make(chan struct{})}
	ticket := s.Ask(who, prepared(mailserver.Request{Query: archive.Query{Order: archive.ByArrival, UntilArrival: 300}}), l)
	defer s.Left(who.Conn)
	way := rnd.IntN(4)
	for taken := 0; ; taken++ {
		select {
		case done := <-l.queue:
			if way == 1 && taken == 1 {
				done(errors.New("lost"))
				return
			}
			done(nil)
			if way == 2 {
				s.Cancel(ticket)
				return
			}
			if way == 3 {
				return
			}
		case <-l.over:
			for len(l.queue) > 0 {
				(<-l.queue)(nil)
			}
			if l.ends.Load() != 1 || l.sent.Load() != 300 {
				t.Errorf("%d records, ended %d times", l.sent.Load(), l.ends.Load())
			}
			return
		}
	}
}
