package rpc_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/vectortest"
)

// step is one exchange of a recorded conversation.
type step struct {
	Note       string          `json:"note"`
	Request    json.RawMessage `json:"request"` // null: a notification is to come
	Response   json.RawMessage `json:"response"`
	ResultKind string          `json:"result_kind"`
	Step       int             `json:"step"`
}

// deviations are the points where ours does another thing than the recorded node,
// as rules with a reason. A rule that applies replaces the comparison.
var deviations = []struct {
	reason  string
	applies func(request call, recorded *reply) bool
	holds   func(ours reply) bool
}{
	{
		reason: "arguments that can be refused without the work are refused before it, so a post that is wrong in two ways may name the other one",
		applies: func(c call, recorded *reply) bool {
			return recorded.Error != nil && strings.HasPrefix(recorded.Error.Message, "failed to reach the PoW target") &&
				(c.message.TargetPeer != "" || c.message.PowTarget <= 0)
		},
		holds: refusedWith("could not find peer with ID: ", "failed to parse target peer: ", "message rejected, PoW too low", "failed to reach the PoW target"),
	},
	{
		reason: "a post may not occupy the machine for longer than MaxPoWTime",
		applies: func(c call, _ *reply) bool {
			return c.Method == "shh_post" && float64(c.message.PowTime) > rpc.MaxPoWTime.Seconds()
		},
		holds: refusedWith("a powTime of "),
	},
	{
		reason: "an all-zero symmetric key is refused when it is added, not when it is used",
		applies: func(c call, _ *reply) bool {
			return c.Method == "shh_addSymKey" && strings.Contains(string(c.Params), strings.Repeat("0", 64))
		},
		holds: refusedWith("invalid symmetric key"),
	},
	{
		reason: "a malformed enode URL gets a text that says what is wrong with it; only the text for something that is no URL at all is kept",
		applies: func(c call, recorded *reply) bool {
			return recorded.Error != nil && recorded.Error.Code == -32000 &&
				(c.Method == "shh_markTrustedPeer" || c.message.TargetPeer != "") &&
				(strings.Contains(string(c.Params), `"enode:`) || strings.Contains(string(c.Params), `"enr:`)) &&
				!strings.HasPrefix(recorded.Error.Message, "could not find peer")
		},
		holds: func(r reply) bool { return r.Error != nil && r.Error.Code == -32000 },
	},
	{
		reason: "a type that an error text names is a type of the program that answers",
		applies: func(_ call, recorded *reply) bool {
			return recorded.Error != nil && strings.Contains(recorded.Error.Message, "whisperv6.")
		},
		holds: func(r reply) bool {
			return r.Error != nil && r.Error.Code == -32602 && strings.HasPrefix(r.Error.Message, "invalid argument ")
		},
	},
	{
		reason: "what a refused envelope is called: our texts name the figures",
		applies: func(_ call, recorded *reply) bool {
			return recorded.Error != nil && (strings.Contains(recorded.Error.Message, "huge messages") ||
				strings.Contains(recorded.Error.Message, "envelope created in the future") ||
				strings.Contains(recorded.Error.Message, "very old message"))
		},
		holds: refusedWith("envelope "),
	},
}

func refusedWith(prefixes ...string) func(reply) bool {
	return func(r reply) bool {
		for _, p := range prefixes {
			if r.Error != nil && r.Error.Code == -32000 && strings.HasPrefix(r.Error.Message, p) {
				return true
			}
		}
		return false
	}
}

// call is a recorded request.
type call struct {
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
	message rpc.NewMessage  // of shh_post
}

func parseCall(t testing.TB, raw string) (c call) {
	t.Helper()
	if err := json.Unmarshal([]byte(raw), &c); err != nil {
		t.Fatal(err)
	}
	if c.Method == "shh_post" {
		var args []json.RawMessage
		if json.Unmarshal(c.Params, &args) == nil && len(args) > 0 {
			_ = json.Unmarshal(args[0], &c.message) // deliberately wrong ones are recorded too
		}
	}
	return c
}

