package message

import (
	cryptorand "crypto/rand"
	"io"

	"github.com/restante-im/restante/internal/fault"
)

// read fills b from rand, or from the system's generator if rand is nil. Nothing is buffered between calls: the
// system's generator costs some 60 ns a call, and a buffer would be repeated by a cloned machine.
func read(rand io.Reader, b []byte) error {
	if rand == nil {
		rand = cryptorand.Reader
	}
	if _, err := io.ReadFull(rand, b); err != nil {
		return fault.E("message: read random bytes", fault.Unavailable, err,
			"no random bytes could be had, and nothing is sealed without them; try again")
	}
	return nil
}

// Bound for redrawing a scalar. A true generator fails once in 2^127 draws; a broken one must not hang us.
const maxDraws = 16

// drawScalar fills k with a uniform scalar in 1 … order-1.
func drawScalar(rand io.Reader, k *[32]byte) error {
	for range maxDraws {
		if err := read(rand, k[:]); err != nil {
			return err
		}
		if validScalar(k) {
			return nil
		}
	}
	return fault.E("message: draw a key", fault.Unavailable, nil, "the source of random bytes is broken: it gives no valid key")
}
