package rpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/rpc"
)

// transports are the ways to a station.
var transports = map[string]func(*station, testing.TB) *wire{
	"socket":    (*station).dial,
	"WebSocket": (*station).dialWebSocket,
	"HTTP":      (*station).dialHTTP,
}

// webSocket is a WebSocket's client as a connection.
type webSocket struct {
	net.Conn
	ws    *websocket.Conn
	frame io.Reader
}

func (c *webSocket) Write(p []byte) (int, error) {
	return len(p), c.ws.WriteMessage(websocket.TextMessage, p)
}

func (c *webSocket) Read(p []byte) (int, error) {
	for {
		if c.frame == nil {
			_, frame, err := c.ws.NextReader()
			if err != nil {
				return 0, err
			}
			c.frame = frame
		}
		n, err := c.frame.Read(p)
		if err != io.EOF {
			return n, err
		}
		c.frame = nil
	}
}

func (st *station) webSocketURL() string { return "ws" + strings.TrimPrefix(st.url, "http") }

func (st *station) dialWebSocket(t testing.TB) *wire {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial(st.webSocketURL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	c := &webSocket{Conn: ws.NetConn(), ws: ws}
	return &wire{t: t, nc: c, in: json.NewDecoder(c)}
}

// httpClient posts what is written and reads the answers.
type httpClient struct {
	net.Conn
	t       testing.TB
	url     string
	answers bytes.Buffer
}

func (c *httpClient) Write(p []byte) (int, error) {
	res, err := http.Post(c.url, "application/json", bytes.NewReader(p))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		c.t.Errorf("status %s", res.Status)
	}
	_, err = io.Copy(&c.answers, res.Body)
	return len(p), err
}

func (c *httpClient) Read(p []byte) (int, error)      { return c.answers.Read(p) }
func (c *httpClient) SetReadDeadline(time.Time) error { return nil }
func (st *station) dialHTTP(t testing.TB) *wire {
	c := &httpClient{t: t, url: st.url}
	return &wire{t: t, nc: c, in: json.NewDecoder(c), mute: true}
}

// request sends an HTTP request and returns its status and body.
func (st *station) request(t *testing.T, method, url, body string, change func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(req)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(text)
}

const version = `{"jsonrpc":"2.0","id":1,"method":"shh_version"}`

func TestWebAnswersOnlyThoseWhoMay(t *testing.T) {
	st := start(t)
	base := strings.TrimSuffix(st.url, token)
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) {
			if r.Header.Set(name, value); name == "Host" {
				r.Host = value
			}
		}
	}
	for _, c := range []struct {
		name, method, url, body string
		change                  func(*http.Request)
		status                  int
		text                    string
	}{
		{"with the token", "POST", st.url, version, nil, 200, `"6.0"`},
		{"without", "POST", base, version, nil, 404, "not found"},
		{"with a longer one", "POST", st.url + "x", version, nil, 404, "not found"},
		{"with a shorter one", "POST", st.url[:len(st.url)-1], version, nil, 404, "not found"},
		{"with another one", "POST", base + strings.ToLower(token), version, nil, 404, "not found"},
		{"by localhost", "POST", st.url, version, header("Host", "localhost:8545"), 200, `"6.0"`},
		{"by another name", "POST", st.url, version, header("Host", "evil.example"), 403, "not this machine"},
		{"from a listed page", "POST", st.url, version, header("Origin", "https://example.org"), 200, `"6.0"`},
		{"from another page", "POST", st.url, version, header("Origin", "https://evil.example"), 403, "rpc.origins"},
		{"from a file", "POST", st.url, version, header("Origin", "null"), 403, "rpc.origins"},
		{"by GET", "GET", st.url, "", nil, 405, "POST"},
		{"asked by a page before", "OPTIONS", st.url, "", header("Origin", "https://example.org"), 204, ""},
		{"as a form", "POST", st.url, version, header("Content-Type", "text/plain"), 415, "content type"},
		{"too large", "POST", st.url, `"` + strings.Repeat("x", rpc.MaxRequest), nil, 413, "larger than"},
		{"no JSON", "POST", st.url, `{`, nil, 200, "parse error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, head, text := st.request(t, c.method, c.url, c.body, c.change)
			if status != c.status || !strings.Contains(text, c.text) {
				t.Errorf("got %d %.200s, want %d %s", status, text, c.status, c.text)
			}
			if allowed := head.Get("Access-Control-Allow-Origin"); allowed != "" && !strings.Contains(c.name, "page") {
				t.Errorf("pages of %s are allowed", allowed)
			}
		})
	}
}

