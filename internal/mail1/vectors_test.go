package mail1_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/vectortest"
)

// Results of a vector.
const (
	read      = "read"      // the payload is the packet
	refused   = "refused"   // the connection ends
	answered  = "answered"  // the request with this id gets an Error
	ignored   = "ignored"   // nothing happens
	canonical = "canonical" // read, and the packet is written like this
)

type vector struct {
	Code    uint64          `json:"code"`
	Name    string          `json:"name"`
	Why     string          `json:"why"`
	Payload vectortest.Hex  `json:"payload"`
	Result  string          `json:"result"`
	Packet  json.RawMessage `json:"packet,omitempty"`
}

// TestVectorsMail1 reads the committed vectors. UPDATE=1 writes them anew first, from the cases of this package.
func TestVectorsMail1(t *testing.T) {
	if os.Getenv("UPDATE") != "" {
		writeVectors(t)
	}
	vectortest.Load(t, "mail1_packets", checkVector)
}

func checkVector(t testing.TB, i int, v vector) {
	t.Helper()
	p, err := mail1.Decode(v.Code, v.Payload)
	result, detail := judge(v.Code, v.Payload, p, err)
	if result != v.Result {
		t.Errorf("%d %s, %s: %s (%v), want %s", i, v.Name, v.Why, result, err, v.Result)
		return
	}
	var want any
	if len(v.Packet) > 0 {
		if err := json.Unmarshal(v.Packet, &want); err != nil {
			t.Fatal(err)
		}
	}
	var got any
	if detail != nil {
		text, err := json.Marshal(detail)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%d %s, %s: (-want +got)\n%s", i, v.Name, v.Why, diff)
	}
}

// judge says what became of a payload, and what it holds.
func judge(code uint64, payload []byte, p mail1.Packet, err error) (result string, detail any) {
	if err != nil {
		return refused, nil
	}
	switch p := p.(type) {
	case mail1.Ignored:
		return ignored, nil
	case mail1.Bad:
		return answered, map[string]any{"id": strconv.FormatUint(p.ID, 10)}
	}
	again, b := mail1.Encode(p)
	if again == code && bytes.Equal(b, payload) {
		return canonical, plain(reflect.ValueOf(p))
	}
	return read, plain(reflect.ValueOf(p))
}

// plain turns a packet into what JSON holds without loss: bytes as hex, numbers of 64 bits as decimal strings.
func plain(v reflect.Value) any {
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	if e, ok := v.Interface().(*envelope.Envelope); ok {
		return "0x" + hex.EncodeToString(e.Raw())
	}
	if k, ok := v.Interface().(fault.Kind); ok {
		return uint64(k)
	}
	switch v.Kind() {
	case reflect.Pointer:
		return plain(v.Elem())
	case reflect.Array:
		return fmt.Sprintf("0x%x", v.Interface())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			f, item := v.Type().Field(i), plain(v.Field(i))
			if inner, ok := item.(map[string]any); f.Anonymous && ok {
				return inner
			}
			m[snake(f.Name)] = item
		}
		return m
	case reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	}
	return v.Interface()
}

// snake writes a field's name as the vectors do.
func snake(name string) string {
	if name == "ID" {
		return "id"
	}
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

const vectorsPath = "../../testdata/vectors/mail1_packets.json"

func writeVectors(t *testing.T) {
	t.Helper()
	type entry struct {
		Code    uint64 `json:"code"`
		Name    string `json:"name"`
		Why     string `json:"why"`
		Payload string `json:"payload"`
		Result  string `json:"result"`
		Packet  any    `json:"packet,omitempty"`
	}
	var list []entry
	for _, c := range cases() {
		p, err := mail1.Decode(c.code, c.payload)
		e := entry{Code: c.code, Name: names[c.code], Why: c.why, Payload: "0x" + hex.EncodeToString(c.payload)}
		if e.Name == "" {
			e.Name = "unknown"
		}
		e.Result, e.Packet = judge(c.code, c.payload, p, err)
		list = append(list, e)
	}
	text, err := json.MarshalIndent(map[string]any{
		"kind": "mail1_packets",
		"description": "Packets of mail/1 and what a receiver makes of them. The payload is what follows the packet code in devp2p. docs/mail-1.md specifies " +
			"the protocol. The envelopes are well-formed; their proof of work and times are not to be checked here.",
		"source": "Restante internal/mail1",
		"fields": map[string]string{
			"code":    "packet code",
			"name":    "packet name",
			"why":     "what the vector is about",
			"payload": "RLP",
			"result": "canonical: read, and this is how the packet is written | read: read as packet, though written otherwise | " +
				"answered: the request gets an error, the connection stays | refused: the connection ends | ignored: no effect",
			"packet": "the fields as the specification names them; 64-bit integers as decimal strings. With 'answered' the id only",
		},
		"vectors": list,
	}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorsPath, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
