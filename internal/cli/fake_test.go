package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/cli"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/rpc"
)

// started is when the fake node was started.
var started = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// fakeNode answers as a node would, from the variables that script_test.go lists.
type fakeNode struct {
	getenv func(string) string
	mu     sync.Mutex
	inbox  fakeInbox
}

func dialFake(path string, getenv func(string) string) (cli.Client, error) {
	switch getenv("NODE") {
	case "", "none":
		return nil, fault.Errorf("rpc: dial", fault.Unavailable, "no node at %s", path)
	case "denied":
		return nil, fault.Errorf("rpc: dial", fault.Denied, "another user's")
	}
	return &fakeNode{getenv: getenv, inbox: fakeInbox{getenv: getenv}}, nil
}

func (f *fakeNode) Close() {}

func (f *fakeNode) Call(ctx context.Context, result any, method string, args ...any) error {
	switch f.getenv("NODE") {
	case "lost":
		return fault.Errorf(method, fault.Unavailable, "connection lost")
	case "refuses":
		if method != "node_status" {
			return fault.Errorf(method, fault.Invalid, "message rejected, PoW too low")
		}
	}
	if err := f.record(method, args); err != nil {
		return err
	}
	if known, err := f.inbox.call(ctx, result, method, args); known {
		return err
	}
	answer, ok := answers()[method]
	if f.getenv("MEMBERS") == "0" && method == "members_list" {
		answer = "[]"
	}
	if !ok {
		return fault.Errorf(method, fault.NotFound, "the method %s does not exist/is not available", method)
	}
	if method == "node_status" && f.getenv("PEERS") == "0" {
		answer = strings.Replace(answer, `"peersConnected":3`, `"peersConnected":0`, 1)
	}
	return json.Unmarshal([]byte(answer), result)
}

func (f *fakeNode) record(method string, args []any) error {
	path := f.getenv("CALLS")
	if path == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	text, err := json.Marshal(args)
	if err == nil {
		_, err = fmt.Fprintf(out, "%s %s\n", method, text)
	}
	return err
}

// anna is a member as the fake node has it.
const anna = `{"id":"1f0c2a9b","name":"Anna","devices":[{"id":"d0112233445566","added":"2026-11-22T18:30:00Z"},
	{"id":"d0aabbccddeeff","added":"2026-11-22T18:40:00Z"}],"maxDevices":4,"bytesPerDay":500000000,"usedToday":123456,
	"created":"2026-11-22T18:00:00Z","invited":"2026-11-29T18:00:00Z"}`

