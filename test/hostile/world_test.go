// Package hostile_test attacks whole nodes over real devp2p connections, while honest peers go on through the same node:
// their messages arrive in normal time, memory stays within stated bounds, no protocol panics, and a connection ends with
// the right reason where it should and lives where it should.
package hostile_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/wire"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// normal is the latency that honest peers keep, as a median, whatever others do. Undisturbed it is far below 5 ms.
const normal = 100 * time.Millisecond

const (
	shh6  = "shh/6"
	waku1 = "waku/1"
)

// world is a node under attack.
type world struct {
	t     *testing.T
	node  *rpc.Client
	enode nodeaddr.Node
	log   *recorder

	normal time.Duration // the median latency that honest peers keep
}

// recorder keeps why peers went.
type recorder struct {
	mu   sync.Mutex
	down map[string][]string // reasons by peer
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }

func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	if rec.Message != devp2p.PeerDown.String() {
		return nil
	}
	var peer, why string
	rec.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "peer":
			peer = a.Value.String()
		case "why":
			why = a.Value.String()
		}
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if peer != "" {
		r.down[peer] = append(r.down[peer], why)
	}
	return nil
}

func (r *recorder) reasons(id nodeaddr.ID) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.down[id.Short()])
}

// newWorld runs a node with small bounds; change may change them.
func newWorld(t *testing.T, change func(*node.Options)) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "hostile") // sockets allow short paths only
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, normal: normal, log: &recorder{down: map[string][]string{}}}
	opt := node.Options{
		Version: "test", DataDir: dir, KeyFile: filepath.Join(dir, "key"), Socket: filepath.Join(dir, rpc.SocketName),
		Network:  devp2p.Config{ListenAddrs: []string{"127.0.0.1:0"}, WatchInterval: -1},
		Gossip:   gossip.Config{Full: true, MinPoW: 0.000002, PoolCount: 20_000, PoolBytes: 32 << 20, PeerRate: 16 << 20, SourceRate: 32 << 20},
		Dialects: wire.Dialects(), Out: io.Discard, Log: slog.New(w.log),
	}
	if change != nil {
		change(&opt)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx, opt) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the node: %v", err)
		}
		os.RemoveAll(dir)
	})
	eventually(t, "the node answers", func() bool {
		w.node, err = rpc.Dial(ctx, opt.Socket)
		return err == nil
	})
	t.Cleanup(w.node.Close)
	if w.enode, err = nodeaddr.Parse(w.status().Enode); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) call(result any, method string, args ...any) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.node.Call(ctx, result, method, args...); err != nil {
		w.t.Fatalf("%s: %v", method, err)
	}
}

func (w *world) status() (st rpc.Status) {
	w.t.Helper()
	w.call(&st, "node_status")
	return st
}

func (w *world) counter(name string) float64 {
	w.t.Helper()
	return w.status().Counters["restante_"+name]
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// peer is a devp2p node that the test speaks for.
type peer struct {
	t      *testing.T
	id     nodeaddr.ID
	server *devp2p.Server
	links  map[string]*devp2p.Conn
	ended  chan struct{} // the first connection is gone
	acks   sync.Map      // digests that the node acknowledged
	acked  chan struct{} // there is a new one
}

// conduct says how a peer behaves by itself.
type conduct struct {
	hellos map[string][]byte // by dialect; nil bytes: sends none
	read   func(link string, code uint64, payload []byte)
	mute   bool // never reads
}

func hello(name string, h wire.Hello) []byte {
	d, _ := wire.Lookup(name)
	_, payload := d.EncodeHello(h)
	return payload
}

func speaks(names ...string) map[string][]byte {
	hellos := map[string][]byte{}
	for _, name := range names {
		hellos[name] = hello(name, wire.Hello{Confirms: true})
	}
	return hellos
}

// protocolOf is a protocol by its name and version, still without its Run.
func protocolOf(name string) devp2p.Protocol {
	if name == mail1.Label {
		return devp2p.Protocol{Name: mail1.Name, Version: mail1.Version, Codes: mail1.Codes}
	}
	d, _ := wire.Lookup(name)
	return devp2p.Protocol{Name: d.Name(), Version: d.Version(), Codes: d.Codes()}
}

// dial connects a new peer to the node. Only its first connection counts.
func (w *world) dial(c conduct) *peer {
	w.t.Helper()
	key, err := crypto.GenerateKey()
	if err != nil {
		w.t.Fatal(err)
	}
	p := &peer{t: w.t, links: map[string]*devp2p.Conn{}, ended: make(chan struct{}), acked: make(chan struct{}, 1)}
	opened := make(chan *devp2p.Conn, len(c.hellos))
	var once sync.Once
	cfg := devp2p.Config{
		Key: crypto.FromECDSA(key), Name: "hostile", Static: []nodeaddr.Node{w.enode}, WatchInterval: -1, MaxPacket: 1<<24 - 1,
	}
	for name, hello := range c.hellos {
		protocol := protocolOf(name)
		protocol.Run = func(conn *devp2p.Conn) error {
			select {
			case <-p.ended:
				return errors.New("no more")
			default:
			}
			defer once.Do(func() { close(p.ended) })
			if hello != nil {
				if err := conn.WritePacket(0, hello); err != nil {
					return err
				}
			}
			opened <- conn
			return p.serve(conn, c)
		}
		cfg.Protocols = append(cfg.Protocols, protocol)
	}
	if p.server, err = devp2p.Start(cfg); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.close)
	p.id = p.server.Self().Node.ID()
	for range c.hellos {
		select {
		case conn := <-opened:
			p.links[conn.Protocol()] = conn
		case <-time.After(patience):
			w.t.Fatal("the node does not let the peer in")
		}
	}
	return p
}

