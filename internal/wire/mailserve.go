package wire

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/internal/envelope"
)

// What servers say when they refuse, in the words that clients know.
const (
	TextNotOpened = "failed to decrypt p2p request"
	TextUnsigned  = "wrong signature of p2p request"
	TextBusy      = "rate limit exceeded"
)

// AppendCursor appends the cursor that stands for an envelope: what follows it in the order of (sent, hash) comes next.
func AppendCursor(b []byte, sent uint32, hash envelope.Hash) []byte {
	return append(binary.BigEndian.AppendUint32(b, sent), hash[:]...)
}

// SplitCursor reads a cursor of CursorSize bytes, or the longer one of some servers.
func SplitCursor(b []byte) (sent uint32, hash envelope.Hash, ok bool) {
	if len(b) != CursorSize && len(b) != oldCursorSize {
		return 0, hash, false
	}
	return binary.BigEndian.Uint32(b), envelope.Hash(b[4:CursorSize]), true
}

// Grant is Check for servers: it forgives what real clients send, and refuses in the words that they know. Afterwards
// To is 0 where there is no upper bound, and Limit is not 0 unless Whole.
func (r *MailRequest) Grant() error {
	if r.To == math.MaxUint32 {
		r.To = 0
	}
	switch {
	case r.To != 0 && r.From > r.To:
		return malformedMail("query range is invalid: lower > upper")
	case r.Bloom == nil && len(r.Topics) == 0:
		return malformedMail("request is invalid: bloom filter is empty")
	case r.Limit > MaxMailLimit:
		return malformedMail("request is invalid: limit exceeds the maximum allowed value")
	}
	if len(r.Cursor) != 0 {
		if _, _, ok := SplitCursor(r.Cursor); !ok {
			return malformedMail("request is invalid: a cursor of %d bytes, must be %d", len(r.Cursor), CursorSize)
		}
	}
	if r.Limit == 0 && !r.Whole {
		r.Limit = MaxMailLimit
	}
	return nil
}

// PaddedID returns a plain request's id in the form that answers carry: short ones are filled up on the left.
func (r *MailRequest) PaddedID() (id envelope.Hash) {
	b := r.ID[max(0, len(r.ID)-len(id)):]
	copy(id[len(id)-len(b):], b)
	return id
}

// DirectFrame returns the packet that carries archived envelopes, given as RLP, to the peer that asked for them.
func (d *Dialect) DirectFrame(raws [][]byte) Frame {
	if d.bareDirect && len(raws) == 1 {
		return Frame{codeDirect, raws[0]}
	}
	return Frame{codeDirect, appendList(nil, raws)}
}

// SyncFrame returns a packet of archived envelopes, given as RLP, for another mail server; the last of an answer has
// no envelopes and is a SyncPage.
func (d *Dialect) SyncFrame(raws [][]byte) (Frame, error) {
	frames, err := d.rawFrame(codeSyncResponse, encode(func(w rlp.EncoderBuffer) {
		list := w.List()
		w.Write(appendList(nil, raws)) // raw RLP into a buffer: cannot fail
		w.WriteBytes(nil)
		w.WriteBool(false)
		w.WriteString("")
		w.ListEnd(list)
	}))
	if err != nil {
		return Frame{}, err
	}
	return frames[0], nil
}

// appendList appends the RLP list of items that are RLP already.
func appendList(b []byte, raws [][]byte) []byte {
	size := 0
	for _, raw := range raws {
		size += len(raw)
	}
	if size < 56 {
		b = append(b, byte(0xc0+size))
	} else {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(size))
		n := 0
		for length[n] == 0 {
			n++
		}
		b = append(make([]byte, 0, len(b)+9+size), b...)
		b = append(append(b, byte(0xf7+8-n)), length[n:]...)
	}
	for _, raw := range raws {
		b = append(b, raw...)
	}
	return b
}

// AnswersBarely tells from the name that a peer's program gives itself whether its mail server reads the binary form
// only, and ends its answers without a word. Asked in another form, such a server may crash: it takes a list for a range
// that ends before it starts, which its database does not survive.
func AnswersBarely(client string) bool {
	name, _, _ := strings.Cut(strings.ToLower(client), "/")
	return strings.HasPrefix(name, "geth") || strings.HasPrefix(name, "wnode")
}