func answers() map[string]string {
	return map[string]string{
		"shh_addSymKey":                  `"sym1"`,
		"shh_generateSymKeyFromPassword": `"sym2"`,
		"shh_deleteSymKey":               `true`,
		"shh_addPrivateKey":              `"pair1"`,
		"shh_newKeyPair":                 `"pair2"`,
		"shh_getPublicKey":               `"0x04aabb"`,
		"shh_deleteKeyPair":              `true`,
		"shh_post":                       `"0x` + strings.Repeat("ab", 32) + `"`,
		"node_addPeer":                   `true`,
		"archive_stats": `{"dir":"/srv/mail","epoch":"0102030405060708","envelopes":1200,"bytes":987654,"disk":1048576,"slices":2,"first":5,"next":1205,
			"oldest":"2026-11-22T12:00:00Z","newest":"2026-11-23T14:02:00Z","puts":1000,"duplicates":7,"syncs":20,"pruned":4,"damaged":1,
			"refusing":"the disk is full\u001b[2J","maxAge":2592000,"minAge":259200,"cap":10485760,"minFree":0}`,
		"archive_check":   `{"envelopes":1200,"bytes":987654,"problems":2,"list":[{"file":"01.slice","offset":99,"text":"one envelope is damaged"}]}`,
		"archive_prune":   `{"envelopes":40,"bytes":1048576}`,
		"archive_drop":    `1`,
		"archive_export":  `{"envelopes":1200,"bytes":987654}`,
		"archive_import":  `{"read":20,"new":18,"duplicate":1,"refused":1}`,
		"archive_backup":  `{"envelopes":1200,"bytes":1048576}`,
		"archive_explain": `{"hash":"0x` + strings.Repeat("ab", 32) + `","state":"stored","text":"Stored as arrival 7.","arrival":7,"from":"a1b2"}`,
		"members_invite":  `{"member":` + anna + `,"link":"restante://join?server=enode%3A%2F%2F0a0b&token=abc"}`,
		"members_list": `[` + anna + `,{"id":"7e57ab1e","name":"Béla\u001b[2J","devices":[],"maxDevices":1,"bytesPerDay":0,
			"usedToday":0,"created":"2026-11-20T09:00:00Z","revoked":"2026-11-21T09:00:00Z"},
			{"id":"0a0b0c0d","name":"Clara","maxDevices":1,"created":"2026-11-20T09:00:00Z","invited":"2026-11-29T18:00:00Z"},
			{"id":"0a0b0c0e","name":"Dora","maxDevices":1,"created":"2026-11-20T09:00:00Z"},
			{"id":"0a0b0c0f","name":"Emil","maxDevices":1,"created":"2026-11-20T09:00:00Z","devices":[{"id":"e0"}]}]`,
		"members_add":          `{"member":` + anna + `,"made":true}`,
		"members_revoke":       anna,
		"members_remove":       anna,
		"members_removeDevice": anna,
		"node_reachable":       `{"outcome":"unreachable","text":"nothing answers at the address","enode":"enode://0a0b@192.0.2.1:30303"}`,
		"node_removePeer":      `true`,
		"node_status": `{"version":"1.2.3","enode":"enode://0a0b@192.0.2.1:30303","listen":"[::]:30303","dataDir":"/data",
			"started":"2026-11-22T12:00:00Z","dialects":["one/6","two/1"],"peersConnected":3,"peersMax":50,"minPow":0.000002,
			"fullNode":true,"clockOffset":-1.5,"pool":{"envelopes":1200,"bytes":987654},"health":[
			{"code":"clock-skew","severity":"warning","text":"the clock is 1.5 s fast\u001b[2J","since":"2026-11-23T13:00:00Z"}]}`,
		"node_peers": `[{"id":"0123456789abcdef","name":"Evil\u001b[31m/v1","address":"192.0.2.9:30303","connected":true,
			"since":"2026-11-23T13:00:00Z","inbound":true,"dialects":["one/6"],"envelopesIn":12,"envelopesOut":7},
			{"id":"fedcba9876543210","address":"node.example:30303","static":true,"problem":"connection refused"}]`,
	}
}

// Subscribe delivers the lines of MESSAGES.
func (f *fakeNode) Subscribe(_ context.Context, want rpc.Criteria, ch chan<- *rpc.Message) (cli.Subscription, error) {
	if f.getenv("NODE") == "refuses" {
		return nil, fault.Errorf("shh_subscribe", fault.Invalid, "missing topic(s)")
	}
	if err := f.record("shh_subscribe", []any{want}); err != nil {
		return nil, err
	}
	topic := rpc.Topic(envelope.Topic{0x5a, 0x4e, 0xa1, 0x31})
	data, _ := os.ReadFile(f.getenv("MESSAGES"))
	for line := range strings.Lines(string(data)) {
		signer, quoted, _ := strings.Cut(strings.TrimSpace(line), "|")
		text, err := strconv.Unquote(`"` + quoted + `"`)
		if err != nil {
			return nil, err
		}
		m := &rpc.Message{TTL: 50, Timestamp: uint32(started.Unix()), Topic: topic, Payload: []byte(text), PoW: 0.5,
			Hash: make([]byte, 32)}
		if signer == "signed" {
			m.Sig = append([]byte{4}, make([]byte, 64)...)
		}
		ch <- m
	}
	s := subscription{err: make(chan error, 1)}
	if f.getenv("ENDS") != "" {
		s.err <- nil
	}
	return s, nil
}

type subscription struct{ err chan error }

func (s subscription) Unsubscribe()      {}
func (s subscription) Err() <-chan error { return s.err }
