package legacy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc/legacy"
)

const enode = "enode://6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0@127.0.0.1:30303"

// rig is an API over fake mail servers, which answer as ask says.
type rig struct {
	t      *testing.T
	client *gethrpc.Client
	ring   *keyring.Ring
	ask    func(context.Context, legacy.Request) (legacy.Answer, error)

	mu        sync.Mutex
	connected bool
	first     nodeaddr.Node
	named     []nodeaddr.Node
	asked     []legacy.Request
}

func (r *rig) Connected(nodeaddr.ID) bool { return r.connected }
func (r *rig) Now() time.Time             { return time.Now() }

func (r *rig) First() (nodeaddr.Node, error) {
	if r.first.IsZero() {
		return r.first, fault.E("rig", fault.NotFound, nil, "no known mail server is connected")
	}
	return r.first, nil
}

func (r *rig) SetServers(_ context.Context, list []nodeaddr.Node) error {
	r.named = list
	return nil
}

func (r *rig) Ask(ctx context.Context, q legacy.Request) (legacy.Answer, error) {
	r.mu.Lock()
	r.asked = append(r.asked, q)
	r.mu.Unlock()
	return r.ask(ctx, q)
}

// newRig must be called in a bubble of synctest, whose clock it goes by.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, connected: true, ring: keyring.New(nil)}
	r.ask = func(context.Context, legacy.Request) (legacy.Answer, error) { return legacy.Answer{}, nil }
	life, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	api := legacy.New(legacy.Options{
		Requests: r, Keys: r.ring,
		Bind: func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) },
		Go: func(f func(context.Context)) bool {
			running.Go(func() { f(life) })
			return true
		},
	})
	r.client = serve(t, api)
	t.Cleanup(func() { end(); running.Wait() })
	return r
}

func serve(t *testing.T, api *legacy.API) *gethrpc.Client {
	t.Helper()
	server := gethrpc.NewServer()
	if err := server.RegisterName(legacy.Namespace, api); err != nil {
		t.Fatal(err)
	}
	c := gethrpc.DialInProc(server)
	t.Cleanup(func() { c.Close(); server.Stop() })
	return c
}

func (r *rig) signals() chan json.RawMessage {
	r.t.Helper()
	c := make(chan json.RawMessage, 16)
	sub, err := r.client.Subscribe(r.t.Context(), legacy.Namespace, c, "signals")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(sub.Unsubscribe)
	return c
}

func (r *rig) request(fields map[string]any) (string, error) {
	var id string
	if fields["mailServerPeer"] == nil {
		fields["mailServerPeer"] = enode
	}
	err := r.client.Call(&id, "shhext_requestMessages", fields)
	return id, err
}

func expect(t *testing.T, want string, got json.RawMessage) {
	t.Helper()
	var w, g any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(w, g); d != "" {
		t.Error(d)
	}
}

func TestRequestDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		signals := r.signals()
		key := message.PasswordKey("status-offline-inbox")
		sym, err := r.ring.AddSym(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.request(map[string]any{"topics": []string{"0x01020304"}, "symKeyID": sym}); err != nil {
			t.Fatal(err)
		}
		<-signals
		if _, err := r.request(map[string]any{"topic": "0x05060708", "from": 5, "to": 9, "limit": 7, "cursor": strings.Repeat("ab", 36)}); err != nil {
			t.Fatal(err)
		}
		<-signals
		now := uint32(time.Now().Unix())
		a, b := r.asked[0], r.asked[1]
		if a.From != now-86400 || a.To != now || a.Limit != legacy.MaxLimit || len(a.Topics) != 1 || a.Password == nil || string(a.Password.Bytes()) != string(key.Bytes()) ||
			a.Cursor != nil || "enode://"+a.Server.String()[8:] != enode {
			t.Errorf("%+v", a)
		}
		if b.From != 5 || b.To != 9 || b.Limit != 7 || len(b.Topics) != 1 || b.Topics[0] != (envelope.Topic{5, 6, 7, 8}) || b.Password != nil || len(b.Cursor) != 36 {
			t.Errorf("%+v", b)
		}
	})
}

func TestRequestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		topics := []string{"0x01020304", "0x05060708"}
		if _, err := r.request(map[string]any{"topics": topics}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			fields map[string]any
			want   string
		}{
			{map[string]any{"from": 9, "to": 5}, "Query range is invalid: from > to (9 > 5)"},
			{map[string]any{"mailServerPeer": ""}, "invalid mailServerPeer value: no known mail server is connected"},
			{map[string]any{"mailServerPeer": "nonsense"}, "invalid mailServerPeer value: "},
			{map[string]any{"symKeyID": "abc"}, "invalid symKeyID value: non-existent key ID"},
			{map[string]any{"cursor": "zz"}, "invalid cursor: encoding/hex: invalid byte"},
			{map[string]any{"cursor": "abcd"}, "invalid cursor size: expected 36 but got 2"},
			{map[string]any{"topics": topics}, "another request with the same topics was sent less than 3s ago. Please wait for a bit longer, or set `force` to true in request parameters"},
			{map[string]any{"topic": "0x0102"}, "invalid argument 0: hex string has length 4, want 8 for Topic"},
		} {
			if _, err := r.request(c.fields); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%v: %v, want %q", c.fields, err, c.want)
			}
		}
		for _, fields := range []map[string]any{{"topics": topics, "force": true}, {"topics": topics[:1]}} {
			if _, err := r.request(fields); err != nil {
				t.Errorf("%v: %v", fields, err)
			}
		}
		pass(3 * time.Second) // of the bubble's clock
		if _, err := r.request(map[string]any{"topics": topics}); err != nil {
			t.Errorf("after 3 s: %v", err)
		}
		r.connected = false
		if _, err := r.request(map[string]any{"force": true}); err == nil || !strings.HasPrefix(err.Error(), "could not find peer with ID: 63e8bec8b931") {
			t.Error(err)
		}
	})
}

func TestSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		a, b := r.signals(), r.signals()
		last := envelope.Hash{1, 2}
		for _, c := range []struct {
			name   string
			answer legacy.Answer
			err    error
			hang   bool
			want   string
		}{
			{"all", legacy.Answer{}, nil, false, `{"type":"mailserver.request.completed","event":{"requestID":"ID","lastEnvelopeHash":"0x` + strings.Repeat("00", 32) + `","cursor":"","errorMessage":""}}`},
			{"a page", legacy.Answer{Last: last, Cursor: []byte(strings.Repeat("a", 36))}, nil, false, `{"type":"mailserver.request.completed","event":{"requestID":"ID","lastEnvelopeHash":"` + last.String() + `","cursor":"` + strings.Repeat("61", 36) + `","errorMessage":""}}`},
			{"a refusal", legacy.Answer{}, fault.E("x", fault.Denied, nil, "not a member"), false, `{"type":"mailserver.request.completed","event":{"requestID":"ID","lastEnvelopeHash":"0x` + strings.Repeat("00", 32) + `","cursor":"","errorMessage":"not a member"}}`},
			{"a loss", legacy.Answer{}, fault.E("x", fault.Unavailable, nil, "lost"), false, `{"type":"mailserver.request.expired","event":{"ids":null,"hash":"ID","message":"lost"}}`},
			{"silence", legacy.Answer{}, nil, true, `{"type":"mailserver.request.expired","event":{"ids":null,"hash":"ID","message":"the mail server did not end its answer within 2s"}}`},
		} {
			r.ask = func(ctx context.Context, _ legacy.Request) (legacy.Answer, error) {
				if c.hang {
					<-ctx.Done()
					return legacy.Answer{}, ctx.Err()
				}
				return c.answer, c.err
			}
			id, err := r.request(map[string]any{"force": true, "timeout": 2})
			if err != nil || len(id) != 66 {
				t.Fatalf("%s: %q, %v", c.name, id, err)
			}
			for _, signals := range []chan json.RawMessage{a, b} {
				expect(t, strings.ReplaceAll(c.want, `"ID"`, fmt.Sprintf("%q", id)), <-signals)
			}
		}
	})
}

func TestRequestSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		call := func(conf, request map[string]any) (json.RawMessage, error) {
			var out json.RawMessage
			request["mailServerPeer"] = enode
			err := r.client.Call(&out, "shhext_requestMessagesSync", conf, request)
			return out, err
		}
		conf := map[string]any{"BaseTimeout": time.Second, "StepTimeout": 2 * time.Second, "MaxRetries": 2}

		out, err := call(conf, map[string]any{})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, `{"cursor":"","error":null}`, out)

		r.ask = func(context.Context, legacy.Request) (legacy.Answer, error) {
			return legacy.Answer{}, fault.E("x", fault.Invalid, nil, "no such range")
		}
		if out, err = call(conf, map[string]any{"force": true}); err != nil {
			t.Fatal(err)
		}
		expect(t, `{"cursor":"","error":"no such range"}`, out)

		r.asked = nil
		r.ask = func(ctx context.Context, _ legacy.Request) (legacy.Answer, error) {
			<-ctx.Done()
			return legacy.Answer{}, ctx.Err()
		}
		began := time.Now()
		if _, err = call(conf, map[string]any{"force": true}); err == nil || err.Error() != "failed to request messages after 3 retries" {
			t.Error(err)
		}
		if took := time.Since(began); took != (1+3+5)*time.Second || len(r.asked) != 3 {
			t.Errorf("%d tries in %v", len(r.asked), took)
		}
		for _, bad := range []map[string]any{{"MaxRetries": 21}, {"MaxRetries": -1}, {"BaseTimeout": -1}} {
			if _, err := call(bad, map[string]any{"force": true}); err == nil || !strings.Contains(err.Error(), "MaxRetries is at most 20") {
				t.Errorf("%v: %v", bad, err)
			}
		}
	})
}

func TestUpdateMailservers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		if err := r.client.Call(nil, "shhext_updateMailservers", []string{enode}); err != nil || len(r.named) != 1 {
			t.Errorf("%v, %v", r.named, err)
		}
		if err := r.client.Call(nil, "shhext_updateMailservers", []string{"enode://x"}); err == nil || len(r.named) != 1 {
			t.Errorf("%v, %v", r.named, err)
		}
		if err := r.client.Call(nil, "shhext_updateMailservers", make([]string, 33)); err == nil || err.Error() != "33 mail servers are named; allowed: 32" {
			t.Error(err)
		}
	})
}

func TestOpenRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.ask = func(ctx context.Context, _ legacy.Request) (legacy.Answer, error) {
			<-ctx.Done()
			return legacy.Answer{}, ctx.Err()
		}
		for range legacy.MaxOpen {
			if _, err := r.request(map[string]any{"force": true}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.request(map[string]any{"force": true}); err == nil || !strings.HasPrefix(err.Error(), "64 requests are under way already") {
			t.Error(err)
		}
		pass(legacy.DefaultTimeout) // of the bubble's clock
		synctest.Wait()
		if _, err := r.request(map[string]any{"force": true}); err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutMailServers(t *testing.T) {
	c := serve(t, legacy.New(legacy.Options{}))
	for method, args := range map[string][]any{
		"shhext_requestMessages": {struct{}{}}, "shhext_requestMessagesSync": {struct{}{}, struct{}{}}, "shhext_updateMailservers": {[]string{}},
		"shhext_subscribe": {"signals"},
	} {
		if err := c.Call(nil, method, args...); err == nil || !strings.HasPrefix(err.Error(), "this node does not ask mail servers for programs") {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// pass lets the bubble's clock run.
func pass(d time.Duration) { <-time.After(d) }
