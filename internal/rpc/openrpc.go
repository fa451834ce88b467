package rpc

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// OpenRPCVersion is the version of the OpenRPC specification that the document follows.
const OpenRPCVersion = "1.3.2"

// Document is the interface as an OpenRPC document. What people wrote of the methods stands in tables beside the code
// (openrpc_*.go); what they take and return comes from the code.
type Document struct {
	OpenRPC    string             `json:"openrpc"`
	Info       DocumentInfo       `json:"info"`
	Methods    []DocumentMethod   `json:"methods"`
	Components DocumentComponents `json:"components"`
}

// DocumentInfo names what the document describes.
type DocumentInfo struct {
	Title       string `json:"title"`
	Version     string `json:"version"`
	Description string `json:"description"`
}

// DocumentMethod is a method in the document.
type DocumentMethod struct {
	Name       string            `json:"name"`
	Summary    string            `json:"summary"`
	Structure  string            `json:"paramStructure"` // by-position
	Params     []DocumentValue   `json:"params"`
	Result     DocumentValue     `json:"result"`
	Errors     []DocumentError   `json:"errors,omitempty"`
	Examples   []DocumentExample `json:"examples"`
	Transports []string          `json:"x-transports"` // ipc, http, ws
}

// DocumentValue is a parameter or result.
type DocumentValue struct {
	Name        string         `json:"name"`
	Description string         `json:"description,omitempty"`
	Required    bool           `json:"required,omitempty"`
	Schema      map[string]any `json:"schema"`
}

// DocumentError is an error that a method reports. N and … in the message stand for what varies.
type DocumentError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// DocumentExample is a request with its result.
type DocumentExample struct {
	Name   string         `json:"name"`
	Params []ExampleValue `json:"params"`
	Result ExampleValue   `json:"result"`
}

// ExampleValue is a value in an example.
type ExampleValue struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// DocumentComponents are the schemas that others refer to.
type DocumentComponents struct {
	Schemas map[string]map[string]any `json:"schemas"`
}

// describe is what people wrote of a method, in the order of its params in the code.
type describe struct {
	name    string // as Methods has it
	summary string
	params  []string // "name: description"
	result  string   // "name: description"
	errors  []string // texts, with code -32000
	ask     string   // an example's params, JSON
	answer  string   // and its result
}

// documentAPI adds the document to the namespace rpc.
type documentAPI struct{ document func() Document }

func newDocumentAPI() *documentAPI { return &documentAPI{sync.OnceValue(NewDocument)} }

// Discover returns the OpenRPC document.
func (a *documentAPI) Discover() Document { return a.document() }

// described are all tables. The document keeps their order: examples follow from each other.
func described() []describe {
	return slices.Concat(shhMethods, shhextMethods, inboxMethods, netMethods, rpcMethods, nodeMethods, adminMethods, memberMethods, archiveMethods)
}

// NewDocument makes the document.
func NewDocument() Document {
	schemas := schemas{}
	d := Document{
		OpenRPC: OpenRPCVersion,
		Info: DocumentInfo{
			Title: "Restante", Version: "1.0",
			Description: "The command interface of a node: JSON-RPC 2.0 over the local socket (ipc), HTTP and WebSocket (ws). Errors of the methods " +
				"themselves have the code -32000, wrong arguments -32602, unknown methods -32601.",
		},
		Components: DocumentComponents{schemas},
	}
	code := implemented()
	for _, m := range described() {
		name, subscription, _ := strings.Cut(m.name, " ")
		entry := m.entry(name, strings.Trim(subscription, `"`), code[m.name], schemas)
		at := slices.IndexFunc(d.Methods, func(other DocumentMethod) bool { return other.Name == name })
		if at < 0 {
			d.Methods = append(d.Methods, entry)
		} else {
			d.Methods[at].join(entry)
		}
	}
	return d
}

// implemented maps the names of methods to what implements them.
func implemented() map[string]reflect.Type {
	list := map[string]reflect.Type{}
	for namespace, api := range services(Options{}, new(Server)) {
		t := reflect.TypeOf(api)
		for i := range t.NumMethod() {
			m := t.Method(i)
			list[methodName(namespace, m)] = m.Type
		}
	}
	return list
}

func (m *describe) entry(name, subscription string, t reflect.Type, all schemas) DocumentMethod {
	out := DocumentMethod{
		Name: name, Summary: m.summary, Structure: "by-position", Params: []DocumentValue{}, Transports: transports(name, subscription != ""),
	}
	if subscription != "" {
		out.Params = append(out.Params, DocumentValue{
			Name: "subscription", Required: true, Schema: map[string]any{"type": "string", "enum": []string{subscription}},
		})
	}
	types, result := signature(t)
	for i, text := range m.params {
		v := valueOf(text)
		if i < len(types) {
			v.Schema, v.Required = all.of(types[i]), types[i].Kind() != reflect.Pointer
		} else {
			v.Schema, v.Required = map[string]any{"type": "string"}, true // of the library's own methods
		}
		out.Params = append(out.Params, v)
	}
	out.Result = valueOf(m.result)
	if out.Result.Schema = all.of(result); subscription != "" {
		out.Result.Schema = map[string]any{"type": "string", "pattern": "^0x[0-9a-f]{1,32}$"}
	}
	for _, text := range m.errors {
		out.Errors = append(out.Errors, DocumentError{Code: -32000, Message: text})
	}
	out.Examples = []DocumentExample{m.example(out)}
	return out
}

func (m *describe) example(of DocumentMethod) DocumentExample {
	e := DocumentExample{Name: cmp.Or(m.summary, m.name), Params: []ExampleValue{}, Result: ExampleValue{of.Result.Name, json.RawMessage(m.answer)}}
	var values []json.RawMessage
	if err := json.Unmarshal([]byte(m.ask), &values); err != nil {
		return e // a test finds it
	}
	for i, v := range values {
		name := fmt.Sprint("param", i)
		if i < len(of.Params) {
			name = of.Params[i].Name
		}
		e.Params = append(e.Params, ExampleValue{name, v})
	}
	return e
}

// join adds another subscription of the namespace to the method that makes them.
func (m *DocumentMethod) join(other DocumentMethod) {
	names, _ := m.Params[0].Schema["enum"].([]string)
	more, _ := other.Params[0].Schema["enum"].([]string)
	m.Params[0].Schema = map[string]any{"type": "string", "enum": append(names[:len(names):len(names)], more...)}
	m.Summary += " " + other.Summary
	m.Errors = append(m.Errors, other.Errors...)
	m.Examples = append(m.Examples, other.Examples...)
	for i := range m.Params[1:] {
		m.Params[i+1].Required = m.Params[i+1].Required && len(other.Params) > i+1
	}
	for i, p := range other.Params {
		switch {
		case i == 0:
		case i < len(m.Params):
			m.Params[i].Schema = map[string]any{"oneOf": []any{m.Params[i].Schema, p.Schema}}
		default:
			p.Required = false
			m.Params = append(m.Params, p)
		}
	}
}

func valueOf(text string) DocumentValue {
	name, description, _ := strings.Cut(text, ": ")
	return DocumentValue{Name: name, Description: description}
}

func transports(method string, subscription bool) []string {
	namespace, _, _ := strings.Cut(method, "_")
	switch {
	case !slices.Contains(webNamespaces, namespace):
		return []string{"ipc"}
	case subscription || strings.HasSuffix(method, "_unsubscribe"):
		return []string{"ipc", "ws"}
	}
	return []string{"ipc", "http", "ws"}
}
