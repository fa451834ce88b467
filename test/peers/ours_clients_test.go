//go:build peers

package peers_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// rpcUser is somebody else's JSON-RPC client at work on our node. It remembers which of its functions were called.
type rpcUser struct {
	*peerproc.Client
	t      testing.TB
	called map[string]bool
}

func startClient(t testing.TB, url, bin string, args ...string) *rpcUser {
	t.Helper()
	p, err := peerproc.StartClient(bin, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c := &rpcUser{p, t, map[string]bool{}}
	result[any](c, "open", url)
	return c
}

func (c *rpcUser) call(result any, cmd string, args ...any) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	c.called[cmd] = true
	return c.Call(ctx, result, cmd, args...)
}

// result calls a function of the client.
func result[R any](c *rpcUser, cmd string, args ...any) (r R) {
	c.t.Helper()
	if err := c.call(&r, cmd, args...); err != nil {
		c.t.Fatalf("%s: %v", cmd, err)
	}
	return r
}

// fails calls a function whose error must begin so.
func (c *rpcUser) fails(want, cmd string, args ...any) {
	c.t.Helper()
	var failed peerproc.ClientError
	if err := c.call(nil, cmd, args...); !errors.As(err, &failed) || !strings.HasPrefix(err.Error(), want) {
		c.t.Errorf("%s: %v, want %q", cmd, err, want)
	}
}

// event returns the n-th message of a subscription.
func (c *rpcUser) event(name string, n int) (m rpc.Message) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	e, err := c.Event(ctx, name, n)
	if err == nil && e.Error != "" {
		err = errors.New(e.Error)
	}
	if err == nil {
		err = json.Unmarshal(e.Data, &m)
	}
	if err != nil {
		c.t.Fatalf("subscription %s: %v", name, err)
	}
	return m
}

// check compares.
func check[V comparable](c *rpcUser, what string, got, want V) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// whole fails the test unless every function of the client was called; aside are those that ask nothing of a node.
func (c *rpcUser) whole(aside ...string) {
	c.t.Helper()
	surface := result[[]string](c, "surface")
	if len(surface) < 20 {
		c.t.Errorf("the surface is %v", surface)
	}
	for _, name := range surface {
		if !c.called[name] && !slices.Contains(aside, name) {
			c.t.Errorf("%s was not called", name)
		}
	}
}

// served is our node with HTTP and WebSocket.
type served struct {
	*ours
	address, token string
}

func startServed(t testing.TB, args ...string) *served {
	t.Helper()
	s := &served{ours: startOurs(t, append([]string{"--set", "rpc.listen=127.0.0.1:0"}, args...)...)}
	where := regexp.MustCompile(`http://(127\.0\.0\.1:\d+)/`)
	eventually(t, "our node says where it serves HTTP", func() bool {
		m := where.FindStringSubmatch(s.log.String())
		if m != nil {
			s.address = m[1]
		}
		return m != nil
	})
	text, err := os.ReadFile(filepath.Join(s.dir, rpc.TokenName))
	if err != nil {
		t.Fatal(err)
	}
	s.token = strings.TrimSpace(string(text))
	return s
}

func (s *served) http() string   { return "http://" + s.address + "/" + s.token }
func (s *served) ws() string     { return "ws://" + s.address + "/" + s.token }
func (s *served) socket() string { return filepath.Join(s.dir, rpc.SocketName) }

// clientTopic is what the clients write to.
const clientTopic = "0xffaadd11"

