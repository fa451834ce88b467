package mem

import (
	"context"
	"sort"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// maxLook bounds the entries that one Next looks at.
const maxLook = 10000

// walk remembers only how far it came, so whatever is stored or pruned meanwhile cannot confuse it.
type walk struct {
	a      *Archive
	q      archive.Query
	topics map[envelope.Topic]bool
	closed bool
}

// Walk implements archive.Archive.
func (a *Archive) Walk(ctx context.Context, q archive.Query) (archive.Walk, error) {
	const op = "mem: walk"
	if q.Order > archive.ByArrival {
		return nil, fault.Errorf(op, fault.Invalid, "order %d is unknown", q.Order)
	}
	if len(q.Topics) > archive.MaxTopic {
		return nil, fault.Errorf(op, fault.Invalid, "%d topics were asked for; %d are the most", len(q.Topics), archive.MaxTopic)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.ready(ctx, op); err != nil {
		return nil, err
	}
	if a.walks == archive.MaxWalks {
		return nil, fault.E(op, fault.Busy, nil, "too many readers at a time; try again later")
	}
	a.walks++
	w := &walk{a: a, q: q, topics: make(map[envelope.Topic]bool, len(q.Topics))}
	for _, t := range q.Topics {
		w.topics[t] = true
	}
	if q.Bloom != nil {
		bloom := *q.Bloom
		w.q.Bloom = &bloom
	}
	return w, nil
}

// Next implements archive.Walk.
func (w *walk) Next(ctx context.Context, b archive.Bound) (archive.Page, error) {
	const op = "mem: next"
	if b.Count < 1 {
		return archive.Page{}, fault.Errorf(op, fault.Invalid, "a page of %d records was asked for", b.Count)
	}
	w.a.mu.Lock()
	defer w.a.mu.Unlock()
	if w.closed {
		return archive.Page{}, fault.E(op, fault.Closed, nil, "the walk is closed")
	}
	if err := w.a.ready(ctx, op); err != nil {
		return archive.Page{}, err
	}
	var p archive.Page
	size := 0
	rest := w.rest()
	for i, r := range rest {
		if w.matches(r) {
			size += len(r.Raw)
			if len(p.Records) == b.Count || len(p.Records) > 0 && size > b.Bytes {
				return p, nil
			}
			p.Records = append(p.Records, r.Record)
		}
		w.passed(r)
		if i == maxLook {
			return p, nil
		}
	}
	p.Done = true
	return p, nil
}

// rest lists what the walk has not passed yet.
func (w *walk) rest() []*record {
	if w.q.Order == archive.ByArrival {
		list := w.a.records
		return list[sort.Search(len(list), func(i int) bool { return list[i].Arrival > w.q.AfterArrival }):]
	}
	list := w.a.bySent[w.a.search(w.q.After):]
	if len(list) > 0 && list[0].Key() == w.q.After {
		list = list[1:]
	}
	return list
}

func (w *walk) passed(r *record) {
	if w.q.Order == archive.ByArrival {
		w.q.AfterArrival = r.Arrival
	} else {
		w.q.After = r.Key()
	}
}

func (w *walk) matches(r *record) bool {
	q := &w.q
	switch {
	case r.dropped,
		r.Sent < q.From, r.Sent > q.Last(),
		r.Arrival <= q.AfterArrival,
		q.UntilArrival > 0 && r.Arrival > q.UntilArrival:
		return false
	case len(q.Topics) > 0:
		return w.topics[r.Topic]
	}
	return q.Bloom == nil || q.Bloom.AdmitsTopic(r.Topic)
}

// Close implements archive.Walk.
func (w *walk) Close() {
	w.a.mu.Lock()
	defer w.a.mu.Unlock()
	if !w.closed {
		w.closed = true
		w.a.walks--
	}
}
