package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/relay"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/wire"
)

// The same batches as the peer's helper takes.
const (
	acceptBatch  = 4096
	acceptBundle = 64
)

// acceptRates measures the way from a packet's payload to the pool and the filters: all of a node but its sockets.
func acceptRates(rounds int) error {
	for _, size := range sizes {
		var packets []wire.Frame
		prepare := func() error {
			packets = acceptPackets(size)
			runtime.GC()
			return nil
		}
		err := rate(fmt.Sprintf("accept.%d", size), rounds, prepare, func() (float64, error) {
			return acceptAll(packets)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// acceptPackets makes packets of distinct envelopes, as a peer sends them.
func acceptPackets(size int) []wire.Frame {
	d := wire.Dialects()[0]
	packets := []wire.Frame{{Code: 0, Payload: plainHello()}}
	now := uint32(time.Now().Unix())
	const ttl = 50
	var list []*envelope.Envelope
	for i := range acceptBatch {
		data := make([]byte, dataLen(size))
		rand.Read(data)
		topic := envelope.Topic{}
		binary.BigEndian.PutUint32(topic[:], uint32(i%1000)*0x9e3779b9)
		list = append(list, envelope.New(now+ttl, ttl, topic, data, 0))
		if len(list) == acceptBundle || i == acceptBatch-1 {
			packets = append(packets, d.EnvelopesFrame(list))
			list = nil
		}
	}
	return packets
}

// plainHello is the first packet of a node without extensions that wants nothing: version 6, no minimum of PoW, an empty
// filter, not light. Nodes that say more await confirmations, which are not measured here.
func plainHello() []byte {
	hello := append([]byte{0xf8, 69, 6, 0x80, 0xb8, envelope.BloomSize}, make([]byte, envelope.BloomSize)...)
	return append(hello, 0x80)
}

// acceptAll lets a fresh relay read the packets as from a peer, and returns how many envelopes it pooled.
func acceptAll(packets []wire.Frame) (float64, error) {
	d := wire.Dialects()[0]
	r := relay.New(relay.Config{
		Gossip: gossip.Config{Full: true}, Dialects: []*wire.Dialect{d}, Sinks: []relay.Sink{filter.New(filter.Options{})},
		Now: time.Now, Log: slog.New(slog.DiscardHandler), Health: health.NewRegistry(time.Now),
	})
	t := &replay{packets: packets, closed: make(chan struct{})}
	err := r.Serve(session.Peer{Conn: 1}, d, t)
	pooled := r.Status().Stats.Pooled
	r.Close()
	if pooled != acceptBatch {
		return 0, fmt.Errorf("%d of %d envelopes were pooled: %v", pooled, acceptBatch, err)
	}
	return acceptBatch, nil
}

// replay is a transport that says prepared packets and ends.
type replay struct {
	packets []wire.Frame
	closed  chan struct{}
}

func (t *replay) ReadPacket() (uint64, []byte, error) {
	if len(t.packets) == 0 {
		return 0, nil, io.EOF
	}
	p := t.packets[0]
	t.packets = t.packets[1:]
	return p.Code, p.Payload, nil
}

func (t *replay) WritePacket(uint64, []byte) error { return nil }
func (t *replay) Close(error)                      {}
