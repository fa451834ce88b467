package mailserver_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/archive/mem"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/mailserver"
)

// shelf is an archive that has records ready: what is measured is the server alone.
type shelf struct {
	archive.Archive
	records []archive.Record
}

type shelfWalk struct{ rest []archive.Record }

func (s *shelf) Walk(context.Context, archive.Query) (archive.Walk, error) {
	return &shelfWalk{s.records}, nil
}

func (w *shelfWalk) Next(_ context.Context, b archive.Bound) (archive.Page, error) {
	n, bytes := 0, 0
	for n < len(w.rest) && n < b.Count && (n == 0 || bytes+len(w.rest[n].Raw) <= b.Bytes) {
		bytes += len(w.rest[n].Raw)
		n++
	}
	p := archive.Page{Records: w.rest[:n], Done: n == len(w.rest)}
	w.rest = w.rest[n:]
	return p, nil
}

func (*shelfWalk) Close() {}

// sink is an Outbox from which everything leaves at once.
type sink struct{ done chan mailserver.Outcome }

func (s *sink) Records(_ []archive.Record, done func(error)) { done(nil) }
func (s *sink) End(o mailserver.Outcome)                     { s.done <- o }

func BenchmarkAsk(b *testing.B) {
	a, err := mem.Open(mem.Options{})
	if err != nil {
		b.Fatal(err)
	}
	records := make([]archive.Record, 20_000)
	for i := range records {
		records[i] = archive.Record{Arrival: uint64(i + 1), Raw: make([]byte, 814)}
	}
	for _, count := range []int{0, 1} {
		for _, askers := range []int{1, 8} {
			b.Run(fmt.Sprintf("count=%d/askers=%d", count, askers), func(b *testing.B) {
				s := mailserver.New(mailserver.Options{Archive: &shelf{a, records}, Now: time.Now})
				defer s.Close()
				req := prepared(mailserver.Request{Packet: archive.Bound{Count: count}})
				for b.Loop() {
					var all sync.WaitGroup
					for i := range askers {
						all.Go(func() {
							out := &sink{make(chan mailserver.Outcome, 1)}
							s.Ask(mailserver.Asker{Conn: uint64(i), Source: fmt.Sprint(i)}, req, out)
							if o := <-out.done; o.Count != len(records) {
								b.Errorf("%+v", o)
							}
						})
					}
					all.Wait()
				}
				b.ReportMetric(float64(b.N*askers*len(records))/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// BenchmarkAskOne measures what a request costs that finds one envelope.
func BenchmarkAskOne(b *testing.B) {
	a, err := mem.Open(mem.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s := mailserver.New(mailserver.Options{Archive: &shelf{a, []archive.Record{{Arrival: 1, Raw: make([]byte, 814)}}}, Now: time.Now})
	defer s.Close()
	out := &sink{make(chan mailserver.Outcome, 1)}
	for b.Loop() {
		s.Ask(friend, prepared(mailserver.Request{}), out)
		<-out.done
	}
}

func BenchmarkKeep(b *testing.B) {
	a, err := mem.Open(mem.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var all sync.WaitGroup
	s := mailserver.New(mailserver.Options{Archive: &nowhere{a}, Now: time.Now, Resolved: func(list []mailserver.Verdict) { all.Add(-len(list)) }})
	defer s.Close()
	list := make([]*envelope.Envelope, 10_000)
	for i := range list {
		list[i] = archivetest.Mail(uint64(i), 1000, archivetest.Topic(i), 780)
	}
	for b.Loop() {
		all.Add(len(list))
		for _, e := range list {
			s.Keep(e, "10.1.2")
		}
		all.Wait()
	}
	b.ReportMetric(float64(b.N*len(list))/b.Elapsed().Seconds(), "envelopes/s")
}

// nowhere accepts everything and keeps nothing.
type nowhere struct{ archive.Archive }

func (*nowhere) Put(_ context.Context, list []*envelope.Envelope) ([]archive.Receipt, error) {
	return make([]archive.Receipt, len(list)), nil
}
