package mail1

import (
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/internal/envelope"
)

// Encode returns the packet that says p. Texts are made printable and cut to their caps; the caller keeps to the other
// caps. It panics for Bad and Ignored, which are not sent.
func Encode(p Packet) (code uint64, payload []byte) {
	if e, ok := p.(Envelopes); ok {
		raw := make([][]byte, len(e.List))
		for i := range raw {
			raw[i] = e.List[i].Raw()
		}
		return CodeEnvelopes, EncodeEnvelopes(e.ID, e.Through, raw)
	}
	return p.code(), encode(func(w writer) { w.packet(p) })
}

// EncodeEnvelopes returns the payload of an Envelopes. The envelopes' bytes are spliced as they are.
func EncodeEnvelopes(id, through uint64, raw [][]byte) []byte {
	return encode(func(w writer) {
		w.WriteUint64(id)
		w.WriteUint64(through)
		list := w.List()
		for _, b := range raw {
			w.Write(b) // into a buffer: cannot fail
		}
		w.ListEnd(list)
	})
}

// encode makes a list of what write writes.
func encode(write func(w writer)) []byte {
	w := writer{rlp.NewEncoderBuffer(nil)}
	list := w.List()
	write(w)
	w.ListEnd(list)
	b := w.ToBytes()
	w.Flush() // returns the buffer to its pool; there is no writer that could fail
	return b
}

type writer struct{ rlp.EncoderBuffer }

func (w writer) packet(p Packet) {
	switch p := p.(type) {
	case Hello:
		w.numbers(p.Version, uint64(p.Flags))
		w.WriteBytes(p.Epoch[:])
		w.numbers(p.Next, p.Oldest, p.Keep, p.Age, p.Closing, p.MaxTopics, p.MaxHashes, uint64(p.MaxBudget))
		w.WriteString(clean(p.Name, MaxName))
	case Error:
		w.numbers(p.ID, uint64(p.Kind))
		w.WriteString(clean(p.Text, MaxText))
		w.numbers(p.RetryAfter)
	case Cancel:
		w.numbers(p.ID)
	case Credit:
		w.numbers(p.ID, uint64(p.Bytes))
	case Page:
		w.question(p.Question)
	case Hashes:
		w.question(p.Question)
	case Fetch:
		w.numbers(p.ID)
		w.hashes(p.Hashes)
		w.numbers(uint64(p.Credit))
	case Held:
		w.numbers(p.ID)
		w.hashes(p.Hashes)
	case Join:
		w.numbers(p.ID)
		w.WriteString(clean(p.Token, MaxName))
		w.WriteString(clean(p.Name, MaxName))
	case HashList:
		w.listed(p)
	case HeldList:
		w.numbers(p.ID)
		list := w.List()
		w.numbers(p.Until...)
		w.ListEnd(list)
	case Joined:
		w.numbers(p.ID)
		w.WriteString(clean(p.Member, MaxName))
		w.numbers(uint64(p.BytesPerDay), uint64(p.Left))
	case End:
		w.numbers(p.ID)
		w.WriteBytes(p.Epoch[:])
		w.numbers(p.Through)
		w.WriteBool(p.More)
		w.hashes(p.Missing)
	default:
		panic("mail1: a packet that is never sent")
	}
}

func (w writer) numbers(list ...uint64) {
	for _, n := range list {
		w.WriteUint64(n)
	}
}

func (w writer) question(q Question) {
	w.numbers(q.ID)
	topics := w.List()
	for i := range q.Topics {
		w.WriteBytes(q.Topics[i][:])
	}
	w.ListEnd(topics)
	if q.Bloom != nil {
		w.WriteBytes(q.Bloom[:])
	} else {
		w.WriteBytes(nil)
	}
	w.numbers(uint64(q.From), uint64(q.To))
	w.WriteBytes(q.Epoch[:])
	w.numbers(q.After, q.Until, uint64(q.Budget), uint64(q.Credit))
}

func (w writer) hashes(hashes []envelope.Hash) {
	list := w.List()
	for i := range hashes {
		w.WriteBytes(hashes[i][:])
	}
	w.ListEnd(list)
}

func (w writer) listed(p HashList) {
	w.numbers(p.ID, p.Through)
	list := w.List()
	for i := range p.List {
		entry := w.List()
		w.WriteBytes(p.List[i].Hash[:])
		w.numbers(uint64(p.List[i].Sent), uint64(p.List[i].Size))
		w.ListEnd(entry)
	}
	w.ListEnd(list)
}
