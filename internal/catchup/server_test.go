package catchup_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// mailServer is a simulated mail server, as one client sees it.
type mailServer struct {
	w  *world
	id nodeaddr.ID

	// What it is like.
	older     bool // answers by sent time only
	away      bool // cannot be connected
	deaf      bool // is connected and never answers
	junk      bool // sends what was not asked for
	denies    bool // answers members only
	half      bool // loses every connection in the middle of an answer
	latency   time.Duration
	dial      time.Duration
	omits     func(envelope.Hash) bool // never shown
	withholds func(envelope.Hash) bool // named and not handed over
	hid       map[envelope.Hash]bool   // that it did not hand over when it could have
	keep      time.Duration
	maxTopics int

	epoch byte
	next  uint64
	list  []stored // by arrival
	gone  []stored // deleted

	desired, up bool
	tries       int
	open        *answer
	lastAsk     map[envelope.Topic]time.Time
	asks        []catchup.Ask // all of them
	bodies      int           // sent
	sentBytes   int64
	listBytes   int64
}

type stored struct {
	env     *envelope.Envelope
	arrival uint64
	at      time.Time
}

// answer is one that is under way.
type answer struct {
	ask     uint64
	packets []history.Answer
	credit  int64
	free    bool // no flow control
	waiting bool // for credit
}

func (s *mailServer) caps() history.Caps {
	if s.older {
		return history.Caps{Forms: []history.Form{history.Paged}}
	}
	c := history.Caps{Forms: []history.Form{history.ByArrival}, Lists: true, Epoch: [8]byte{s.epoch, 1}, Next: s.next + 1, MaxHashes: 100,
		MaxTopics: s.maxTopics, Keep: s.keep, Age: s.keep, Name: "server " + s.id.Short()[:2]}
	if len(s.list) > 0 {
		c.Oldest = s.list[0].at
	}
	return c
}

// put stores an envelope that arrives now or, before the client is there, arrived so long ago; the last one arrived before.
func (s *mailServer) put(env *envelope.Envelope, ago time.Duration) {
	s.next++
	at := s.w.now
	if s.w.machine == nil {
		at = at.Add(-ago)
	}
	if n := len(s.list); n > 0 && at.Before(s.list[n-1].at) {
		at = s.list[n-1].at
	}
	s.list = append(s.list, stored{env, s.next, at})
}

// prune deletes what arrived before a time, and says what is the oldest now.
func (s *mailServer) prune(before time.Time) {
	i, _ := slices.BinarySearchFunc(s.list, before, func(e stored, t time.Time) int { return e.at.Compare(t) })
	s.gone = append(s.gone, s.list[:i]...)
	if s.list = s.list[i:]; s.up {
		s.w.step(catchup.Up{Server: s.id, Caps: s.caps()})
	}
}

// reset is a lost disk.
func (s *mailServer) reset() {
	for k, list := range s.w.claims {
		if k.server == s.id && len(list) > 0 { // otherwise nobody can know that there was an earlier archive
			s.gone = append(s.gone, s.list...)
			break
		}
	}
	s.list, s.next = nil, 0
	s.epoch++
	s.cut()
}

// cut ends the connection.
func (s *mailServer) cut() {
	if !s.up {
		return
	}
	s.up, s.open = false, nil
	s.w.cuts++
	s.w.step(catchup.Down{Server: s.id, Err: fault.E("", fault.Unavailable, nil, "cut")})
	s.redial()
}

func (s *mailServer) connect() {
	s.desired = true
	if !s.up {
		s.redial()
	}
}

func (s *mailServer) redial() {
	s.tries++
	try := s.tries
	s.w.after(s.dial, func() {
		if !s.desired || s.up || s.tries != try {
			return
		}
		if !s.away {
			s.up = true
			s.w.step(catchup.Up{Server: s.id, Caps: s.caps()})
			return
		}
		s.w.step(catchup.Down{Server: s.id, Err: fault.E("", fault.Unavailable, nil, "refused")})
		s.w.after(5*time.Second, func() {
			if s.desired && !s.up && s.tries == try {
				s.redial()
			}
		})
	})
}

func (s *mailServer) disconnect() {
	s.desired = false
	if s.up {
		s.up, s.open = false, nil
		s.w.after(0, func() { s.w.step(catchup.Down{Server: s.id}) })
	}
}

// matching is what it shows of a question, in order of arrival.
func (s *mailServer) matching(q history.Question) []stored {
	var list []stored
	for _, e := range s.list {
		sent := e.env.Sent()
		if slices.Contains(q.Topics, e.env.Topic()) && sent >= q.From && (q.To == 0 || sent <= q.To) && !s.omitted(e.env) {
			list = append(list, e)
		}
	}
	return list
}

func (s *mailServer) omitted(env *envelope.Envelope) bool {
	return s.omits != nil && s.omits(env.Hash())
}

func (s *mailServer) ask(a catchup.Ask) {
	if s.open != nil {
		s.w.t.Fatalf("two questions are open at %v", s.id.Short())
	}
	s.asks = append(s.asks, a)
	if !s.up {
		s.w.after(0, func() { s.w.step(catchup.Answered{Server: s.id, Ask: a.Ask, Answer: history.Lost{}}) })
		return
	}
	if s.lastAsk == nil {
		s.lastAsk = map[envelope.Topic]time.Time{}
	}
	for _, t := range a.Question.Topics {
		s.lastAsk[t] = s.w.now
	}
	q := a.Question
	s.open = &answer{ask: a.Ask, credit: q.Credit, free: a.Form == history.Paged}
	if s.deaf {
		return
	}
	switch {
	case s.denies:
		s.open.packets = []history.Answer{history.Ended{Err: fault.E("", fault.Denied, nil, "members only")}}
	case a.Form == history.Paged:
		s.paged(q)
	case a.Form == history.ByHash:
		s.byHash(q)
	case q.Epoch != [8]byte{} && q.Epoch != s.caps().Epoch:
		s.open.packets = []history.Answer{history.Ended{Err: fault.E("", fault.NotFound, nil, "another epoch"), Epoch: s.caps().Epoch}}
	default:
		s.byArrival(a.Form, q)
	}
	if s.junk && a.Form != history.ByHash {
		s.open.packets = []history.Answer{history.Ended{Err: fault.E("", fault.Corrupt, nil, "junk")}}
	}
	open := s.open
	s.w.after(s.latency, func() { s.send(open) })
}