func TestWebSocketAnswersOnlyThoseWhoMay(t *testing.T) {
	st := start(t)
	for name, c := range map[string]struct {
		url, origin string
		status      int
	}{
		"another token": {st.webSocketURL() + "x", "", 404},
		"another page":  {st.webSocketURL(), "http://localhost", 403},
		"a listed page": {st.webSocketURL(), "https://example.org", 101},
	} {
		head := http.Header{}
		if c.origin != "" {
			head.Set("Origin", c.origin)
		}
		ws, res, err := websocket.DefaultDialer.Dial(c.url, head)
		if res == nil || res.StatusCode != c.status {
			t.Errorf("%s: %v, %v", name, res, err)
		}
		if err == nil {
			ws.Close()
		}
	}
}

// What stops the node, or reads and writes its disk, cannot be reached from a browser or over a network.
func TestWebHasNoOperatorsNamespaces(t *testing.T) {
	st := start(t)
	for name, dial := range transports {
		w := dial(st, t)
		for _, method := range rpc.Methods() {
			if strings.Contains(method, "subscribe") || name == "socket" && method == "node_stop" {
				continue
			}
			namespace, _, _ := strings.Cut(method, "_")
			local := map[string]bool{"node": true, "admin": true, "members": true, "archive": true}[namespace]
			_, code, _ := w.call(method)
			if served := code != -32601; served != (!local || name == "socket") {
				t.Errorf("%s over %s: served is %v", method, name, served)
			}
		}
	}
}

