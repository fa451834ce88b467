package envelope

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
)

// Draft is an envelope without its nonce.
type Draft struct {
	Expiry uint32 // Unix second after which the envelope is dead
	TTL    uint32 // seconds that it lives, at least 1
	Topic  Topic
	Data   []byte
}

// ErrWork is returned, wrapped together with the context's error, when the proof of work was not found in time.
var ErrWork = errors.New("the proof of work was not reached")

// maxWorkBits bounds the work that may be asked for: nobody finds 64 leading zero bits.
const maxWorkBits = 63

// Seal searches the lowest nonce that gives the draft at least the wished proof of work, by the formula that peers
// check and also by the rougher one with Size as the divisor, which some nodes check instead. It works on so many
// cores (at least one) until ctx is done. A target of 0 takes no work; a negative one, NaN or one out of reach is an
// error.
func Seal(ctx context.Context, d Draft, target float64, cores int) (*Envelope, error) {
	if d.TTL == 0 {
		return nil, errors.New("an envelope needs a TTL of at least 1 s")
	}
	if math.IsNaN(target) || target < 0 {
		return nil, fmt.Errorf("a proof of work of %g cannot be asked for: use 0 or more", target)
	}
	e := New(d.Expiry, d.TTL, d.Topic, d.Data, 0)
	if target == 0 {
		return e, nil
	}
	need := e.workBits(target)
	if need > maxWorkBits {
		return nil, fmt.Errorf("a proof of work of %g at this size and TTL would need %d leading zero bits: out of reach", target, need)
	}
	nonce, err := mine(ctx, e.appendWork(nil), need, max(cores, 1))
	if err != nil {
		return nil, err
	}
	return New(d.Expiry, d.TTL, d.Topic, d.Data, nonce), nil
}

// workBits returns how many leading zero bits give at least the target.
func (e *Envelope) workBits(target float64) int {
	need := max(1, int(math.Ceil(math.Log2(target*float64(e.Size())*float64(e.ttl)))))
	probe := *e
	for probe.zeros = uint16(min(need, 256)); probe.PoW() < target && probe.zeros < 256; {
		probe.zeros++
	}
	return max(need, int(probe.zeros))
}

// chunk is how many nonces a worker tries before it looks at the others' results and at its context. While the low byte
// of the nonce runs through a chunk its higher bytes stay the same, which miner.base makes use of.
const chunk = 256

// chunksAtOnce is how many chunks a worker takes from the common counter in one go.
const chunksAtOnce = 16

// mine returns the lowest nonce for which Keccak-256(prefix ‖ nonce) starts with so many zero bits.
func mine(ctx context.Context, prefix []byte, zeros, cores int) (uint64, error) {
	if zeros <= easy {
		if nonce, ok := mineFew(prefix, zeros); ok {
			return nonce, nil
		}
	}
	var next, best atomic.Uint64
	best.Store(math.MaxUint64)
	var workers sync.WaitGroup
	for range cores {
		workers.Go(func() {
			m := newMiner(prefix, zeros, lanesHere())
			for {
				first := next.Add(chunk*chunksAtOnce) - chunk*chunksAtOnce
				for n := first; n < first+chunk*chunksAtOnce; n += chunk {
					// Lower nonces may still be under way elsewhere; higher ones need not be tried.
					if n > best.Load() || ctx.Err() != nil {
						return
					}
					if found, ok := m.try(n); ok {
						lower(&best, found)
						return
					}
				}
			}
		})
	}
	workers.Wait()
	if found := best.Load(); found != math.MaxUint64 {
		return found, nil
	}
	return 0, fmt.Errorf("%w: %w", ErrWork, context.Cause(ctx))
}

// easy is how many zero bits are found, most probably, in less time than it takes to set the miners up.
const (
	easy  = 3
	tries = 4 << easy
)

// mineFew tries the first nonces one by one.
func mineFew(prefix []byte, zeros int) (nonce uint64, ok bool) {
	text := append(prefix[:len(prefix):len(prefix)], make([]byte, 8)...)
	for nonce = range tries {
		binary.BigEndian.PutUint64(text[len(prefix):], nonce)
		hash := Keccak256(text)
		if leadingZeroBits(binary.LittleEndian.Uint64(hash[:])) >= zeros {
			return nonce, true
		}
	}
	return 0, false
}

// lower sets v to n if n is lower.
func lower(v *atomic.Uint64, n uint64) {
	for old := v.Load(); n < old && !v.CompareAndSwap(old, n); old = v.Load() {
	}
}

