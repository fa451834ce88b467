package inbox

import (
	"context"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// actor runs functions one after the other on one goroutine: what they touch needs no lock. Functions come without
// waiting, so that whoever brings news under a lock of its own cannot be held up; who brings how much is bounded at the source
// (credit of answers, posts that are followed up, calls of programs).
type actor struct {
	mu     sync.Mutex
	queue  []func()
	signal chan struct{} // of capacity 1
	over   chan struct{} // closed when nothing is run any more
}

func newActor() *actor { return &actor{signal: make(chan struct{}, 1), over: make(chan struct{})} }

// post has f run later.
func (a *actor) post(f func()) {
	a.mu.Lock()
	a.queue = append(a.queue, f)
	a.mu.Unlock()
	select {
	case a.signal <- struct{}{}:
	default:
	}
}

// do runs f and waits for it. The error is ctx's, or of kind Closed when the actor has stopped; f may then run or not.
func (a *actor) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	a.post(func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-a.over:
		return errClosed
	}
}

var errClosed = fault.E("inbox", fault.Closed, nil, "the inbox is closed: the program stops")

// run runs what is posted until ctx ends. due says when tick must be called next; it is asked after each round.
func (a *actor) run(ctx context.Context, clock func() time.Time, due func() (time.Time, bool), tick func()) {
	defer close(a.over)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		a.mu.Lock()
		list := a.queue
		a.queue = nil
		a.mu.Unlock()
		for _, f := range list {
			f()
		}
		var wake <-chan time.Time
		if at, ok := due(); ok {
			timer.Reset(max(at.Sub(clock()), 0))
			wake = timer.C
		}
		select {
		case <-a.signal:
		case <-wake:
			tick()
		case <-ctx.Done():
			return
		}
	}
}
