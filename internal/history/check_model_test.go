package history_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"pgregory.net/rapid"
)

func (s *server) lists(form history.Form) bool {
	return slices.Contains(s.forms, history.ByArrival) && (form == history.Listing || form == history.ByHash)
}

func entryOf(e *envelope.Envelope) history.Entry {
	return history.Entry{Hash: e.Hash(), Sent: e.Sent(), Size: uint32(len(e.Raw()))}
}

func (s *server) listing(q history.Question) {
	if !s.sameEpoch(q) {
		return
	}
	through, spent := q.After, int64(0)
	var list []history.Entry
	flush := func() {
		s.answer = append(s.answer, history.Named{List: list, Through: through})
		list = nil
	}
	more := false
	for _, e := range s.matching(q, s.form) {
		if e.arrival <= q.After || q.Until > 0 && e.arrival > q.Until {
			continue
		}
		count := int64(48)
		if s.bySize {
			count = int64(len(e.env.Raw()))
		}
		if spent += count; spent > q.Budget && through > q.After {
			more = true
			break
		}
		list, through = append(list, entryOf(e.env)), e.arrival
		if s.chance(s.twice) {
			list = append(list, entryOf(s.list[s.rng.IntN(int(min(e.arrival, uint64(len(s.list)))))].env))
		}
		if len(list) >= s.perPacket {
			flush()
		}
	}
	if !more && len(s.list) > 0 {
		through = max(through, s.list[len(s.list)-1].arrival)
	}
	flush()
	if s.still {
		s.answer, through, more = nil, q.After, true
	}
	s.answer = append(s.answer, history.Ended{More: more, Through: through, Epoch: q.Epoch})
}

// hides reports whether the server never hands an envelope over.
func (s *server) hides(h envelope.Hash) bool { return float64(h[7]) < 256*s.unhanded }

func (s *server) byHash(q history.Question) {
	stored := map[envelope.Hash]*envelope.Envelope{}
	for _, e := range s.list {
		stored[e.env.Hash()] = e.env
	}
	end := history.Ended{Epoch: [8]byte{s.epoch}}
	var packet []*envelope.Envelope
	if s.chance(s.early) {
		q.Hashes, end.More = q.Hashes[:(len(q.Hashes)+1)/2], true
	}
	for i, h := range q.Hashes {
		switch env := stored[h]; {
		case env == nil || s.hides(h) && s.denied:
			end.Missing = append(end.Missing, h)
		case s.hides(h):
		default:
			packet = append(packet, env)
		}
		if len(packet) == s.perPacket || i == len(q.Hashes)-1 && len(packet) > 0 {
			if s.chance(s.unasked) {
				packet = append(packet, s.list[0].env)
			}
			s.answer = append(s.answer, history.Got{Envelopes: packet})
			packet = nil
		}
	}
	s.answer = append(s.answer, end)
}

// endlessList gives the next packet of a list that has no end.
func (s *server) endlessList() (history.Answer, bool) {
	if s.credit <= 0 {
		return nil, false
	}
	n := history.Named{}
	for range 100 {
		s.made++
		e := history.Entry{Sent: rangeStart + 1, Size: 100}
		if s.known > 0 {
			binary.BigEndian.PutUint64(e.Hash[:], s.made%uint64(s.known))
		} else {
			binary.BigEndian.PutUint64(e.Hash[:], s.made)
		}
		n.List = append(n.List, e)
	}
	n.Bytes, n.Through = 4400, s.made
	s.credit -= n.Bytes
	s.next = time.Millisecond
	return n, true
}

// look takes a Lookup; its answer comes a little later.
func (w *world) look(l *history.Lookup) {
	if w.looking != nil || len(l.Entries) == 0 || len(l.Entries) > history.MaxLookup {
		w.t.Fatalf("a lookup of %d, while one is open: %v", len(l.Entries), w.looking != nil)
	}
	w.looking, w.looked = l, w.now.Add(time.Duration(w.rng.IntN(50_000_000)))
}

// others lets happen what is not the server's: lookups, and the leave to proceed. It reports whether anything did.
func (w *world) others() bool {
	soonest := time.Unix(1<<60, 0)
	if at, ok := w.fetch.Deadline(); ok {
		soonest = at
	}
	if w.open != 0 && len(w.server.answer) > 0 && w.due.Before(soonest) {
		soonest = w.due
	}
	if w.keeping != nil && w.kept.Before(soonest) {
		soonest = w.kept
	}
	switch {
	case w.looking != nil && !w.looked.After(soonest):
		w.now = later(w.now, w.looked)
		have := make([]bool, len(w.looking.Entries))
		for i, e := range w.looking.Entries {
			have[i] = w.store[e.Hash] || w.server.known > 0
			w.lacked[e.Hash] = !have[i]
		}
		id := w.looking.Lookup
		w.looking = nil
		w.step(history.Looked{Lookup: id, Have: have})
	case !w.starts.IsZero() && !w.starts.After(soonest):
		w.now, w.starts = later(w.now, w.starts), time.Time{}
		for _, e := range w.server.list {
			if w.rng.Float64() < w.brings {
				w.store[e.env.Hash()] = true
			}
		}
		w.step(history.Proceed{})
	default:
		return false
	}
	return true
}

// compared checks a page of a check and keeps it.
func (w *world) compared(p *history.Page) {
	for _, env := range p.Envelopes {
		if !w.lacked[env.Hash()] || w.store[env.Hash()] {
			w.t.Fatalf("%v is delivered and was had", env.Hash())
		}
		w.store[env.Hash()] = true
	}
	for _, e := range p.Withheld {
		if !w.server.hides(e.Hash) && !w.server.forged || w.store[e.Hash] {
			w.t.Fatalf("%v is withheld, it is said", e.Hash)
		}
		w.noted[e.Hash] = true
	}
	if p.Resume.Epoch == [8]byte{w.server.epoch} {
		w.passed(p.Resume.Arrival)
	}
}

