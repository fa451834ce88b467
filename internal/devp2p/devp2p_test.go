package devp2p_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// patience bounds every wait of these tests.
const patience = 10 * time.Second

// node is a server with its events.
type node struct {
	*devp2p.Server
	t      *testing.T
	events chan devp2p.Event
	log    *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs a node on loopback with what change makes of the configuration.
func start(t *testing.T, change func(*devp2p.Config)) *node {
	t.Helper()
	n := &node{t: t, events: make(chan devp2p.Event, 1024), log: new(syncBuffer)}
	cfg := devp2p.Config{
		Key: newKey(t), Name: "test/v1", ListenAddrs: []string{"127.0.0.1:0"}, WatchInterval: -1,
		Protocols: []devp2p.Protocol{{Name: "aa", Version: 1, Codes: 8, Run: idle}},
		Log:       slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent:   func(ev devp2p.Event) { n.events <- ev },
	}
	if change != nil {
		change(&cfg)
	}
	s, err := devp2p.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Server = s
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

func newKey(t *testing.T) []byte {
	t.Helper()
	k, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return crypto.FromECDSA(k)
}

// idle reads until the connection ends.
func idle(c *devp2p.Conn) error {
	for {
		if _, _, err := c.ReadPacket(); err != nil {
			return err
		}
	}
}

func (n *node) enode() nodeaddr.Node { return n.Self().Node }

func (n *node) id() nodeaddr.ID { return n.Self().Node.ID() }

// wait returns the next event of a kind; others are passed over.
func (n *node) wait(kind devp2p.EventKind) devp2p.Event {
	n.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case ev := <-n.events:
			if ev.Kind == kind {
				return ev
			}
		case <-timeout:
			n.t.Fatalf("no event %q within %s; log:\n%s", kind, patience, n.log)
		}
	}
}

func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came within %s", patience)
		panic("unreachable")
	}
}

func withStatic(nodes ...nodeaddr.Node) func(*devp2p.Config) {
	return func(c *devp2p.Config) { c.Static = nodes }
}

// TestTwoProtocols exchanges packets on two protocols of one connection; both see the same connection.
func TestTwoProtocols(t *testing.T) {
	type seen struct {
		proto, client string
		conn          devp2p.ConnID
		inbound       bool
		static        bool
		node          nodeaddr.ID
		got           []string
	}
	run := func(out chan<- seen) func(*devp2p.Conn) error {
		return func(c *devp2p.Conn) error {
			for i := range 3 {
				if err := c.WritePacket(uint64(i), fmt.Appendf(nil, "%s %d", c.Protocol(), i)); err != nil {
					return err
				}
			}
			s := seen{proto: c.Protocol(), client: c.Client(), conn: c.ID(), inbound: c.Inbound(), static: c.Static(), node: c.Node()}
			var payloads [][]byte
			for i := range 3 {
				code, payload, err := c.ReadPacket()
				if err != nil || code != uint64(i) {
					return fmt.Errorf("code %d: %w", code, err)
				}
				payloads = append(payloads, payload)
			}
			for _, p := range payloads { // after all were read: none may have been overwritten
				s.got = append(s.got, string(p))
			}
			out <- s
			return idle(c)
		}
	}
	protocols := func(out chan<- seen) []devp2p.Protocol {
		return []devp2p.Protocol{{Name: "aa", Version: 1, Codes: 8, Run: run(out)}, {Name: "bb", Version: 7, Codes: 8, Run: run(out)}}
	}
	atA, atB := make(chan seen, 2), make(chan seen, 2)
	a := start(t, func(c *devp2p.Config) { c.Protocols = protocols(atA); c.Name = "a\x1b[31m/" + strings.Repeat("x", 200) })
	b := start(t, func(c *devp2p.Config) { c.Protocols = protocols(atB); c.Static = []nodeaddr.Node{a.enode()} })
	for _, side := range []struct {
		ch      chan seen
		inbound bool
		peer    nodeaddr.ID
	}{{atA, true, b.id()}, {atB, false, a.id()}} {
		x, y := receive(t, side.ch), receive(t, side.ch)
		if x.conn != y.conn || x.conn == 0 || x.proto == y.proto {
			t.Errorf("connections %d and %d of %s and %s", x.conn, y.conn, x.proto, y.proto)
		}
		for _, s := range []seen{x, y} {
			want := []string{s.proto + " 0", s.proto + " 1", s.proto + " 2"}
			if fmt.Sprint(s.got) != fmt.Sprint(want) || s.inbound != side.inbound || s.static == side.inbound || s.node != side.peer {
				t.Errorf("saw %+v", s)
			}
			if !side.inbound && (len(s.client) != 96 || strings.ContainsRune(s.client, 0x1b)) {
				t.Errorf("client name %q", s.client)
			}
		}
	}
	peers := a.Peers(false)
	if len(peers) != 1 || fmt.Sprint(peers[0].Protocols) != "[aa/1 bb/7]" || peers[0].Address != "" || peers[0].BytesIn == 0 {
		t.Errorf("peers %+v", peers)
	}
	if p := a.Peers(true); len(p) != 1 || !strings.HasPrefix(p[0].Address, "127.0.0.1:") {
		t.Errorf("peers with address %+v", p)
	}
	for _, n := range []*node{a, b} {
		if strings.Contains(n.log.String(), "127.0.0.1") {
			t.Errorf("an address in the log:\n%s", n.log)
		}
	}
}

