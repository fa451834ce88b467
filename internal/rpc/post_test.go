package rpc_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
)

// endless is a target that is not reached while a test runs.
const endless = 1e12

func testPeer(t testing.TB) nodeaddr.ID {
	t.Helper()
	n, err := nodeaddr.Parse(testEnode)
	if err != nil {
		t.Fatal(err)
	}
	return n.ID()
}

func TestPostDefaultsAndFields(t *testing.T) {
	st := start(t)
	w := st.dial(t)
	key := must[string](w, "shh_newSymKey")
	before := time.Now().Unix()
	hash := must[string](w, "shh_post", map[string]any{
		"symKeyID": key, "topic": "0x01020304", "payload": "0x", "powTarget": 0.2, "powTime": 10,
	})
	env := st.node.posted[0]
	if env.Hash().String() != hash {
		t.Errorf("result %s, envelope %s", hash, env.Hash())
	}
	if env.TTL() != rpc.DefaultTTL || int64(env.Sent()) < before || int64(env.Sent()) > time.Now().Unix() {
		t.Errorf("ttl %d, sent %d", env.TTL(), env.Sent())
	}
	if env.PoW() < 0.2 {
		t.Errorf("proof of work %g", env.PoW())
	}
}

func TestPostRefusals(t *testing.T) {
	st := start(t)
	w := st.dial(t)
	key := must[string](w, "shh_newSymKey")
	big := "0x" + strings.Repeat("00", 1<<20)
	for _, c := range []struct {
		name string
		args map[string]any
		want string
	}{
		{"work longer than allowed", map[string]any{"powTarget": 1, "powTime": 601}, "a powTime of 601 seconds is more than the 600 that are allowed"},
		{"negative target", map[string]any{"powTarget": -1, "powTime": 1}, "message rejected, PoW too low"},
		{"target below the minimum, before the work", map[string]any{"powTarget": 0.1, "powTime": 600}, "message rejected, PoW too low"},
		{"peer not there, before the work", map[string]any{"powTarget": endless, "powTime": 600, "targetPeer": testEnode}, "could not find peer with ID: " + testPeer(t).String()},
		{"too large, before the work", map[string]any{"powTarget": endless, "powTime": 600, "payload": big}, "envelope of "},
		{"work insufficient", map[string]any{"powTarget": endless, "powTime": 1}, "failed to reach the PoW target, specified pow time (1 seconds) was insufficient"},
		{"target beyond reach", map[string]any{"powTarget": 1e60, "powTime": 600, "ttl": 600}, "failed to reach the PoW target, specified pow time (600 seconds) was insufficient"},
		{"would expire while working", map[string]any{"powTarget": endless, "powTime": 600, "ttl": 1}, "the message would expire (ttl 1 seconds) before its proof of work is done: raise ttl or lower powTarget"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := map[string]any{"symKeyID": key, "topic": "0x01020304", "payload": "0x01"}
			for k, v := range c.args {
				args[k] = v
			}
			_, code, text := w.call("shh_post", args)
			if code != -32000 || !strings.HasPrefix(text, c.want) {
				t.Errorf("got %d %q, want %q", code, text, c.want)
			}
		})
	}
	if n := len(st.node.posted); n != 0 {
		t.Errorf("%d were posted", n)
	}
}

func TestPostToOnePeerAndTrust(t *testing.T) {
	st := start(t)
	st.node.peers[testPeer(t)] = false
	w := st.dial(t)
	key := must[string](w, "shh_newSymKey")
	must[string](w, "shh_post", map[string]any{
		"symKeyID": key, "topic": "0x01020304", "payload": "0x01", "targetPeer": testEnode,
	})
	if len(st.node.direct) != 1 || len(st.node.posted) != 0 {
		t.Errorf("%d direct, %d posted", len(st.node.direct), len(st.node.posted))
	}
	if !must[bool](w, "shh_markTrustedPeer", testEnode) || !st.node.peers[testPeer(t)] {
		t.Error("not trusted")
	}
}

