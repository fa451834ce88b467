package inbox

import (
	"context"
	"sync"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/store"
)

// Bounds of live mail on its way into the store.
const (
	maxLive      = 1000    // envelopes of one transaction
	maxLiveBytes = 8 << 20 // that wait; above it the relay is held up
)

// door is the one way into the store: one transaction after the other. Mail from servers and what the machines want to have
// written comes by put, in order; live mail by offer, which takes as much into one transaction as waits.
type door struct {
	store  Store
	kept   func([]*envelope.Envelope, store.Kept, error) // of live mail
	closed chan struct{}

	mu    sync.Mutex
	cond  *sync.Cond
	jobs  []job
	live  []*envelope.Envelope
	bytes int64 // of live, what is being written included
	over  bool
}

type job struct {
	delivery store.Delivery
	done     func(store.Kept, error)
}

func newDoor(s Store, kept func([]*envelope.Envelope, store.Kept, error)) *door {
	d := &door{store: s, kept: kept, closed: make(chan struct{})}
	d.cond = sync.NewCond(&d.mu)
	return d
}

// put has a delivery written; done is told on the door's goroutine.
func (d *door) put(delivery store.Delivery, done func(store.Kept, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.jobs = append(d.jobs, job{delivery, done})
	d.cond.Broadcast()
}

// offer takes a live envelope, and waits while too much waits.
func (d *door) offer(e *envelope.Envelope) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.bytes > maxLiveBytes && !d.over {
		d.cond.Wait()
	}
	if d.over {
		return
	}
	d.live = append(d.live, e)
	d.bytes += int64(e.Size())
	d.cond.Broadcast()
}

// close writes everything that waits now, and ends run.
func (d *door) close() {
	d.mu.Lock()
	d.over = true
	d.cond.Broadcast()
	d.mu.Unlock()
	<-d.closed
}

// run writes until close.
func (d *door) run() {
	defer close(d.closed)
	for {
		jobs, live, ok := d.next()
		if !ok {
			return
		}
		for _, j := range jobs {
			kept, err := d.store.Deliver(context.Background(), j.delivery)
			if j.done != nil {
				j.done(kept, err)
			}
		}
		if len(live) > 0 {
			kept, err := d.store.Deliver(context.Background(), store.Delivery{Envelopes: live})
			d.written(live)
			d.kept(live, kept, err)
		}
	}
}

// next waits for something to write.
func (d *door) next() (jobs []job, live []*envelope.Envelope, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.jobs) == 0 && len(d.live) == 0 {
		if d.over {
			return nil, nil, false
		}
		d.cond.Wait()
	}
	jobs, d.jobs = d.jobs, nil
	live, d.live = d.live, nil
	if len(live) > maxLive {
		live, d.live = live[:maxLive:maxLive], live[maxLive:]
	}
	return jobs, live, true
}

func (d *door) written(list []*envelope.Envelope) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range list {
		d.bytes -= int64(e.Size())
	}
	d.cond.Broadcast()
}
