package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/wire"
)

const patience = 20 * time.Second

// running is a node under test.
type running struct {
	t      *testing.T
	opt    node.Options
	reload chan node.Settings
	out    *syncBuffer
	log    *syncBuffer
	stop   context.CancelFunc
	ended  chan error
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

func options(dir string) node.Options {
	return node.Options{
		Version: "test", DataDir: dir, KeyFile: filepath.Join(dir, "node.key"), Socket: filepath.Join(dir, rpc.SocketName),
		Network:  devp2p.Config{ListenAddrs: []string{"127.0.0.1:0"}, MaxPeers: 10},
		Gossip:   gossip.Config{Full: true, MinPoW: 0.000002, PoolCount: 1000, PoolBytes: 1 << 20},
		Dialects: wire.Dialects(), OpsListen: "127.0.0.1:0",
	}
}

func start(t *testing.T, change func(*node.Options)) *running {
	t.Helper()
	r := &running{t: t, reload: make(chan node.Settings), out: &syncBuffer{}, log: &syncBuffer{}, ended: make(chan error, 1)}
	r.opt = options(t.TempDir())
	r.opt.Reload, r.opt.Out, r.opt.Log = r.reload, r.out, slog.New(slog.NewTextHandler(r.log, nil))
	if change != nil {
		change(&r.opt)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.ended <- node.Run(ctx, r.opt) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-r.ended:
			if err != nil {
				t.Errorf("the node ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the node did not stop")
		}
	})
	r.until(func(rpc.Status, []rpc.Peer) bool { return true })
	return r
}

// until asks the node until it says what is wanted.
func (r *running) until(wanted func(rpc.Status, []rpc.Peer) bool) (st rpc.Status) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := rpc.Dial(ctx, r.opt.Socket); err == nil {
			st, err = c.Status(ctx)
			peers, perr := c.Peers(ctx)
			c.Close()
			if err == nil && perr == nil && wanted(st, peers) {
				return st
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("it did not get there; last %+v\n%s", st, r.log)
		}
	}
}

func address(t *testing.T, enode string) nodeaddr.Node {
	t.Helper()
	n, err := nodeaddr.Parse(enode)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReloadAddsAndRemovesPeersAndLimits(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	peer := a.until(func(st rpc.Status, _ []rpc.Peer) bool { return st.Enode != "" })
	settings := node.Settings{MinPoW: 0.5, MaxSize: 4096, Tune: gossip.Tune{PoolCount: 10}, Static: []nodeaddr.Node{address(t, peer.Enode)}}
	b.reload <- settings
	st := b.until(func(_ rpc.Status, peers []rpc.Peer) bool {
		return len(peers) == 1 && peers[0].Connected && peers[0].Static
	})
	if st.MinPoW != 0.5 || st.MaxMessageSize != 4096 {
		t.Errorf("after the reload: PoW %v, size %d", st.MinPoW, st.MaxMessageSize)
	}
	a.until(func(_ rpc.Status, peers []rpc.Peer) bool { return len(peers) == 1 && peers[0].MinPoW == 0.5 })
	settings.Static = nil
	b.reload <- settings
	b.until(func(_ rpc.Status, peers []rpc.Peer) bool { return len(peers) == 0 })
}

func TestTheOperatorIsToldWhatRuns(t *testing.T) {
	a := start(t, func(o *node.Options) { o.Flags = " --data-dir there" })
	st := a.until(func(st rpc.Status, _ []rpc.Peer) bool { return len(st.Health) == 1 })
	if st.Health[0].Code != node.NoPeers || !strings.Contains(st.Health[0].Text, "restante peers add") {
		t.Errorf("health: %+v", st.Health)
	}
	for _, want := range []string{st.Enode, a.opt.DataDir, a.opt.Socket, "restante status --data-dir there"} {
		if !strings.Contains(a.out.String(), want) {
			t.Errorf("the welcome does not say %q:\n%s", want, a.out)
		}
	}
	url := regexp.MustCompile(`http://[0-9.:]+`).FindString(a.log.String())
	for path, want := range map[string]string{"/metrics": "restante_peers 0", "/healthz": node.NoPeers} {
		answer, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d, %v\n%.300s", path, answer.StatusCode, err, text)
		}
	}
	var client *rpc.Client
	client, err := rpc.Dial(context.Background(), a.opt.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var reach rpc.Reachability
	if err := client.Call(context.Background(), &reach, "node_reachable"); err != nil || reach.Outcome != "reachable" {
		t.Errorf("reachability: %+v, %v", reach, err)
	}
}

func TestNoAddressIsLogged(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	peer := a.until(func(st rpc.Status, _ []rpc.Peer) bool { return st.Enode != "" })
	b.reload <- node.Settings{MaxSize: 1 << 20, Static: []nodeaddr.Node{address(t, peer.Enode)}}
	b.until(func(_ rpc.Status, peers []rpc.Peer) bool { return len(peers) == 1 && peers[0].Connected })
	a.until(func(_ rpc.Status, peers []rpc.Peer) bool { return len(peers) == 1 })
	port := regexp.MustCompile(`:(\d+)\?`).FindStringSubmatch(peer.Enode)[1]
	for _, r := range []*running{a, b} {
		if log := r.log.String(); !strings.Contains(log, "peer up") || strings.Contains(log, ":"+port) {
			t.Errorf("the log:\n%s", log)
		}
	}
}

func TestOneNodeForEachDirectory(t *testing.T) {
	a := start(t, nil)
	second := a.opt
	second.Socket = filepath.Join(t.TempDir(), "other.ipc")
	second.Out = io.Discard
	err := node.Run(context.Background(), second)
	if !fault.Is(err, fault.Exists) || !strings.Contains(fault.Text(err), "another instance is running") {
		t.Errorf("a second node: %v", err)
	}
}

func TestWhatKeepsANodeFromStarting(t *testing.T) {
	busy := start(t, nil)
	listen := busy.until(func(st rpc.Status, _ []rpc.Peer) bool { return true }).Listen
	tests := []struct {
		name   string
		change func(*node.Options)
		want   string
	}{
		{"port taken", func(o *node.Options) { o.Network.ListenAddrs = []string{listen} }, "another program listens"},
		{"bad metrics address", func(o *node.Options) { o.OpsListen = "nowhere" }, "host:port"},
		{"data directory is a file", func(o *node.Options) { o.DataDir = "node_test.go" }, "--data-dir"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t.TempDir())
			o.Out, o.Log = io.Discard, slog.New(slog.DiscardHandler)
			tt.change(&o)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			err := node.Run(ctx, o)
			if err == nil || !strings.Contains(fault.Text(err), tt.want) {
				t.Errorf("it says %q (%v), want %q", fault.Text(err), err, tt.want)
			}
		})
	}
}

func TestStopByCommand(t *testing.T) {
	a := start(t, nil)
	c, err := rpc.Dial(context.Background(), a.opt.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var raw json.RawMessage
	if err := c.Call(context.Background(), &raw, "node_stop"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-a.ended:
		a.ended <- err
	case <-time.After(patience):
		t.Fatal("it runs on")
	}
}
