package history

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/restante-im/restante/internal/fault"
)

// Position is a place in a plan, on one server. Its text form, which people see as the cursor, is not for others to read.
type Position struct {
	Form Form // 0 in the zero Position: the start

	// ByArrival: everything up to Arrival is done.
	Epoch   [8]byte
	Arrival uint64

	// Paged and Bare: what is left is From to To, beyond Cursor if there is one.
	From, To uint32
	Cursor   []byte
}

// maxCursor bounds a server's cursor; real ones have 36 bytes.
const maxCursor = 256

// IsZero reports whether p is the start.
func (p Position) IsZero() bool { return p.Form == 0 }

// String gives the position as a word: a-EPOCH-ARRIVAL, p-FROM-TO-CURSOR or b-FROM-TO; "" for the start.
func (p Position) String() string {
	switch p.Form {
	case ByArrival:
		return fmt.Sprintf("a-%x-%d", p.Epoch, p.Arrival)
	case Paged:
		return fmt.Sprintf("p-%d-%d-%x", p.From, p.To, p.Cursor)
	case Bare:
		return fmt.Sprintf("b-%d-%d", p.From, p.To)
	}
	return ""
}

// ParsePosition reads what String wrote.
func ParsePosition(s string) (Position, error) {
	const op = "history: parse position"
	if s == "" {
		return Position{}, nil
	}
	bad := func() (Position, error) {
		return Position{}, fault.Errorf(op, fault.Invalid, "%.80q is no cursor of a fetch: copy the whole word that the earlier fetch printed", s)
	}
	parts := strings.Split(s, "-")
	var p Position
	var err [3]error
	switch {
	case parts[0] == "a" && len(parts) == 3:
		p.Form = ByArrival
		var epoch []byte
		epoch, err[0] = hex.DecodeString(parts[1])
		if copy(p.Epoch[:], epoch) != len(p.Epoch) || len(epoch) != len(p.Epoch) {
			return bad()
		}
		p.Arrival, err[1] = strconv.ParseUint(parts[2], 10, 64)
	case parts[0] == "p" && len(parts) == 4 && len(parts[3]) <= 2*maxCursor, parts[0] == "b" && len(parts) == 3:
		p.Form = Bare
		p.From, err[0] = parseSecond(parts[1])
		p.To, err[1] = parseSecond(parts[2])
		if parts[0] == "p" {
			p.Form = Paged
			p.Cursor, err[2] = hex.DecodeString(parts[3])
		}
	default:
		return bad()
	}
	for _, e := range err {
		if e != nil {
			return bad()
		}
	}
	if len(p.Cursor) == 0 {
		p.Cursor = nil
	}
	if p.Form != ByArrival && (p.To == 0 || p.From > p.To) {
		return bad()
	}
	return p, nil
}

func parseSecond(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}
