package rpc_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
)

const (
	testKey   = "6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0"
	testEnode = "enode://" + testKey + "@127.0.0.1:30303"
)

// fakeNode stands for the node: what is posted is accepted and offered to the
// filters at once.
type fakeNode struct {
	filters *filter.Set

	mu       sync.Mutex
	settings rpc.Settings
	bloom    envelope.Bloom
	peers    map[nodeaddr.ID]bool // connected; true: trusted
	static   []nodeaddr.ID
	posted   []*envelope.Envelope
	direct   []*envelope.Envelope
	stopped  chan struct{}
}

func (n *fakeNode) Post(_ context.Context, env *envelope.Envelope) error {
	n.mu.Lock()
	rules := envelope.Rules{MinPoW: n.settings.MinPoW, MaxSize: n.settings.MaxMessageSize}
	n.mu.Unlock()
	pow, err := env.Check(uint32(time.Now().Unix()), &rules)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.posted = append(n.posted, env)
	n.mu.Unlock()
	n.filters.Offer(env, pow, false)
	return nil
}

func (n *fakeNode) PostDirect(_ context.Context, peer nodeaddr.ID, env *envelope.Envelope) error {
	if !n.Connected(peer) {
		return fault.E("fake", fault.NotFound, nil, "gone")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.direct = append(n.direct, env)
	return nil
}

func (n *fakeNode) Trust(_ context.Context, peer nodeaddr.ID) error {
	if !n.Connected(peer) {
		return fault.E("fake", fault.NotFound, nil, "gone")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers[peer] = true
	return nil
}

func (n *fakeNode) Connected(peer nodeaddr.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.peers[peer]
	return ok
}

func (n *fakeNode) Settings() rpc.Settings {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.settings
}

func (n *fakeNode) change(fn func()) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	fn()
	return nil
}

func (n *fakeNode) SetMinPoW(p float64) error { return n.change(func() { n.settings.MinPoW = p }) }
func (n *fakeNode) SetMaxMessageSize(b int) error {
	return n.change(func() { n.settings.MaxMessageSize = b })
}
func (n *fakeNode) SetBloom(b envelope.Bloom) error { return n.change(func() { n.bloom = b }) }
func (n *fakeNode) Now() time.Time                  { return time.Now() }

func (n *fakeNode) Status() rpc.Status {
	return rpc.Status{
		Version: "test", DataDir: "/somewhere", Dialects: []string{"gossip/1"}, Enode: testEnode, Listen: "127.0.0.1:30303",
		ID: "63e8bec8b93105cf5a84c37dd25d55b5ce34d74d10bc0ebb2c917f0e92dea609", Started: day, PeersMax: 50,
	}
}

func (n *fakeNode) Peers() (list []rpc.Peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range n.static {
		_, connected := n.peers[id]
		list = append(list, rpc.Peer{ID: id.String(), Connected: connected, Static: true})
	}
	return list
}

func (n *fakeNode) AddPeer(_ context.Context, p nodeaddr.Node) error {
	return n.change(func() { n.static = append(n.static, p.ID()) })
}

func (n *fakeNode) RemovePeer(_ context.Context, id nodeaddr.ID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.Index(n.static, id)
	if i < 0 {
		return fault.E("fake", fault.NotFound, nil, "")
	}
	n.static = slices.Delete(n.static, i, i+1)
	return nil
}

func (n *fakeNode) Reachable(context.Context) rpc.Reachability {
	return rpc.Reachability{Outcome: "reachable", Text: "this node answered", Enode: testEnode}
}

func (n *fakeNode) Stop() { close(n.stopped) }

// station is a fake node behind a real server and socket.
type station struct {
	node   *fakeNode
	health *health.Registry
	path   string
	url    string // http://127.0.0.1:port/token
	cancel context.CancelFunc
	served chan error
	webbed chan error
}

// token is the path of the station's web interface.
const token = "CjMKZnlI3bA5xZkq1uS2Vw"

func start(t testing.TB, changes ...func(*rpc.Options)) *station {
	t.Helper()
	set := filter.New(filter.Options{})
	st := &station{
		node: &fakeNode{
			filters:  set,
			settings: rpc.Settings{MinPoW: 0.2, MaxMessageSize: envelope.MaxSizeDefault},
			peers:    make(map[nodeaddr.ID]bool), stopped: make(chan struct{}),
		},
		health: health.NewRegistry(time.Now),
		path:   filepath.Join(t.TempDir(), "r.ipc"),
		served: make(chan error, 1), webbed: make(chan error, 1),
	}
	o := rpc.Options{Gossip: st.node, Admin: st.node, Health: st.health, Keys: keyring.New(nil), Filters: set}
	for _, change := range changes {
		change(&o)
	}
	server, err := rpc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := rpc.Listen(st.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	st.cancel = cancel
	wl, err := rpc.ListenWeb("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	st.url = "http://" + wl.Addr().String() + "/" + token
	go func() { st.served <- server.Serve(ctx, l) }()
	go func() {
		st.webbed <- server.ServeWeb(ctx, wl, rpc.WebOptions{Token: token, Origins: []string{"https://example.org"}})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-st.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := <-st.webbed; err != nil {
			t.Errorf("ServeWeb: %v", err)
		}
	})
	return st
}

// reply is a JSON-RPC response or notification.
type reply struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data,omitempty"`
	} `json:"error,omitempty"`
}

// wire is a client that sees every byte.
type wire struct {
	t      testing.TB
	nc     net.Conn
	in     *json.Decoder
	mute   bool    // the transport cannot push
	pushed []reply // notifications that came while waiting for a response
	serial int
}

func (st *station) dial(t testing.TB) *wire {
	t.Helper()
	nc, err := net.Dial("unix", st.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &wire{t: t, nc: nc, in: json.NewDecoder(bufio.NewReader(nc))}
}

func (w *wire) send(text string) {
	w.t.Helper()
	if _, err := w.nc.Write([]byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) next() (r reply) {
	w.t.Helper()
	w.nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	if err := w.in.Decode(&r); err != nil {
		w.t.Fatalf("no answer: %v", err)
	}
	return r
}

// ask sends a request and returns its response.
func (w *wire) ask(request string) reply {
	w.t.Helper()
	w.send(request)
	for {
		r := w.next()
		if r.Method == "" {
			return r
		}
		w.pushed = append(w.pushed, r)
	}
}

// notification returns the next one.
func (w *wire) notification() reply {
	w.t.Helper()
	if len(w.pushed) > 0 {
		r := w.pushed[0]
		w.pushed = w.pushed[1:]
		return r
	}
	return w.next()
}

// call asks with arguments of Go and returns the result as text, or the error.
func (w *wire) call(method string, args ...any) (result string, code int, message string) {
	w.t.Helper()
	if args == nil {
		args = []any{}
	}
	params, err := json.Marshal(args)
	if err != nil {
		w.t.Fatal(err)
	}
	w.serial++
	r := w.ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, w.serial, method, params))
	if r.Error != nil {
		return "", r.Error.Code, r.Error.Message
	}
	return string(r.Result), 0, ""
}

// must calls and decodes the result.
func must[T any](w *wire, method string, args ...any) (v T) {
	w.t.Helper()
	result, code, text := w.call(method, args...)
	if code != 0 {
		w.t.Fatalf("%s: %d %s", method, code, text)
	}
	if err := json.Unmarshal([]byte(result), &v); err != nil {
		w.t.Fatalf("%s: %v in %s", method, err, result)
	}
	return v
}
