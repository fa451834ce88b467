package mailserver

import (
	"context"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Bounds of one turn.
const (
	bareBytes   = 512 << 10 // bodies read in vain for a Bare query
	bareLook    = 1024      // hashes looked up without bodies
	look        = 32        // hashes looked up with bodies: their size is not known before
	packetsMost = 64        // packets

	diskRetry = 10 * time.Second // when to ask again after a failure of the disk
)

// job is one answer in the making. It is used by one goroutine at a time: the machine sees to that.
type job struct {
	id      uint64
	who     Asker
	prepare Prepare
	out     Outbox
	ctx     context.Context
	cancel  context.CancelFunc

	begun      bool
	req        Request
	walk       archive.Walk
	floor      uint64           // when the walk is done, everything up to this arrival was considered
	pending    []archive.Record // read and not sent
	looked     int              // hashes looked up; those of pending included
	lookedFrom int              // the same before the last look
	drained    bool             // nothing follows after pending
	bytes      int64            // sent
	result     Outcome
	retryAfter time.Duration // with a quota that is used up
}

// step is what a turn came to.
type step struct {
	batch *batch // what was sent; nil for nothing
	need  int64  // what the next turn may send
	ended bool   // End was called
}

// turn goes on with an answer: it reads at most one page, and sends what fits into room.
func (s *Server) turn(j *job, room int64) step {
	sent, err := s.goOn(j, room)
	st := step{batch: sent, need: int64(j.req.Packet.Bytes)}
	if len(j.pending) > 0 {
		st.need = j.req.sizeOf(j.pending)
	}
	switch {
	case j.ctx.Err() != nil:
		return st // the machine knows why, and ends it
	case err != nil:
		s.finish(j, err)
	case len(j.pending) > 0 && !j.fits(&j.pending[0], 0, 0):
		j.result.More = true
		s.finish(j, nil)
	case len(j.pending) == 0 && j.drained:
		s.finish(j, nil)
	default:
		return st
	}
	st.ended = true
	return st
}

func (s *Server) goOn(j *job, room int64) (*batch, error) {
	if err := j.ctx.Err(); err != nil {
		return nil, err
	}
	if !j.begun {
		if err := s.begin(j); err != nil {
			return nil, err
		}
	}
	if len(j.pending) == 0 && !j.drained {
		if err := s.read(j); err != nil {
			return nil, err
		}
	}
	if n := j.fitting(room); n > 0 {
		return s.send(j, n)
	}
	return nil, nil
}

// begin prepares the request and asks the gate.
func (s *Server) begin(j *job) error {
	req, err := j.prepare()
	if err != nil {
		return err
	}
	j.begun, j.req, j.prepare = true, req, nil
	j.req.bound()
	if err := j.req.check(); err != nil {
		return err
	}
	return s.gateSays(j, s.gate.Allow(j.who, j.req.Kind))
}

// gateSays notes when a quota that is used up is granted anew: quotas are by the day.
func (s *Server) gateSays(j *job, err error) error {
	if fault.Is(err, fault.Limit) {
		j.retryAfter = untilMidnight(s.now())
	}
	return err
}

func (r *Request) check() error {
	switch {
	case len(r.Query.Topics) > archive.MaxTopic:
		return fault.Errorf("", fault.Limit, "at most %d topics may be asked for at once", archive.MaxTopic)
	case len(r.Hashes) > archive.MaxFind:
		return fault.Errorf("", fault.Limit, "at most %d hashes may be asked for at once", archive.MaxFind)
	}
	return nil
}

// read fills pending with the next records.
func (s *Server) read(j *job) error {
	if j.req.byHash() {
		return s.find(j)
	}
	if j.walk == nil {
		if err := s.openWalk(j); err != nil {
			return err
		}
	}
	page, err := j.walk.Next(j.ctx, j.bound())
	if err != nil {
		return err
	}
	s.alarms.clear(alarmReading)
	j.pending, j.drained = page.Records, page.Done
	return nil
}

// bound is how much to read: one record more than may be sent, to learn whether more follows.
func (j *job) bound() archive.Bound {
	p := j.req.Packet
	b := archive.Bound{Count: min(MaxCount, p.Count*packetsMost), Bytes: p.Bytes}
	if j.req.Bare {
		b.Bytes = max(b.Bytes, bareBytes)
		b.Count = min(b.Count, max(1, p.Bytes/BareSize))
	}
	if j.req.Limit > 0 {
		b.Count = min(b.Count, j.req.Limit-j.result.Count+1)
	}
	if j.req.Budget > 0 && j.bytes >= j.req.Budget {
		b.Count = 1
	}
	return b
}

// openWalk starts the walk, or goes on behind what was read when it was parked.
func (s *Server) openWalk(j *job) error {
	q := j.req.Query
	if last := j.result.Last; last.Arrival != 0 {
		if q.Order == archive.ByArrival {
			q.AfterArrival = last.Arrival
		} else {
			q.After = last.Key()
		}
	}
	j.floor = s.archive.Stats().Next - 1
	if q.UntilArrival != 0 {
		j.floor = min(j.floor, q.UntilArrival)
	}
	walk, err := s.archive.Walk(j.ctx, q)
	j.walk = walk
	return err
}

// find looks the next hashes up.
func (s *Server) find(j *job) error {
	n := look
	if j.req.Bare {
		n = bareLook
	}
	chunk := j.req.Hashes[j.looked:min(j.looked+n, len(j.req.Hashes))]
	list, err := s.archive.Find(j.ctx, chunk, !j.req.Bare)
	if err != nil {
		return err
	}
	s.alarms.clear(alarmReading)
	j.lookedFrom = j.looked
	j.looked += len(chunk)
	j.drained = j.looked == len(j.req.Hashes)
	j.pending = slices.DeleteFunc(list, func(r archive.Record) bool { return r.Arrival == 0 })
	return nil
}

// fits reports whether limit and budget leave room for a record, after count more records of bytes together.
func (j *job) fits(r *archive.Record, count int, bytes int64) bool {
	count += j.result.Count
	if j.req.Limit > 0 && count >= j.req.Limit {
		return false
	}
	return j.req.Budget <= 0 || count == 0 || j.bytes+bytes+int64(j.req.size(r)) <= j.req.Budget
}

// fitting is how many of pending may be sent now.
func (j *job) fitting(room int64) int {
	bytes := int64(0)
	for i := range j.pending {
		r := &j.pending[i]
		if !j.fits(r, i, bytes) || bytes+int64(j.req.size(r)) > room {
			return i
		}
		bytes += int64(j.req.size(r))
	}
	return len(j.pending)
}

// send puts the first records of pending into the outbox. With an error not all of them were sent.
func (s *Server) send(j *job, n int) (*batch, error) {
	b := newBatch(s, j.id)
	for n > 0 {
		count, bytes := j.req.cut(j.pending[:n])
		if err := j.ctx.Err(); err != nil {
			return b, err
		}
		if err := s.gateSays(j, s.gate.Spend(j.who, bytes)); err != nil {
			return b, err
		}
		packet := j.pending[:count:count]
		j.pending = j.pending[count:]
		n -= count
		j.bytes += int64(bytes)
		j.result.Count += count
		j.result.Last = packet[count-1]
		j.result.Last.Raw = nil
		b.add(packet, bytes)
		j.out.Records(packet, b.done)
	}
	return b, nil
}

// cut is how many of the first records make up a packet, and their size.
func (r *Request) cut(list []archive.Record) (count, bytes int) {
	for i := range list {
		size := r.size(&list[i])
		if i > 0 && (i >= r.Packet.Count || bytes+size > r.Packet.Bytes) {
			return i, bytes
		}
		bytes += size
	}
	return len(list), bytes
}

func (r *Request) sizeOf(list []archive.Record) (n int64) {
	for i := range list {
		n += int64(r.size(&list[i]))
	}
	return n
}

// finish ends an answer within its turn.
func (s *Server) finish(j *job, err error) {
	j.closeWalk()
	if err != nil {
		s.alarms.unread(err)
	}
	if j.retryAfter == 0 {
		j.retryAfter = retryAfter(err)
	}
	s.sayEnd(j, err, j.retryAfter)
}

// sayEnd calls End.
func (s *Server) sayEnd(j *job, err error, retryAfter time.Duration) {
	r := j.result
	r.Err, r.RetryAfter = err, retryAfter
	r.Looked = j.lookedAt()
	if j.req.Query.Order == archive.ByArrival && !j.req.byHash() {
		r.Through = j.through(err)
	}
	if err != nil {
		r.More = false
	}
	s.counts.ended(err)
	j.cancel()
	j.out.End(r)
}

// through is the arrival up to which everything was considered: what was sent, and what was read in vain behind it.
func (j *job) through(err error) uint64 {
	switch {
	case len(j.pending) > 0:
		return max(j.req.Query.AfterArrival, j.pending[0].Arrival-1)
	case err == nil:
		return max(j.req.Query.AfterArrival, j.result.Last.Arrival, j.floor)
	default:
		return max(j.req.Query.AfterArrival, j.result.Last.Arrival)
	}
}

// lookedAt is how many hashes were looked up and, where stored, sent.
func (j *job) lookedAt() int {
	if len(j.pending) == 0 {
		return j.looked
	}
	if i := slices.IndexFunc(j.req.Hashes[j.lookedFrom:], func(h envelope.Hash) bool { return h == j.pending[0].Hash }); i >= 0 {
		return j.lookedFrom + i
	}
	return j.looked
}

func (j *job) closeWalk() {
	if j.walk != nil {
		j.walk.Close()
		j.walk = nil
	}
}

// retryAfter is when asking again may help after an error.
func retryAfter(err error) time.Duration {
	switch fault.KindOf(err) {
	case fault.Busy:
		return busyRetry
	case fault.Unavailable:
		return diskRetry
	default:
		return 0
	}
}
