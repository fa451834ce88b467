package mailserver

import (
	"sync/atomic"
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// Stats count since the Server started, but for what is open now.
type Stats struct {
	Running, Waiting int   // requests open now
	UnderWay         int64 // bytes of answers under way now

	Requests uint64 // asked
	Answered uint64 // ended without an error
	Busy     uint64 // refused because too much was open
	Limited  uint64 // refused or ended by a limit or quota
	Denied   uint64 // refused by the gate
	Invalid  uint64 // ended because they were wrong
	Stalled  uint64 // ended because the reader took nothing
	Gone     uint64 // taken back, the connection was lost, or we closed
	Failed   uint64 // ended by an error of ours or the archive's

	Records uint64        // sent
	Bytes   uint64        // of Raw sent; BareSize for each bare record
	Today   int64         // bytes counted towards BytesPerDay
	Work    time.Duration // spent on turns

	Kept, KeptBytes uint64 // envelopes stored, without duplicates
	Duplicates      uint64 // given to Keep and stored before
	Declined        uint64
	Retried         uint64 // envelopes that could not be stored and were reported Retry
	Puts            uint64 // batches: Kept/Puts is the average size of one
	Keeping         int    // given to Keep and without verdict now
}

// counts are the counters of answering.
type counts struct {
	requests, answered, busy, limited, denied, invalid, stalled, gone, failed atomic.Uint64

	records, bytes atomic.Uint64
	work           atomic.Int64
}

func (c *counts) sent(b *batch) {
	n := 0
	for _, p := range b.packets {
		n += len(p)
	}
	c.records.Add(uint64(n))
	c.bytes.Add(uint64(b.bytes))
}

// ended counts how an answer ended.
func (c *counts) ended(err error) {
	counter := &c.failed
	if err == nil {
		counter = &c.answered
	} else {
		switch fault.KindOf(err) {
		case fault.Busy:
			counter = &c.busy
		case fault.Limit:
			counter = &c.limited
		case fault.Denied:
			counter = &c.denied
		case fault.Invalid, fault.NotFound:
			counter = &c.invalid
		case fault.Timeout:
			counter = &c.stalled
		case fault.Closed:
			counter = &c.gone
		}
	}
	counter.Add(1)
}

// Stats counts. It is cheap.
func (s *Server) Stats() Stats {
	c := &s.counts
	st := Stats{
		Requests: c.requests.Load(), Answered: c.answered.Load(), Busy: c.busy.Load(), Limited: c.limited.Load(),
		Denied: c.denied.Load(), Invalid: c.invalid.Load(), Stalled: c.stalled.Load(), Gone: c.gone.Load(),
		Failed: c.failed.Load(), Records: c.records.Load(), Bytes: c.bytes.Load(), Work: time.Duration(c.work.Load()),
	}
	s.archivist.stats(&st)
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Running, st.Waiting = s.machine.running, s.machine.open-s.machine.running
	st.UnderWay, st.Today = s.machine.underWay, s.machine.today
	return st
}
