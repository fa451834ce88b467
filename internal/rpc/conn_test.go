package rpc

// Internal: what a connection does to the bytes that it reads shows here byte by byte.

import (
	"slices"
	"strings"
	"testing"
)

// Only the name of a method is changed, wherever the input is cut.
func TestMethodNamesAreRewritten(t *testing.T) {
	for in, want := range map[string]string{
		`{"method":"rpc.discover"}`:                               `{"method":"rpc_discover"}`,
		`{"params":["rpc.x"],"method":"rpc.x","id":"rpc.x"}`:      `{"params":["rpc.x"],"method":"rpc_x","id":"rpc.x"}`,
		`[{"method":"rpc.a"} , {"id":1, "method" : "rpc.b"}]`:     `[{"method":"rpc_a"} , {"id":1, "method" : "rpc_b"}]`,
		`{"method":"rpc.a.b"}`:                                    `{"method":"rpc_a.b"}`,
		`{"method":"shh_version"}{"method":"rpc.a"}`:              `{"method":"shh_version"}{"method":"rpc_a"}`,
		`{"params":[{"method":"rpc.a"}],"x":{"method":"rpc.a"}}`:  `{"params":[{"method":"rpc.a"}],"x":{"method":"rpc.a"}}`,
		`[[{"method":"rpc.a"}]]`:                                  `[[{"method":"rpc.a"}]]`,
		`{"id":"method","a":"rpc.a"}`:                             `{"id":"method","a":"rpc.a"}`,
		`{"method":["rpc.a"]}`:                                    `{"method":["rpc.a"]}`,
		`{"method":"xrpc.a"}`:                                     `{"method":"xrpc.a"}`,
		`{"methods":"rpc.a","\"method":"rpc.a"}`:                  `{"methods":"rpc.a","\"method":"rpc.a"}`,
		`{"method":"\\rpc.a"}`:                                    `{"method":"\\rpc.a"}`,
		`{"method":"` + strings.Repeat("rpc.", 5) + `","id":"}"}`: `{"method":"rpc_rpc.rpc.rpc.rpc.","id":"}"}`,
	} {
		for size := 1; size <= len(in); size++ {
			s, got := new(sizer), []byte(in)
			for part := range slices.Chunk(got, size) {
				s.feed(part)
			}
			if string(got) != want {
				t.Errorf("%s in parts of %d: %s", in, size, got)
			}
		}
	}
}
