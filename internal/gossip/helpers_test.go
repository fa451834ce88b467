package gossip_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
)

const t0 = 1_600_000_000

var topicA, topicB = envelope.Topic{1, 2, 3, 4}, envelope.Topic{9, 8, 7, 0}

// driver steps a machine and keeps its clock.
type driver struct {
	*gossip.Machine
	now     time.Time
	serial  uint64
	actions []gossip.Action // of the last step
}

// newDriver drives a machine that wants all topics.
func newDriver(cfg gossip.Config) *driver {
	cfg.Full = true
	return newNarrowDriver(cfg)
}

func newNarrowDriver(cfg gossip.Config) *driver {
	return &driver{Machine: gossip.New(cfg), now: time.Unix(t0, 0)}
}

func (d *driver) step(ev gossip.Event) []gossip.Action {
	d.actions = append([]gossip.Action(nil), d.Step(d.now, ev)...)
	return d.actions
}

// wait lets time pass and steps whenever the machine asks for it. It returns all actions.
func (d *driver) wait(t testing.TB, span time.Duration) []gossip.Action {
	t.Helper()
	end := d.now.Add(span)
	var all []gossip.Action
	for ticks := 0; ; ticks++ {
		if ticks > 100_000 {
			t.Fatal("the machine keeps asking for ticks")
		}
		at, ok := d.Deadline()
		if !ok || at.After(end) {
			break
		}
		d.now = at
		all = append(all, d.step(gossip.Tick{})...)
	}
	d.now = end
	all = append(all, d.step(gossip.Tick{})...)
	return all
}

// join adds a link that takes everything.
func (d *driver) join(c gossip.Conn) []gossip.Action {
	return d.step(gossip.Joined{Conn: c})
}

// make makes an envelope sent now that lives so many seconds.
func (d *driver) make(ttl uint32) *envelope.Envelope { return d.sent(0, ttl, topicA, 32) }

// sent makes an envelope with so many bytes of data, sent so many seconds from now.
func (d *driver) sent(ahead int64, ttl uint32, topic envelope.Topic, size int) *envelope.Envelope {
	d.serial++
	data := make([]byte, max(size, 8))
	binary.BigEndian.PutUint64(data, d.serial)
	return envelope.New(uint32(d.now.Unix()+ahead)+ttl, ttl, topic, data, 0)
}

// receive is a packet from a link.
func (d *driver) receive(c gossip.Conn, list ...*envelope.Envelope) []gossip.Action {
	return d.step(received(c, list...))
}

func received(c gossip.Conn, list ...*envelope.Envelope) gossip.Received {
	return gossip.Received{Conn: c, List: list, Bytes: envelope.ListSize(list)}
}

// of picks the actions of one type.
func of[A gossip.Action](actions []gossip.Action) []A {
	var out []A
	for _, a := range actions {
		if x, ok := a.(A); ok {
			out = append(out, x)
		}
	}
	return out
}

// sentTo counts how often each envelope was sent on a link.
func sentTo(actions []gossip.Action, c gossip.Conn) map[envelope.Hash]int {
	n := make(map[envelope.Hash]int)
	for _, s := range of[gossip.Send](actions) {
		if s.Conn == c {
			for _, e := range s.List {
				n[e.Hash()]++
			}
		}
	}
	return n
}

func ptr[T any](v T) *T { return &v }
