package rpc_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/rpc"
)

// callable is how a method of rpc.Methods is called: the document names it so.
func callable(method string) string {
	name, _, _ := strings.Cut(method, " ")
	return name
}

func TestDocumentHasEveryMethod(t *testing.T) {
	var want, got []string
	for _, m := range rpc.Methods() {
		want = append(want, callable(m))
	}
	slices.Sort(want)
	d := rpc.NewDocument()
	for _, m := range d.Methods {
		got = append(got, m.Name)
		if len(m.Params) > 0 && m.Params[0].Name == "subscription" {
			for _, name := range m.Params[0].Schema["enum"].([]string) {
				if full := fmt.Sprintf("%s %q", m.Name, name); !slices.Contains(rpc.Methods(), full) {
					t.Errorf("%s is no subscription", full)
				}
			}
		}
	}
	slices.Sort(got)
	if d := cmp.Diff(slices.Compact(want), got); d != "" {
		t.Errorf("methods (-) against the document (+): %s", d)
	}
}

// The rules of OpenRPC's meta schema that apply to us, and our own: everything is named and said, and an example is there.
func TestDocumentIsWellFormed(t *testing.T) {
	d := rpc.NewDocument()
	if !regexp.MustCompile(`^1\.\d+\.\d+$`).MatchString(d.OpenRPC) || d.Info.Title == "" || d.Info.Version == "" {
		t.Errorf("head: %q, %+v", d.OpenRPC, d.Info)
	}
	names := map[string]bool{}
	for _, m := range d.Methods {
		if names[m.Name] {
			t.Errorf("%s: described twice", m.Name)
		}
		names[m.Name] = true
		checkMethod(t, d, m)
	}
	for name, s := range d.Components.Schemas {
		checkSchema(t, d, name, s)
	}
	if _, err := json.Marshal(d); err != nil {
		t.Error(err)
	}
}

func checkMethod(t *testing.T, d rpc.Document, m rpc.DocumentMethod) {
	t.Helper()
	if m.Summary == "" || !strings.HasSuffix(m.Summary, ".") || len(m.Examples) == 0 || len(m.Transports) == 0 || m.Structure != "by-position" {
		t.Errorf("%s: summary %q, %d examples, transports %v", m.Name, m.Summary, len(m.Examples), m.Transports)
	}
	optional, seen := false, map[string]bool{}
	for _, p := range m.Params {
		if p.Name == "" || p.Schema == nil || seen[p.Name] || optional && p.Required {
			t.Errorf("%s: parameter %+v", m.Name, p)
		}
		optional, seen[p.Name] = !p.Required, true
		checkSchema(t, d, m.Name, p.Schema)
	}
	if m.Result.Name == "" || m.Result.Schema == nil {
		t.Errorf("%s: result %+v", m.Name, m.Result)
	}
	checkSchema(t, d, m.Name, m.Result.Schema)
	for _, e := range m.Errors {
		if e.Code == 0 || e.Message == "" {
			t.Errorf("%s: error %+v", m.Name, e)
		}
	}
	required := len(slices.DeleteFunc(slices.Clone(m.Params), func(p rpc.DocumentValue) bool { return !p.Required }))
	for _, e := range m.Examples {
		if e.Name == "" || len(e.Params) < required || len(e.Params) > len(m.Params) || !json.Valid(e.Result.Value) {
			t.Errorf("%s: example %+v", m.Name, e)
		}
	}
}

// checkSchema checks that references lead somewhere and types are JSON schema's.
func checkSchema(t *testing.T, d rpc.Document, at string, schema map[string]any) {
	t.Helper()
	for key, value := range schema {
		switch key {
		case "$ref":
			name := strings.TrimPrefix(value.(string), "#/components/schemas/")
			if d.Components.Schemas[name] == nil {
				t.Errorf("%s refers to %s, which is not there", at, name)
			}
		case "type":
			if !slices.Contains([]string{"array", "boolean", "integer", "number", "object", "string"}, value.(string)) {
				t.Errorf("%s: type %v", at, value)
			}
		case "items", "additionalProperties":
			checkSchema(t, d, at, value.(map[string]any))
		case "properties":
			for name, s := range value.(map[string]any) {
				checkSchema(t, d, at+"."+name, s.(map[string]any))
			}
		case "oneOf":
			for _, s := range value.([]any) {
				checkSchema(t, d, at, s.(map[string]any))
			}
		case "pattern":
			regexp.MustCompile(value.(string))
		case "minimum", "format", "enum":
		default:
			t.Errorf("%s: keyword %s", at, key)
		}
	}
}

// The document comes alike by both its names, over every transport.
func TestDiscover(t *testing.T) {
	st := start(t)
	want, err := json.Marshal(rpc.NewDocument())
	if err != nil {
		t.Fatal(err)
	}
	for name, dial := range transports {
		for _, method := range []string{"rpc.discover", "rpc_discover"} {
			if got, code, text := dial(st, t).call(method); code != 0 || got != string(want) {
				t.Errorf("%s over %s: %d %s, %d bytes", method, name, code, text, len(got))
			}
		}
	}
}

// Every example is asked, in the document's order, and its answer has the form that the document shows: ids in the
// examples stand for those that came before.
func TestExamplesOfTheDocument(t *testing.T) {
	st := start(t, withEverything)
	st.node.peers[testPeer(t)] = false
	r := &replay{wire: st.dial(t)}
	for _, m := range rpc.NewDocument().Methods {
		for _, e := range m.Examples {
			params := []json.RawMessage{}
			for _, p := range e.Params {
				params = append(params, p.Value)
			}
			request := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, m.Name, mustJSON(t, params))
			answer := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":%s}`, e.Result.Value)
			if m.Name == "rpc_discover" {
				continue // TestDiscover; the example shows its beginning
			}
			r.exchange(t, m.Name, json.RawMessage(request), json.RawMessage(answer), false)
		}
	}
}
