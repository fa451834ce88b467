package rpc_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/rpc"
)

// row is a line of a method table in docs/rpc.md with its five columns.
var row = regexp.MustCompile("(?m)^\\| `([a-z]+_[^`]+)` \\|(.*)\\|$")

// Every method has its row in docs/rpc.md, and every row its method.
func TestEveryMethodIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/rpc.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1])
		if columns := regexp.MustCompile(`[^\\]\|`).FindAllString(m[2], -1); len(columns) != 3 {
			t.Errorf("%s: the row must say params, result, errors and example", m[1])
		}
	}
	slices.Sort(documented)
	if diff := cmp.Diff(rpc.Methods(), documented); diff != "" {
		t.Errorf("methods (-) against docs/rpc.md (+):\n%s", diff)
	}
}

// The server answers exactly the methods that Methods lists.
func TestMethodsAreServed(t *testing.T) {
	w := start(t).dial(t)
	for _, name := range rpc.Methods() {
		if regexp.MustCompile(`subscribe|stop`).MatchString(name) {
			continue // asked in tests of their own
		}
		if _, code, text := w.call(name); code == -32601 {
			t.Errorf("%s: %s", name, text)
		}
	}
}
