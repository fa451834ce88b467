package driver

import (
	"bytes"
	"io"
	"sync"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// shownPayload is how much of a packet a "packet" event carries.
const shownPayload = 4 << 10

// tap watches the protocol's connections: when the status packets have gone both ways, and optionally every packet.
type tap struct {
	emit    func(Event)
	packets bool

	mu    sync.Mutex
	ready map[enode.ID]bool
	moved chan struct{} // closed and replaced at each change of ready
}

func newTap(emit func(Event), packets bool) *tap {
	return &tap{emit: emit, packets: packets, ready: map[enode.ID]bool{}, moved: make(chan struct{})}
}

// wrap puts the tap around a protocol's run function.
func (t *tap) wrap(p p2p.Protocol) p2p.Protocol {
	run := p.Run
	p.Run = func(peer *p2p.Peer, rw p2p.MsgReadWriter) error {
		id := peer.ID()
		err := run(peer, &tapped{tap: t, id: id, rw: rw})
		e := Event{Kind: "peer", Peer: id[:], State: "closed"}
		if err != nil {
			e.Error = err.Error()
		}
		t.set(id, false)
		t.emit(e)
		return err
	}
	return p
}

func (t *tap) set(id enode.ID, ready bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ready {
		t.ready[id] = true
	} else {
		delete(t.ready, id)
	}
	close(t.moved)
	t.moved = make(chan struct{})
}

// state returns whether the peer is ready and a channel that closes when that may have changed.
func (t *tap) state(id enode.ID) (bool, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ready[id], t.moved
}

type tapped struct {
	tap *tap
	id  enode.ID
	rw  p2p.MsgReadWriter

	mu      sync.Mutex
	in, out bool // status seen
}

func (c *tapped) ReadMsg() (p2p.Msg, error) {
	msg, err := c.rw.ReadMsg()
	if err == nil {
		err = c.saw(&msg, true)
	}
	return msg, err
}

func (c *tapped) WriteMsg(msg p2p.Msg) error {
	if !c.tap.packets && msg.Code != 0 {
		return c.rw.WriteMsg(msg)
	}
	copied, err := io.ReadAll(msg.Payload)
	if err != nil {
		return err
	}
	msg.Payload = bytes.NewReader(copied)
	if err := c.rw.WriteMsg(msg); err != nil {
		return err
	}
	msg.Payload = bytes.NewReader(copied)
	return c.saw(&msg, false)
}

func (c *tapped) saw(msg *p2p.Msg, in bool) error {
	if c.tap.packets {
		payload, err := io.ReadAll(msg.Payload)
		if err != nil {
			return err
		}
		msg.Payload = bytes.NewReader(payload)
		dir := "out"
		if in {
			dir = "in"
		}
		c.tap.emit(Event{Kind: "packet", Peer: c.id[:], State: dir, Code: msg.Code, Size: len(payload), Payload: payload[:min(len(payload), shownPayload)]})
	}
	if in && (msg.Code == codeMail || msg.Code == codeComplete) {
		return c.mail(msg)
	}
	if msg.Code != 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.in && c.out
	c.in, c.out = c.in || in, c.out || !in
	if !was && c.in && c.out {
		c.tap.set(c.id, true)
		c.tap.emit(Event{Kind: "peer", Peer: c.id[:], State: "ready"})
	}
	return nil
}
