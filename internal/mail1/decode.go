package mail1

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// rule says how a packet is read.
type rule struct {
	name    string
	max     int // bytes of a payload
	request bool
	read    func(r *reader) Packet
}

// rules is immutable. A code without a rule is ignored.
var rules = [Codes]rule{
	CodeHello:     {name: "hello", max: MaxControl, read: readHello},
	CodeError:     {name: "error", max: MaxControl, read: readError},
	CodeCancel:    {name: "cancel", max: MaxControl, read: func(r *reader) Packet { return Cancel{r.u64()} }},
	CodeCredit:    {name: "credit", max: MaxControl, read: func(r *reader) Packet { return Credit{r.u64(), r.amount()} }},
	CodePage:      {name: "page", max: MaxControl, request: true, read: func(r *reader) Packet { return Page{r.question()} }},
	CodeHashes:    {name: "hashes", max: MaxControl, request: true, read: func(r *reader) Packet { return Hashes{r.question()} }},
	CodeFetch:     {name: "fetch", max: MaxControl, request: true, read: func(r *reader) Packet { return Fetch{r.u64(), r.hashes(), r.amount()} }},
	CodeHeld:      {name: "held", max: MaxControl, request: true, read: func(r *reader) Packet { return Held{r.u64(), r.hashes()} }},
	CodeJoin:      {name: "join", max: MaxControl, request: true, read: func(r *reader) Packet { return Join{r.u64(), r.text(MaxName), r.text(MaxName)} }},
	CodeEnvelopes: {name: "envelopes", max: MaxAlone, read: readEnvelopes},
	CodeHashList:  {name: "hash list", max: MaxBulk, read: func(r *reader) Packet { return HashList{r.u64(), r.u64(), r.listed()} }},
	CodeHeldList:  {name: "held list", max: MaxControl, read: func(r *reader) Packet { return HeldList{r.u64(), r.numbers(MaxHashes)} }},
	CodeJoined:    {name: "joined", max: MaxControl, read: readJoined},
	CodeEnd:       {name: "end", max: MaxControl, read: readEnd},
}

// Decode reads a packet. An error (kind Invalid or Limit) means that the connection must end, and its text tells the
// peer's operator why; a request that is wrong behind its id is no error but a Bad.
func Decode(code uint64, payload []byte) (Packet, error) {
	if code >= Codes || rules[code].read == nil {
		return Ignored{code}, nil
	}
	rule := &rules[code]
	if len(payload) > rule.max {
		return nil, fault.Errorf("mail1: decode", fault.Limit, "packet %d (%s) has %d bytes, the limit is %d", code, rule.name, len(payload), rule.max)
	}
	r := newReader(payload)
	p := rule.read(r)
	r.end()
	if r.err == nil {
		return p, nil
	}
	err := fault.E("mail1: decode", fault.Invalid, nil, fmt.Sprintf("malformed packet %d (%s): %v", code, rule.name, r.err))
	if rule.request && r.started {
		return Bad{r.first, err}, nil
	}
	return nil, err
}

func readHello(r *reader) Packet {
	return Hello{
		Version: r.u64(), Flags: Flags(r.u64()), Epoch: r.epoch(), Next: r.u64(), Oldest: r.u64(), Keep: r.u64(), Age: r.u64(),
		Closing: r.u64(), MaxTopics: r.u64(), MaxHashes: r.u64(), MaxBudget: r.amount(), Name: r.text(MaxName),
	}
}

func readError(r *reader) Packet {
	return Error{ID: r.u64(), Kind: fault.Kind(r.bounded(0xff)), Text: r.text(MaxText), RetryAfter: r.u64()}
}

func readJoined(r *reader) Packet {
	return Joined{ID: r.u64(), Member: r.text(MaxName), BytesPerDay: r.amount(), Left: r.amount()}
}

func readEnd(r *reader) Packet {
	return End{ID: r.u64(), Epoch: r.epoch(), Through: r.u64(), More: r.bounded(1) == 1, Missing: r.hashes()}
}

func readEnvelopes(r *reader) Packet {
	size := len(r.b)
	p := Envelopes{ID: r.u64(), Through: r.u64()}
	item := r.item()
	if r.err != nil {
		return p
	}
	p.List, r.err = envelope.DecodeList(item, MaxEnvelopes)
	if len(p.List) > 1 && size > MaxBulk {
		r.keep(fmt.Errorf("%d bytes with more than one envelope, the limit is %d", size, MaxBulk))
	}
	return p
}

