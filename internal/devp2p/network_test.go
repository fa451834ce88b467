package devp2p_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// someNode returns a node that nobody runs.
func someNode(t *testing.T, address string) nodeaddr.Node {
	t.Helper()
	priv, err := crypto.ToECDSA(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	at, err := nodeaddr.ParseAddress(address, 0)
	if err != nil {
		t.Fatal(err)
	}
	return nodeaddr.New(&priv.PublicKey, at)
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }

// finish closes a node within a bubble. The database inside go-ethereum takes another second to end.
func (n *node) finish() {
	if err := n.Close(context.Background()); err != nil {
		n.t.Error(err)
	}
	pass(2 * time.Second)
}

// TestBackoffSchedule watches the times of the attempts in virtual time, and Kick in the middle of a long wait.
func TestBackoffSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		var at []time.Duration
		a := start(t, func(c *devp2p.Config) {
			c.ListenAddrs = nil
			c.Static = []nodeaddr.Node{someNode(t, "node.example.org:30303")}
			c.Rand = func() float64 { return 0 }
			c.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
				if address != "node.example.org:30303" {
					t.Errorf("dialled %s: the name must be resolved anew at each dial", address)
				}
				mu.Lock()
				at = append(at, time.Since(began))
				mu.Unlock()
				return nil, errors.New("no network")
			}
		})
		seconds := func() string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			var s []string
			for _, d := range at {
				s = append(s, fmt.Sprint(d.Seconds()))
			}
			return strings.Join(s, " ")
		}
		pass(3500 * time.Millisecond)
		if got, want := seconds(), "0 0.2 0.6 1.1 1.6 2.1 2.6 3.1"; got != want {
			t.Errorf("dialled at %s, want %s", got, want)
		}
		pass(time.Minute - 3500*time.Millisecond)
		quick := seconds()
		pass(70 * time.Second)
		if got, want := strings.TrimPrefix(seconds(), quick), " 60.1 60.9 62.5 65.7 72.1 84.9 110.5"; got != want {
			t.Errorf("after a minute dialled at %s, want %s", got, want)
		}
		st := a.Static()[0]
		if st.State != devp2p.Waiting || st.Attempts != 128 || st.NextTry.Sub(began) != 161700*time.Millisecond || st.LastError != "no network" {
			t.Errorf("status %+v", st)
		}
		before := seconds()
		a.Kick()
		pass(time.Second)
		if got, want := strings.TrimPrefix(seconds(), before), " 130 130.2 130.6"; got != want {
			t.Errorf("after the kick dialled at %s, want %s", got, want)
		}
		a.finish()
	})
}

// TestKickReplacesAHangingDial: an attempt that began without network is not waited for.
func TestKickReplacesAHangingDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := make(chan time.Time, 10)
		a := start(t, func(c *devp2p.Config) {
			c.ListenAddrs = nil
			c.Static = []nodeaddr.Node{someNode(t, "192.0.2.1:1")}
			c.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				dials <- time.Now()
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		first := <-dials
		pass(time.Second)
		a.Kick() // too early: it may yet succeed
		pass(2 * time.Second)
		a.Kick()
		if again := <-dials; again.Sub(first) != 3*time.Second {
			t.Errorf("dialled again after %s", again.Sub(first))
		}
		if again := <-dials; again.Sub(first) < 18*time.Second || again.Sub(first) > 19*time.Second {
			t.Errorf("the second attempt timed out after %s", again.Sub(first))
		}
		if st := a.Static()[0]; !strings.Contains(st.LastError, "no answer in time") {
			t.Errorf("status %+v", st)
		}
		a.finish()
	})
}

// TestSelfIsNotDialled: lists of peers are often shared among all nodes in them.
func TestSelfIsNotDialled(t *testing.T) {
	key := newKey(t)
	priv, err := crypto.ToECDSA(key)
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, func(c *devp2p.Config) {
		c.Key = key
		c.Static = []nodeaddr.Node{nodeaddr.New(&priv.PublicKey, nodeaddr.Address{Host: "192.0.2.1", Port: 1})}
		c.DialContext = func(context.Context, string, string) (net.Conn, error) {
			t.Error("dialled")
			return nil, io.EOF
		}
	})
	if st := a.Static(); len(st) != 1 || st[0].State != devp2p.Ourselves {
		t.Errorf("status %+v", st)
	}
}