// passed checks that nothing up to an arrival is neither had nor recorded.
func (w *world) passed(through uint64) {
	for _, e := range w.server.matching(history.Question{Topics: w.plan.Topics, From: w.plan.From, To: w.plan.To}, history.ByArrival) {
		if h := e.env.Hash(); e.arrival <= through && !w.store[h] && !w.noted[h] {
			w.t.Fatalf("the position has passed %d, and arrival %d is neither had nor recorded", through, e.arrival)
		}
	}
}

// TestNothingIsMissedByComparing compares with servers that have all sorts of faults, going on from where it was
// interrupted, until an end; then everything that the server has must be had, or recorded as withheld.
func TestNothingIsMissedByComparing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := quirks{
			forms: forms(history.ByArrival), perPacket: rapid.IntRange(1, 60).Draw(t, "per packet"),
			cut: share(t, "cut", 0.1), busy: share(t, "busy", 0.3), newEpoch: share(t, "new epoch", 0.1), ingest: share(t, "ingest", 0.2),
			mute: share(t, "mute", 0.1), silent: share(t, "silent", 0.05), early: share(t, "early", 0.2), twice: share(t, "twice", 0.3),
			unhanded: share(t, "unhanded", 0.2), denied: rapid.Bool().Draw(t, "denied"), unasked: share(t, "unasked", 0.3),
			bySize: rapid.Bool().Draw(t, "by size"),
		}
		if q.unasked > 0 && q.perPacket < 5 {
			q.perPacket = 5
		}
		// The list comes first: where it never gets to its end, or grows faster than it is fetched, nothing is ever done.
		few := min(float64(q.perPacket)/60, 1)
		q.cut, q.silent, q.ingest = q.cut*few, q.silent*few, q.ingest*few
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"), q, history.Plan{
			Topics: topics[:rapid.IntRange(1, 4).Draw(t, "topics")], From: rangeStart, To: rangeEnd})
		w.check, w.perAsk = true, rapid.SampledFrom([]int{0, 1, 7, 40}).Draw(t, "per ask")
		w.brings, w.stop = share(t, "brings", 0.5), share(t, "stop", 0.1)
		if w.perAsk > 0 {
			w.stop *= float64(w.perAsk) / 40
		}
		size, most := 300, 400
		if rapid.Bool().Draw(t, "large") {
			size, most, w.slow = 400_000, 50, 20*time.Second
		}
		had := rapid.SampledFrom([]float64{0, 0.5, 0.98}).Draw(t, "had")
		for range rapid.IntRange(0, most).Draw(t, "envelopes") {
			if env := w.server.make(size); w.rng.Float64() < had {
				w.store[env.Hash()] = true
			}
		}
		w.untilDone(t)
	})
}

func (w *world) untilDone(t *rapid.T) {
	var at history.Position
	for range 400 {
		r := w.run(at)
		if at = r.Resume; r.Resume.String() != w.resume.String() && r.Pages > 0 {
			t.Fatalf("resume at %q, the last page said %q", r.Resume, w.resume)
		}
		if r.End == history.EndFailed {
			continue
		}
		if at.Epoch != [8]byte{w.server.epoch} {
			t.Fatalf("epoch %x", at.Epoch)
		}
		if w.passed(at.Arrival); (r.End == history.EndAssumed) != (r.WithheldCount > 0) {
			t.Fatalf("end %v with %d withheld", r.End, r.WithheldCount)
		}
		return
	}
	t.Fatal("never done")
}

// TestEveryCheckEnds compares with servers that lie.
func TestEveryCheckEnds(t *testing.T) {
	tests := map[string]struct {
		quirks quirks
		end    history.End
		kind   fault.Kind
	}{
		"endless forgeries":  {quirks{forged: true}, history.EndFailed, fault.Unavailable},
		"endless circles":    {quirks{known: 300_000}, history.EndFailed, fault.Limit},
		"does not get on":    {quirks{still: true}, history.EndFailed, fault.Corrupt},
		"hands nothing over": {quirks{unhanded: 1}, history.EndAssumed, 0},
		"denies everything":  {quirks{unhanded: 1, denied: true}, history.EndAssumed, 0},
		"stops early":        {quirks{early: 1}, history.EndComplete, 0},
		"mute":               {quirks{mute: 1}, history.EndFailed, fault.Timeout},
		"stops":              {quirks{silent: 1}, history.EndFailed, fault.Timeout},
		"always busy":        {quirks{busy: 1}, history.EndFailed, fault.Busy},
		"new epochs":         {quirks{newEpoch: 1}, history.EndFailed, fault.Corrupt},
		"overrun":            {quirks{overrun: true}, history.EndFailed, fault.Corrupt},
		"members only":       {quirks{refuse: fault.E("", fault.Denied, nil, "members only")}, history.EndFailed, fault.Denied},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.quirks.perPacket, tt.quirks.forms = 1, forms(history.ByArrival)
			w := newWorld(t, 7, tt.quirks, history.Plan{Topics: topics[:3], From: rangeStart, To: rangeEnd})
			w.slow, w.check = time.Minute, true
			for range 120 {
				if !tt.quirks.forged && tt.quirks.known == 0 {
					w.server.make(200_000)
				}
			}
			r := w.run(history.Position{})
			if r.End != tt.end || r.Err != nil && fault.KindOf(r.Err) != tt.kind {
				t.Errorf("end %v, error %v; want %v, %v", r.End, r.Err, tt.end, tt.kind)
			}
			if took := w.now.Sub(start); took > 3*time.Hour {
				t.Errorf("it took %v", took)
			}
		})
	}
}