func TestOversizePacket(t *testing.T) {
	got := make(chan error, 1)
	a := start(t, func(c *devp2p.Config) {
		c.MaxPacket = 1000
		c.Protocols[0].Run = func(conn *devp2p.Conn) error {
			err := idle(conn)
			got <- err
			return err
		}
	})
	b := start(t, func(c *devp2p.Config) {
		c.Static = []nodeaddr.Node{a.enode()}
		c.Protocols[0].Run = func(conn *devp2p.Conn) error {
			if err := conn.WritePacket(1, make([]byte, 1000)); err != nil {
				return err
			}
			if err := conn.WritePacket(1, make([]byte, 1001)); err != nil {
				return err
			}
			return idle(conn)
		}
	})
	if err := receive(t, got); fault.KindOf(err) != fault.Limit || !strings.Contains(fault.Text(err), "1001 bytes") {
		t.Errorf("read gave %v", err)
	}
	if ev := a.wait(devp2p.PeerDown); !strings.Contains(ev.Text, "1001 bytes") {
		t.Errorf("we say %q", ev.Text)
	}
	if ev := b.wait(devp2p.PeerDown); ev.Text != "the peer says: it found fault with what we sent" {
		t.Errorf("the peer reads %q", ev.Text)
	}
}

// TestHugeFrame: a frame far above the limit ends the connection while it arrives.
func TestHugeFrame(t *testing.T) {
	a := start(t, func(c *devp2p.Config) { c.MaxPacket = 100_000 })
	noise := make([]byte, 4<<20) // must not compress
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	start(t, func(c *devp2p.Config) {
		c.Static = []nodeaddr.Node{a.enode()}
		c.Protocols[0].Run = func(conn *devp2p.Conn) error {
			if err := conn.WritePacket(1, noise); err != nil {
				return err
			}
			return idle(conn)
		}
	})
	if ev := a.wait(devp2p.PeerDown); !strings.Contains(ev.Text, "frame far above") {
		t.Errorf("ended with %q", ev.Text)
	}
	if in := a.Stats().BytesIn; in > 1<<20 {
		t.Errorf("%d bytes were read", in)
	}
}

func TestMaxPeers(t *testing.T) {
	a := start(t, func(c *devp2p.Config) { c.MaxPeers = 1 })
	first := start(t, withStatic(a.enode()))
	if ev := a.wait(devp2p.PeerUp); ev.Node != first.id() {
		t.Fatalf("up: %+v", ev)
	}
	second := start(t, withStatic(a.enode()))
	if ev := a.wait(devp2p.PeerRefused); ev.Node != second.id() || !strings.Contains(ev.Text, "all the peers") {
		t.Errorf("refused: %+v", ev)
	}
	if ev := second.wait(devp2p.PeerDown); ev.Text != "the peer says: it has all the peers it may have" {
		t.Errorf("the refused one reads %q", ev.Text)
	}
	if err := a.AddTrusted(second.id()); err != nil { // now it is exempt
		t.Fatal(err)
	}
	second.Kick()
	if ev := a.wait(devp2p.PeerUp); ev.Node != second.id() {
		t.Errorf("up: %+v", ev)
	}
	static := start(t, nil)
	if err := a.AddPeer(static.enode()); err != nil { // static ones too
		t.Fatal(err)
	}
	if ev := a.wait(devp2p.PeerUp); ev.Node != static.id() {
		t.Errorf("up: %+v", ev)
	}
	if err := a.RemoveTrusted(static.id()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("removing trust that is not there: %v", err)
	}
}

// fakeAddr pretends that connections come from elsewhere.
type fakeAddr struct {
	net.Listener
	mu   sync.Mutex
	addr []string // in order; the last one stays
}

func (f *fakeAddr) Accept() (net.Conn, error) {
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	addr := f.addr[0]
	if len(f.addr) > 1 {
		f.addr = f.addr[1:]
	}
	return fakeConn{c, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))}, nil
}

type fakeConn struct {
	net.Conn
	addr net.Addr
}

func (f fakeConn) RemoteAddr() net.Addr { return f.addr }

func from(addrs ...string) func(network, address string) (net.Listener, error) {
	return func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		return &fakeAddr{Listener: l, addr: addrs}, err
	}
}

// TestVisitorsFromOneAddress: go-ethereum's listener would refuse the second one for 30 s.
func TestVisitorsFromOneAddress(t *testing.T) {
	a := start(t, func(c *devp2p.Config) { c.Listen = from("203.0.113.7:1000") })
	began := time.Now()
	start(t, withStatic(a.enode()))
	start(t, withStatic(a.enode()))
	a.wait(devp2p.PeerUp)
	a.wait(devp2p.PeerUp)
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %s", took)
	}
	for _, p := range a.Peers(false) {
		if p.Prefix != "203.0.113.0/24" {
			t.Errorf("prefix %q", p.Prefix)
		}
	}
}

