package mailnet

import (
	"sync"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/wire"
)

// laneBytes is how much of a connection's answers is handed to its writer at a time, so that several large envelopes do
// not look like a peer that does not read.
const laneBytes = 1 << 20

// laneEnds bounds the ends of answers that wait behind that. Their bodies are bounded by the mail server, but a refusal
// costs a peer nothing: whoever asks on and does not read is cut.
const laneEnds = 1 << 12

// lane passes a connection's answers to its writer in order, a bounded amount at a time. The zero lane is empty.
type lane struct {
	mu       sync.Mutex
	queue    []laneItem
	ends     int // of answers, in the queue
	underway int // bytes
	pumping  bool
}

type laneItem struct {
	link  *session.Link
	frame wire.Frame
	done  func(error) // nil for the end of an answer
}

func (l *lane) push(it laneItem) {
	l.mu.Lock()
	full := it.done == nil && l.ends == laneEnds
	if !full {
		l.queue = append(l.queue, it)
		l.count(it, 1)
	}
	l.mu.Unlock()
	if full {
		// Close calls the transport, and the caller may hold a lock of its own.
		go it.link.Session().Close(fault.Errorf("mail request", fault.Limit, "the peer does not read: %d ends of answers wait for it", laneEnds))
		return
	}
	l.pump()
}

// count notes that items came or went. The lock is held.
func (l *lane) count(it laneItem, n int) {
	if it.done == nil {
		l.ends += n
	}
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
		l.count(it, -1)
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
