package rpc

import (
	"context"
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/rpc/legacy"
)

// schemas are the JSON schemas of structures, by the name of their type.
type schemas map[string]map[string]any

// signature returns the types of a method's arguments as a client sees them, and of its result; nil where there is none.
func signature(t reflect.Type) (params []reflect.Type, result reflect.Type) {
	if t == nil {
		return nil, nil
	}
	for i := 1; i < t.NumIn(); i++ {
		if in := t.In(i); in != reflect.TypeFor[context.Context]() {
			params = append(params, in)
		}
	}
	if t.NumOut() > 0 && t.Out(0) != reflect.TypeFor[error]() {
		result = t.Out(0)
	}
	return params, result
}

// of returns the schema of a type. Structures are stored once and referred to.
func (s schemas) of(t reflect.Type) map[string]any {
	if t == nil {
		return map[string]any{}
	}
	if t.Kind() == reflect.Pointer {
		return s.of(t.Elem())
	}
	if known := textual(t); known != nil {
		return known
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Slice, reflect.Array:
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return s.refer(t)
	}
	return map[string]any{} // anything
}

// textual returns the schema of a type with a text form of its own, or nil.
func textual(t reflect.Type) map[string]any {
	text := func(pattern string) map[string]any { return map[string]any{"type": "string", "pattern": pattern} }
	switch t {
	case reflect.TypeFor[hexutil.Bytes]():
		return text("^0x([0-9a-fA-F]{2})*$")
	case reflect.TypeFor[hexutil.Uint]():
		return text("^0x[0-9a-f]+$")
	case reflect.TypeFor[Topic](), reflect.TypeFor[legacy.Topic]():
		return text("^0x[0-9a-fA-F]{8}$")
	case reflect.TypeFor[envelope.Hash]():
		return text("^0x[0-9a-fA-F]{64}$")
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return map[string]any{"type": "string"}
	}
	return nil
}

func (s schemas) refer(t reflect.Type) map[string]any {
	name := t.Name()
	if _, known := s[name]; !known {
		s[name] = nil // it may refer to itself
		s[name] = s.object(t)
	}
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

func (s schemas) object(t reflect.Type) map[string]any {
	properties := map[string]any{}
	s.fields(t, properties)
	return map[string]any{"type": "object", "properties": properties}
}

func (s schemas) fields(t reflect.Type, into map[string]any) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-" || !f.IsExported():
		case f.Anonymous && tag == "" && f.Type.Kind() == reflect.Struct:
			s.fields(f.Type, into)
		case tag != "":
			into[tag] = s.of(f.Type)
		default:
			into[f.Name] = s.of(f.Type)
		}
	}
}