func TestMaxPerPrefix(t *testing.T) {
	a := start(t, func(c *devp2p.Config) {
		c.MaxPerPrefix = 1
		c.Listen = from("203.0.113.7:1", "203.0.113.200:2", "198.51.100.1:3")
	})
	start(t, withStatic(a.enode()))
	a.wait(devp2p.PeerUp)
	second := start(t, withStatic(a.enode()))
	if ev := a.wait(devp2p.PeerRefused); ev.Node != second.id() || !strings.Contains(ev.Text, "from that network") {
		t.Errorf("refused: %+v", ev)
	}
	if ev := a.wait(devp2p.PeerUp); ev.Node != second.id() { // its next attempt comes from another network
		t.Errorf("up: %+v", ev)
	}
}

func TestAcceptRate(t *testing.T) {
	a := start(t, func(c *devp2p.Config) {
		c.AcceptBurst, c.AcceptRate = 2, 1e-9
		c.Listen = from("203.0.113.7:1")
	})
	var third net.Conn
	for range 3 {
		fd, err := net.Dial("tcp", a.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer fd.Close()
		third = fd
	}
	if err := third.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := third.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third visitor was heard: %v", err)
	}
	if s := a.Stats(); s.Accepted != 2 || s.TurnedAway != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestHandshakeDeadline(t *testing.T) {
	a := start(t, func(c *devp2p.Config) { c.HandshakeTimeout = 50 * time.Millisecond })
	fd, err := net.Dial("tcp", a.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	if ev := a.wait(devp2p.HandshakeFail); ev.Text != "the visitor did not complete the handshake" {
		t.Errorf("text %q", ev.Text)
	}
	if s := a.Stats(); s.Pending != 0 || s.HandshakeFailures != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestRedial: a lost peer is back within a second; go-ethereum's dialer would wait for 35.
func TestRedial(t *testing.T) {
	a := start(t, nil)
	b := start(t, withStatic(a.enode()))
	b.wait(devp2p.PeerUp)
	a.wait(devp2p.PeerUp)
	if !a.Disconnect(b.id(), fault.E("", fault.Denied, nil, "for the test")) {
		t.Fatal("no peer to disconnect")
	}
	if ev := a.wait(devp2p.PeerDown); ev.Text != "for the test" {
		t.Errorf("we say %q", ev.Text)
	}
	if ev := b.wait(devp2p.PeerDown); ev.Text != "the peer says: it has no use for us: no protocol in common" {
		t.Errorf("the peer reads %q", ev.Text)
	}
	lost := time.Now()
	b.wait(devp2p.PeerUp)
	if took := time.Since(lost); took > time.Second {
		t.Errorf("back after %s", took)
	}
}

// TestPeerComesUpLater: a static peer that is off line is tried until it is there, and Kick does not wait for the back-off.
func TestPeerComesUpLater(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	key := newKey(t)
	priv, err := crypto.ToECDSA(key)
	if err != nil {
		t.Fatal(err)
	}
	at, err := nodeaddr.ParseAddress(addr, 0)
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, withStatic(nodeaddr.New(&priv.PublicKey, at)))
	for range 3 {
		if ev := a.wait(devp2p.DialFail); !strings.Contains(ev.Text, "nothing listens") {
			t.Errorf("text %q", ev.Text)
		}
		a.Kick()
	}
	a.wait(devp2p.DialFail)
	if st := a.Static()[0]; st.State != devp2p.Waiting || st.NextTry.IsZero() || !strings.Contains(st.LastError, "nothing listens") {
		t.Errorf("status %+v", st)
	}
	start(t, func(c *devp2p.Config) { c.Key, c.ListenAddrs = key, []string{addr} })
	a.Kick()
	a.wait(devp2p.PeerUp)
	if st := a.Static()[0]; st.State != devp2p.Connected && st.State != devp2p.Dialling { // the keeper notes it at once
		t.Errorf("status %+v", st)
	}
}

func TestAddAndRemovePeer(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	if err := a.AddPeer(a.enode()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("own address: %v", err)
	}
	if err := a.RemovePeer(b.id()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("unknown peer: %v", err)
	}
	for range 2 { // the second time changes nothing
		if err := a.AddPeer(b.enode()); err != nil {
			t.Fatal(err)
		}
	}
	a.wait(devp2p.PeerUp)
	b.wait(devp2p.PeerUp)
	if err := a.RemovePeer(b.id()); err != nil {
		t.Fatal(err)
	}
	if ev := a.wait(devp2p.PeerDown); ev.Text != "the peer was removed" {
		t.Errorf("we say %q", ev.Text)
	}
	if ev := b.wait(devp2p.PeerDown); ev.Text != "the peer says: it no longer wants this connection" {
		t.Errorf("the peer reads %q", ev.Text)
	}
	if len(a.Static()) != 0 {
		t.Errorf("still static: %+v", a.Static())
	}
}