func (r *reader) question() Question {
	q := Question{
		ID: r.u64(), Topics: r.topics(), Bloom: r.bloom(), From: r.u32(), To: r.u32(), Epoch: r.epoch(),
		After: r.u64(), Until: r.u64(), Budget: r.amount(), Credit: r.amount(),
	}
	switch {
	case len(q.Topics) > 0 && q.Bloom != nil:
		r.keep(errors.New("both topics and a bloom filter"))
	case q.To != 0 && q.To < q.From, q.Until != 0 && q.Until < q.After:
		r.keep(errors.New("the range ends before it starts"))
	}
	return q
}

// reader reads the items of a packet's list. It keeps the first error; after one its results are without meaning.
type reader struct {
	b       []byte
	err     error
	first   uint64 // the first number, once started
	started bool
}

func newReader(payload []byte) *reader {
	content, rest, err := rlp.SplitList(payload)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes behind the list", len(rest))
	}
	return &reader{b: content, err: err}
}

func (r *reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

// end checks that what is left are items.
func (r *reader) end() {
	if r.err == nil {
		_, r.err = rlp.CountValues(r.b)
	}
}

// item takes the next item, its header included.
func (r *reader) item() []byte {
	if r.err != nil {
		return nil
	}
	_, _, rest, err := rlp.Split(r.b)
	if err != nil {
		r.err = err
		return nil
	}
	item := r.b[: len(r.b)-len(rest) : len(r.b)-len(rest)]
	r.b = rest
	return item
}

func (r *reader) u64() (n uint64) {
	if r.err != nil {
		return 0
	}
	n, r.b, r.err = rlp.SplitUint64(r.b)
	if !r.started && r.err == nil {
		r.first, r.started = n, true
	}
	return n
}

func (r *reader) bounded(max uint64) uint64 {
	n := r.u64()
	if n > max {
		r.keep(fmt.Errorf("a number of %d, the limit is %d", n, max))
	}
	return n
}

func (r *reader) u32() uint32 { return uint32(r.bounded(1<<32 - 1)) }

func (r *reader) amount() int64 { return int64(r.bounded(MaxAmount)) }

func (r *reader) bytes() (s []byte) {
	if r.err != nil {
		return nil
	}
	s, r.b, r.err = rlp.SplitString(r.b)
	return s
}

// fixed takes a byte string of n bytes; nil after an error.
func (r *reader) fixed(n int) []byte {
	s := r.bytes()
	if r.err == nil && len(s) != n {
		r.err = fmt.Errorf("%d bytes, must be %d", len(s), n)
	}
	if r.err != nil {
		return nil
	}
	return s
}

func (r *reader) epoch() (e Epoch) {
	copy(e[:], r.fixed(len(e)))
	return e
}

// bloom takes a filter, or no bytes for none.
func (r *reader) bloom() *envelope.Bloom {
	if r.err == nil && len(r.b) > 0 && r.b[0] == 0x80 {
		r.b = r.b[1:]
		return nil
	}
	b := r.fixed(envelope.BloomSize)
	if b == nil {
		return nil
	}
	bloom := envelope.Bloom(b)
	return &bloom
}

// text takes a text for people, as it can be shown without harm.
func (r *reader) text(max int) string {
	s := r.bytes()
	if len(s) > max {
		r.keep(fmt.Errorf("a text of %d bytes, the limit is %d", len(s), max))
		return ""
	}
	return clean(string(s), max)
}

// clean replaces what is not printable, and cuts a text to a length in bytes.
func clean(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "")
	}
	return s
}

// list takes a list of at most max items of the same form, each read by one from a reader of the list.
func list[T any](r *reader, max int, one func(r *reader) T) []T {
	if r.err != nil {
		return nil
	}
	content, rest, err := rlp.SplitList(r.b)
	if err != nil {
		r.err = err
		return nil
	}
	r.b = rest
	in := &reader{b: content}
	var items []T
	for len(in.b) > 0 && in.err == nil {
		if len(items) == max {
			in.err = fmt.Errorf("more than %d items in a list", max)
			break
		}
		items = append(items, one(in))
	}
	r.err = in.err
	return items
}

func (r *reader) topics() []envelope.Topic {
	return list(r, MaxTopics, func(r *reader) (t envelope.Topic) {
		copy(t[:], r.fixed(len(t)))
		return t
	})
}

func (r *reader) hash() (h envelope.Hash) {
	copy(h[:], r.fixed(len(h)))
	return h
}

func (r *reader) hashes() []envelope.Hash { return list(r, MaxHashes, (*reader).hash) }

func (r *reader) numbers(max int) []uint64 { return list(r, max, (*reader).u64) }

func (r *reader) listed() []Listed {
	return list(r, MaxListed, func(r *reader) (l Listed) {
		content, rest, err := rlp.SplitList(r.b)
		if err != nil {
			r.err = err
			return l
		}
		in := &reader{b: content}
		l = Listed{Hash: in.hash(), Sent: in.u32(), Size: in.u32()}
		in.end()
		r.b, r.err = rest, in.err
		return l
	})
}
