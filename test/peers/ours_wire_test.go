//go:build peers

package peers_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/wire"
)

// packet is what a hand-made peer received.
type packet struct {
	dialect string
	code    uint64
	payload []byte
}

// handmade is a peer that sends what the test says and keeps what comes. It knows nothing but devp2p.
type handmade struct {
	t      *testing.T
	id     [32]byte
	server *devp2p.Server
	links  map[string]*devp2p.Conn

	mu     sync.Mutex
	got    []packet
	ended  error
	opened chan *devp2p.Conn
}

// newHandmade dials our node with these dialects and sends each dialect's hello.
func newHandmade(t *testing.T, o *ours, hellos map[string][]byte) *handmade {
	t.Helper()
	node, err := nodeaddr.Parse(o.enode)
	if err != nil {
		t.Fatal(err)
	}
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	h := &handmade{t: t, links: map[string]*devp2p.Conn{}, opened: make(chan *devp2p.Conn, 100)}
	cfg := devp2p.Config{Key: crypto.FromECDSA(key), Name: "handmade", Static: []nodeaddr.Node{node}, WatchInterval: -1}
	for name, hello := range hellos {
		d, ok := wire.Lookup(name)
		if !ok {
			t.Fatalf("no dialect %s", name)
		}
		cfg.Protocols = append(cfg.Protocols, devp2p.Protocol{Name: d.Name(), Version: d.Version(), Codes: d.Codes(), Run: func(c *devp2p.Conn) error {
			if err := c.WritePacket(0, hello); err != nil {
				return err
			}
			h.opened <- c
			return h.read(c)
		}})
	}
	if h.server, err = devp2p.Start(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.server.Close(context.Background()) })
	self := h.server.Self().Node.ID()
	h.id = self
	for range hellos {
		select {
		case c := <-h.opened:
			h.links[c.Protocol()] = c
		case <-time.After(patience):
			t.Fatal("our node did not take the hand-made peer")
		}
	}
	o.waitPeer(h.id, "which is hand-made", func(p rpc.Peer) bool { return len(p.Dialects) == len(hellos) })
	return h
}

func (h *handmade) read(c *devp2p.Conn) error {
	for {
		code, payload, err := c.ReadPacket()
		h.mu.Lock()
		if err != nil {
			h.ended = err
			h.mu.Unlock()
			return err
		}
		h.got = append(h.got, packet{c.Protocol(), code, payload})
		h.mu.Unlock()
	}
}

func (h *handmade) send(dialect string, code uint64, payload []byte) {
	h.t.Helper()
	if err := h.links[dialect].WritePacket(code, payload); err != nil {
		h.t.Fatalf("packet %d: %v", code, err)
	}
}

// count returns how often each envelope came, by dialect and hash.
func (h *handmade) count() map[string]map[[32]byte]int {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	n := map[string]map[[32]byte]int{}
	for _, p := range h.got {
		if p.code != 1 {
			continue
		}
		list, err := envelope.DecodeList(p.payload, 10_000)
		if err != nil {
			h.t.Fatal(err)
		}
		if n[p.dialect] == nil {
			n[p.dialect] = map[[32]byte]int{}
		}
		for _, e := range list {
			n[p.dialect][e.Hash()]++
		}
	}
	return n
}