// replay is a conversation under way. Random ids differ from run to run: names
// maps the recorded ones to ours.
type replay struct {
	wire  *wire
	names []string // recorded, ours, recorded, ours…
}

func (r *replay) translate(raw json.RawMessage) string {
	return strings.NewReplacer(r.names...).Replace(string(raw))
}

var (
	randomID = regexp.MustCompile(`^"([0-9a-f]{64}|0x[0-9a-f]{1,32})"$`)
	kinds    = map[string]*regexp.Regexp{
		"id64":         regexp.MustCompile(`^"[0-9a-f]{64}"$`),
		"key":          regexp.MustCompile(`^"0x([0-9a-f]{2})+"$`),
		"hash":         regexp.MustCompile(`^"0x[0-9a-f]{64}"$`),
		"subscription": regexp.MustCompile(`^"0x[0-9a-f]{1,32}"$`),
	}
)

// exchange sends a recorded request and compares the answer: results exactly or by
// their form, errors exactly.
func (r *replay) exchange(t testing.TB, name string, request, response json.RawMessage, exact bool) reply {
	t.Helper()
	asked := r.translate(request)
	ours := r.wire.ask(asked)
	var recorded reply
	if err := json.Unmarshal([]byte(r.translate(response)), &recorded); err != nil {
		t.Fatal(err)
	}
	c := parseCall(t, asked)
	for _, d := range deviations {
		if d.applies(c, &recorded) {
			if !d.holds(ours) {
				t.Errorf("%s: %s: got %s, against the rule: %s", name, asked, show(ours), d.reason)
			}
			return ours
		}
	}
	if string(ours.ID) != string(recorded.ID) || ours.Version != "2.0" {
		t.Errorf("%s: id %s, jsonrpc %q; want %s, 2.0", name, ours.ID, ours.Version, recorded.ID)
	}
	if !exact && recorded.Error == nil && ours.Error == nil {
		if err := sameForm("result", decode(t, recorded.Result), decode(t, ours.Result)); err != nil {
			t.Errorf("%s: %s: %v", name, asked, err)
		}
	} else if !reflect.DeepEqual(decode(t, mustJSON(t, recorded)), decode(t, mustJSON(t, ours))) {
		t.Errorf("%s: %s\n got %s\nwant %s", name, asked, show(ours), show(recorded))
	}
	if randomID.Match(recorded.Result) && randomID.Match(ours.Result) {
		r.names = append(r.names, strings.Trim(string(recorded.Result), `"`), strings.Trim(string(ours.Result), `"`))
	}
	return ours
}

// Every transport answers alike, but that HTTP cannot push.
func TestVectorsRPCConversations(t *testing.T) {
	for name, dial := range transports {
		t.Run(name, func(t *testing.T) { testConversations(t, dial) })
	}
}