// TestWeb3_shh drives the whole surface of web3.js' Whisper client, over HTTP and WebSocket, with a node of
// go-ethereum on the other side.
func TestWeb3_shh(t *testing.T) {
	script, err := peerproc.BuildWeb3(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := startServed(t)
	g := peerproc.ForTest(t, peerproc.Geth6, peerproc.Config{})
	s.connect(g)
	for name, url := range map[string]string{"http": s.http(), "websocket": s.ws()} {
		t.Run(name, func(t *testing.T) {
			c := startClient(t, url, "node", script)
			web3Node(c, s, g.In(t))
			sym := web3Keys(c)
			web3Messages(c, g.In(t), sym, name == "websocket")
			if name == "websocket" {
				c.whole("BatchRequest", "extend", "setProvider", "setRequestManager", "net.BatchRequest", "net.extend", "net.setProvider", "net.setRequestManager", "subscribe")
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		c := startClient(t, s.http()+"x", "node", script)
		c.fails("Invalid JSON RPC response", "getVersion")
	})
}

func web3Node(c *rpcUser, s *served, g *peerproc.T) {
	c.t.Helper()
	check(c, "getVersion", result[string](c, "getVersion"), "6.0")
	info := result[rpc.Info](c, "getInfo")
	check(c, "getInfo", info.MaxMessageSize, 1<<20)
	check(c, "setMaxMessageSize", result[bool](c, "setMaxMessageSize", 1<<20), true)
	c.fails("Returned error: message size too large [10485761>10485760]", "setMaxMessageSize", 10485761)
	check(c, "setMinPoW", result[bool](c, "setMinPoW", 0.000002), true)
	c.fails("Returned error: invalid PoW: -1.000000", "setMinPoW", -1)
	check(c, "markTrustedPeer", result[bool](c, "markTrustedPeer", g.Enode), true)
	c.fails("Returned error: could not find peer with ID: ", "markTrustedPeer", s.enode)
	check(c, "net.getId", result[int](c, "net.getId"), 1)
	check(c, "net.isListening", result[bool](c, "net.isListening"), true)
	check(c, "net.getPeerCount", result[int](c, "net.getPeerCount"), 1)
	result[any](c, "extend", "makeLightClient", "shh_makeLightClient", 0)
	check(c, "makeLightClient", result[bool](c, "makeLightClient"), true)
	result[any](c, "extend", "nodeStop", "node_stop", 0)
	c.fails("Returned error: the method node_stop does not exist/is not available", "nodeStop")
}

// web3Keys returns the id of a symmetric key.
func web3Keys(c *rpcUser) string {
	c.t.Helper()
	pair := result[string](c, "newKeyPair")
	check(c, "hasKeyPair", result[bool](c, "hasKeyPair", pair), true)
	private := result[string](c, "getPrivateKey", pair)
	again := result[string](c, "addPrivateKey", private)
	check(c, "getPublicKey", result[string](c, "getPublicKey", again), result[string](c, "getPublicKey", pair))
	check(c, "deleteKeyPair", result[bool](c, "deleteKeyPair", pair), true)
	check(c, "hasKeyPair then", result[bool](c, "hasKeyPair", pair), false)
	c.fails("Returned error: key pair "+pair+" not found", "deleteKeyPair", pair)
	c.fails("Returned error: invalid id", "getPublicKey", pair)
	c.fails("Returned error: invalid length, need 256 bits", "addPrivateKey", "0x01")

	sym := result[string](c, "newSymKey")
	check(c, "hasSymKey", result[bool](c, "hasSymKey", sym), true)
	other := result[string](c, "addSymKey", result[string](c, "getSymKey", sym))
	check(c, "getSymKey", result[string](c, "getSymKey", other), result[string](c, "getSymKey", sym))
	check(c, "deleteSymKey", result[bool](c, "deleteSymKey", other), true)
	check(c, "deleteSymKey then", result[bool](c, "deleteSymKey", other), false)
	c.fails("Returned error: non-existent key ID", "getSymKey", other)
	password := result[string](c, "generateSymKeyFromPassword", "status-offline-inbox")
	check(c, "generateSymKeyFromPassword", result[string](c, "getSymKey", password), "0x765df27c0765526f920ba742ff4b9452bb0064e016435ffccd81186aa6feaae8")
	both := result[[2]any](c, "batch", []any{"getVersion"}, []any{"hasSymKey", sym})
	check(c, "batch", both, [2]any{"6.0", true})
	return sym
}

// web3Messages sends both ways, and takes messages by filter and, where the transport can push, by subscription.
func web3Messages(c *rpcUser, g *peerproc.T, sym string, push bool) {
	c.t.Helper()
	secret := unhexOf(c.t, result[string](c, "getSymKey", sym))
	topic := [4]byte{0xff, 0xaa, 0xdd, 0x11}
	theirs := g.Subscribe(peerproc.Filter{SymKey: secret, Topics: [][4]byte{topic}})
	criteria := map[string]any{"symKeyID": sym, "topics": []string{clientTopic}}
	filter := result[string](c, "newMessageFilter", criteria)
	c.fails("Returned error: invalid argument 0: json: cannot unmarshal string", "newMessageFilter", map[string]any{"symKeyID": sym, "topics": clientTopic})
	if push {
		result[string](c, "on", "messages", "messages", criteria)
	} else {
		c.fails("", "on", "messages", "messages", criteria)
	}

	signer := result[string](c, "newKeyPair")
	draft := map[string]any{
		"symKeyID": sym, "sig": signer, "ttl": 20, "topic": clientTopic, "payload": "0xffffffdddddd1122", "powTime": 10, "powTarget": 0.5,
	}
	hash := result[string](c, "post", draft)
	got := theirs.Next()
	check(c, "the other side's hash", "0x"+hex.EncodeToString(got.Hash[:]), hash)
	check(c, "the other side's payload", hex.EncodeToString(got.Payload), "ffffffdddddd1122")
	sent := g.Post(peerproc.Draft{SymKey: secret, Topic: topic, Payload: []byte("back"), TTL: 20, PoWTarget: 0.01})

	var list []rpc.Message
	eventually(c.t, "the filter has both messages", func() bool {
		list = append(list, result[[]rpc.Message](c, "getFilterMessages", filter)...)
		return len(list) >= 2
	})
	check(c, "messages", len(list), 2)
	check(c, "own message", list[0].Hash.String(), hash)
	check(c, "own message's signer", list[0].Sig.String(), result[string](c, "getPublicKey", signer))
	check(c, "their message", string(list[1].Payload), "back")
	check(c, "their message's hash", [32]byte(list[1].Hash), sent.Hash)
	if push {
		check(c, "pushed", c.event("messages", 0).Hash.String(), hash)
		check(c, "pushed then", string(c.event("messages", 1).Payload), "back")
		check(c, "off", result[bool](c, "off", "messages"), true)
		id := result[string](c, "on", "again", "messages", criteria)
		check(c, "unsubscribe", result[bool](c, "unsubscribe", id), true)
		c.fails("Returned error: subscription not found", "unsubscribe", id)
	}
	check(c, "deleteMessageFilter", result[bool](c, "deleteMessageFilter", filter), true)
	c.fails("Returned error: filter not found", "getFilterMessages", filter)
	c.fails("Returned error: Unsubscribe: Invalid ID", "deleteMessageFilter", filter)
	c.fails("Returned error: specify either a symmetric or an asymmetric key", "post", map[string]any{"ttl": 10, "payload": "0x01"})
}

// TestShhclient drives the whole surface of go-ethereum's own client, over WebSocket, HTTP and the local socket.
func TestShhclient(t *testing.T) {
	bin, err := peerproc.Build(t.Context(), peerproc.Geth6, "")
	if err != nil {
		t.Fatal(err)
	}
	s := startServed(t)
	g := peerproc.ForTest(t, peerproc.Geth6, peerproc.Config{})
	s.connect(g)
	for name, url := range map[string]string{"websocket": s.ws(), "socket": s.socket(), "http": s.http()} {
		t.Run(name, func(t *testing.T) {
			c := startClient(t, url, bin, "client")
			shhclientNode(c, s, g.In(t))
			sym, secret := shhclientKeys(c)
			shhclientMessages(c, g.In(t), sym, secret, name != "http")
			c.whole("SubscribeMessages")
		})
	}
}

func shhclientNode(c *rpcUser, s *served, g *peerproc.T) {
	c.t.Helper()
	check(c, "Version", result[string](c, "Version"), "6.0")
	check(c, "Info", result[rpc.Info](c, "Info").MaxMessageSize, 1<<20)
	result[any](c, "SetMaxMessageSize", 1<<20)
	c.fails("message size too large [10485761>10485760]", "SetMaxMessageSize", 10485761)
	result[any](c, "SetMinimumPoW", 0.000002)
	c.fails("invalid PoW: -1.000000", "SetMinimumPoW", -1)
	result[any](c, "MarkTrustedPeer", g.Enode)
	c.fails("could not find peer with ID: ", "MarkTrustedPeer", s.enode)
}

func shhclientKeys(c *rpcUser) (sym string, secret []byte) {
	c.t.Helper()
	pair := result[string](c, "NewKeyPair")
	check(c, "HasKeyPair", result[bool](c, "HasKeyPair", pair), true)
	again := result[string](c, "AddPrivateKey", result[[]byte](c, "PrivateKey", pair))
	check(c, "PublicKey", string(result[[]byte](c, "PublicKey", again)), string(result[[]byte](c, "PublicKey", pair)))
	result[any](c, "DeleteKeyPair", pair)
	check(c, "HasKeyPair then", result[bool](c, "HasKeyPair", pair), false)
	c.fails("key pair "+pair+" not found", "DeleteKeyPair", pair)

	password := result[string](c, "GenerateSymmetricKeyFromPassword", "status-offline-inbox")
	check(c, "GetSymmetricKey", hex.EncodeToString(result[[]byte](c, "GetSymmetricKey", password)), "765df27c0765526f920ba742ff4b9452bb0064e016435ffccd81186aa6feaae8")
	sym = result[string](c, "NewSymmetricKey")
	secret = result[[]byte](c, "GetSymmetricKey", sym)
	other := result[string](c, "AddSymmetricKey", secret)
	result[any](c, "DeleteSymmetricKey", other)
	check(c, "HasSymmetricKey", result[bool](c, "HasSymmetricKey", other), false)
	c.fails("non-existent key ID", "GetSymmetricKey", other)
	return sym, secret
}

func shhclientMessages(c *rpcUser, g *peerproc.T, sym string, secret []byte, push bool) {
	c.t.Helper()
	topic := [4]byte{0xff, 0xaa, 0xdd, 0x12}
	theirs := g.Subscribe(peerproc.Filter{SymKey: secret, Topics: [][4]byte{topic}})
	criteria := rpc.Criteria{SymKeyID: sym, Topics: []rpc.Topic{topic}}
	filter := result[string](c, "NewMessageFilter", criteria)
	if push {
		result[any](c, "on", "messages", criteria)
	} else {
		c.fails("notifications not supported", "on", "messages", criteria)
	}
	hash := result[string](c, "Post", rpc.NewMessage{SymKeyID: sym, TTL: 20, Topic: topic, Payload: []byte("hello"), PowTime: 10, PowTarget: 0.5})
	got := theirs.Next()
	check(c, "the other side's hash", "0x"+hex.EncodeToString(got.Hash[:]), hash)
	g.Post(peerproc.Draft{SymKey: secret, Topic: topic, Payload: []byte("back"), TTL: 20, PoWTarget: 0.01})

	var list []rpc.Message
	eventually(c.t, "the filter has both messages", func() bool {
		list = append(list, result[[]rpc.Message](c, "FilterMessages", filter)...)
		return len(list) >= 2
	})
	check(c, "own message", list[0].Hash.String(), hash)
	check(c, "their message", string(list[1].Payload), "back")
	if push {
		check(c, "pushed", c.event("messages", 0).Hash.String(), hash)
		check(c, "pushed then", string(c.event("messages", 1).Payload), "back")
		result[any](c, "off", "messages")
	}
	result[any](c, "DeleteMessageFilter", filter)
	c.fails("filter not found", "FilterMessages", filter)
	c.fails("specify either a symmetric or an asymmetric key", "Post", rpc.NewMessage{TTL: 10, Payload: []byte{1}})
}

func unhexOf(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
