package mailsim

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
)

// Bounds of what a server sends, as docs/mail-1.md has them.
const (
	packetBytes = 64 << 10
	entryBytes  = 48
	noCredit    = 30 * time.Second // for which a server waits
)

// answering is a question that a server is working on.
type answering struct {
	c      *conn
	ask    uint64
	form   history.Form
	q      history.Question
	credit int64
	spent  int64
	over   bool

	through uint64               // by arrival: considered up to here
	list    []*envelope.Envelope // by sent time, and by hash: what is left to send
	missing []envelope.Hash
	end     history.Ended // by sent time
	waiting bool          // for credit
}

// matches is what a question selects, but for arrivals. Older servers go by filter.
func matches(q *history.Question, e *envelope.Envelope, exact bool) bool {
	sent := e.Sent()
	if sent < q.From || q.To != 0 && sent > q.To {
		return false
	}
	if len(q.Topics) == 0 {
		return q.Bloom == nil || q.Bloom.AdmitsTopic(e.Topic())
	}
	if slices.Contains(q.Topics, e.Topic()) {
		return true
	}
	var filter envelope.Bloom
	for _, t := range q.Topics {
		filter.Or(t.WideBloom())
	}
	return !exact && filter.AdmitsTopic(e.Topic())
}

// begin starts to answer.
func (a *answering) begin() {
	s := a.c.server
	w := s.w
	exact := a.form == history.ByArrival || a.form == history.Listing || a.form == history.ByHash
	switch {
	case s.denied:
		a.refuse(fault.Denied, 0)
	case exact != (s.form == history.ByArrival):
		a.refuse(fault.Invalid, 0)
	case exact && (len(a.q.Topics) > s.topics || len(a.q.Hashes) > s.hashes):
		w.failf("client %d asks server %d for %d topics or %d hashes at a time", a.c.client.index, s.index, len(a.q.Topics), len(a.q.Hashes))
		a.refuse(fault.Limit, 0)
	case a.form == history.Paged && s.form == history.Bare, w.fault(s.mute):
		a.over = true // silence
		w.note("server %d is mute", s.index)
	case w.fault(s.busy):
		a.refuse(fault.Busy, w.between(0, 10*time.Second).Truncate(time.Second))
	case a.form == history.ByHash:
		a.byHash()
	case exact:
		a.byArrival()
	default:
		a.bySent()
	}
}

func (a *answering) refuse(kind fault.Kind, retry time.Duration) {
	a.over = true
	a.c.send(a, history.Ended{Err: fault.E("mail server", kind, nil, "not now, or not you"), RetryAfter: retry, Epoch: a.c.server.epoch})
}

// byArrival begins a page or a listing.
func (a *answering) byArrival() {
	s := a.c.server
	if a.q.Epoch != [8]byte{} && a.q.Epoch != s.epoch {
		a.refuse(fault.NotFound, 0)
		return
	}
	a.through = a.q.After
	a.next()
}

// byHash begins to hand over what was named.
func (a *answering) byHash() {
	s := a.c.server
	for _, h := range a.q.Hashes {
		switch r := s.stored[h]; {
		case r == nil:
			a.missing = append(a.missing, h)
		case !s.withholds(h):
			a.list = append(a.list, r.env)
		case share(h, 99) < 0.5:
			a.missing = append(a.missing, h) // says so; else it is silent about it
		}
	}
	a.end = history.Ended{Missing: a.missing, Epoch: s.epoch}
	a.next()
}

func cursorOf(e *envelope.Envelope) []byte {
	h := e.Hash()
	return append(binary.BigEndian.AppendUint32(nil, e.Sent()), h[:]...)
}

// bySent begins a page of the older forms.
func (a *answering) bySent() {
	s := a.c.server
	for _, r := range s.records {
		if matches(&a.q, r.env, false) && !s.omits(r.env.Hash(), false) {
			a.list = append(a.list, r.env)
		}
	}
	slices.SortFunc(a.list, func(x, y *envelope.Envelope) int { return bytes.Compare(cursorOf(x), cursorOf(y)) })
	if a.form == history.Paged {
		if a.q.Cursor != nil {
			a.list = slices.DeleteFunc(a.list, func(e *envelope.Envelope) bool { return bytes.Compare(cursorOf(e), a.q.Cursor) <= 0 })
		}
		if len(a.list) >= a.q.Limit {
			a.list = a.list[:a.q.Limit]
			a.end.Cursor = cursorOf(a.list[a.q.Limit-1])
		}
		if n := len(a.list); n > 0 {
			a.end.Last = a.list[n-1].Hash()
		}
	}
	a.next()
}

