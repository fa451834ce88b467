package outbox

import (
	"encoding/hex"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
)

// Bounds of a letter.
const (
	MaxID      = 64            // bytes
	MaxPayload = 1<<20 - 1<<12 // bytes, so that the envelope is not above the size that nodes accept
	MaxTTL     = 7 * 24 * time.Hour
	MaxUntil   = 30 * 24 * time.Hour // from now
	MaxPoW     = 1000

	DefaultTTL   = 24 * time.Hour
	DefaultUntil = 7 * 24 * time.Hour
)

const letterOp = "outbox: letter"

// Letter is something to send. The keys that it points to must not be changed.
type Letter struct {
	ID      string // printable, up to MaxID bytes; "": made. Letters of the same ID are the same letter
	Topic   envelope.Topic
	Sym     *message.SymKey    // seals it; or
	To      *message.PublicKey // for whom it is
	Sign    *message.PrivateKey
	Payload []byte
	TTL     time.Duration // how long an envelope of it lives, whole seconds from 1 s to MaxTTL; 0: DefaultTTL
	PoW     float64       // at least; 0: what the node wants
	Until   time.Time     // given up then if no mail server holds it, at most MaxUntil from now; zero: DefaultUntil from now
}

// checked returns the letter with what is missing filled in: an ID, the TTL, Until. The error is an Invalid or Limit fault.
func (l Letter) checked(rand io.Reader, now time.Time) (Letter, error) {
	if l.TTL == 0 {
		l.TTL = DefaultTTL
	}
	if l.Until.IsZero() {
		l.Until = now.Add(DefaultUntil)
	}
	l.TTL, l.Until = l.TTL.Truncate(time.Second), l.Until.UTC().Truncate(time.Second)
	switch {
	case len(l.ID) > MaxID || strings.ContainsFunc(l.ID, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }):
		return l, fault.Errorf(letterOp, fault.Invalid, "a letter's id is printable text of at most %d bytes", MaxID)
	case (l.Sym == nil) == (l.To == nil):
		return l, fault.E(letterOp, fault.Invalid, nil, "a letter is sealed with a symmetric key or for a public key: give one of them")
	case l.Sym != nil && l.Sym.Bytes() == nil:
		return l, fault.E(letterOp, fault.Invalid, nil, "the symmetric key is empty")
	case len(l.Payload) > MaxPayload:
		return l, fault.Errorf(letterOp, fault.Limit, "a letter carries at most %d bytes, not %d: send it in parts", MaxPayload, len(l.Payload))
	case l.TTL < time.Second || l.TTL > MaxTTL:
		return l, fault.Errorf(letterOp, fault.Invalid, "an envelope lives for 1 s to %d days", int(MaxTTL/(24*time.Hour)))
	case math.IsNaN(l.PoW) || l.PoW < 0 || l.PoW > MaxPoW:
		return l, fault.Errorf(letterOp, fault.Invalid, "the proof of work is a number from 0 to %d", MaxPoW)
	case !l.Until.After(now) || l.Until.After(now.Add(MaxUntil)):
		return l, fault.Errorf(letterOp, fault.Invalid, "a letter is given up in the future, within %d days", int(MaxUntil/(24*time.Hour)))
	}
	if l.To != nil {
		if _, err := message.ParsePublicKey(l.To[:]); err != nil {
			return l, err
		}
	}
	l.Payload = slices.Clone(l.Payload)
	if l.ID == "" {
		var id [16]byte
		if _, err := io.ReadFull(rand, id[:]); err != nil {
			return l, fault.E(letterOp, fault.Internal, err, "no random numbers for the letter's id")
		}
		l.ID = hex.EncodeToString(id[:])
	}
	return l, nil
}
