package envelope

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// Topic is four bytes that say roughly who may care for an envelope.
type Topic [4]byte

// Hash identifies an envelope: the Keccak-256 of its RLP.
type Hash [32]byte

// BloomSize is the length of a bloom filter in bytes.
const BloomSize = 64

// Bloom is a set of topics as a filter of 512 bits. A filter may admit topics that were never added, and never misses
// one that was. The zero Bloom admits nothing.
type Bloom [BloomSize]byte

// bits returns the three bit numbers (0 to 511) of a topic: the first three bytes, each with bit j of the fourth as
// its ninth bit (EIP-627).
func (t Topic) bits() (n [3]uint) {
	for j := range n {
		n[j] = uint(t[j]) | uint(t[3]>>j&1)<<8
	}
	return n
}

// Bloom returns the topic's filter as peers compute it to see whether an envelope matches. When two of the three bits
// fall into one byte only the later one is set: real nodes write the byte instead of adding to it, so that form is the
// one that their filters contain.
func (t Topic) Bloom() Bloom {
	var b Bloom
	for _, n := range t.bits() {
		b[n/8] = 1 << (n % 8)
	}
	return b
}

// WideBloom returns the topic's filter with all three bits, as EIP-627 says. It contains Bloom. Filters that are
// announced to peers are made of it, so that peers of both readings send us everything that we want.
func (t Topic) WideBloom() Bloom {
	var b Bloom
	for _, n := range t.bits() {
		b[n/8] |= 1 << (n % 8)
	}
	return b
}

// FullBloom returns the filter that admits every topic.
func FullBloom() Bloom {
	var b Bloom
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// Or adds everything that other admits.
func (b *Bloom) Or(other Bloom) {
	for i := range b {
		b[i] |= other[i]
	}
}

// Admits reports whether the filter contains every bit of a topic's sample.
func (b *Bloom) Admits(sample *Bloom) bool {
	var missing uint64
	for i := 0; i < BloomSize; i += 8 {
		missing |= binary.LittleEndian.Uint64(sample[i:]) &^ binary.LittleEndian.Uint64(b[i:])
	}
	return missing == 0
}

// AdmitsTopic is Admits for the topic's Bloom, without computing it.
func (b *Bloom) AdmitsTopic(t Topic) bool {
	n := t.bits()
	for j := range n {
		// A later bit in the same byte takes the place of this one; see Topic.Bloom.
		if j < 2 && (n[j]/8 == n[2]/8 || j == 0 && n[0]/8 == n[1]/8) {
			continue
		}
		if b[n[j]/8]>>(n[j]%8)&1 == 0 {
			return false
		}
	}
	return true
}

// IsFull reports whether the filter admits every topic.
func (b *Bloom) IsFull() bool { return *b == FullBloom() }

// IsZero reports whether the filter admits nothing.
func (b *Bloom) IsZero() bool { return *b == Bloom{} }

// String gives 0x and 8 hex digits.
func (t Topic) String() string { return "0x" + hex.EncodeToString(t[:]) }

// String gives 0x and 64 hex digits.
func (h Hash) String() string { return "0x" + hex.EncodeToString(h[:]) }

// MarshalText is String.
func (t Topic) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText is String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is ParseTopic.
func (t *Topic) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTopic(string(text))
	return err
}

// UnmarshalText is ParseHash.
func (h *Hash) UnmarshalText(text []byte) (err error) {
	*h, err = ParseHash(string(text))
	return err
}

// ParseTopic reads 0x and exactly 8 hex digits.
func ParseTopic(s string) (Topic, error) {
	var t Topic
	err := parseHex(t[:], s, "a topic")
	return t, err
}

// ParseHash reads 0x and exactly 64 hex digits.
func ParseHash(s string) (Hash, error) {
	var h Hash
	err := parseHex(h[:], s, "an envelope hash")
	return h, err
}

func parseHex(dst []byte, s, what string) error {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok || len(digits) != 2*len(dst) {
		return fmt.Errorf("%s is 0x and %d hex digits, not %q", what, 2*len(dst), cut(s, 80))
	}
	if _, err := hex.Decode(dst, []byte(digits)); err != nil {
		return fmt.Errorf("%s is 0x and %d hex digits, not %q", what, 2*len(dst), cut(s, 80))
	}
	return nil
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
