package segment

import (
	"context"
	"sync"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// queue holds what waits for the committer. It has no bound of its own: each request has a caller that waits.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	wake    chan struct{} // has a token when there may be something to do
	closed  bool
}

// request is a Put, or something else that only the committer may do.
type request struct {
	ctx      context.Context
	list     []*envelope.Envelope
	bytes    int64 // that the list takes in a slice
	do       func() error
	receipts []archive.Receipt
	fresh    bool // some of the list become durable with this commit
	err      error
	done     chan struct{}
}

func (q *queue) init() { q.wake = make(chan struct{}, 1) }

// submit hands a request to the committer and waits until it is done or ctx ends.
func (q *queue) submit(op string, r *request) error {
	if err := r.ctx.Err(); err != nil {
		return errGone(op, err)
	}
	r.done = make(chan struct{})
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return errClosed(op)
	}
	q.waiting = append(q.waiting, r)
	q.mu.Unlock()
	q.signal()
	select {
	case <-r.done:
		return r.err
	case <-r.ctx.Done():
		return errGone(op, r.ctx.Err())
	}
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take waits for requests, and returns either one that is no Put, or Puts of at most limit bytes together; a larger one
// comes alone. It returns nothing when the queue is closed and empty.
func (q *queue) take(limit int64) []*request {
	for {
		q.mu.Lock()
		if n := q.ready(limit); n > 0 {
			batch := append([]*request(nil), q.waiting[:n]...)
			rest := copy(q.waiting, q.waiting[n:])
			clear(q.waiting[rest:])
			q.waiting = q.waiting[:rest]
			q.mu.Unlock()
			return batch
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil
		}
		<-q.wake
	}
}

// ready returns how many requests make the next batch.
func (q *queue) ready(limit int64) int {
	var sum int64
	for i, r := range q.waiting {
		sum += r.bytes
		switch {
		case r.do != nil:
			return max(i, 1)
		case i > 0 && sum > limit:
			return i
		}
	}
	return len(q.waiting)
}

// close lets take run dry.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

// perform has the committer call do, between two commits. Once it waits, it waits to the end.
func (a *Archive) perform(ctx context.Context, op string, do func() error) error {
	if err := ctx.Err(); err != nil {
		return errGone(op, err)
	}
	return a.queue.submit(op, &request{ctx: context.WithoutCancel(ctx), do: do})
}

// errGone is for callers whose context ended.
func errGone(op string, cause error) error {
	return fault.E(op, fault.Closed, cause, "the caller went away")
}
