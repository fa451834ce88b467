package archivetest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

// model is an archive as a plain list: what the contract says, without any care for cost.
type model struct {
	list []kept // by arrival
	next uint64
}

type kept struct {
	archive.Record
	dropped bool
}

func newModel() *model { return &model{next: 1} }

// index returns where the envelope is in the list, or -1.
func (m *model) index(h envelope.Hash) int {
	return slices.IndexFunc(m.list, func(k kept) bool { return k.Hash == h })
}

// put stores the envelopes at a time and returns the receipts that are due.
func (m *model) put(list []*envelope.Envelope, now uint32) []archive.Receipt {
	var receipts []archive.Receipt
	for _, e := range list {
		i := m.index(e.Hash())
		duplicate := i >= 0
		if !duplicate {
			i = len(m.list)
			m.list = append(m.list, kept{Record: recordOf(e, m.next, now)})
			m.next++
		}
		receipts = append(receipts, archive.Receipt{Arrival: m.list[i].Arrival, Arrived: m.list[i].Arrived, Duplicate: duplicate})
	}
	return receipts
}

func recordOf(e *envelope.Envelope, arrival uint64, arrived uint32) archive.Record {
	return archive.Record{Arrival: arrival, Arrived: arrived, Sent: e.Sent(), Topic: e.Topic(), Hash: e.Hash(), Raw: e.Raw()}
}

// walk returns all that match, in order.
func (m *model) walk(q archive.Query) []archive.Record {
	var found []archive.Record
	for _, k := range m.list {
		if !k.dropped && admits(q, k.Record) {
			found = append(found, k.Record)
		}
	}
	if q.Order == archive.BySent {
		slices.SortFunc(found, func(a, b archive.Record) int { return byKey(a.Key(), b.Key()) })
	}
	return found
}

func admits(q archive.Query, r archive.Record) bool {
	wanted := q.Bloom == nil || q.Bloom.AdmitsTopic(r.Topic)
	if len(q.Topics) > 0 {
		wanted = slices.Contains(q.Topics, r.Topic)
	}
	inTime := r.Sent >= q.From && (q.To == 0 || r.Sent <= q.To)
	arrivedWithin := r.Arrival > q.AfterArrival && (q.UntilArrival == 0 || r.Arrival <= q.UntilArrival)
	beyond := q.Order == archive.ByArrival || byKey(r.Key(), q.After) > 0
	return wanted && inTime && arrivedWithin && beyond
}

func byKey(a, b archive.Key) int {
	return cmp.Or(cmp.Compare(a.Sent, b.Sent), bytes.Compare(a.Hash[:], b.Hash[:]))
}

// find returns what Find is due.
func (m *model) find(hashes []envelope.Hash, bodies bool) []archive.Record {
	found := make([]archive.Record, len(hashes))
	for i, h := range hashes {
		j := m.index(h)
		if j < 0 || m.list[j].dropped {
			continue
		}
		found[i] = m.list[j].Record
		if !bodies {
			found[i].Raw = nil
		}
	}
	return found
}

func (m *model) drop(hashes []envelope.Hash) (n int) {
	for _, h := range hashes {
		if i := m.index(h); i >= 0 && !m.list[i].dropped {
			m.list[i].dropped = true
			n++
		}
	}
	return n
}

// pruneThrough forgets everything up to an arrival, and returns what of it was stored.
func (m *model) pruneThrough(arrival uint64) (gone []archive.Record) {
	for len(m.list) > 0 && m.list[0].Arrival <= arrival {
		if !m.list[0].dropped {
			gone = append(gone, m.list[0].Record)
		}
		m.list = m.list[1:]
	}
	return gone
}

// stored lists what is there, by arrival.
func (m *model) stored() []archive.Record { return m.walk(archive.Query{Order: archive.ByArrival}) }

// difference says how two lists of records differ, or nothing.
func difference(got, want []archive.Record) error {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("%d records, want %d; the first that is missing is %s", len(got), len(want), brief(want[i]))
		case i >= len(want):
			return fmt.Errorf("%d records, want %d; the first too many is %s", len(got), len(want), brief(got[i]))
		}
		if err := differs(got[i], want[i]); err != nil {
			return fmt.Errorf("record %d of %d: %w", i, len(want), err)
		}
	}
	return nil
}

func differs(got, want archive.Record) error {
	if got.Arrival != want.Arrival || got.Arrived != want.Arrived || got.Sent != want.Sent || got.Topic != want.Topic || got.Hash != want.Hash {
		return fmt.Errorf("%s, want %s", brief(got), brief(want))
	}
	if !bytes.Equal(got.Raw, want.Raw) {
		return fmt.Errorf("%s: its %d bytes are not those that were put, of which there were %d", brief(got), len(got.Raw), len(want.Raw))
	}
	return nil
}

func brief(r archive.Record) string {
	return fmt.Sprintf("{arrival %d at %d, sent %d, topic %s, hash %x}", r.Arrival, r.Arrived, r.Sent, r.Topic, r.Hash[:6])
}
