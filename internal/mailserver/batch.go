package mailserver

import (
	"sync/atomic"

	"github.com/restante-im/restante/internal/archive"
)

// batch is what one turn sent: the machine is told when all of it has left.
type batch struct {
	server  *Server
	id      uint64
	packets [][]archive.Record
	bytes   int64
	open    atomic.Int32 // packets under way, and one for the turn
	lost    atomic.Bool
}

func newBatch(s *Server, id uint64) *batch {
	b := &batch{server: s, id: id}
	b.open.Store(1)
	return b
}

// add counts one more packet, before it is sent.
func (b *batch) add(packet []archive.Record, bytes int) {
	b.packets = append(b.packets, packet)
	b.bytes += int64(bytes)
	b.open.Add(1)
}

// done is called for each packet, and once when the machine knows of the turn.
func (b *batch) done(err error) {
	if err != nil {
		b.lost.Store(true)
	}
	if b.open.Add(-1) > 0 {
		return
	}
	if !b.lost.Load() {
		b.server.served.add(b.packets)
	}
	b.server.event(drained{b.id, b.bytes, b.lost.Load()})
}