// wait waits for a packet.
func (h *handmade) wait(what string, match func(packet) bool) (found packet) {
	h.t.Helper()
	eventually(h.t, what, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, p := range h.got {
			if match(p) {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

// stays fails the test unless the connection lives: a full round trip through our node must work.
func (h *handmade) stays(o *ours) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, up := o.peer(h.id); !up || h.ended != nil {
		h.t.Errorf("the connection ended: %v", h.ended)
	}
}

// raw makes an envelope of random data that lives for a minute.
func raw(t *testing.T, topic envelope.Topic) *envelope.Envelope {
	t.Helper()
	data := make([]byte, 300)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	env, err := envelope.Seal(context.Background(), envelope.Draft{Expiry: uint32(time.Now().Unix()) + 60, TTL: 60, Topic: topic, Data: data}, 0.002, 1)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func unhexed(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

const (
	shh6  = "shh/6"
	waku1 = "waku/1"
)

func onlyWaku() string { return "network.dialects=waku/1" }

// TestWaku1Messages sends every kind and size of message between two of our nodes that speak waku/1 only.
func TestWaku1Messages(t *testing.T) {
	t.Parallel()
	a := startOurs(t, "--set", onlyWaku())
	b := startOurs(t, "--set", onlyWaku(), "--static", a.enode)
	a.waitPeer(b.id, "with waku/1", func(p rpc.Peer) bool { return cmp.Equal(p.Dialects, []string{waku1}) })
	keysA, keysB := a.ring(), b.ring()
	atA, atB := a.filters(keysA), b.filters(keysB)
	rng := mathrand.NewChaCha8([32]byte{5})
	n := 0
	for _, side := range []struct {
		from *ours
		keys ring
		to   *filters
		own  *filters
		mark byte
	}{{a, keysA, atB, atA, 0x10}, {b, keysB, atA, atB, 0x20}} {
		for _, l := range letters(rng, side.mark, sizes) {
			hash := side.from.post(l.message(side.keys))
			got := side.to.next()
			if diff := cmp.Diff(l.want(hash, got), got); diff != "" {
				t.Fatalf("%s, %d bytes: %.2000s", l.name, len(l.payload), diff)
			}
			side.own.next()
			n++
		}
	}
	p, _ := a.peer(b.id)
	if p.EnvelopesIn != uint64(n/2) || p.EnvelopesOut != uint64(n/2) {
		t.Errorf("%d envelopes each way, %d came in and %d went out", n/2, p.EnvelopesIn, p.EnvelopesOut)
	}
	t.Logf("%d messages both ways", n)
}

// TestWaku1TopicInterest is a hand-made peer with topic interest, options in odd order and status updates.
func TestWaku1TopicInterest(t *testing.T) {
	t.Parallel()
	o := startOurs(t, "--set", onlyWaku())
	keys := o.ring()
	topic := func(b byte) string { return fmt.Sprintf("84%02x000000", b) }
	// [[5, [topic 1]], [3, 1], [0, PoW 0]]: the keys in odd order, and one that nobody knows at the end.
	hello := unhexed("d3" + "c705c5" + topic(1) + "c20301" + "c28080" + "c463820102")
	h := newHandmade(t, o, map[string][]byte{waku1: hello})
	post := func(b byte) [32]byte {
		t.Helper()
		return o.post(rpc.NewMessage{SymKeyID: keys.sym, TTL: 60, Topic: rpc.Topic{b}, Payload: []byte{b}, PowTarget: 0.002})
	}
	comes := func(hash [32]byte) {
		t.Helper()
		eventually(t, "the envelope comes", func() bool { return h.count()[waku1][hash] == 1 })
	}
	one, two := post(1), post(2)
	comes(one)

	// An update: [[5, [topic 2]]]. What is pooled and wanted now comes too.
	h.send(waku1, 22, unhexed("c8c705c5"+topic(2)))
	comes(two)
	three := post(1)
	comes(post(2))
	// An empty list asks for nothing; a full bloom filter ends the interest, and the rest of the pool comes.
	h.send(waku1, 22, unhexed("c3c205c0"))
	pings(h)
	four := post(2)
	if n := h.count()[waku1]; n[three] != 0 || n[four] != 0 {
		t.Error("an envelope outside the topic interest came")
	}
	h.send(waku1, 22, append(unhexed("f845f84301b840"), full()...))
	comes(three)
	comes(four)
	h.stays(o)
}

// pings waits until our node has read all that was sent so far: it confirms envelopes in order.
func pings(h *handmade) {
	env := raw(h.t, topicB)
	payload := envelope.EncodeList([]*envelope.Envelope{env})
	h.send(waku1, 1, payload)
	digest := envelope.Keccak256(payload)
	h.wait("a confirmation", func(p packet) bool { return p.code == 11 && [32]byte(p.payload[len(p.payload)-32:]) == digest })
}

func full() []byte {
	b := envelope.FullBloom()
	return b[:]
}

// TestWaku1StatusUpdates is a hand-made peer that changes its PoW and bloom filter, and reads our changes.
func TestWaku1StatusUpdates(t *testing.T) {
	t.Parallel()
	o := startOurs(t, "--set", onlyWaku())
	keys := o.ring()
	d, _ := wire.Lookup(waku1)
	_, hello := d.EncodeHello(wire.Hello{Confirms: true})
	h := newHandmade(t, o, map[string][]byte{waku1: hello})
	update := func(u wire.Update) {
		t.Helper()
		frames, err := d.Encode(u)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			h.send(waku1, f.Code, f.Payload)
		}
	}
	post := func(topic envelope.Topic, pow float64) [32]byte {
		t.Helper()
		return o.post(rpc.NewMessage{SymKeyID: keys.sym, TTL: 100, Topic: rpc.Topic(topic), Payload: []byte{1}, PowTarget: pow})
	}
	pow, bloom := hardPoW, envelope.Bloom(bloomOf(topicA))
	update(wire.Update{MinPoW: &pow})
	o.waitPeer(h.id, "with more PoW", func(p rpc.Peer) bool { return p.MinPoW == pow })
	low, high := post(topicA, 0), post(topicA, 2*hardPoW)
	eventually(t, "what has the work comes", func() bool { return h.count()[waku1][high] == 1 })
	update(wire.Update{Bloom: &bloom})
	o.waitPeer(h.id, "with a filter", func(p rpc.Peer) bool { return !p.FullNode })
	other, wanted := post(topicB, 2*hardPoW), post(topicA, 2*hardPoW)
	eventually(t, "the wanted topic comes", func() bool { return h.count()[waku1][wanted] == 1 })
	if n := h.count()[waku1]; n[low] != 0 || n[other] != 0 || len(n) != 2 {
		t.Errorf("came: low PoW %d, unwanted topic %d, in all %d", n[low], n[other], len(n))
	}

	ask[bool](o, "shh_setMinPoW", 1.5)
	ask[bool](o, "shh_setBloomFilter", hexOf(bloom[:]))
	var said wire.Update
	h.wait("our changes are told", func(p packet) bool {
		got, err := d.Decode(p.code, p.payload, 1<<20)
		if u, ok := got.(wire.Update); ok && err == nil {
			if u.MinPoW != nil {
				said.MinPoW = u.MinPoW
			}
			if u.Bloom != nil {
				said.Bloom = u.Bloom
			}
		}
		return said.MinPoW != nil && said.Bloom != nil
	})
	if *said.MinPoW != 1.5 || !said.Bloom.AdmitsTopic(topicA) || said.Bloom.IsFull() {
		t.Errorf("we announced %v and %x", *said.MinPoW, *said.Bloom)
	}

	// What comes is confirmed.
	env := raw(t, topicA)
	frame := d.EnvelopesFrame([]*envelope.Envelope{env})
	h.send(waku1, frame.Code, frame.Payload)
	digest := envelope.Keccak256(frame.Payload)
	h.wait("the confirmation", func(p packet) bool {
		got, err := d.Decode(p.code, p.payload, 1<<20)
		a, ok := got.(wire.Acknowledged)
		return err == nil && ok && a.Digest == digest
	})
	h.stays(o)
}

// TestWaku1BothDialects is a peer with two dialects on one connection: each envelope goes out once, whatever it came by.
func TestWaku1BothDialects(t *testing.T) {
	t.Parallel()
	o := startOurs(t)
	keys := o.ring()
	hellos := map[string][]byte{}
	for _, name := range []string{shh6, waku1} {
		d, _ := wire.Lookup(name)
		_, hellos[name] = d.EncodeHello(wire.Hello{Confirms: true})
	}
	a, b := newHandmade(t, o, hellos), newHandmade(t, o, hellos)
	const count = 200
	var own, relayed [][32]byte
	for i := range count {
		own = append(own, o.post(rpc.NewMessage{SymKeyID: keys.sym, TTL: 60, Topic: rpc.Topic{9, byte(i)}, Payload: []byte{byte(i)}, PowTarget: 0.002}))
		env := raw(t, envelope.Topic{8, byte(i)})
		relayed = append(relayed, env.Hash())
		payload := envelope.EncodeList([]*envelope.Envelope{env})
		// A sends each by one dialect, and every third by both.
		if i%2 == 0 || i%3 == 0 {
			a.send(shh6, 1, payload)
		}
		if i%2 == 1 || i%3 == 0 {
			a.send(waku1, 1, payload)
		}
	}
	total := func(h *handmade) (n, once int) {
		for _, hash := range append(append([][32]byte{}, own...), relayed...) {
			c := h.count()
			k := c[shh6][hash] + c[waku1][hash]
			n += k
			if k == 1 {
				once++
			}
		}
		return n, once
	}
	eventually(t, "all reaches b", func() bool {
		c := b.count()
		return len(c[shh6])+len(c[waku1]) >= 2*count
	})
	eventually(t, "our own reach a", func() bool {
		c := a.count()
		return len(c[shh6])+len(c[waku1]) >= count
	})
	// A last one marks the end: what was to come has come.
	last := o.post(rpc.NewMessage{SymKeyID: keys.sym, TTL: 60, Topic: rpc.Topic{7}, Payload: []byte("last"), PowTarget: 0.002})
	for _, h := range []*handmade{a, b} {
		eventually(t, "the last", func() bool { c := h.count(); return c[shh6][last]+c[waku1][last] == 1 })
	}
	if n, once := total(b); n != 2*count || once != 2*count {
		t.Errorf("b got %d envelopes, %d of them once; want %d", n, once, 2*count)
	}
	if n, once := total(a); n != count || once != count {
		t.Errorf("a got %d envelopes, %d of them once; want %d: its own must not come back", n, once, count)
	}
	t.Logf("b: %d by shh/6, %d by waku/1", len(b.count()[shh6]), len(b.count()[waku1]))
	a.stays(o)
	b.stays(o)
}

// TestWaku1BothDialectsOfOurs connects two of our nodes, which have two dialects in common.
func TestWaku1BothDialectsOfOurs(t *testing.T) {
	t.Parallel()
	a := startOurs(t)
	b := startOurs(t, "--static", a.enode)
	a.waitPeer(b.id, "with two dialects", func(p rpc.Peer) bool { return len(p.Dialects) == 2 })
	b.waitPeer(a.id, "with two dialects", func(p rpc.Peer) bool { return len(p.Dialects) == 2 })
	keys := a.ring()
	const count = 300
	for i := range count {
		a.post(rpc.NewMessage{SymKeyID: keys.sym, TTL: 60, Topic: rpc.Topic{9, byte(i)}, Payload: []byte{byte(i)}, PowTarget: 0.002})
	}
	eventually(t, "all are there", func() bool { return b.status().Pool.Envelopes == count })
	eventually(t, "a has counted them", func() bool { p, _ := a.peer(b.id); return p.EnvelopesOut >= count })
	at, _ := a.peer(b.id)
	back, _ := b.peer(a.id)
	if at.EnvelopesOut != count || at.EnvelopesIn != 0 || back.EnvelopesIn != count || back.EnvelopesOut != 0 {
		t.Errorf("a sent %d and got %d, b got %d and sent %d; want %d, 0", at.EnvelopesOut, at.EnvelopesIn, back.EnvelopesIn, back.EnvelopesOut, count)
	}
}

// TestStatus162Oddities sends what Status' nodes may send and ours has no use for: it is ignored, and the connection stays.
func TestStatus162Oddities(t *testing.T) {
	t.Parallel()
	o := startOurs(t)
	d, _ := wire.Lookup(shh6)
	_, hello := d.EncodeHello(wire.Hello{Confirms: true, Packets: &wire.Limits{IP: 100, Peer: 100, Topic: 100}})
	h := newHandmade(t, o, map[string][]byte{shh6: hello})
	for range 50 {
		h.send(shh6, 20, unhexed("c3640a01"))                       // rate limits
		h.send(shh6, 0, hello)                                      // a second status packet
		h.send(shh6, 11, append([]byte{0xa0}, make([]byte, 32)...)) // confirms what we never sent
		h.send(shh6, 99, []byte("unknown"))                         // a code that nobody has
		h.send(shh6, 124, []byte{0xff, 0xff})                       // answers that nobody asked for, even malformed
		h.send(shh6, 125, []byte{0xc1})                             //
		h.send(shh6, 127, []byte{0xf9, 0xff, 1})                    //
		h.send(shh6, 123, unhexed("c0"))                            // requests of mail servers
		h.send(shh6, 126, unhexed("c0"))                            //
		h.send(shh6, 126, []byte("not even RLP"))                   //
	}
	env := raw(t, topicA)
	h.send(shh6, 1, envelope.EncodeList([]*envelope.Envelope{env}))
	eventually(t, "an envelope behind it is taken", func() bool { return o.status().Pool.Envelopes == 1 })
	h.stays(o)
}
