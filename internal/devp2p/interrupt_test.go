package devp2p_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// line is a TCP line that can be cut: while it is, connections are refused.
type line struct {
	t        *testing.T
	from, to string

	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
}

// newLine makes a line to an address.
func newLine(t *testing.T, to string) *line {
	l := &line{t: t, from: "127.0.0.1:0", to: to}
	l.mend()
	t.Cleanup(l.cut)
	return l
}

// mend lets connections through, always on the same port.
func (l *line) mend() {
	l.t.Helper()
	listener, err := net.Listen("tcp", l.from)
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	l.from, l.listener = listener.Addr().String(), listener
	l.mu.Unlock()
	go func() {
		for {
			here, err := listener.Accept()
			if err != nil {
				return
			}
			l.join(here)
		}
	}()
}

func (l *line) join(here net.Conn) {
	there, err := net.Dial("tcp", l.to)
	if err != nil {
		here.Close()
		return
	}
	l.mu.Lock()
	l.conns = append(l.conns, here, there)
	l.mu.Unlock()
	for _, pair := range [][2]net.Conn{{here, there}, {there, here}} {
		go func() {
			io.Copy(pair[0], pair[1])
			pair[0].Close()
		}()
	}
}

// cut breaks all connections and refuses new ones.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listener.Close()
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// through is the node as it is reached over the line.
func (l *line) through(n nodeaddr.Node) nodeaddr.Node {
	l.t.Helper()
	at, err := nodeaddr.ParseAddress(l.from, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	return nodeaddr.New(n.Key().ECDSA(), at)
}

// TestInterruption: within a second after a line lets connections through again, two nodes have shaken hands.
func TestInterruption(t *testing.T) {
	a := start(t, nil)
	l := newLine(t, a.Addrs()[0].String())
	b := start(t, withStatic(l.through(a.enode())))
	b.wait(devp2p.PeerUp)
	l.cut()
	b.wait(devp2p.PeerDown)
	for range 5 { // as long as it takes until the waits grow no more
		b.wait(devp2p.DialFail)
	}
	l.mend()
	mended := time.Now()
	b.wait(devp2p.PeerUp)
	if took := time.Since(mended); took > time.Second {
		t.Errorf("connected again after %s", took)
	} else {
		t.Logf("connected again after %s", took)
	}
}

// TestShortInterruption: a connection that merely broke is there again almost at once.
func TestShortInterruption(t *testing.T) {
	a := start(t, nil)
	l := newLine(t, a.Addrs()[0].String())
	b := start(t, withStatic(l.through(a.enode())))
	b.wait(devp2p.PeerUp)
	l.cut()
	cut := time.Now()
	l.mend()
	b.wait(devp2p.PeerDown)
	b.wait(devp2p.PeerUp)
	if took := time.Since(cut); took > 500*time.Millisecond {
		t.Errorf("connected again after %s", took)
	}
}

// memory is a listener whose connections are made by dial.
type memory struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), done: make(chan struct{})} }

func (m *memory) dial() (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case m.conns <- there:
		return here, nil
	case <-m.done:
		return nil, io.EOF
	}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.done) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// TestFirstPeerIsASign: when one node is reached after a time without any, the others are tried at once.
func TestFirstPeerIsASign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := map[string]*memory{"192.0.2.1:1": newMemory(), "192.0.2.2:1": newMemory()}
		var nodes []*node
		var static []nodeaddr.Node
		for _, address := range []string{"192.0.2.1:1", "192.0.2.2:1"} {
			n := start(t, func(c *devp2p.Config) {
				c.ListenAddrs = []string{address}
				c.Listen = func(string, string) (net.Listener, error) { return lines[address], nil }
			})
			at, err := nodeaddr.ParseAddress(address, 0)
			if err != nil {
				t.Fatal(err)
			}
			nodes, static = append(nodes, n), append(static, nodeaddr.New(n.enode().Key().ECDSA(), at))
		}
		down, began := 10*time.Minute, time.Now()
		b := start(t, func(c *devp2p.Config) {
			c.ListenAddrs, c.Static = nil, static
			c.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
				if time.Since(began) < down {
					return nil, errors.New("no network")
				}
				return lines[address].dial()
			}
		})
		pass(down + time.Minute) // the longest wait
		first := b.wait(devp2p.PeerUp)
		second := b.wait(devp2p.PeerUp)
		if gap := second.Time.Sub(first.Time); gap > 10*time.Millisecond {
			t.Errorf("the second peer came %s after the first", gap)
		}
		for _, n := range append(nodes, b) {
			n.finish()
		}
	})
}

// TestSetEager: it counts for a connection that is there, and for later ones.
func TestSetEager(t *testing.T) {
	a := start(t, nil)
	l := newLine(t, a.Addrs()[0].String())
	b := start(t, withStatic(l.through(a.enode())))
	b.wait(devp2p.PeerUp)
	for _, on := range []bool{true, false, true} {
		b.SetEager(a.id(), on)
		if p := b.Peers(false); len(p) != 1 || p[0].Eager != on {
			t.Errorf("told %v: %+v", on, p)
		}
	}
	l.cut()
	l.mend()
	b.wait(devp2p.PeerDown)
	b.wait(devp2p.PeerUp)
	if p := b.Peers(false); len(p) != 1 || !p[0].Eager {
		t.Errorf("the next connection: %+v", p)
	}
}
