package mailserver

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/fault"
)

// Server is a mail server. Make it with New.
//
// The machine is stepped under mu by whoever has an event. Turns are taken by workers, which call Records and End;
// what else ends is left to the clerk, so that no caller of ours ever finds itself in an Outbox.
type Server struct {
	archive   archive.Archive
	gate      Gate
	now       func() time.Time
	alarms    *alarms
	counts    counts
	served    served
	memory    *memory
	archivist *archivist
	policy    policy

	mu      sync.Mutex
	machine *machine
	jobs    map[uint64]*job
	tickets uint64
	turns   []turn    // for the workers
	work    sync.Cond // turns or stopped
	ends    []ending  // for the clerk
	poke    chan struct{}
	alarm   time.Time // until when the clerk sleeps; zero for ever
	stopped bool      // the workers may go
	silent  bool      // the clerk has gone
	closing sync.Once
	workers sync.WaitGroup
	clerk   sync.WaitGroup
}

// ending is what the clerk does for a job outside of its turn.
type ending struct {
	job  *job
	walk archive.Walk // to be closed, if any
	end  end          // to be said, if it has an error
}

const leastWorkers = 4

// New makes a Server and starts its goroutines; Close ends them.
func New(o Options) *Server {
	if o.Workers <= 0 {
		o.Workers = max(leastWorkers, 2*runtime.GOMAXPROCS(0))
	}
	if o.Gate == nil {
		o.Gate = Open{}
	}
	s := &Server{
		archive: o.Archive, gate: o.Gate, now: o.Now,
		alarms:  newAlarms(o.Health, o.Log),
		memory:  newMemory(o),
		machine: newMachine(o.Limits, o.Workers),
		jobs:    map[uint64]*job{},
		poke:    make(chan struct{}, 1),
	}
	s.work.L = &s.mu
	s.policy.rules = o.Rules
	s.archivist = newArchivist(s, o)
	for range o.Workers {
		s.workers.Go(s.takeTurns)
	}
	s.clerk.Go(s.clerkLoop)
	return s
}

// Ask submits a request and returns at once, with a ticket for Cancel. The answer leaves through out.
func (s *Server) Ask(who Asker, prepare Prepare, out Outbox) (ticket uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	j := &job{who: who, prepare: prepare, out: out, ctx: ctx, cancel: cancel}
	s.counts.requests.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets++
	j.id = s.tickets
	if s.silent {
		go s.sayEnd(j, errClosed(), 0)
		return j.id
	}
	s.jobs[j.id] = j
	s.step(asked{j.id, who})
	return j.id
}

// Cancel takes a request back: what is not yet under way is not sent. A call of Records or End that has begun may still
// be running when it returns. An unknown ticket is ignored.
func (s *Server) Cancel(ticket uint64) { s.event(cancelled{ticket}) }

// Left says that a connection is gone: all its requests are taken back, and no done is expected any more.
func (s *Server) Left(conn uint64) { s.event(left{conn}) }

// SetLimits replaces the limits, also for what is open.
func (s *Server) SetLimits(l Limits) { s.event(limited{l}) }

func (s *Server) event(ev event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step(ev)
}

// step steps the machine and hands out what it wants done. The caller holds mu.
func (s *Server) step(ev event) {
	for _, a := range s.machine.Step(s.now(), ev) {
		switch a := a.(type) {
		case turn:
			s.turns = append(s.turns, a)
			s.work.Signal()
		case abort:
			s.jobs[a.id].cancel()
		case park:
			s.leave(s.jobs[a.id], end{})
		case end:
			j := s.jobs[a.id]
			delete(s.jobs, a.id)
			if a.err == nil {
				j.cancel()
				s.counts.gone.Add(1)
			}
			s.leave(j, a)
		}
	}
	at := s.machine.Deadline()
	if !at.IsZero() && (s.alarm.IsZero() || at.Before(s.alarm)) {
		s.wakeClerk()
	}
}

// leave has the clerk close the walk of a job, and say its end.
func (s *Server) leave(j *job, e end) {
	if j.walk != nil || e.err != nil {
		s.ends = append(s.ends, ending{j, j.walk, e})
		j.walk = nil
		s.wakeClerk()
	}
}

func (s *Server) wakeClerk() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// takeTurns is a worker.
func (s *Server) takeTurns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.turns) == 0 {
			if s.stopped {
				return
			}
			s.work.Wait()
		}
		t := s.turns[0]
		s.turns = s.turns[1:]
		s.takeTurn(t)
	}
}

// takeTurn lets go of mu while the turn lasts.
func (s *Server) takeTurn(t turn) {
	j := s.jobs[t.id]
	s.mu.Unlock()
	start := s.now()
	st := s.turn(j, t.room)
	ev := turned{id: t.id, work: s.now().Sub(start), need: st.need, ended: st.ended}
	if st.batch != nil {
		ev.sent = st.batch.bytes
		s.counts.sent(st.batch)
	}
	s.counts.work.Add(int64(ev.work))
	s.mu.Lock()
	if st.ended {
		delete(s.jobs, t.id)
	}
	s.step(ev)
	if st.batch != nil {
		s.mu.Unlock()
		st.batch.done(nil)
		s.mu.Lock()
	}
}

// clerkLoop says what ends outside of turns, and wakes the machine up when it is due.
func (s *Server) clerkLoop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.mu.Lock()
		if now := s.now(); !s.alarm.IsZero() && !now.Before(s.alarm) {
			s.step(tick{})
		}
		list, silent := s.ends, s.silent
		s.ends = nil
		s.alarm = s.machine.Deadline()
		wait := time.Hour
		if !s.alarm.IsZero() {
			wait = s.alarm.Sub(s.now())
		}
		s.mu.Unlock()
		for _, e := range list {
			s.end(e)
		}
		if len(list) > 0 {
			continue
		}
		if silent {
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.poke:
		}
	}
}

func (s *Server) end(e ending) {
	if e.walk != nil {
		e.walk.Close()
	}
	if e.end.err != nil {
		s.sayEnd(e.job, e.end.err, e.end.retryAfter)
	}
}

func errClosed() error { return fault.E("", fault.Closed, nil, "the mail server has shut down") }

// Close refuses new requests, ends open answers with a Closed fault, waits until everything that was given to Keep has
// its verdict, and ends the goroutines. A second call does nothing.
func (s *Server) Close() {
	s.closing.Do(func() {
		s.event(closed{})
		s.archivist.close()
		s.mu.Lock()
		s.stopped = true
		s.work.Broadcast()
		s.mu.Unlock()
		s.workers.Wait()
		s.mu.Lock()
		s.silent = true
		s.wakeClerk()
		s.mu.Unlock()
		s.clerk.Wait()
	})
}