func (s *mailServer) byArrival(form history.Form, q history.Question) {
	end := s.next
	if q.Until > 0 {
		end = min(end, q.Until)
	}
	through, budget, more := q.After, q.Budget, false
	var got history.Got
	var named history.Named
	flush := func() {
		if form == history.Listing && len(named.List) > 0 {
			named.Through, named.Bytes = through, int64(40*len(named.List)+10)
			s.open.packets = append(s.open.packets, named)
		} else if len(got.Envelopes) > 0 {
			got.Through = through
			s.open.packets = append(s.open.packets, got)
		}
		got, named = history.Got{}, history.Named{}
	}
	for _, e := range s.matching(q) {
		if e.arrival <= q.After || e.arrival > end || form == history.ByArrival && s.withheld(e.env) {
			continue
		}
		cost := int64(len(e.env.Raw()))
		if form == history.Listing {
			cost = 40
		}
		if q.Budget > 0 && budget < cost && through > q.After {
			more = true
			break
		}
		budget -= cost
		through = e.arrival
		if form == history.Listing {
			named.List = append(named.List, history.Entry{Hash: e.env.Hash(), Sent: e.env.Sent(), Size: uint32(len(e.env.Raw()))})
		} else {
			got.Envelopes = append(got.Envelopes, e.env)
			got.Bytes += cost
		}
		if len(got.Envelopes) == 5 || len(named.List) == 50 {
			flush()
		}
	}
	flush()
	if !more {
		through = max(through, end)
	}
	s.open.packets = append(s.open.packets, history.Ended{More: more, Through: through, Epoch: s.caps().Epoch})
}

func (s *mailServer) withheld(env *envelope.Envelope) bool {
	if s.withholds == nil || !s.withholds(env.Hash()) {
		return false
	}
	if s.hid == nil {
		s.hid = map[envelope.Hash]bool{}
	}
	s.hid[env.Hash()] = true
	return true
}

func (s *mailServer) byHash(q history.Question) {
	var end history.Ended
	for _, h := range q.Hashes {
		i := slices.IndexFunc(s.list, func(e stored) bool { return e.env.Hash() == h })
		if i < 0 || s.withheld(s.list[i].env) || s.omitted(s.list[i].env) {
			end.Missing = append(end.Missing, h)
			continue
		}
		env := s.list[i].env
		s.open.packets = append(s.open.packets, history.Got{Envelopes: []*envelope.Envelope{env}, Bytes: int64(len(env.Raw()))})
	}
	s.open.packets = append(s.open.packets, end)
}

// paged answers by sent time; the cursor is the last key.
func (s *mailServer) paged(q history.Question) {
	key := func(e *envelope.Envelope) []byte {
		h := e.Hash()
		return append(binary.BigEndian.AppendUint32(nil, e.Sent()), h[:]...)
	}
	list := s.matching(q)
	slices.SortFunc(list, func(a, b stored) int { return bytes.Compare(key(a.env), key(b.env)) })
	list = slices.DeleteFunc(list, func(e stored) bool { return q.Cursor != nil && bytes.Compare(key(e.env), q.Cursor) <= 0 })
	var end history.Ended
	if n := min(cmp.Or(q.Limit, 7), 7); len(list) > n {
		list = list[:n]
		end.Cursor = key(list[n-1].env)
	}
	for _, e := range list {
		s.open.packets = append(s.open.packets, history.Got{Envelopes: []*envelope.Envelope{e.env}, Bytes: int64(len(e.env.Raw()))})
		end.Last = e.env.Hash()
	}
	s.open.packets = append(s.open.packets, end)
}

// send sends the next packet, and plans the one after it.
func (s *mailServer) send(a *answer) {
	if s.open != a || len(a.packets) == 0 {
		return
	}
	p := a.packets[0]
	size := int64(0)
	switch p := p.(type) {
	case history.Got:
		size = p.Bytes
		s.bodies += len(p.Envelopes)
	case history.Named:
		size = p.Bytes
		s.listBytes += size
	}
	if !a.free && size > 0 && a.credit <= 0 {
		if g, ok := p.(history.Got); ok {
			s.bodies -= len(g.Envelopes)
		}
		a.waiting = true
		return
	}
	s.sentBytes += size
	a.credit -= size
	if a.packets = a.packets[1:]; s.half && len(a.packets) > 0 && size > 0 {
		s.w.step(catchup.Answered{Server: s.id, Ask: a.ask, Answer: p})
		s.cut()
		return
	}
	if len(a.packets) == 0 {
		s.open = nil
	}
	s.w.after(time.Millisecond, func() { s.send(a) })
	s.w.step(catchup.Answered{Server: s.id, Ask: a.ask, Answer: p})
}

func (s *mailServer) grant(bytes int64) {
	if a := s.open; a != nil {
		if a.credit += bytes; a.waiting && a.credit > 0 {
			a.waiting = false
			s.w.after(s.latency, func() { s.send(a) })
		}
	}
}
