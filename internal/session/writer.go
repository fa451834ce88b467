package session

import (
	"sync"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/wire"
)

// MaxQueued bounds the bytes that wait to be written on a connection, each lane for itself. Whoever exceeds it does not
// read what we send and is cut.
const MaxQueued = 4 << 20

// item is one packet to write: either encoded, or envelopes that the writer encodes.
type item struct {
	link  *Link
	frame wire.Frame
	list  []*envelope.Envelope
	size  int
	ready func(payload []byte) // before it is written
	sent  func()               // after a success
	done  func(error)          // in any case
}

// lane is a queue of packets.
type lane struct {
	items []item
	bytes int
}

// writer writes the packets of all links of a connection, gossip and control first, history behind.
type writer struct {
	session *Session
	once    sync.Once

	mu      sync.Mutex
	first   lane
	history lane
	wake    chan struct{}
}

func (w *writer) init(s *Session) {
	w.session = s
	w.wake = make(chan struct{}, 1)
}

func (w *writer) start() { w.once.Do(func() { go w.run() }) }

// Send queues packets on the lane of gossip and control, in order.
func (l *Link) Send(frames ...wire.Frame) {
	for _, f := range frames {
		l.enqueue(item{frame: f})
	}
}

// SendHello queues our first packet.
func (l *Link) SendHello(h wire.Hello) {
	code, payload := l.dialect.EncodeHello(h)
	l.enqueue(item{frame: wire.Frame{Code: code, Payload: payload}})
}

// SendEnvelopes queues one packet of envelopes, of size bytes, on the lane of gossip and control. The list must not
// change any more; it is encoded by the writer. ready, unless nil, is called with the payload before the packet is
// written, so that no answer can come before it; sent when the packet has been handed to the network. Neither is called
// if the connection ends before.
func (l *Link) SendEnvelopes(list []*envelope.Envelope, size int, ready func(payload []byte), sent func()) {
	l.enqueue(item{list: list, size: size, ready: ready, sent: sent})
}

// SendHistory queues a packet behind all gossip. done, if not nil, is called once with the outcome; it paces the
// producer.
func (l *Link) SendHistory(f wire.Frame, done func(error)) {
	l.session.writer.push(&l.session.writer.history, item{link: l, frame: f, size: len(f.Payload), done: done})
}

func (l *Link) enqueue(it item) {
	it.link = l
	if it.list == nil {
		it.size = len(it.frame.Payload)
	}
	l.session.writer.push(&l.session.writer.first, it)
}

func (w *writer) push(q *lane, it item) {
	w.mu.Lock()
	waiting := q.bytes
	full := waiting > 0 && waiting+it.size > MaxQueued
	if !full {
		q.items = append(q.items, it)
		q.bytes += it.size
	}
	w.mu.Unlock()
	if full {
		err := fault.Errorf("session", fault.Limit, "the peer does not read: %d bytes wait for it", waiting)
		if it.done != nil {
			it.done(err)
		}
		// Close calls the transport, and the caller may hold a lock of its own.
		go w.session.Close(err)
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// pop takes all of the first lane, or else one packet of the history lane.
func (w *writer) pop(batch []item) []item {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.first.items) > 0 {
		batch = append(batch, w.first.items...)
		clear(w.first.items)
		w.first = lane{items: w.first.items[:0]}
		return batch
	}
	if len(w.history.items) > 0 {
		batch = append(batch, w.history.items[0])
		w.history.bytes -= w.history.items[0].size
		w.history.items[0] = item{}
		w.history.items = w.history.items[1:]
	}
	return batch
}

func (w *writer) run() {
	var batch []item
	for {
		batch = w.pop(batch[:0])
		if len(batch) == 0 {
			select {
			case <-w.wake:
				continue
			case <-w.session.done:
				w.drop()
				return
			}
		}
		for i, it := range batch {
			batch[i] = item{}
			err := w.write(it)
			if it.done != nil {
				it.done(err)
			}
			if err != nil {
				w.session.Close(err)
			}
		}
	}
}

func (w *writer) write(it item) error {
	if reason := w.session.Reason(); reason != nil {
		return reason
	}
	if it.list != nil {
		it.frame = it.link.dialect.EnvelopesFrame(it.list)
	}
	if it.ready != nil {
		it.ready(it.frame.Payload)
	}
	if err := it.link.transport.WritePacket(it.frame.Code, it.frame.Payload); err != nil {
		return err
	}
	if it.sent != nil {
		it.sent()
	}
	return nil
}

// drop tells the producers of history that nothing more goes out.
func (w *writer) drop() {
	w.mu.Lock()
	items := append(w.first.items, w.history.items...)
	w.first, w.history = lane{}, lane{}
	w.mu.Unlock()
	for _, it := range items {
		if it.done != nil {
			it.done(w.session.Reason())
		}
	}
}