// group is how many bundles are prepared before the first is hashed. The permutation loads wide words
// right where narrow ones were just stored, which stalls; with others in between the stores are done.
const group = 8

// miner tries nonces, as many at a time as a bundle has lanes. Everything before the nonce is absorbed once.
type miner struct {
	lanes  int
	group  [group]bundle
	zeros  int
	offset int                   // where in its block the nonce starts
	start  [25]uint64            // the state after the full blocks before the nonce
	blocks [2][blockWords]uint64 // what stands around the nonce: its block, and the next if the padding needs one
	two    bool                  // the padding, and maybe part of the nonce, is in a second block
	split  bool                  // part of the nonce is in the second block, and only that part changes within a chunk
	base   [maxLanes * 25]uint64 // the state before the last permutation but for the nonce's last byte, interleaved
}

func newMiner(prefix []byte, zeros, lanes int) *miner {
	m := &miner{zeros: zeros, lanes: lanes}
	for g := range m.group {
		m.group[g].init(lanes)
	}
	for len(prefix) >= blockSize {
		for i := range blockWords {
			m.start[i] ^= binary.LittleEndian.Uint64(prefix[8*i:])
		}
		m.permuteOne(&m.start)
		prefix = prefix[blockSize:]
	}
	m.offset = len(prefix)
	var text [2 * blockSize]byte
	copy(text[:], prefix)
	end := m.offset + 8
	m.two = end >= blockSize
	m.split = m.two && blockSize-m.offset < 8
	text[end] = padFirst
	if m.two {
		text[2*blockSize-1] |= padLast
	} else {
		text[blockSize-1] |= padLast
	}
	for i := range 2 * blockWords {
		m.blocks[i/blockWords][i%blockWords] = binary.LittleEndian.Uint64(text[8*i:])
	}
	return m
}

// permuteOne permutes a single state, on the first lane.
func (m *miner) permuteOne(s *[25]uint64) {
	b := &m.group[0]
	for i, w := range s {
		b.words[m.lanes*i] = w
	}
	b.permute()
	for i := range s {
		s[i] = b.words[m.lanes*i]
	}
}

// spread makes a single state the base of all lanes.
func (m *miner) spread(s *[25]uint64) {
	for i, w := range s {
		for l := range m.lanes {
			m.base[m.lanes*i+l] = w
		}
	}
}

// word returns word i of the two blocks with the nonce in its place.
func (m *miner) word(i int, nonce uint64) uint64 {
	w := m.blocks[i/blockWords][i%blockWords]
	at, shift := m.offset/8, uint(m.offset%8)*8
	le := bits.ReverseBytes64(nonce)
	switch i {
	case at:
		w |= le << shift
	case at + 1:
		w |= le >> (64 - shift) // a shift by 64 gives 0
	}
	return w
}

// try looks for the lowest good nonce in the chunk that starts at first, a multiple of chunk. Within the chunk only the
// last byte of the nonce changes: everything around it is put in place once.
func (m *miner) try(first uint64) (nonce uint64, ok bool) {
	s := m.start
	block := 0
	if m.split {
		for i := range blockWords {
			s[i] ^= m.word(i, first)
		}
		m.permuteOne(&s)
		block = 1
	}
	for i := range blockWords {
		s[i] ^= m.word(block*blockWords+i, first)
	}
	m.spread(&s)
	last := m.offset + 7 // where the last byte is
	at, shift := last/8-block*blockWords, uint(last%8)*8
	fixed := s[at]
	for n := first; n < first+chunk; n += uint64(m.lanes * group) {
		for g := range m.group {
			words := m.group[g].words
			copy(words, m.base[:])
			for l := range m.lanes {
				words[m.lanes*at+l] = fixed ^ (n-first+uint64(m.lanes*g+l))<<shift
			}
		}
		for g := range m.group {
			m.group[g].permute()
			if m.two && !m.split {
				m.absorbPadding(&m.group[g])
			}
		}
		for i := range m.lanes * group {
			if leadingZeroBits(m.group[i/m.lanes].words[i%m.lanes]) >= m.zeros {
				return n + uint64(i), true
			}
		}
	}
	return 0, false
}

// absorbPadding takes the second block where the nonce ended with the first: only the padding follows.
func (m *miner) absorbPadding(b *bundle) {
	for i, w := range &m.blocks[1] {
		for l := range m.lanes {
			b.words[m.lanes*i+l] ^= w
		}
	}
	b.permute()
}

// leadingZeroBits counts the zero bits at the start of a hash by its first word, as far as they matter (up to 64).
func leadingZeroBits(word uint64) int { return bits.LeadingZeros64(bits.ReverseBytes64(word)) }
