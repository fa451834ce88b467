package keyring_test

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/vectortest"
)

func TestVectorsKeyID(t *testing.T) {
	type vector struct {
		ID      string         `json:"id"`
		Private vectortest.Hex `json:"private_key"`
		Public  string         `json:"public_key_hex"`
	}
	vectortest.Load(t, "key_id", func(t testing.TB, i int, v vector) {
		k, err := message.ParsePrivateKey(v.Private)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Public().String(); got != v.Public {
			t.Errorf("vector %d: public key %s, want %s", i, got, v.Public)
		}
		if got := keyring.DerivedID(k.Public()); got != v.ID {
			t.Errorf("vector %d: id %s, want %s", i, got, v.ID)
		}
	})
}

func TestVectorsFromPassword(t *testing.T) {
	type vector struct {
		Key      vectortest.Hex `json:"key"`
		Password string         `json:"password"`
	}
	r := keyring.New(nil)
	vectortest.Load(t, "symkey_from_password", func(t testing.TB, i int, v vector) {
		id, err := r.FromPassword(v.Password)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := r.Sym(id); err != nil || !bytes.Equal(k.Bytes(), v.Key) {
			t.Errorf("vector %d: password %q gives %x (%v), want %x", i, v.Password, k.Bytes(), err, v.Key)
		}
	})
}

var idForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// TestRingAgainstMaps drives a ring with random calls and compares it with plain maps.
func TestRingAgainstMaps(t *testing.T) {
	somePair, err := message.GeneratePrivateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	someSym, err := message.GenerateSymKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		r := keyring.New(nil)
		pairs, syms := map[string]bool{}, map[string]bool{}
		ids := []string{"", "no such id"}
		added := func(have map[string]bool, id string, err error) {
			if err != nil || !idForm.MatchString(id) || pairs[id] || syms[id] {
				t.Fatalf("id %q: %v", id, err)
			}
			have[id] = true
			ids = append(ids, id)
		}
		t.Repeat(map[string]func(*rapid.T){
			"AddPair": func(*rapid.T) { id, err := r.AddPair(somePair); added(pairs, id, err) },
			"AddSym":  func(*rapid.T) { id, err := r.AddSym(someSym); added(syms, id, err) },
			"NewPair": func(*rapid.T) { id, err := r.NewPair(); added(pairs, id, err) },
			"NewSym":  func(*rapid.T) { id, err := r.NewSym(); added(syms, id, err) },
			"DeletePair": func(t *rapid.T) {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				if err := r.DeletePair(id); (err == nil) != pairs[id] || (err != nil && !fault.Is(err, fault.NotFound)) {
					t.Fatal(err)
				}
				delete(pairs, id)
			},
			"DeleteSym": func(t *rapid.T) {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				if r.DeleteSym(id) != syms[id] {
					t.Fatal("DeleteSym is wrong")
				}
				delete(syms, id)
			},
			"": func(t *rapid.T) {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				_, pairErr := r.Pair(id)
				_, symErr := r.Sym(id)
				if r.HasPair(id) != pairs[id] || (pairErr == nil) != pairs[id] || r.HasSym(id) != syms[id] || (symErr == nil) != syms[id] {
					t.Fatalf("%q: pair %v, symmetric key %v", id, pairErr, symErr)
				}
			},
		})
	})
}

func TestKeysComeBackUnchanged(t *testing.T) {
	r := keyring.New(nil)
	k, err := message.GeneratePrivateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := r.AddPair(k)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Pair(id); err != nil || !got.Equal(k) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := r.AddPair(nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("nil key pair: %v", err)
	}
	if _, err := r.AddSym(message.SymKey{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("zero symmetric key: %v", err)
	}
	_, err = r.Pair(strings.Repeat("x", 1<<20))
	if !fault.Is(err, fault.NotFound) || len(err.Error()) > 400 {
		t.Errorf("a long id: %v, %d bytes of text", fault.KindOf(err), len(err.Error()))
	}
}

func TestBounds(t *testing.T) {
	r := keyring.New(nil)
	k, err := message.GenerateSymKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := message.GeneratePrivateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var id string
	for range keyring.MaxKeys {
		if id, err = r.AddSym(k); err != nil {
			t.Fatal(err)
		}
		if _, err = r.AddPair(pair); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(name string, err error) {
		t.Helper()
		if !fault.Is(err, fault.Limit) || !strings.Contains(fault.Text(err), "delete some") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = r.AddSym(k)
	refused("AddSym", err)
	_, err = r.NewSym()
	refused("NewSym", err)
	_, err = r.FromPassword("x")
	refused("FromPassword", err)
	_, err = r.AddPair(pair)
	refused("AddPair", err)
	_, err = r.NewPair()
	refused("NewPair", err)
	r.DeleteSym(id)
	if _, err := r.AddSym(k); err != nil {
		t.Errorf("after deleting one: %v", err)
	}
}

func TestBrokenRandomness(t *testing.T) {
	r := keyring.New(strings.NewReader(""))
	if _, err := r.NewPair(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("NewPair: %v", err)
	}
	if _, err := r.NewSym(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("NewSym: %v", err)
	}
	// A generator that repeats itself must not hand one user's id to another.
	r = keyring.New(repeating{})
	if _, err := r.NewSym(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.NewSym(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("repeated id: %v", err)
	}
}

type repeating struct{}

func (repeating) Read(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte{9}, len(b))), nil }

var _ io.Reader = repeating{}

func TestConcurrentUse(t *testing.T) {
	r := keyring.New(nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				id, err := r.NewSym()
				if err != nil || !r.HasSym(id) || !r.DeleteSym(id) {
					t.Errorf("%q: %v", id, err)
				}
				if id, err = r.FromPassword("same"); err != nil || !r.HasSym(id) {
					t.Errorf("%q: %v", id, err)
				}
			}
		})
	}
	wg.Wait()
}
