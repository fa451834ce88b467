package envelope // the number of lanes is not for callers to choose

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
)

// widths are the numbers of lanes that this machine can do.
func widths(t *testing.T) []int {
	if haveEight() {
		return []int{4, 8}
	}
	t.Log("no AVX-512 here: eight lanes are not tested")
	return []int{4}
}

func TestEveryWidthHashesAlike(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{3})
	for _, lanes := range widths(t) {
		h := newHasher(lanes)
		inputs := make([][]byte, 100)
		for i := range inputs {
			inputs[i] = make([]byte, i*i%1500)
			_, _ = rnd.Read(inputs[i])
		}
		for n := range len(inputs) {
			seen := 0
			h.hashAll(n, func(i, _ int) []byte { return inputs[i] }, func(i int, sum Hash) {
				seen++
				if !bytes.Equal(sum[:], crypto.Keccak256(inputs[i])) {
					t.Fatalf("%d lanes, input %d of %d bytes: %s", lanes, i, len(inputs[i]), sum)
				}
			})
			if seen != n {
				t.Fatalf("%d lanes: %d of %d results", lanes, seen, n)
			}
		}
	}
}

func TestEveryWidthMinesTheSameNonce(t *testing.T) {
	for n := 600; n < 600+blockSize; n++ {
		prefix := bytes.Repeat([]byte{byte(n)}, n)
		var want uint64
		for i, lanes := range widths(t) {
			m := newMiner(prefix, 9, lanes)
			var found uint64
			ok := false
			for first := uint64(0); !ok; first += chunk {
				found, ok = m.try(first)
			}
			if i > 0 && found != want {
				t.Fatalf("prefix of %d bytes: %d lanes find %d, others %d", n, lanes, found, want)
			}
			want = found
		}
	}
}