func TestWebBatches(t *testing.T) {
	st := start(t)
	for name, dial := range transports {
		w := dial(st, t)
		w.send(`[{"jsonrpc":"2.0","id":1,"method":"shh_version"},{"jsonrpc":"2.0","id":2,"method":"nope"}]`)
		var list []reply
		if err := w.in.Decode(&list); err != nil || len(list) != 2 || string(list[0].Result) != `"6.0"` || list[1].Error.Code != -32601 {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
		w.send("[" + strings.Repeat(version+",", rpc.MaxBatch) + version + "]")
		if err := w.in.Decode(&list); err != nil || len(list) != 1 || list[0].Error == nil || list[0].Error.Message != "batch too large" {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
	}
}

// A method that begins with rpc. is the one that begins with rpc_; nothing else is changed.
func TestMethodsWithADot(t *testing.T) {
	st := start(t)
	for name, dial := range transports {
		w := dial(st, t)
		for _, request := range []string{
			`{"jsonrpc":"2.0","id":1,"method":"rpc.modules","params":[]}`,
			`{"id": 1, "params":[ ], "method" : "rpc.modules", "jsonrpc":"2.0"}`,
		} {
			if r := w.ask(request); r.Error != nil || !strings.Contains(string(r.Result), `"shh":"1.0"`) {
				t.Errorf("%s: %s: %s", name, request, show(r))
			}
		}
		w.send(`[` + version + `,{"jsonrpc":"2.0","id":2,"method":"rpc.modules"}]`)
		var list []reply
		if err := w.in.Decode(&list); err != nil || list[1].Error != nil {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
		plain := must[string](w, "shh_generateSymKeyFromPassword", "rpc.modules")
		other := must[string](w, "shh_generateSymKeyFromPassword", "rpc_modules")
		if must[string](w, "shh_getSymKey", plain) == must[string](w, "shh_getSymKey", other) {
			t.Errorf("%s: an argument was changed", name)
		}
	}
}

// A call that waits ends when its client goes away, however it came.
func TestWebWorkEndsWithTheClient(t *testing.T) {
	st := start(t)
	other := st.dial(t)
	key := must[string](other, "shh_newSymKey")
	post := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"shh_post","params":[{"symKeyID":%q,"topic":"0x01020304","payload":"0x01","ttl":600,"powTarget":%g,"powTime":600}]}`, key, endless)
	for name, leave := range map[string]func() func(){
		"WebSocket": func() func() {
			w := st.dialWebSocket(t)
			for range rpc.MaxMining + 1 {
				w.send(post)
			}
			must[bool](w, "shh_hasSymKey", key) // they were read
			return func() { w.nc.Close() }
		},
		"HTTP": func() func() {
			ctx, cancel := context.WithCancel(t.Context())
			for range rpc.MaxMining + 1 {
				req, _ := http.NewRequestWithContext(ctx, "POST", st.url, strings.NewReader(post))
				req.Header.Set("Content-Type", "application/json")
				go func() {
					if res, err := http.DefaultClient.Do(req); err == nil {
						res.Body.Close()
					}
				}()
			}
			return cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			leave()()
			must[string](other, "shh_post", map[string]any{
				"symKeyID": key, "topic": "0x01020304", "payload": "0x01", "powTarget": 0.2, "powTime": 10,
			})
		})
	}
}

func TestWebSocketTooLargeRequest(t *testing.T) {
	w := start(t).dialWebSocket(t)
	half := `{"jsonrpc":"2.0","id":1,"method":"shh_hasSymKey","params":["` + strings.Repeat("x", rpc.MaxRequest/2) + `"]}`
	for range 2 {
		if r := w.ask(half); r.Error != nil {
			t.Fatal(show(r))
		}
	}
	go w.nc.Write([]byte(`{"x":"` + strings.Repeat("x", rpc.MaxRequest) + `"}`))
	for {
		var r reply
		var closed *websocket.CloseError
		err := w.in.Decode(&r)
		if errors.As(err, &closed) && closed.Code == websocket.CloseMessageTooBig {
			return
		}
		if err != nil {
			t.Fatalf("ended with %v", err)
		}
		if r.Error == nil {
			t.Fatal(show(r))
		}
	}
}

func TestWebStopAnswersWhatIsUnderWay(t *testing.T) {
	st := start(t)
	ws := st.dialWebSocket(t)
	key := must[string](ws, "shh_newSymKey")
	post := fmt.Sprintf(`{"jsonrpc":"2.0","id":9,"method":"shh_post","params":[{"symKeyID":%q,"topic":"0x01020304","payload":"0x01","ttl":600,"powTarget":1e12,"powTime":600}]}`, key)
	ws.send(post)
	must[bool](ws, "shh_hasSymKey", key)
	began := time.Now()
	st.cancel()
	if r := ws.next(); r.Error == nil || !strings.HasPrefix(r.Error.Message, "the proof of work was given up") {
		t.Errorf("got %s", show(r))
	}
	if err := <-st.webbed; err != nil || time.Since(began) > 2*time.Second {
		t.Errorf("stopped after %v: %v", time.Since(began), err)
	}
	st.webbed <- nil // for the clean-up
}

func TestTooManyWebConnections(t *testing.T) {
	st := start(t)
	address := strings.TrimSuffix(strings.TrimPrefix(st.url, "http://"), "/"+token)
	var open []net.Conn
	for range rpc.MaxWebConnections {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if text, err := io.ReadAll(c); !strings.HasPrefix(string(text), "HTTP/1.1 503") {
		t.Errorf("got %q, %v", text, err)
	}
	open[0].Close() // makes room
	for {
		status, _, _ := st.request(t, "POST", st.url, version, nil)
		if status == http.StatusOK {
			return
		}
	}
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, rpc.TokenName)
	made, err := rpc.LoadOrCreateToken(path)
	if err != nil || len(made) != 43 {
		t.Fatalf("%q, %v", made, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if again, err := rpc.LoadOrCreateToken(path); err != nil || again != made {
		t.Errorf("then %q, %v", again, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if other, _ := rpc.LoadOrCreateToken(filepath.Join(dir, "other")); other == made {
		t.Error("two are the same")
	}
	for content, want := range map[string]fault.Kind{"": fault.Corrupt, "short": fault.Corrupt, made + "/../x": fault.Corrupt} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := rpc.LoadOrCreateToken(path); !fault.Is(err, want) || !strings.Contains(fault.Text(err), path) {
			t.Errorf("%q: %v", content, err)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.LoadOrCreateToken(path); !fault.Is(err, fault.Denied) {
		t.Errorf("readable by others: %v", err)
	}
	if _, err := rpc.LoadOrCreateToken(filepath.Join(dir, "none", "x")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without a directory: %v", err)
	}
}

func TestListenWebRefusals(t *testing.T) {
	l, err := rpc.ListenWeb("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, want := range map[string]fault.Kind{l.Addr().String(): fault.Unavailable, "192.0.2.1:1": fault.Invalid} {
		if _, err := rpc.ListenWeb(address); !fault.Is(err, want) || !strings.Contains(fault.Text(err), "rpc.listen") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := rpc.ListenWeb("nonsense"); err == nil || errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
