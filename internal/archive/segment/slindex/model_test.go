package slindex_test

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment/slindex"
	"github.com/restante-im/restante/internal/envelope"
)

// model answers as an index must, by looking at everything.
type model struct {
	entries []slindex.Entry
	bySent  []uint32
}

func newModel(entries []slindex.Entry) *model {
	m := &model{entries: entries}
	for i, e := range entries {
		if e.Size > 0 {
			m.bySent = append(m.bySent, uint32(i))
		}
	}
	slices.SortFunc(m.bySent, func(a, b uint32) int { return compareKeys(m.key(a), m.key(b)) })
	return m
}

func compareKeys(a, b archive.Key) int {
	return cmp.Or(cmp.Compare(a.Sent, b.Sent), bytes.Compare(a.Hash[:], b.Hash[:]))
}

func (m *model) key(o uint32) archive.Key {
	return archive.Key{Sent: m.entries[o].Sent, Hash: m.entries[o].Hash}
}

func (m *model) rec(o uint32) slindex.Rec {
	e := &m.entries[o]
	if e.Size == 0 {
		return slindex.Rec{}
	}
	return slindex.Rec{Topic: e.Topic, Sent: e.Sent, Offset: e.Offset, Size: e.Size, Prefix: slindex.Prefix(e.Hash)}
}

func (m *model) topic(t envelope.Topic) (list []uint32) {
	for _, o := range m.bySent {
		if m.entries[o].Topic == t {
			list = append(list, o)
		}
	}
	return list
}

func (m *model) topics() []envelope.Topic {
	var list []envelope.Topic
	for _, o := range m.bySent {
		list = append(list, m.entries[o].Topic)
	}
	slices.SortFunc(list, func(a, b envelope.Topic) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(list)
}

// place is where a search for k must point to, in a list of ordinals.
func (m *model) place(list []uint32, k archive.Key) int {
	for i, o := range list {
		at := m.key(o)
		if at.Sent > k.Sent || at.Sent == k.Sent && slindex.Prefix(at.Hash) >= slindex.Prefix(k.Hash) {
			return i
		}
	}
	return len(list)
}

// after reads on after k, from where a search pointed to, as the package tells callers to.
func (m *model) after(list []uint32, from int, k archive.Key) []uint32 {
	for from < len(list) && compareKeys(m.key(list[from]), k) <= 0 {
		from++
	}
	return list[from:]
}
