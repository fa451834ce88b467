package envelope

import (
	"encoding/binary"
	"math/bits"
	"sync"

	"github.com/cloudflare/circl/simd/keccakf1600"
)

// Keccak-256 takes its input in blocks of 17 words and ends it with a 1 bit, zeros, and a 1 bit in the last byte.
const (
	lanes      = 4 // inputs hashed at once
	blockWords = 17
	blockSize  = 8 * blockWords
	padFirst   = 0x01
	padLast    = 0x80
)

// hasher computes four Keccak-256 hashes at a time, one per lane. A lane that has finished takes the next input, so
// inputs of different lengths keep all lanes busy.
type hasher struct {
	state keccakf1600.StateX4
	words []uint64 // word i of lane l is words[lanes*i+l]
	input [lanes][]byte
	last  [lanes][blockSize]byte // the padded last block of each lane
	done  [lanes]bool            // the last block has been absorbed
}

// hashers are large; they are kept for reuse.
type hasherPool struct{ pool sync.Pool }

func (p *hasherPool) get() *hasher {
	if h, ok := p.pool.Get().(*hasher); ok {
		return h
	}
	h := new(hasher)
	h.words = h.state.Initialize(false)
	return h
}

// start gives a lane its input, which must not change until the lane is done.
func (h *hasher) start(lane int, input []byte) {
	for i := range 25 {
		h.words[lanes*i+lane] = 0
	}
	h.done[lane] = false
	h.input[lane] = input
}

// absorb takes the next block of a lane's input.
func (h *hasher) absorb(lane int) {
	in := h.input[lane]
	if len(in) >= blockSize {
		h.input[lane] = in[blockSize:]
	} else {
		last := &h.last[lane]
		clear(last[copy(last[:], in):])
		last[len(in)] = padFirst
		last[blockSize-1] |= padLast
		in, h.done[lane] = last[:], true
	}
	words := h.words[lane:]
	for i := range blockWords {
		words[lanes*i] ^= binary.LittleEndian.Uint64(in[8*i : 8*i+8])
	}
}

// sum reads the hash of a lane that is done.
func (h *hasher) sum(lane int) (sum Hash) {
	for i := range 4 {
		binary.LittleEndian.PutUint64(sum[8*i:], h.words[lanes*i+lane])
	}
	return sum
}

// hashAll calls input(0) to input(n-1) for the bytes to hash and result for each hash, in any order. The bytes of an
// input must stay unchanged until its result has been called; slot (0 to 3) says which of four buffers may be reused.
func (h *hasher) hashAll(n int, input func(i, slot int) []byte, result func(i int, sum Hash)) {
	var job [lanes]int
	next, busy := 0, 0
	for l := range lanes {
		job[l] = -1
		if next < n {
			job[l] = next
			h.start(l, input(next, l))
			next, busy = next+1, busy+1
		}
	}
	for busy > 0 {
		for l := range lanes {
			if job[l] >= 0 {
				h.absorb(l)
			}
		}
		h.state.Permute()
		for l := range lanes {
			if job[l] < 0 || !h.done[l] {
				continue
			}
			result(job[l], h.sum(l))
			if next < n {
				job[l] = next
				h.start(l, input(next, l))
				next++
			} else {
				job[l] = -1
				busy--
			}
		}
	}
}

var hashers hasherPool // reuse of memory only; it holds no state between calls

// sumAll computes the hash and the work hash of each envelope.
func sumAll(list []*Envelope) {
	h := hashers.get()
	defer hashers.pool.Put(h)
	var buffers [lanes][]byte
	h.hashAll(2*len(list), func(i, slot int) []byte {
		e := list[i/2]
		if i%2 == 0 {
			return e.raw
		}
		b := e.appendWork(buffers[slot][:0])
		b = binary.BigEndian.AppendUint64(b, e.nonce)
		buffers[slot] = b
		return b
	}, func(i int, sum Hash) {
		if i%2 == 0 {
			list[i/2].hash = sum
		} else {
			list[i/2].zeros = uint16(leadingZeros(&sum))
		}
	})
}

// leadingZeros counts the zero bits at the start, 0 to 256.
func leadingZeros(h *Hash) int {
	n := 0
	for i := 0; i < len(h); i += 8 {
		w := binary.BigEndian.Uint64(h[i:])
		n += bits.LeadingZeros64(w)
		if w != 0 {
			break
		}
	}
	return n
}

// Keccak256 hashes bytes as envelopes are hashed, for packet digests and topics.
func Keccak256(b []byte) (sum Hash) {
	h := hashers.get()
	defer hashers.pool.Put(h)
	h.hashAll(1, func(int, int) []byte { return b }, func(_ int, s Hash) { sum = s })
	return sum
}
