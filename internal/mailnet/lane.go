package mailnet

import (
	"sync"

	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/wire"
)

// laneBytes is how much of a connection's answers is handed to its writer at a time, so that several large envelopes do
// not look like a peer that does not read.
const laneBytes = 1 << 20

// lane passes a connection's answers to its writer in order, a bounded amount at a time. The zero lane is empty.
type lane struct {
	mu       sync.Mutex
	queue    []laneItem
	underway int // bytes
	pumping  bool
}

type laneItem struct {
	link  *session.Link
	frame wire.Frame
	done  func(error) // may be nil
}

func (l *lane) push(it laneItem) {
	l.mu.Lock()
	l.queue = append(l.queue, it)
	l.mu.Unlock()
	l.pump()
}

// pump hands over what may go. One goroutine does it at a time, so the order is kept.
func (l *lane) pump() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pumping {
		return // whoever pumps looks again
	}
	l.pumping = true
	for len(l.queue) > 0 && (l.underway == 0 || l.underway+len(l.queue[0].frame.Payload) <= laneBytes) {
		it := l.queue[0]
		l.queue[0] = laneItem{}
		l.queue = l.queue[1:]
		size := len(it.frame.Payload)
		l.underway += size
		l.mu.Unlock()
		it.link.SendHistory(it.frame, func(err error) {
			l.mu.Lock()
			l.underway -= size
			l.mu.Unlock()
			if it.done != nil {
				it.done(err)
			}
			l.pump()
		})
		l.mu.Lock()
	}
	l.pumping = false
}
