package message

import (
	"io"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/restante-im/restante/internal/fault"
)

// The plaintext: flags (1) | payload size (0 to 3, little-endian) | payload | padding | signature (0 or 65).
const (
	flagSizeBytes = 0x03 // how many bytes the size field has
	flagSigned    = 0x04 // a signature is present; higher bits are sent as 0 and ignored

	// MaxPayload is the largest payload in bytes, all that a size field of three bytes can say.
	MaxPayload = 1<<24 - 1

	// PaddingUnit is what generated padding fills the plaintext up to a multiple of, in bytes.
	PaddingUnit = 256

	// SignatureSize is the length of a signature in bytes: R (32), S (32), V (1, with the value 0 or 1).
	SignatureSize = 65
)

// Plain is what is sealed.
type Plain struct {
	// Payload is what the receiver gets, at most MaxPayload bytes.
	Payload []byte
	// Padding hides the payload's length. Nil generates 1 to PaddingUnit random bytes that make the plaintext a
	// multiple of PaddingUnit; anything else is used as it is, so an empty slice means no padding.
	Padding []byte
	// Sign is the key to sign with; nil leaves the message unsigned.
	Sign *PrivateKey
}

// Opened is an opened message. Its slices share one buffer that belongs to the caller.
type Opened struct {
	Payload []byte
	Padding []byte
	// Signer is the key recovered from the signature, zero unless Signed. A text that was changed after signing opens
	// as well and yields another key: compare it with the one expected.
	Signer PublicKey
	Signed bool
}

// Why a message does not open. Both are returned as they are, without allocation: trying many keys is ordinary.
var (
	// ErrNotOpened says that the data was not sealed with this key, or was damaged since.
	ErrNotOpened = fault.E("message: open", fault.Corrupt, nil,
		"the data does not open with this key: it was sealed with another one or is damaged")
	// ErrMalformed says that the key fits but the content breaks the layout: its sender is at fault.
	ErrMalformed = fault.E("message: open", fault.Corrupt, nil,
		"the message opened but is malformed: its size or its signature does not fit its content")
)

// errNoKey answers the use of a zero SymKey, PublicKey or nil PrivateKey.
var errNoKey = fault.E("message", fault.Invalid, nil, "no key was given, or the key is not valid; give a key of the right kind")

// layout is the shape of a plaintext, in bytes.
type layout struct {
	sizeField int
	padding   int
	total     int // the whole plaintext
}

func (p *Plain) layout() (layout, error) {
	n := len(p.Payload)
	if n > MaxPayload {
		return layout{}, fault.Errorf("message: seal", fault.Limit,
			"the payload has %d bytes but a message carries at most %d; send it in parts", n, MaxPayload)
	}
	l := layout{sizeField: 1}
	switch {
	case n > 0xffff:
		l.sizeField = 3
	case n > 0xff:
		l.sizeField = 2
	}
	l.total = 1 + l.sizeField + n
	if p.Sign != nil {
		l.total += SignatureSize
	}
	if l.padding = len(p.Padding); p.Padding == nil {
		l.padding = PaddingUnit - l.total%PaddingUnit
	}
	l.total += l.padding
	return l, nil
}

// write fills dst, which has l.total bytes.
func (p *Plain) write(dst []byte, l layout, rand io.Reader) error {
	n := len(p.Payload)
	dst[0] = byte(l.sizeField)
	if p.Sign != nil {
		dst[0] |= flagSigned // set before signing: the signature covers it
	}
	for i := range l.sizeField {
		dst[1+i] = byte(n >> (8 * i))
	}
	copy(dst[1+l.sizeField:], p.Payload)
	end := 1 + l.sizeField + n + l.padding
	padding := dst[end-l.padding : end]
	if p.Padding != nil {
		copy(padding, p.Padding)
	} else if err := read(rand, padding); err != nil {
		return err
	}
	if p.Sign == nil {
		return nil
	}
	return p.Sign.sign(dst[end:], crypto.Keccak256Hash(dst[:end]))
}

// parse splits a plaintext. The result aliases it.
func parse(plain []byte) (*Opened, error) {
	end := len(plain)
	if end == 0 {
		return nil, ErrMalformed
	}
	var o Opened
	if plain[0]&flagSigned != 0 {
		end -= SignatureSize
		if end <= 1 { // a signed message of the flags alone is refused
			return nil, ErrMalformed
		}
		signer, ok := recoverKey(crypto.Keccak256Hash(plain[:end]), plain[end:])
		if !ok {
			return nil, ErrMalformed
		}
		o.Signer, o.Signed = signer, true
	}
	start := 1 + int(plain[0]&flagSizeBytes)
	if start > end {
		return nil, ErrMalformed
	}
	size := 0
	for i := start - 1; i > 0; i-- {
		size = size<<8 | int(plain[i])
	}
	if size > end-start {
		return nil, ErrMalformed
	}
	o.Payload = plain[start : start+size : start+size]
	o.Padding = plain[start+size : end : end]
	return &o, nil
}
