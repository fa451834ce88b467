package members

import (
	"crypto/sha256"
	"encoding/base32"
	"io"
	"strings"

	"github.com/restante-im/restante/internal/fault"
)

const (
	secretSize  = 16 // bytes: nobody guesses 128 bits, so a fast hash does
	tokenLength = 26 // characters of a token
)

// secret is what a token stands for.
type secret [secretSize]byte

func digest(s secret) hex32 { return sha256.Sum256(s[:]) }

// coding writes tokens in letters that survive being read aloud and typed on a phone.
func coding() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

func newToken(rand io.Reader) (s secret, token string, err error) {
	if _, err := io.ReadFull(rand, s[:]); err != nil {
		return secret{}, "", err
	}
	return s, coding().EncodeToString(s[:]), nil
}

// parseToken reads a token in either case. Its errors never repeat it.
func parseToken(token string) (s secret, err error) {
	const op = "members: read a token"
	if len(token) != tokenLength {
		return s, fault.Errorf(op, fault.Invalid, "this is no invitation: its token has %d characters instead of %d; copy the whole link", len(token), tokenLength)
	}
	lower := strings.ToLower(token)
	b, err := coding().DecodeString(lower)
	if err != nil || coding().EncodeToString(b) != lower { // the last letter has two bits to spare
		return s, fault.E(op, fault.Invalid, nil, "this is no invitation: its token holds a wrong character; copy the whole link")
	}
	return secret(b), nil
}
