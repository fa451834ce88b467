package envelope

import (
	"unsafe"

	"github.com/cloudflare/circl/simd/keccakf1600"
)

// maxLanes is the largest number of states that are permuted together.
const maxLanes = 8

// bundle is several Keccak states that are permuted together: eight with AVX-512, four otherwise (with AVX2, or one after
// the other where there is neither).
type bundle struct {
	lanes int
	words []uint64 // word i of lane l is words[lanes*i+l]

	four  keccakf1600.StateX4
	eight [maxLanes*25 + 7]uint64 // with room to begin at a multiple of 64 bytes
}

// lanesHere is how many lanes this machine does best.
func lanesHere() int {
	if haveEight() {
		return 8
	}
	return 4
}

// init sets the number of lanes, 4 or as lanesHere says. The bundle must not be moved afterwards.
func (b *bundle) init(lanes int) {
	b.lanes = lanes
	if lanes == 4 {
		b.words = b.four.Initialize(false)
		return
	}
	skip := -uintptr(unsafe.Pointer(&b.eight[0])) % 64 / 8
	b.words = b.eight[skip : skip+maxLanes*25]
}

// permute applies Keccak-f[1600] to each state.
func (b *bundle) permute() {
	if b.lanes == 4 {
		b.four.Permute()
		return
	}
	permuteEight(&b.words[0])
}
