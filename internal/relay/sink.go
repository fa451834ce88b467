package relay

import (
	"sync"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

// Bounds of the queue to the sinks. Above sinkHigh peers are read more slowly; own posts and what is under way may go
// beyond it by what all peers send within one pause.
const (
	sinkHigh  = 8192
	sinkPause = 20 * time.Millisecond
)

// offer is an envelope for the sinks, or what became of one that was offered before.
type offer struct {
	env      *envelope.Envelope
	pow      float64
	direct   bool
	progress *gossip.Progress
}

// sinkQueue hands envelopes to the sinks on a goroutine of its own, in order.
type sinkQueue struct {
	sinks    []Sink
	progress func(envelope.Hash, int)
	done     chan struct{}

	mu     sync.Mutex
	cond   *sync.Cond
	queue  []offer
	closed bool
}

func newSinkQueue(sinks []Sink, progress func(envelope.Hash, int)) *sinkQueue {
	q := &sinkQueue{sinks: sinks, progress: progress, done: make(chan struct{})}
	q.cond = sync.NewCond(&q.mu)
	go q.run()
	return q
}

func (q *sinkQueue) push(o offer) {
	q.mu.Lock()
	q.queue = append(q.queue, o)
	q.mu.Unlock()
	q.cond.Signal()
}

// pressure returns for how long a peer should not be read.
func (q *sinkQueue) pressure() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) > sinkHigh {
		return sinkPause
	}
	return 0
}

func (q *sinkQueue) run() {
	defer close(q.done)
	var batch []offer
	for {
		q.mu.Lock()
		for len(q.queue) == 0 && !q.closed {
			q.cond.Wait()
		}
		if len(q.queue) == 0 {
			q.mu.Unlock()
			return
		}
		clear(batch)
		batch, q.queue = q.queue, batch[:0]
		q.mu.Unlock()
		for _, o := range batch {
			q.deliver(o)
		}
	}
}

func (q *sinkQueue) deliver(o offer) {
	if p := o.progress; p != nil {
		q.progress(p.Hash, p.Peers)
		return
	}
	for _, s := range q.sinks {
		s.Offer(o.env, o.pow, o.direct)
	}
}

// close waits until everything queued has been handed over.
func (q *sinkQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cond.Signal()
	<-q.done
}
