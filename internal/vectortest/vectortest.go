// Package vectortest reads the recorded test vectors for tests. The files lie in the folder named by the environment
// variable RESTANTE_VECTORS, or else in testdata/vectors at the module's root. A file is one JSON object with its kind,
// a description and a list of vectors; see testdata/vectors/README.md.
package vectortest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

type file struct {
	Kind    string            `json:"kind"`
	Vectors []json.RawMessage `json:"vectors"`
}

// Load calls fn for each vector of every file of this kind, in the files' order. A kind that the folder lacks is passed
// over with a log line when the folder was chosen by RESTANTE_VECTORS, and fails the test otherwise. An unreadable
// file, or a vector that does not fit T, fails the test.
func Load[T any](t testing.TB, kind string, fn func(t testing.TB, i int, v T)) {
	t.Helper()
	dir, chosen := folder(t)
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, path := range paths {
		if f := read(t, path); f.Kind == kind {
			found = true
			run(t, path, f, fn)
		}
	}
	if !found {
		missing(t, kind, dir, chosen)
	}
}

// File is Load for one file, by its name without ".json": for kinds that several files share.
func File[T any](t testing.TB, name string, fn func(t testing.TB, i int, v T)) {
	t.Helper()
	dir, chosen := folder(t)
	path := filepath.Join(dir, name+".json")
	if _, err := os.Stat(path); os.IsNotExist(err) {
		missing(t, name, dir, chosen)
		return
	}
	run(t, path, read(t, path), fn)
}

func missing(t testing.TB, kind, dir string, chosen bool) {
	t.Helper()
	if !chosen {
		t.Fatalf("vectors: no file of kind %s in %s", kind, dir)
	}
	t.Logf("vectors: %s: none in %s, passed over", kind, dir)
}

func run[T any](t testing.TB, path string, f file, fn func(t testing.TB, i int, v T)) {
	t.Helper()
	for i, raw := range f.Vectors {
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatalf("%s: vector %d: %v", path, i, err)
		}
		fn(t, i, v)
	}
	t.Logf("vectors: %s: %d ran (%s)", f.Kind, len(f.Vectors), filepath.Base(path))
}

func read(t testing.TB, path string) file {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return f
}

// folder returns where the vectors are, and whether RESTANTE_VECTORS said so.
func folder(t testing.TB) (dir string, chosen bool) {
	t.Helper()
	if dir := os.Getenv("RESTANTE_VECTORS"); dir != "" {
		return dir, true
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata", "vectors"), false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("vectors: no go.mod above the working directory")
		}
		dir = parent
	}
}

// Hex is a byte string written as hex with 0x; null stays nil.
type Hex []byte

// UnmarshalJSON reads a hex string or null.
func (h *Hex) UnmarshalJSON(text []byte) error {
	var s *string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if s == nil {
		*h = nil
		return nil
	}
	digits, ok := strings.CutPrefix(*s, "0x")
	if !ok {
		return fmt.Errorf("%q has no 0x", *s)
	}
	b, err := hex.DecodeString(digits)
	*h = b
	return err
}

// Float is a float64 by its exact bits.
type Float struct {
	Bits    string `json:"bits"`
	Decimal string `json:"decimal"`
}

// Value returns the number. An absent Float is 0.
func (f Float) Value() float64 {
	if f.Bits == "" {
		return 0
	}
	bits, err := strconv.ParseUint(f.Bits, 0, 64)
	if err != nil {
		panic("vectors: bad float bits " + f.Bits)
	}
	return math.Float64frombits(bits)
}

// U64 is a 64-bit integer written as a decimal string.
type U64 uint64

// UnmarshalJSON reads a decimal string.
func (u *U64) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseUint(strings.Trim(string(text), `"`), 10, 64)
	*u = U64(n)
	return err
}
