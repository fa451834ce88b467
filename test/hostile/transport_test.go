package hostile_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/rlpx"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/vectortest"
	"github.com/restante-im/restante/internal/wire"
)

// thrower sends packets, each to a living connection: a new one if the last packet ended it.
type thrower struct {
	w     *world
	name  string
	peer  *peer
	dials int
}

func (h *thrower) throw(code uint64, payload []byte) {
	h.w.t.Helper()
	if h.peer == nil {
		h.dials++
		h.peer = h.w.dial(conduct{hellos: map[string][]byte{h.name: hello(h.name, noEnvelopes())}})
	}
	h.peer.send(h.name, code, payload)
	// Whether it lives is known when what follows is acknowledged.
	last := list(valid(h.w.t, envelope.Topic{0xee}, 60))
	h.peer.send(h.name, 1, last)
	for timeout := time.After(patience); ; {
		select {
		case <-h.peer.acked:
			if _, ok := h.peer.acks.Load(envelope.Keccak256(last)); ok {
				return
			}
		case <-h.peer.ended:
			h.end()
			return
		case <-timeout:
			h.w.t.Fatalf("after packet %d %x the node neither acknowledges nor hangs up", code, payload)
		}
	}
}

func (h *thrower) end() {
	if h.peer != nil {
		h.peer.close()
		h.peer = nil
	}
}

// TestGarbage sends random bytes with every code of both dialects.
func TestGarbage(t *testing.T) {
	w := newWorld(t, nil)
	during(w, 24<<20, func() {
		for _, name := range []string{shh6, waku1} {
			rng := rand.New(rand.NewPCG(1, 2))
			h := &thrower{w: w, name: name}
			for code := uint64(0); code < wire.Codes; code++ {
				for range 3 {
					b := make([]byte, rng.IntN(300))
					for i := range b {
						b[i] = byte(rng.Uint32())
					}
					h.throw(code, b)
				}
			}
			t.Logf("%s: %d connections", name, h.dials)
			h.end()
		}
	})
}

// TestMutatedVectors sends recorded packets with a byte changed, cut or doubled.
func TestMutatedVectors(t *testing.T) {
	type packet struct {
		Code    uint64         `json:"code"`
		Payload vectortest.Hex `json:"payload"`
	}
	w := newWorld(t, nil)
	during(w, 24<<20, func() {
		for name, file := range map[string]string{shh6: "packet_inbound_status162", waku1: "waku_packet_inbound"} {
			rng := rand.New(rand.NewPCG(3, 4))
			h := &thrower{w: w, name: name}
			n := 0
			vectortest.File(t, file, func(_ testing.TB, _ int, v packet) {
				if len(v.Payload) == 0 || v.Code >= wire.Codes {
					return
				}
				for range 6 {
					b := bytes.Clone(v.Payload)
					at := rng.IntN(len(b))
					switch rng.IntN(3) {
					case 0:
						b[at] ^= byte(1 + rng.IntN(255))
					case 1:
						b = b[:at]
					case 2:
						b = append(b[:at:at], v.Payload...)
					}
					h.throw(v.Code, b)
					n++
				}
			})
			t.Logf("%s: %d packets on %d connections", name, n, h.dials)
			h.end()
		}
	})
}

// TestGiantLengths claims lengths that no packet has.
func TestGiantLengths(t *testing.T) {
	w := newWorld(t, nil)
	during(w, 16<<20, func() {
		for _, claim := range []string{"\xf9\xff\xff", "\xfb\xff\xff\xff\xff", "\xff\x7f\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\xbf\x7f\xff\xff\xff\xff\xff\xff\xff",
			"\xc9\xff\x7f\xff\xff\xff\xff\xff\xff\xff", "\xc5\xfb\xff\xff\xff\xff"} {
			for _, code := range []uint64{1, 2, 3, 11, 12, 20} {
				p := w.dial(attacker())
				p.send(shh6, code, []byte(claim))
				if code == 12 {
					p.close() // what makes no sense there is only ignored
					continue
				}
				if why := w.gone(p); !strings.Contains(why, "cannot be read") {
					t.Errorf("code %d: reason %q", code, why)
				}
				p.close()
			}
		}
	})
}

