package peerproc

import (
	"context"
	"sync"
)

// maxLog bounds what is kept of a helper's reports; the oldest go first. Tests of millions of messages use raw ends.
const maxLog = 1 << 20

// log keeps what a process reported, in order, for any number of readers at their own pace.
type log[T any] struct {
	mu      sync.Mutex
	items   []T
	dropped int // items that are no longer kept
	err     error
	grown   chan struct{} // closed at the next change
}

func newLog[T any]() *log[T] { return &log[T]{grown: make(chan struct{})} }

func (l *log[T]) add(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.items) == maxLog {
		l.items = append(l.items[:0], l.items[maxLog/2:]...)
		l.dropped += maxLog / 2
	}
	l.items = append(l.items, v)
	l.wake()
}

// end makes readers that have seen everything fail with err.
func (l *log[T]) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	l.wake()
}

func (l *log[T]) wake() {
	close(l.grown)
	l.grown = make(chan struct{})
}

// next returns the first item at or after position at that matches, and the position after it.
func (l *log[T]) next(ctx context.Context, at int, match func(T) bool) (v T, after int, err error) {
	for {
		l.mu.Lock()
		for at = max(at, l.dropped); at < l.dropped+len(l.items); at++ {
			if v := l.items[at-l.dropped]; match(v) {
				l.mu.Unlock()
				return v, at + 1, nil
			}
		}
		grown, err := l.grown, l.err
		l.mu.Unlock()
		if err != nil {
			return v, at, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return v, at, ctx.Err()
		}
	}
}

// position is that after the last item.
func (l *log[T]) position() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped + len(l.items)
}

// count is how many kept items match.
func (l *log[T]) count(match func(T) bool) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.items {
		if match(v) {
			n++
		}
	}
	return n
}