// close ends the peer and lets go of its buffers, which would count as the node's.
func (p *peer) close() {
	if p.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p.server.Close(ctx)
	p.server, p.links = nil, nil
}

func (p *peer) serve(conn *devp2p.Conn, c conduct) error {
	if c.mute {
		// Nothing is taken out of the connection, so TCP holds the node back. Writing fails when it is cut.
		for conn.WritePacket(99, nil) == nil {
			<-time.After(50 * time.Millisecond)
		}
		return io.EOF
	}
	for {
		code, payload, err := conn.ReadPacket()
		if err != nil {
			return err
		}
		if code == 11 && len(payload) >= 32 && conn.Protocol() != mail1.Label {
			p.acks.Store(envelope.Hash(payload[len(payload)-32:]), true)
			select {
			case p.acked <- struct{}{}:
			default:
			}
		}
		if c.read != nil {
			c.read(conn.Protocol(), code, payload)
		}
	}
}

// send sends a packet and reports whether the connection still took it.
func (p *peer) send(name string, code uint64, payload []byte) bool {
	select {
	case <-p.ended:
		return false
	default:
		return p.links[name].WritePacket(code, payload) == nil
	}
}

// gone waits until the node has ended the peer's connection, and returns its reason.
func (w *world) gone(p *peer) string {
	w.t.Helper()
	eventually(w.t, "the connection ends", func() bool { return len(w.log.reasons(p.id)) > 0 })
	return w.log.reasons(p.id)[0]
}

// stays fails the test unless the node has read all that the peer sent, and the connection lives: a last envelope on each
// dialect is acknowledged.
func (w *world) stays(p *peer) {
	w.t.Helper()
	for name := range p.links {
		payload := list(valid(w.t, envelope.Topic{0xee}, 60))
		p.send(name, 1, payload)
		eventually(w.t, "the peer's last envelope is acknowledged", func() bool {
			if r := w.log.reasons(p.id); len(r) > 0 {
				w.t.Fatalf("the connection ended: %q", r)
			}
			_, ok := p.acks.Load(envelope.Keccak256(payload))
			return ok
		})
	}
	if !w.has(p) {
		w.t.Error("the node does not list the peer")
	}
}

// has reports whether the node lists the peer as connected.
func (w *world) has(p *peer) bool {
	var peers []rpc.Peer
	w.call(&peers, "node_peers")
	return slices.ContainsFunc(peers, func(q rpc.Peer) bool { return q.ID == p.id.String() && q.Connected })
}

// list encodes a packet.
func list(envs ...*envelope.Envelope) []byte { return envelope.EncodeList(envs) }

// random makes an envelope of random data without any work.
func random(t testing.TB, sent time.Time, ttl uint32, topic envelope.Topic, size int) *envelope.Envelope {
	t.Helper()
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	return envelope.New(uint32(sent.Unix())+ttl, ttl, topic, data, 0)
}

// valid makes an envelope with some work, worth more than any flood of these tests.
func valid(t testing.TB, topic envelope.Topic, ttl uint32) *envelope.Envelope {
	t.Helper()
	data := make([]byte, 300)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	env, err := envelope.Seal(context.Background(), envelope.Draft{Expiry: uint32(time.Now().Unix()) + ttl, TTL: ttl, Topic: topic, Data: data}, 0.05, 1)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// heap is what the process holds after a collection, in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