// TestNetworkBack drives the watcher: the address that a connection uses disappears, and a new one comes.
func TestNetworkBack(t *testing.T) {
	var mu sync.Mutex
	current := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	a := start(t, nil)
	b := start(t, func(c *devp2p.Config) {
		c.Static = []nodeaddr.Node{a.enode()}
		c.WatchInterval = time.Millisecond
		c.Interfaces = func() ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			return current, nil
		}
	})
	b.wait(devp2p.PeerUp)
	mu.Lock()
	current = []netip.Addr{netip.MustParseAddr("192.0.2.9")}
	mu.Unlock()
	if ev := b.wait(devp2p.NetworkChanged); ev.Text != "1 new network address(es), 1 network address(es) gone" {
		t.Errorf("text %q", ev.Text)
	}
	if ev := b.wait(devp2p.PeerDown); !strings.Contains(ev.Text, "is gone") {
		t.Errorf("down: %q", ev.Text)
	}
	b.wait(devp2p.PeerUp)
	b.NetworkChanged(devp2p.Change{Slept: time.Minute})
	if ev := b.wait(devp2p.PeerDown); !strings.Contains(ev.Text, "slept") {
		t.Errorf("down: %q", ev.Text)
	}
	b.wait(devp2p.PeerUp)
}

func TestReachability(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a := start(t, nil)
	if r := a.CheckReachable(ctx); r.Outcome != devp2p.Reachable || !strings.HasPrefix(r.Text, "reachable:") {
		t.Errorf("ourselves: %+v", r)
	}
	silent := start(t, func(c *devp2p.Config) { c.ListenAddrs = nil })
	if r := silent.CheckReachable(ctx); r.Outcome != devp2p.Unreachable || !strings.Contains(r.Text, "does not listen") {
		t.Errorf("without listener: %+v", r)
	}
	away := start(t, func(c *devp2p.Config) { c.Advertise = "127.0.0.1:1" })
	if r := away.CheckReachable(ctx); r.Outcome != devp2p.Unreachable || !strings.Contains(r.Text, "nothing listens") {
		t.Errorf("closed port: %+v", r)
	}
	other := start(t, func(c *devp2p.Config) { c.Advertise = a.Addrs()[0].String() })
	if r := other.CheckReachable(ctx); r.Outcome != devp2p.SomeoneElse || !strings.Contains(r.Text, "without this node's key") {
		t.Errorf("another node: %+v", r)
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	r := devp2p.CheckReachable(short, new(net.Dialer).DialContext, someNode(t, mute.Addr().String()))
	if r.Outcome != devp2p.SomeoneElse || !strings.Contains(r.Text, "says nothing") {
		t.Errorf("a mute program: %+v", r)
	}
}

func TestSelf(t *testing.T) {
	a := start(t, func(c *devp2p.Config) { c.Advertise = "Node.Example.Org" })
	self := a.Self()
	if got, want := self.Node.Address(), (nodeaddr.Address{Host: "node.example.org", Port: a.Addrs()[0].Port()}); got != want || self.Source != "configured" {
		t.Errorf("address %s (%s), want %s", got, self.Source, want)
	}
	var current []netip.Addr
	b := start(t, func(c *devp2p.Config) {
		c.ListenAddrs = []string{"0.0.0.0:0"}
		c.Interfaces = func() ([]netip.Addr, error) { return current, nil }
	})
	first := b.Self().Node
	if again := b.Self().Node; again.Record() != first.Record() {
		t.Error("the record changes without cause")
	}
	current = []netip.Addr{netip.MustParseAddr("203.0.113.4")}
	second := b.Self().Node
	if second.Address().Host != "203.0.113.4" || second.Record() == first.Record() {
		t.Errorf("after a change: %s", second)
	}
	back, err := nodeaddr.Parse(second.Record())
	if err != nil || back.ID() != b.id() || back.Address() != second.Address() {
		t.Errorf("record: %v, %s", err, back)
	}
	c := start(t, func(c *devp2p.Config) { c.ListenAddrs = []string{""} })
	if n := c.Self().Node; !n.Address().IsZero() || len(c.Addrs()) != 0 {
		t.Errorf("without listener: %s", n)
	}
}

// socksServer is a SOCKS5 proxy (RFC 1928) without authentication that connects everything to one place.
func socksServer(t *testing.T, place string, asked chan<- string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				name, err := socksRequest(c)
				if err != nil {
					return
				}
				asked <- name
				to, err := net.Dial("tcp", place)
				if err != nil {
					return
				}
				defer to.Close()
				go func() {
					io.Copy(to, c)
					to.Close()
				}()
				io.Copy(c, to)
			}()
		}
	}()
	return l.Addr().String()
}

