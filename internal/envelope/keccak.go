package envelope

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// Keccak-256 takes its input in blocks of 17 words and ends it with a 1 bit, zeros, and a 1 bit in the last byte.
const (
	blockWords = 17
	blockSize  = 8 * blockWords
	padFirst   = 0x01
	padLast    = 0x80
)

// Two bundles take turns: one's input is stored word by word while the other is permuted, whose wide loads would stall on
// words that were only just stored.
const (
	bundles = 2
	slots   = bundles * maxLanes
)

// hasher computes several Keccak-256 hashes at a time, one per slot. A slot that has finished takes the next input, so
// inputs of different lengths keep all lanes busy.
type hasher struct {
	lanes   int // of each bundle: slot s is lane s%lanes of bundle s/lanes
	bundles [bundles]bundle
	input   [slots][]byte
	last    [slots][blockSize]byte // the padded last block of each slot
	done    [slots]bool            // the last block has been absorbed
	job     [slots]int             // whose input it is; -1 for nobody's

	buffers [slots][]byte // for inputs that have to be put together
}

// hashers are large; they are kept for reuse.
type hasherPool struct{ pool sync.Pool }

func (p *hasherPool) get() *hasher {
	if h, ok := p.pool.Get().(*hasher); ok {
		return h
	}
	return newHasher(lanesHere())
}

func newHasher(lanes int) *hasher {
	h := &hasher{lanes: lanes}
	for b := range h.bundles {
		h.bundles[b].init(lanes)
	}
	return h
}

// at returns the words of a slot: h.lanes apart, the first at 0.
func (h *hasher) at(slot int) []uint64 {
	return h.bundles[slot/h.lanes].words[slot%h.lanes:]
}

// start gives a slot its input, which must not change until the slot is done.
func (h *hasher) start(slot int, input []byte) {
	words := h.at(slot)
	for i := range 25 {
		words[h.lanes*i] = 0
	}
	h.done[slot] = false
	h.input[slot] = input
}

// absorb takes the next block of a slot's input.
func (h *hasher) absorb(slot int) {
	in := h.input[slot]
	if len(in) >= blockSize {
		h.input[slot] = in[blockSize:]
	} else {
		last := &h.last[slot]
		clear(last[copy(last[:], in):])
		last[len(in)] = padFirst
		last[blockSize-1] |= padLast
		in, h.done[slot] = last[:], true
	}
	block := (*[blockSize]byte)(in)
	words := h.at(slot)
	for i := range blockWords {
		words[h.lanes*i] ^= binary.LittleEndian.Uint64(block[8*i:])
	}
}

// sum reads the hash of a slot that is done.
func (h *hasher) sum(slot int) (sum Hash) {
	words := h.at(slot)
	for i := range 4 {
		binary.LittleEndian.PutUint64(sum[8*i:], words[h.lanes*i])
	}
	return sum
}

// hashAll calls input(0) to input(n-1) for the bytes to hash and result for each hash, in any order. The bytes of an
// input must stay unchanged until its result has been called; slot (below slots) says which of so many buffers may be
// reused.
func (h *hasher) hashAll(n int, input func(i, slot int) []byte, result func(i int, sum Hash)) {
	next, busy := 0, 0
	take := func(slot int) {
		h.job[slot] = -1
		if next < n {
			h.job[slot] = next
			h.start(slot, input(next, slot))
			next, busy = next+1, busy+1
		}
	}
	used := min(bundles, (n+h.lanes-1)/h.lanes)
	for slot := range used * h.lanes {
		take(slot)
	}
	for busy > 0 {
		for slot := range used * h.lanes {
			if h.job[slot] >= 0 {
				h.absorb(slot)
			}
		}
		for b := range used {
			h.bundles[b].permute()
			for slot := b * h.lanes; slot < (b+1)*h.lanes; slot++ {
				if h.job[slot] < 0 || !h.done[slot] {
					continue
				}
				result(h.job[slot], h.sum(slot))
				busy--
				take(slot)
			}
		}
	}
}

var hashers hasherPool // reuse of memory only; it holds no state between calls

// sumAll computes the hash and the work hash of each envelope.
func sumAll(list []*Envelope) {
	h := hashers.get()
	defer hashers.pool.Put(h)
	buffers := &h.buffers
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

// HashAll hashes many envelopes' RLP at once, which is several times as fast as one by one, without reading them. hashes
// must be as long as raws.
func HashAll(raws [][]byte, hashes []Hash) {
	h := hashers.get()
	defer hashers.pool.Put(h)
	h.hashAll(len(raws), func(i, _ int) []byte { return raws[i] }, func(i int, sum Hash) { hashes[i] = sum })
}

// Keccak256 hashes bytes as envelopes are hashed, for packet digests and topics.
func Keccak256(b []byte) (sum Hash) {
	h := hashers.get()
	defer hashers.pool.Put(h)
	h.hashAll(1, func(int, int) []byte { return b }, func(_ int, s Hash) { sum = s })
	return sum
}