func testConversations(t *testing.T, dial func(*station, testing.TB) *wire) {
	var r *replay
	vectortest.Load(t, "rpc_shh", func(t testing.TB, i int, v step) {
		if r == nil || v.Step <= 1 {
			r = &replay{wire: dial(start(t), t)}
		}
		name := fmt.Sprintf("step %d (%s)", v.Step, v.Note)
		if r.wire.mute && r.refusesToPush(t, name, v.Request) {
			return
		}
		if string(v.Request) == "null" {
			var recorded reply
			if err := json.Unmarshal([]byte(r.translate(v.Response)), &recorded); err != nil {
				t.Fatal(err)
			}
			ours := r.wire.notification()
			if ours.Method != recorded.Method || ours.ID != nil {
				t.Errorf("%s: got %s", name, show(ours))
			}
			if err := sameForm("params", decode(t, recorded.Params), decode(t, ours.Params)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return
		}
		ours := r.exchange(t, name, v.Request, v.Response, v.ResultKind == "exact")
		if form := kinds[v.ResultKind]; form != nil && ours.Error == nil && !form.Match(ours.Result) {
			t.Errorf("%s: %s is no %s", name, ours.Result, v.ResultKind)
		}
	})
}

// refusesToPush says whether a step is about subscriptions, which a transport that cannot push must refuse.
func (r *replay) refusesToPush(t testing.TB, name string, request json.RawMessage) bool {
	t.Helper()
	c := parseCall(t, string(request))
	switch c.Method {
	case "shh_subscribe":
		if ours := r.wire.ask(r.translate(request)); ours.Error == nil || ours.Error.Message != "notifications not supported" {
			t.Errorf("%s: %s", name, show(ours))
		}
		return true
	case "shh_unsubscribe", "":
		return true
	}
	return false
}

func TestVectorsWeb3Requests(t *testing.T) {
	for name, dial := range transports {
		t.Run(name, func(t *testing.T) { testWeb3Requests(t, dial) })
	}
}

func testWeb3Requests(t *testing.T, dial func(*station, testing.TB) *wire) {
	type vector struct {
		Call string `json:"call"`
		Note string `json:"note"`
		Wire []struct {
			Request  json.RawMessage `json:"request"`
			Response json.RawMessage `json:"response"`
		} `json:"wire"`
		Outcome map[string]json.RawMessage `json:"outcome"`
	}
	var r *replay
	vectortest.Load(t, "web3_shh_requests", func(t testing.TB, i int, v vector) {
		if i == 0 {
			r = &replay{wire: dial(start(t), t)}
		}
		name := fmt.Sprintf("%d %s (%s)", i, v.Call, v.Note)
		for _, w := range v.Wire {
			if r.wire.mute && r.refusesToPush(t, name, w.Request) {
				continue
			}
			r.exchange(t, name, w.Request, w.Response, false)
		}
		if v.Call == "(event data)" && !r.wire.mute {
			var params struct{ Result json.RawMessage }
			if err := json.Unmarshal(r.wire.notification().Params, &params); err != nil {
				t.Fatal(err)
			}
			want := decode(t, v.Outcome["resolved"]).([]any)[0]
			if err := sameForm("event", want, decode(t, params.Result)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// same are the fields of objects whose values do not depend on chance.
var same = map[string]bool{
	"payload": true, "topic": true, "ttl": true, "minPow": true, "maxMessageSize": true,
	"memory": true, "messages": true, "subscription": true,
}

// sameForm compares types, names of fields, lengths of arrays, and the values
// that must agree.
func sameForm(at string, want, got any) error {
	if reflect.TypeOf(want) != reflect.TypeOf(got) {
		return fmt.Errorf("%s: got %T (%v), want %T", at, got, got, want)
	}
	switch want := want.(type) {
	case map[string]any:
		got := got.(map[string]any)
		for k := range got {
			if _, ok := want[k]; !ok {
				return fmt.Errorf("%s: unexpected field %s", at, k)
			}
		}
		for k, v := range want {
			if _, ok := got[k]; !ok {
				return fmt.Errorf("%s: no field %s", at, k)
			}
			if same[k] && !reflect.DeepEqual(v, got[k]) {
				return fmt.Errorf("%s: %s is %v, want %v", at, k, got[k], v)
			}
			if err := sameForm(at+"."+k, v, got[k]); err != nil {
				return err
			}
		}
	case []any:
		got := got.([]any)
		if len(want) != len(got) {
			return fmt.Errorf("%s: %d elements, want %d", at, len(got), len(want))
		}
		for i := range want {
			if err := sameForm(fmt.Sprintf("%s[%d]", at, i), want[i], got[i]); err != nil {
				return err
			}
		}
	case string:
		if got := got.(string); strings.HasPrefix(want, "0x") != strings.HasPrefix(got, "0x") {
			return fmt.Errorf("%s: %q is not of the form of %q", at, got, want)
		}
	case bool:
		if want != got {
			return fmt.Errorf("%s: got %v", at, got)
		}
	}
	return nil
}

func decode(t testing.TB, raw []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return v
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func show(r reply) string {
	raw, _ := json.Marshal(r)
	return string(raw)
}