func socksRequest(c net.Conn) (string, error) {
	b := make([]byte, 262)
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return "", err
	}
	if _, err := io.ReadFull(c, b[:b[1]]); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return "", err
	}
	if _, err := io.ReadFull(c, b[:5]); err != nil {
		return "", err
	}
	if b[3] != 3 {
		return "", fmt.Errorf("address type %d: the name was resolved before the proxy", b[3])
	}
	n := int(b[4])
	if _, err := io.ReadFull(c, b[:n+2]); err != nil {
		return "", err
	}
	_, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return fmt.Sprintf("%s:%d", b[:n], binary.BigEndian.Uint16(b[n:n+2])), err
}

// TestSOCKS reaches a node by a name that only the proxy knows.
func TestSOCKS(t *testing.T) {
	a := start(t, nil)
	asked := make(chan string, 4)
	dial, err := devp2p.SOCKS5(socksServer(t, a.Addrs()[0].String(), asked))
	if err != nil {
		t.Fatal(err)
	}
	hidden := nodeaddr.New(a.enode().Key().ECDSA(), nodeaddr.Address{Host: "example.onion", Port: 30303})
	prefix := make(chan string, 1)
	b := start(t, func(c *devp2p.Config) {
		c.DialContext = dial
		c.Static = []nodeaddr.Node{hidden}
		c.Protocols[0].Run = func(conn *devp2p.Conn) error {
			prefix <- conn.Prefix()
			return idle(conn)
		}
	})
	if got := receive(t, asked); got != "example.onion:30303" {
		t.Errorf("the proxy was asked for %s", got)
	}
	b.wait(devp2p.PeerUp)
	if got := receive(t, prefix); got != "example.onion" {
		t.Errorf("prefix %q", got)
	}
	for _, bad := range []string{"", "http://127.0.0.1:1", "127.0.0.1:x", "socks5://127.0.0.1:1/path"} {
		if _, err := devp2p.SOCKS5(bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestMutualDial: two nodes that keep each other do settle on one connection.
func TestMutualDial(t *testing.T) {
	a := start(t, nil)
	b := start(t, withStatic(a.enode()))
	if err := a.AddPeer(b.enode()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{a, b} {
		n.wait(devp2p.PeerUp)
	}
	deadline := time.After(patience)
	for {
		pa, pb := a.Peers(false), b.Peers(false)
		if len(pa) == 1 && len(pb) == 1 && pa[0].Static && pb[0].Static {
			return
		}
		select { // either of them has more to tell until they settle
		case <-a.events:
		case <-b.events:
		case <-deadline:
			t.Fatalf("not settled: %+v, %+v", pa, pb)
		}
	}
}

// TestEviction: open handshakes that lead nowhere do not keep others out.
func TestEviction(t *testing.T) {
	var mu sync.Mutex
	late := time.Duration(0)
	a := start(t, func(c *devp2p.Config) {
		c.MaxPending = 1
		c.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(late)
		}
	})
	idler, err := net.Dial("tcp", a.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer idler.Close()
	b := start(t, withStatic(a.enode()))
	if ev := b.wait(devp2p.DialFail); !strings.Contains(ev.Text, "refuses us for now") {
		t.Errorf("text %q", ev.Text)
	}
	mu.Lock()
	late = 2 * time.Second
	mu.Unlock()
	b.wait(devp2p.PeerUp)
	a.wait(devp2p.PeerUp)
	if s := a.Stats(); s.TurnedAway == 0 || s.Pending != 0 {
		t.Errorf("stats %+v", s)
	}
}
