package devp2p_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// TestPanic: a defect in a protocol costs one connection.
func TestPanic(t *testing.T) {
	good := make(chan nodeaddr.ID, 4)
	var bad nodeaddr.ID
	ready := make(chan struct{})
	a := start(t, func(c *devp2p.Config) {
		c.Protocols[0].Run = func(conn *devp2p.Conn) error {
			<-ready
			if conn.Node() == bad {
				panic("a defect")
			}
			good <- conn.Node()
			return idle(conn)
		}
	})
	b, c := start(t, nil), start(t, nil)
	bad = b.id()
	close(ready)
	for _, n := range []*node{b, c} {
		if err := n.AddPeer(a.enode()); err != nil {
			t.Fatal(err)
		}
	}
	if ev := a.wait(devp2p.Panicked); ev.Node != bad {
		t.Errorf("panicked with %s", ev.Node)
	}
	if got := receive(t, good); got != c.id() {
		t.Errorf("runs with %s", got)
	}
	if a.Stats().Panics == 0 || !strings.Contains(a.log.String(), "protocol panicked") {
		t.Error("the panic is not reported")
	}
	if strings.Contains(a.log.String(), "127.0.0.1") {
		t.Error("an address in the log")
	}
}

func TestIPv6(t *testing.T) {
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6 loopback: %v", err)
	}
	probe.Close()
	a := start(t, func(c *devp2p.Config) { c.ListenAddrs = []string{"[::1]:0", "", "127.0.0.1:0"} })
	if got := a.Addrs(); len(got) != 2 {
		t.Fatalf("listens on %v", got)
	}
	priv, err := crypto.ToECDSA(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	six := nodeaddr.New(a.enode().Key().ECDSA(), nodeaddr.Address{Host: "::1", Port: a.Addrs()[0].Port()})
	b := start(t, withStatic(six, nodeaddr.New(&priv.PublicKey, nodeaddr.Address{Host: "::1", Port: 1})))
	b.wait(devp2p.PeerUp)
	if p := a.Peers(true); len(p) > 0 && !strings.HasPrefix(p[0].Address, "[::1]:") {
		t.Errorf("peer at %s", p[0].Address)
	}
}

func TestCloseWaitsAndIsBounded(t *testing.T) {
	leave := make(chan struct{})
	a := start(t, func(c *devp2p.Config) {
		c.Protocols[0].Run = func(conn *devp2p.Conn) error {
			<-leave
			return io.EOF
		}
	})
	b := start(t, withStatic(a.enode()))
	b.wait(devp2p.PeerUp)
	a.wait(devp2p.PeerUp)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := a.Close(ctx); fault.KindOf(err) != fault.Timeout {
		t.Errorf("close with a protocol that hangs: %v", err)
	}
	close(leave)
	if ev := a.wait(devp2p.PeerDown); ev.Text != "this node is stopping" {
		t.Errorf("we say %q", ev.Text)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Errorf("second close: %v", err)
	}
	if err := a.AddPeer(b.enode()); fault.KindOf(err) != fault.Closed {
		t.Errorf("add peer after close: %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	key := newKey(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	proto := []devp2p.Protocol{{Name: "aa", Version: 1, Codes: 8, Run: idle}}
	tests := []struct {
		name string
		cfg  devp2p.Config
		kind fault.Kind
		say  string
	}{
		{"no key", devp2p.Config{Protocols: proto}, fault.Invalid, "node key"},
		{"zero key", devp2p.Config{Key: make([]byte, 32), Protocols: proto}, fault.Invalid, "node key"},
		{"no protocol", devp2p.Config{Key: key}, fault.Invalid, "no protocol"},
		{"protocol twice", devp2p.Config{Key: key, Protocols: append(proto, proto...)}, fault.Invalid, "given twice"},
		{"packet limit", devp2p.Config{Key: key, Protocols: proto, MaxPacket: 1 << 24}, fault.Invalid, "packet limit"},
		{"port taken", devp2p.Config{Key: key, Protocols: proto, ListenAddrs: []string{taken.Addr().String()}}, fault.Exists, "already"},
		{"not ours", devp2p.Config{Key: key, Protocols: proto, ListenAddrs: []string{"192.0.2.1:0"}}, fault.Unavailable, "not an address of this machine"},
		{"no port", devp2p.Config{Key: key, Protocols: proto, ListenAddrs: []string{"127.0.0.1"}}, fault.Invalid, "host:port"},
		{"advertised", devp2p.Config{Key: key, Protocols: proto, Advertise: "0.0.0.0:1"}, fault.Invalid, "to advertise"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := devp2p.Start(tt.cfg)
			if fault.KindOf(err) != tt.kind || !strings.Contains(fault.Text(err), tt.say) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestPeerComesAgain: a peer that lost its connection without our noticing is let in again at once, not after the 30 s
// that the dead connection takes to time out.
func TestPeerComesAgain(t *testing.T) {
	var mu sync.Mutex
	late := time.Duration(0)
	a := start(t, func(c *devp2p.Config) {
		c.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(late)
		}
	})
	key := newKey(t)
	same := func(c *devp2p.Config) { c.Key, c.Static = key, []nodeaddr.Node{a.enode()} }
	start(t, same)
	first := a.wait(devp2p.PeerUp)
	again := start(t, same)
	if ev := again.wait(devp2p.DialFail); ev.Text != "it believes that we are connected already" {
		t.Errorf("text %q", ev.Text)
	}
	if p := a.Peers(false); len(p) != 1 || p[0].Conn != first.Conn {
		t.Errorf("a young connection was given up: %+v", p)
	}
	mu.Lock()
	late = time.Minute
	mu.Unlock()
	if ev := a.wait(devp2p.PeerDown); ev.Conn != first.Conn || !strings.Contains(ev.Text, "came again") {
		t.Errorf("down: %+v", ev)
	}
	if ev := a.wait(devp2p.PeerUp); ev.Node != first.Node {
		t.Errorf("up: %+v", ev)
	}
}
