package keyring

// Internal: how often a key is derived cannot be seen from outside.

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/restante-im/restante/internal/message"
)

// fakeDerive counts calls, gives each call another key, and waits for gate if there is one.
func fakeDerive(t *testing.T, gate <-chan struct{}) (derive func(string) message.SymKey, calls *atomic.Int64) {
	calls = new(atomic.Int64)
	return func(string) message.SymKey {
		var b [32]byte
		binary.BigEndian.PutUint64(b[:], uint64(calls.Add(1)))
		if gate != nil {
			<-gate
		}
		k, err := message.NewSymKey(b[:])
		if err != nil {
			t.Error(err)
		}
		return k
	}, calls
}

func TestSamePasswordDerivesOnce(t *testing.T) {
	gate := make(chan struct{})
	derive, calls := fakeDerive(t, gate)
	d := newDerivations(derive)
	var wg sync.WaitGroup
	keys := make([]message.SymKey, 100)
	for i := range keys {
		wg.Go(func() { keys[i] = d.key("same") })
	}
	close(gate)
	wg.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("derived %d times", n)
	}
	for i, k := range keys {
		if !k.Equal(keys[0]) {
			t.Fatalf("caller %d has another key", i)
		}
	}
}

func TestDerivationsAreBounded(t *testing.T) {
	derive, calls := fakeDerive(t, nil)
	d := newDerivations(derive)
	for i := range MaxPasswords {
		d.key(fmt.Sprint(i))
	}
	d.key("0") // asked for again: stays
	d.key("one more")
	before := calls.Load()
	d.key("0")
	if calls.Load() != before {
		t.Error("a password that was asked for lately was forgotten")
	}
	d.key("1")
	if calls.Load() != before+1 {
		t.Error("the password not asked for the longest was kept")
	}
	if n := len(d.entries); n != MaxPasswords || d.recent.Len() != n {
		t.Errorf("%d entries, %d in the list", n, d.recent.Len())
	}
}

func TestFewDerivationsRunAtOnce(t *testing.T) {
	var running, most atomic.Int64
	gate := make(chan struct{})
	d := newDerivations(func(string) message.SymKey {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-gate
		running.Add(-1)
		return message.SymKey{}
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { d.key(fmt.Sprint(i)) })
	}
	for range 20 {
		gate <- struct{}{}
	}
	wg.Wait()
	if n := most.Load(); n > maxDerivations {
		t.Errorf("%d at once", n)
	}
}

func BenchmarkFromPasswordAgain(b *testing.B) {
	r := New(nil)
	for b.Loop() {
		id, err := r.FromPassword("status-offline-inbox")
		if err != nil {
			b.Fatal(err)
		}
		r.DeleteSym(id)
	}
}
