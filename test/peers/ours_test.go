//go:build peers

package peers_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// patience bounds every wait for our node.
const patience = 20 * time.Second

// ours is our node: the real program, driven over its socket.
type ours struct {
	*rpc.Client
	t     testing.TB
	args  []string
	dir   string
	cmd   *exec.Cmd
	ended chan struct{}
	log   *lockedBuffer

	enode string
	id    [32]byte
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// program builds our binary once.
var program = sync.OnceValues(func() (string, error) {
	bin, err := filepath.Abs("../../.build/peers/restante")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/restante")
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if err != nil {
		os.Stderr.Write(out)
	}
	return bin, err
})

// startOurs starts our node on loopback; it ends with the test. Its log is shown if the test fails.
func startOurs(t testing.TB, args ...string) *ours {
	t.Helper()
	dir, err := os.MkdirTemp("", "ours") // sockets allow short paths only
	if err != nil {
		t.Fatal(err)
	}
	o := &ours{t: t, args: args, dir: dir, log: new(lockedBuffer)}
	t.Cleanup(func() {
		o.kill()
		os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("our node's log:\n%s", tail(o.log.String(), 6000))
		}
	})
	o.start("127.0.0.1:0")
	return o
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// start runs the program and waits until it answers.
func (o *ours) start(listen string) {
	o.t.Helper()
	bin, err := program()
	if err != nil {
		o.t.Fatal(err)
	}
	args := []string{"serve", "--data-dir", o.dir, "--listen", listen, "--ops", "", "--log-level", "debug", "--set", "gossip.post_delay_max=0s"}
	o.cmd = exec.Command(bin, append(args, o.args...)...)
	o.cmd.Stdout, o.cmd.Stderr = o.log, o.log
	if err := o.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	ended := make(chan struct{})
	o.ended = ended
	go func(cmd *exec.Cmd) { cmd.Wait(); close(ended) }(o.cmd)
	eventually(o.t, "our node answers", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		select {
		case <-ended:
			o.t.Fatal("our node ended at once")
		default:
		}
		o.Client, err = rpc.Dial(ctx, filepath.Join(o.dir, rpc.SocketName))
		return err == nil
	})
	o.t.Cleanup(o.Client.Close)
	st := o.status()
	o.enode = st.Enode
	id, err := hex.DecodeString(st.ID)
	if err != nil || copy(o.id[:], id) != 32 {
		o.t.Fatalf("node id %q: %v", st.ID, err)
	}
}

// kill ends the program as a crash would.
func (o *ours) kill() {
	o.cmd.Process.Kill()
	<-o.ended
}

func (o *ours) status() rpc.Status {
	o.t.Helper()
	return ask[rpc.Status](o, "node_status")
}

// ask calls a method of our node.
func ask[R any](o *ours, method string, args ...any) (r R) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := o.Client.Call(ctx, &r, method, args...); err != nil {
		o.t.Fatalf("%s: %v", method, err)
	}
	return r
}

// peer returns what our node says of a connected peer.
func (o *ours) peer(id [32]byte) (rpc.Peer, bool) {
	o.t.Helper()
	for _, p := range ask[[]rpc.Peer](o, "node_peers") {
		if p.ID == hex.EncodeToString(id[:]) && p.Connected {
			return p, true
		}
	}
	return rpc.Peer{}, false
}

// waitPeer waits until a peer is connected, has said hello, and fits.
func (o *ours) waitPeer(id [32]byte, what string, fits func(rpc.Peer) bool) {
	o.t.Helper()
	eventually(o.t, "our node sees the peer "+what, func() bool {
		p, ok := o.peer(id)
		return ok && len(p.Dialects) > 0 && (fits == nil || fits(p))
	})
}

// connect lets a helper dial our node.
func (o *ours) connect(p *peerproc.T) {
	o.t.Helper()
	p.Connect(o.enode)
	o.waitPeer(p.ID, "connected", nil)
}

func (o *ours) post(m rpc.NewMessage) [32]byte {
	o.t.Helper()
	if m.PowTarget == 0 {
		m.PowTarget = 0.000002
	}
	m.PowTime = 10
	return hash32(o.t, ask[string](o, "shh_post", m))
}

func hash32(t testing.TB, s string) (h [32]byte) {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || copy(h[:], b) != 32 {
		t.Fatalf("hash %q: %v", s, err)
	}
	return h
}

// inbox is a subscription at our node.
type inbox struct {
	t  testing.TB
	ch chan *rpc.Message
}

func (o *ours) subscribe(c rpc.Criteria) *inbox {
	o.t.Helper()
	in := &inbox{o.t, make(chan *rpc.Message, 8192)}
	sub, err := o.Client.Subscribe(context.Background(), c, in.ch)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(sub.Unsubscribe)
	return in
}

func (in *inbox) next() *rpc.Message {
	in.t.Helper()
	select {
	case m := <-in.ch:
		return m
	case <-time.After(patience):
		in.t.Fatal("no message reached our node's subscription")
		return nil
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// stayed fails the test if the helper lost a connection.
func stayed(t testing.TB, p *peerproc.T) {
	t.Helper()
	lost := func(e peerproc.Event) bool { return e.Kind == peerproc.PeerClosed || e.Kind == peerproc.PeerDropped }
	if n := p.Count(lost); n > 0 {
		e := p.Wait(lost)
		t.Errorf("the peer lost %d connections, the first: %s %s", n, e.Kind, e.Reason)
	}
}
