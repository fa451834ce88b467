//go:build peers

package peers_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/test/peers/peerproc"
)

func TestGeth6RelayToGeth6(t *testing.T) { testOursRelay(t, peerproc.Geth6, peerproc.Geth6) }
func TestGeth6RelayToStatus162(t *testing.T) {
	testOursRelay(t, peerproc.Geth6, peerproc.Status162)
}
func TestStatus162RelayToGeth6(t *testing.T) {
	testOursRelay(t, peerproc.Status162, peerproc.Geth6)
}
func TestStatus162RelayToStatus162(t *testing.T) {
	testOursRelay(t, peerproc.Status162, peerproc.Status162)
}

// testOursRelay sends messages from one peer through our node to another.
func testOursRelay(t *testing.T, from, to string) {
	t.Parallel()
	o := startOurs(t)
	a := peerproc.ForTest(t, from, peerproc.Config{MinPoW: lowPoW})
	b := peerproc.ForTest(t, to, peerproc.Config{MinPoW: lowPoW})
	o.connect(a)
	o.connect(b)
	boxes := subscribeBoth(b)
	waiting := map[[32]byte]letter{}
	for _, l := range letters(rand.NewChaCha8([32]byte{3}), 0xd0, []int{0, 1, 255, 256, 512, 64 << 10, 900 << 10}) {
		waiting[a.Post(l.draft()).Hash] = l
	}
	for _, sym := range []bool{true, false} {
		n := 0
		for _, l := range waiting {
			if l.sym == sym {
				n++
			}
		}
		for range n {
			got := boxes.next(letter{kind: kind{sym: sym}})
			l, ok := waiting[got.Hash]
			if !ok {
				t.Fatalf("%x came, which nobody sent, or twice", got.Hash)
			}
			if diff := cmp.Diff(l.want(got.Hash, got), got); diff != "" {
				t.Fatalf("%s, %d bytes: %.2000s", l.name, len(l.payload), diff)
			}
			delete(waiting, got.Hash)
		}
	}
	stayed(t, a)
	stayed(t, b)
}

func TestGeth6BigPool(t *testing.T)     { testOursBigPool(t, peerproc.Geth6) }
func TestStatus162BigPool(t *testing.T) { testOursBigPool(t, peerproc.Status162) }

// testOursBigPool pools far more than a packet holds, and then lets a peer connect, twice: it gets all and stays.
func testOursBigPool(t *testing.T, helper string) {
	t.Parallel()
	const count = 3000
	o := startOurs(t)
	keys := o.ring()
	hashes := map[[32]byte]bool{}
	payload := make([]byte, 2048)
	for i := range count {
		binary.BigEndian.PutUint32(payload, uint32(i))
		hashes[o.post(rpc.NewMessage{SymKeyID: keys.sym, TTL: 300, Topic: rpc.Topic{1, 2, 3, 4}, Payload: payload})] = true
	}
	for range 2 {
		p := peerproc.ForTest(t, helper, peerproc.Config{MinPoW: lowPoW, Packets: true})
		started := time.Now()
		o.connect(p)
		eventually(t, "the peer has the whole pool", func() bool { return p.Info().Pool >= count })
		took := time.Since(started)
		for _, h := range p.Pool() {
			if !hashes[h] {
				t.Fatalf("the peer has %x, which is not ours", h)
			}
		}
		last := o.post(rpc.NewMessage{SymKeyID: keys.sym, TTL: 300, Topic: rpc.Topic{1, 2, 3, 4}, Payload: []byte("last")})
		hashes[last] = true
		p.WaitPooled(last)
		stayed(t, p)
		largest := 0
		packets := p.Count(func(e peerproc.Event) bool {
			if e.Kind == peerproc.PacketIn && e.Code == 1 {
				largest = max(largest, e.Size)
				return true
			}
			return false
		})
		if largest > 512<<10 {
			t.Errorf("the largest packet had %d bytes", largest)
		}
		t.Logf("%d envelopes of 2 KiB came in %d packets of at most %d bytes, %s after dialling", count, packets, largest, took.Round(time.Millisecond))
	}
}

func TestGeth6Reconnect(t *testing.T)     { testOursReconnect(t, peerproc.Geth6) }
func TestStatus162Reconnect(t *testing.T) { testOursReconnect(t, peerproc.Status162) }

// testOursReconnect kills a static peer of ours and starts it again, and then does the same with our node.
func testOursReconnect(t *testing.T, helper string) {
	t.Parallel()
	listen := freeAddress(t)
	config := peerproc.Config{MinPoW: lowPoW, Key: scalar(9), Listen: listen}
	p := peerproc.ForTest(t, helper, config)
	o := startOurs(t, "--static", p.Enode)
	o.waitPeer(p.ID, "dialled by us", func(q rpc.Peer) bool { return q.Static && !q.Inbound })
	p.WaitPeer(o.id)

	p.Kill()
	eventually(t, "our node notices", func() bool { _, up := o.peer(p.ID); return !up })
	p = peerproc.ForTest(t, helper, config)
	listening := time.Now()
	ready := p.Wait(peerproc.Of(peerproc.PeerReady))
	back := ready.At.Sub(listening)
	if back > 2*time.Second {
		t.Errorf("our node was back %s after the peer listened, want about 1 s", back)
	}
	t.Logf("our dialler was back %s after the peer listened again", back.Round(time.Millisecond))

	before := o.enode
	listen = o.status().Listen
	o.kill()
	p.WaitGone(o.id)
	o.start(listen)
	if o.enode != before {
		t.Errorf("killed and started again, our node is %s, was %s", o.enode, before)
	}
	p.WaitPeer(o.id)
	keys := o.ring()
	p.WaitPooled(o.post(rpc.NewMessage{SymKeyID: keys.sym, TTL: 60, Topic: rpc.Topic{1}, Payload: []byte("back")}))
}

// freeAddress is an address on loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