// TestGiantPackets sends the largest packets that RLPx carries: zeros, which are tiny on the wire, and random bytes.
func TestGiantPackets(t *testing.T) {
	w := newWorld(t, nil)
	zeros, noise := make([]byte, 1<<24-1), make([]byte, 1<<24-1-1<<16)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(noise)
	during(w, 64<<20, func() {
		for i := range 6 {
			p := w.dial(attacker())
			if i%2 == 0 {
				p.send(shh6, 1, zeros)
			} else {
				p.send(shh6, 1, noise)
			}
			if why := w.gone(p); !strings.Contains(why, "cannot be read") && !strings.Contains(why, "packet limit") {
				t.Errorf("reason %q", why)
			}
			p.close()
		}
	})
}

// TestPacketsBeforeHello sends envelopes, updates and garbage where the hello should be, and hellos that no node sends.
func TestPacketsBeforeHello(t *testing.T) {
	w := newWorld(t, nil)
	env := list(valid(t, envelope.Topic{1}, 60))
	during(w, 16<<20, func() {
		for _, first := range []struct {
			code    uint64
			payload []byte
		}{
			{1, env}, {2, []byte("\x88\x3f\xc9\x99\x99\x99\x99\x99\x9a")}, {3, make([]byte, 64)}, {22, []byte{0xc0}}, {127, env}, {99, nil},
			{0, []byte("no RLP")}, {0, []byte("\xc1\x05")}, {0, []byte("\xca\x06\x88\x7f\xf8\x00\x00\x00\x00\x00\x01")}, // NaN
		} {
			p := w.dial(conduct{hellos: map[string][]byte{shh6: nil}})
			p.send(shh6, first.code, first.payload)
			if why := w.gone(p); !strings.Contains(why, "hello cannot be read") {
				t.Errorf("code %d: reason %q", first.code, why)
			}
			p.close()
		}
		if n := w.status().Pool.Envelopes; n > 60 {
			t.Errorf("%d envelopes were taken before the hello", n)
		}
	})
}

// TestUnaskedAnswers sends what only mail servers and their clients send, as garbage: unread, ignored, no disconnect.
func TestUnaskedAnswers(t *testing.T) {
	w := newWorld(t, nil)
	during(w, 24<<20, func() {
		p := w.dial(attacker())
		rng := rand.NewChaCha8([32]byte{2})
		for range 2000 {
			b := make([]byte, 1000)
			rng.Read(b)
			for _, code := range []uint64{123, 124, 125, 126, 127} {
				p.send(shh6, code, b)
			}
		}
		w.stays(p)
		if st := w.status(); st.Pool.Envelopes > 200 || st.Counters["restante_envelopes_direct_total"] != 0 {
			t.Errorf("something was taken: %+v", st.Counters)
		}
	})
}

// TestPacketsBeforeDevp2pHello shakes hands with RLPx and then sends a packet of a protocol at once.
func TestPacketsBeforeDevp2pHello(t *testing.T) {
	w := newWorld(t, nil)
	during(w, 16<<20, func() {
		for range 20 {
			fd, err := net.Dial("tcp", address(w))
			if err != nil {
				t.Fatal(err)
			}
			key, _ := crypto.GenerateKey()
			conn := rlpx.NewConn(fd, w.enode.Key().ECDSA())
			if _, err := conn.Handshake(key); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(17, list(valid(t, envelope.Topic{1}, 60))); err != nil {
				t.Fatal(err)
			}
			fd.SetReadDeadline(time.Now().Add(patience))
			for err == nil { // until the node hangs up
				_, err = fd.Read(make([]byte, 1000))
			}
			fd.Close()
		}
		eventually(t, "all handshakes have failed", func() bool { return w.counter("handshake_failures_total") >= 20 })
	})
}

// address is where the node listens.
func address(w *world) string { return w.status().Listen }

// visitors is a listener whose visitors seem to come from where the test says.
type visitors struct {
	net.Listener
	from *atomic.Value
}

type visitor struct {
	net.Conn
	from net.Addr
}

func (v visitor) RemoteAddr() net.Addr { return v.from }

func (v visitors) Accept() (net.Conn, error) {
	c, err := v.Listener.Accept()
	if err != nil {
		return nil, err
	}
	a, err := net.ResolveTCPAddr("tcp", v.from.Load().(string))
	return visitor{c, a}, err
}

// newPublicWorld is a world whose visitors come from the address in the value, which honest ones change.
func newPublicWorld(t *testing.T) (*world, *atomic.Value) {
	from := new(atomic.Value)
	w := newWorld(t, func(o *node.Options) {
		public(o, from)
		o.Network.HandshakeTimeout = 2 * time.Second
		o.Network.AcceptBurst = 100 // or the attack would be over before the other limits count
	})
	return w, from
}

// public makes visitors come from the address in the value.
func public(o *node.Options, from *atomic.Value) {
	from.Store("198.51.100.1:1")
	o.Network.Listen = func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		return visitors{l, from}, err
	}
}