// Every v6 of geth's family honours only the last topic of a subscription.
func TestSubscriptionHonoursAllTopics(t *testing.T) {
	w := start(t).dial(t)
	key := must[string](w, "shh_newSymKey")
	id := must[string](w, "shh_subscribe", "messages", map[string]any{
		"symKeyID": key, "topics": []string{"0x00000001", "0x00000002", "0x00000003"},
	})
	for i := range 3 {
		topic := fmt.Sprintf("0x%08x", i+1)
		must[string](w, "shh_post", map[string]any{
			"symKeyID": key, "topic": topic, "payload": "0x01", "powTarget": 0.2, "powTime": 10,
		})
		var n struct {
			Subscription string
			Result       rpc.Message
		}
		if err := json.Unmarshal(w.notification().Params, &n); err != nil {
			t.Fatal(err)
		}
		if got := "0x" + hex.EncodeToString(n.Result.Topic[:]); got != topic || n.Subscription != id {
			t.Errorf("got topic %s on %s, want %s on %s", got, n.Subscription, topic, id)
		}
	}
}

// Messages come in the order of their arrival; geth's order is random.
func TestFilterMessagesKeepTheirOrder(t *testing.T) {
	w := start(t).dial(t)
	key := must[string](w, "shh_newSymKey")
	id := must[string](w, "shh_newMessageFilter", map[string]any{"symKeyID": key})
	for i := range 20 {
		must[string](w, "shh_post", map[string]any{
			"symKeyID": key, "topic": "0x01020304", "payload": fmt.Sprintf("0x%02x", i), "powTarget": 0.2, "powTime": 10,
		})
	}
	for i, m := range must[[]rpc.Message](w, "shh_getFilterMessages", id) {
		if int(m.Payload[0]) != i {
			t.Errorf("message %d is %d", i, m.Payload[0])
		}
	}
}

// A client that goes away stops its proofs of work, and makes room for others.
func TestWorkEndsWithTheConnection(t *testing.T) {
	st := start(t)
	greedy, other := st.dial(t), st.dial(t)
	key := must[string](greedy, "shh_newSymKey")
	for range rpc.MaxMining + 1 {
		greedy.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"shh_post","params":[{"symKeyID":%q,"topic":"0x01020304","payload":"0x01","ttl":600,"powTarget":%g,"powTime":600}]}`, key, endless))
	}
	must[bool](greedy, "shh_hasSymKey", key) // the posts were read; the node still answers
	greedy.nc.Close()
	must[string](other, "shh_post", map[string]any{
		"symKeyID": key, "topic": "0x01020304", "payload": "0x01", "powTarget": 0.2, "powTime": 10,
	})
}

func TestWaitingPostsAreBounded(t *testing.T) {
	st := start(t)
	w := st.dial(t)
	key := must[string](w, "shh_newSymKey")
	var requests strings.Builder
	for i := range rpc.MaxMining + rpc.MaxMiningQueue + 1 {
		fmt.Fprintf(&requests, `{"jsonrpc":"2.0","id":%d,"method":"shh_post","params":[{"symKeyID":%q,"topic":"0x01020304","payload":"0x01","ttl":600,"powTarget":%g,"powTime":600}]}`, i, key, endless)
	}
	r := w.ask(requests.String())
	if r.Error == nil || r.Error.Message != "64 messages wait for their proof of work already: try again later" {
		t.Errorf("got %s", show(r))
	}
}

func TestNodeMethods(t *testing.T) {
	st := start(t)
	st.health.Set("clock-skew", 2, "The clock is wrong.")
	w := st.dial(t)
	status := must[rpc.Status](w, "node_status")
	if status.Version != "test" || status.MinPoW != 0.2 || len(status.Health) != 1 || status.Health[0].Severity != "critical" {
		t.Errorf("%+v", status)
	}
	if list := must[[]rpc.Peer](w, "node_peers"); list == nil || len(list) != 0 {
		t.Errorf("no peers: %v", list)
	}
	must[bool](w, "node_addPeer", testEnode)
	if list := must[[]rpc.Peer](w, "node_peers"); len(list) != 1 || list[0].ID != testPeer(t).String() {
		t.Errorf("%+v", list)
	}
	must[bool](w, "node_removePeer", testEnode)
	if _, code, text := w.call("node_removePeer", testEnode); code != -32000 || text != "there is no peer "+testPeer(t).String() {
		t.Errorf("%d %s", code, text)
	}
	if _, code, text := w.call("node_addPeer", "enode://"+testKey); code != -32000 || !strings.Contains(text, "host:port") {
		t.Errorf("%d %s", code, text)
	}
	if list := must[[]rpc.Condition](w, "node_health"); len(list) != 1 || list[0].Code != "clock-skew" {
		t.Errorf("%+v", list)
	}
	must[bool](w, "node_stop")
	<-st.node.stopped
}