// next sends the next packet, when the asker may have one.
func (a *answering) next() {
	if a.over || a.c.broken {
		return
	}
	s := a.c.server
	flow := a.form != history.Paged && a.form != history.Bare
	if flow && a.credit <= 0 {
		a.starve()
		return
	}
	switch {
	case s.w.fault(s.cut):
		s.w.note("server %d cuts", s.index)
		a.c.breakOff(0)
		return
	case s.w.fault(s.stall):
		s.w.note("server %d stalls", s.index)
		a.over = true
		return
	}
	switch a.form {
	case history.ByArrival, history.Listing:
		a.nextArrivals()
	default:
		a.nextEnvelopes()
	}
	if !a.over {
		s.w.after(s.w.between(0, s.gap+time.Millisecond), a.next)
	}
}

// starve waits for credit, but not for ever.
func (a *answering) starve() {
	if a.waiting {
		return
	}
	a.waiting = true
	a.c.server.w.after(noCredit, func() {
		if a.waiting && !a.over && !a.c.broken {
			a.refuse(fault.Timeout, 0)
		}
	})
}

// grant adds credit.
func (a *answering) grant(bytes int64) {
	a.credit += bytes
	if a.waiting && a.credit > 0 {
		a.waiting = false
		a.next()
	}
}

// nextArrivals sends a packet by arrival, and the end behind the last.
func (a *answering) nextArrivals() {
	s := a.c.server
	listing := a.form == history.Listing
	var got history.Got
	var named history.Named
	full, more := false, false
	for _, r := range s.records {
		if r.arrival <= a.through || a.q.Until > 0 && r.arrival > a.q.Until {
			continue
		}
		h, size := r.env.Hash(), int64(len(r.env.Raw()))
		if !matches(&a.q, r.env, true) || s.omits(h, listing) {
			a.through = r.arrival
			continue
		}
		if listing {
			size = entryBytes
		}
		if a.q.Budget > 0 && a.spent+size > a.q.Budget && a.spent > 0 {
			more = true
			break
		}
		if full = len(got.Envelopes)+len(named.List) == s.perPacket || got.Bytes+size > packetBytes; full && got.Bytes+named.Bytes > 0 {
			break
		}
		full = false
		a.through = r.arrival
		a.spent += size
		if listing {
			named.List = append(named.List, history.Entry{Hash: h, Sent: r.env.Sent(), Size: uint32(len(r.env.Raw()))})
			named.Bytes += size
		} else {
			got.Envelopes = append(got.Envelopes, r.env)
			got.Bytes += size
		}
	}
	if !full && !more { // nothing matches up to here
		newest := s.next - 1
		if a.q.Until > 0 {
			newest = min(newest, a.q.Until)
		}
		a.through = max(a.through, newest)
	}
	a.credit -= got.Bytes + named.Bytes
	switch {
	case listing && len(named.List) > 0:
		named.Through = a.through
		a.c.send(a, named)
	case len(got.Envelopes) > 0:
		got.Through = a.through
		a.c.sendPage(a, got)
	}
	if !full {
		a.over = true
		a.c.send(a, history.Ended{More: more, Through: a.through, Epoch: s.epoch})
	}
}

// nextEnvelopes sends a packet of a.list, and the end behind the last.
func (a *answering) nextEnvelopes() {
	s := a.c.server
	var got history.Got
	for len(a.list) > 0 && len(got.Envelopes) < s.perPacket && (got.Bytes == 0 || got.Bytes < packetBytes) {
		got.Envelopes = append(got.Envelopes, a.list[0])
		got.Bytes += int64(len(a.list[0].Raw()))
		a.list = a.list[1:]
	}
	if len(got.Envelopes) > 0 {
		a.credit -= got.Bytes
		a.c.sendPage(a, got)
	}
	if len(a.list) > 0 {
		return
	}
	if a.over = true; a.form != history.Bare {
		a.c.send(a, a.end)
	}
}

// sendPage sends envelopes, and now and then what was not asked for, or some of it again.
func (c *conn) sendPage(a *answering, got history.Got) {
	s := c.server
	if s.w.fault(s.repeat) {
		again := got.Envelopes[s.w.rand.IntN(len(got.Envelopes))]
		got.Envelopes = append([]*envelope.Envelope{again}, got.Envelopes...)
		got.Bytes += int64(len(again.Raw()))
		a.credit -= int64(len(again.Raw()))
		a.spent += int64(len(again.Raw()))
	}
	if s.w.fault(s.junk) && (a.form == history.Paged || a.form == history.Bare || a.credit > packetBytes) {
		s.w.made++
		data := binary.BigEndian.AppendUint64(nil, s.w.made)
		junk := history.Got{Envelopes: []*envelope.Envelope{envelope.New(s.w.second(), 50, envelope.Topic{0xee, 0xee, 1, 2}, data, 1),
			envelope.New(60, 50, got.Envelopes[0].Topic(), data, 2)}}
		for _, e := range junk.Envelopes {
			junk.Bytes += int64(len(e.Raw()))
		}
		a.credit -= junk.Bytes
		a.spent += junk.Bytes
		c.send(a, junk)
	}
	c.send(a, got)
}