// TestEndlessHandshakes opens connections that say nothing, or a byte now and then. Others are let in meanwhile.
func TestEndlessHandshakes(t *testing.T) {
	w, from := newPublicWorld(t)
	during(w, 16<<20, func() {
		from.Store("203.0.113.7:1")
		var fds []net.Conn
		for i := range 200 {
			fd, err := net.Dial("tcp", address(w))
			if err != nil {
				t.Fatal(err)
			}
			defer fd.Close()
			if i%2 == 0 {
				fd.Write([]byte{1})
			}
			fds = append(fds, fd)
		}
		eventually(t, "all were seen", func() bool {
			return w.counter("connections_accepted_total")+w.counter("connections_turned_away_total") >= 202
		})
		if n := w.counter("handshakes_open"); n > devp2p.DefaultMaxPendingPerPrefix {
			t.Errorf("%v handshakes of one prefix are open", n)
		}
		from.Store("192.0.2.1:1")
		began := time.Now()
		w.dial(conduct{hellos: speaks(shh6)})
		if took := time.Since(began); took > time.Second {
			t.Errorf("an honest visitor waited %s", took)
		}
		eventually(t, "the handshakes are given up", func() bool {
			for _, fd := range fds {
				fd.Write([]byte{2}) // bytes do not prolong it
			}
			return w.counter("handshakes_open") == 0
		})
	})
}

// TestFloodFromOnePrefix connects many identities from one network: a few get in, and others still can.
func TestFloodFromOnePrefix(t *testing.T) {
	w, from := newPublicWorld(t)
	// Each peer of this test is a server of its own, which holds some 4 MiB.
	during(w, 64<<20, func() {
		for i := range devp2p.DefaultMaxPerPrefix {
			from.Store(fmt.Sprintf("203.0.113.%d:1", i))
			w.dial(attacker())
		}
		for i := range 20 {
			from.Store(fmt.Sprintf("203.0.113.%d:1", 100+i))
			fd, err := net.Dial("tcp", address(w))
			if err != nil {
				t.Fatal(err)
			}
			key, _ := crypto.GenerateKey()
			conn := rlpx.NewConn(fd, w.enode.Key().ECDSA())
			conn.Handshake(key)
			// The devp2p hello of a node with shh/6: [5, "x", [["shh", 6]], 0, public key].
			conn.Write(0, append([]byte("\xf8\x4c\x05\x78\xc6\xc5\x83shh\x06\x80\xb8\x40"), crypto.FromECDSAPub(&key.PublicKey)[1:]...))
			defer fd.Close()
		}
		eventually(t, "the others are refused", func() bool { return w.counter("connections_refused_total") >= 20 })
		from.Store("192.0.2.1:1")
		w.stays(w.dial(attacker()))
		var peers []rpc.Peer
		w.call(&peers, "node_peers")
		if n := len(peers); n != 2+devp2p.DefaultMaxPerPrefix+1 {
			t.Errorf("%d peers are connected", n)
		}
	})
}

// TestHelloSaysLittle: whatever the filters here look for, peers are told a bloom filter at most, and never that we are light.
func TestHelloSaysLittle(t *testing.T) {
	w := newWorld(t, func(o *node.Options) { o.Gossip.Full = false })
	var key, filter string
	w.call(&key, "shh_newSymKey")
	topic := envelope.Topic{1, 2, 3, 4}
	w.call(&filter, "shh_newMessageFilter", rpc.Criteria{SymKeyID: key, Topics: []rpc.Topic{rpc.Topic(topic)}})
	for _, name := range []string{shh6, waku1} {
		got := make(chan []byte, 1)
		w.dial(conduct{hellos: speaks(name), read: func(_ string, code uint64, payload []byte) {
			if code == 0 {
				got <- payload
			}
		}})
		d, _ := wire.Lookup(name)
		h, err := d.DecodeHello(0, <-got)
		if err != nil {
			t.Fatal(err)
		}
		if h.ByTopics || h.Light || h.Bloom == nil || !h.Bloom.AdmitsTopic(topic) {
			t.Errorf("%s: we say %+v", name, h)
		}
		bits := 0
		for _, b := range h.Bloom {
			bits += bits8(b)
		}
		if bits <= 3 {
			t.Errorf("%s: %d bits: no noise hides the topic", name, bits)
		}
	}
}

func bits8(b byte) (n int) {
	for ; b != 0; b &= b - 1 {
		n++
	}
	return n
}
