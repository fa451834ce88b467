package slindex

import (
	"encoding/binary"
	"math/bits"

	"github.com/restante-im/restante/internal/envelope"
)

// The filter of hashes: 11 bits a record, 7 of them set, which admits 0.5 % of others. Which bits belong to a hash depends
// on a secret seed, so hashes cannot be chosen to be admitted.
const (
	bloomBits   = 11
	bloomProbes = 7
)

// bloomBytes returns the length of the filter of so many records: whole words of 8 bytes.
func bloomBytes(records int) int { return (bloomBits*records + 63) / 64 * 8 }

// bloom is a filter as it stands in the file.
type bloom []byte

// add puts a hash into the filter, which must not be empty.
func (b bloom) add(at probe) {
	for range bloomProbes {
		i := at.next(b)
		b[i/8] |= 1 << (i % 8)
	}
}

func (b bloom) has(at probe) bool {
	if len(b) == 0 {
		return false
	}
	for range bloomProbes {
		if i := at.next(b); b[i/8]>>(i%8)&1 == 0 {
			return false
		}
	}
	return true
}

// probe walks over a hash's bits.
type probe struct{ at, step uint64 }

func probeOf(h *envelope.Hash, seed *[16]byte) probe {
	le := binary.LittleEndian
	s0, s1 := le.Uint64(seed[:]), le.Uint64(seed[8:])
	x := fold(le.Uint64(h[:])^s0, le.Uint64(h[8:])^s1)
	y := fold(le.Uint64(h[16:])^s1^x, le.Uint64(h[24:])^s0)
	return probe{y, fold(x^s0, y^s1) | 1}
}

// fold multiplies into 128 bits and folds them.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func (p *probe) next(b bloom) uint64 {
	i, _ := bits.Mul64(p.at, uint64(len(b))*8)
	p.at += p.step
	return i
}
