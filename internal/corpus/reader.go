package corpus

import (
	"bufio"
	"errors"
	"io"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// maxRLP bounds one envelope of a file, in bytes.
const maxRLP = envelope.MaxSizeLimit + 64

// maxHeader is the longest header of a list of at most maxRLP bytes.
const maxHeader = 5

// Reader reads a file of envelopes. It is used by one goroutine at a time.
type Reader struct {
	r  *bufio.Reader
	at int64
}

// NewReader reads from r, and ahead of what it returns.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 1<<20)} }

// Next returns the next envelope, which owns its bytes, and io.EOF after the last. Anything but whole envelopes is a
// Corrupt fault.
func (r *Reader) Next() (*envelope.Envelope, error) {
	const op = "corpus: read"
	head, err := r.r.Peek(maxHeader)
	if len(head) == 0 {
		return nil, err
	}
	size, ok := listSize(head)
	if !ok || size > maxRLP {
		return nil, fault.Errorf(op, fault.Corrupt, "no envelope begins at byte %d", r.at)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(r.r, raw); errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fault.Errorf(op, fault.Corrupt, "the file ends within the envelope at byte %d", r.at)
	} else if err != nil {
		return nil, err
	}
	e, err := envelope.Decode(raw)
	if err != nil {
		return nil, fault.Errorf(op, fault.Corrupt, "at byte %d: %w", r.at, err)
	}
	r.at += int64(size)
	return e, nil
}

// listSize returns the length of an RLP list, header included, by the first bytes of it.
func listSize(head []byte) (int, bool) {
	switch b := head[0]; {
	case b < 0xc0:
		return 0, false
	case b <= 0xf7:
		return 1 + int(b-0xc0), true
	default:
		n, size := int(b-0xf7), 0
		if n >= len(head) {
			return 0, false
		}
		for _, d := range head[1 : 1+n] {
			size = size<<8 | int(d)
		}
		return 1 + n + size, true
	}
}
