package history_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
)

// quirks are what a simulated server does besides answering. Figures are shares from 0 to 1.
type quirks struct {
	forms       []history.Form
	newestFirst bool
	perPacket   int // envelopes
	repeat      float64
	junk        float64 // packets with things not asked for
	cut         float64 // the connection is lost at a packet
	mute        float64 // a question gets no answer
	busy        float64
	silent      float64 // an answer stops in the middle
	dropLast    float64 // the last packet of a page is not sent, and named
	newEpoch    float64
	ingest      float64 // something arrives at a packet

	// Of servers that list.
	unhanded float64 // share of envelopes that are listed, and never handed over
	denied   bool    // which is said
	unasked  float64 // packets by hash with others besides
	early    float64 // answers by hash that stop early, and say so
	twice    float64 // entries that are listed again
	bySize   bool    // the budget of lists counts the envelopes' bytes

	// Lies that make it impossible to get everything.
	endless bool // valid envelopes without end
	onlyBad bool // junk without end
	circle  int  // pages after which the cursors repeat
	forged  bool // entries of envelopes that do not exist, without end
	known   int  // so many entries again and again
	still   bool // lists promise more and do not get on
	barren  bool // empty pages that promise more
	overrun bool // credit is ignored
	back    bool // Through goes backwards
	refuse  error
}

type stored struct {
	env     *envelope.Envelope
	arrival uint64
}

// server is a simulated mail server with one connection.
type server struct {
	quirks
	rng   *rand.Rand
	epoch byte
	list  []stored // by arrival
	made  uint64

	form   history.Form
	q      history.Question
	answer []history.Answer // still to come
	credit int64
	next   time.Duration // after the last answer
	pages  int
	dead   bool
}

var topics = []envelope.Topic{{1}, {2}, {3}, {4, 4}, {5, 5, 5}}

const rangeStart, rangeEnd = 1_000_000, 1_002_000

// make stores another envelope, sent at any time of a range somewhat wider than what is asked for.
func (s *server) make(size int) *envelope.Envelope {
	s.made++
	data := make([]byte, 8+s.rng.IntN(size))
	binary.BigEndian.PutUint64(data, s.made)
	sent := uint32(rangeStart - 200 + s.rng.IntN(rangeEnd-rangeStart+400))
	env := envelope.New(sent+50, 50, topics[s.rng.IntN(len(topics))], data, s.made)
	s.list = append(s.list, stored{env, s.made})
	return env
}

// matching is what an honest server has of a question: exactly by topics where the form says topics, which older servers
// answer by filter.
func (s *server) matching(q history.Question, form history.Form) []stored {
	var filter envelope.Bloom
	for _, t := range q.Topics {
		filter.Or(t.WideBloom())
	}
	var list []stored
	for _, e := range s.list {
		sent := e.env.Sent()
		ok := sent >= q.From && (q.To == 0 || sent <= q.To)
		if len(q.Topics) > 0 {
			ok = ok && (slices.Contains(q.Topics, e.env.Topic()) || (form == history.Paged || form == history.Bare) && filter.AdmitsTopic(e.env.Topic()))
		}
		if q.Bloom != nil {
			ok = ok && q.Bloom.AdmitsTopic(e.env.Topic())
		}
		if ok {
			list = append(list, e)
		}
	}
	return list
}

func (s *server) chance(p float64) bool { return s.rng.Float64() < p }

func (s *server) ask(form history.Form, q history.Question) {
	s.form, s.q, s.answer = form, q, nil
	s.credit = q.Credit
	s.next = time.Duration(s.rng.IntN(1000)) * time.Millisecond
	switch {
	case s.refuse != nil:
		s.answer = []history.Answer{history.Ended{Err: s.refuse}}
	case !slices.Contains(s.forms, form) && !s.lists(form) || s.chance(s.mute):
	case s.chance(s.busy):
		s.answer = []history.Answer{history.Ended{Err: fault.E("", fault.Busy, nil, "slow down"),
			RetryAfter: time.Duration(s.rng.IntN(3)) * time.Second}}
	case form == history.ByArrival:
		s.byArrival(q)
	case form == history.Listing:
		s.listing(q)
	case form == history.ByHash:
		s.byHash(q)
	default:
		s.bySent(form, q)
	}
}

// sameEpoch reports whether the archive is still the one that is asked about.
func (s *server) sameEpoch(q history.Question) bool {
	if s.chance(s.newEpoch) {
		s.epoch++
		for i := range s.list {
			s.list[i].arrival = uint64(i) + 1
		}
	}
	if q.Epoch != [8]byte{s.epoch} {
		s.answer = []history.Answer{history.Ended{Err: fault.E("", fault.NotFound, nil, "this archive began anew"), Epoch: [8]byte{s.epoch}}}
		return false
	}
	return true
}

func (s *server) byArrival(q history.Question) {
	if !s.sameEpoch(q) {
		return
	}
	through, size := q.After, int64(0)
	var packet []*envelope.Envelope
	flush := func() {
		s.answer = append(s.answer, s.spoil(history.Got{Envelopes: packet, Through: through})...)
		packet = nil
	}
	more := false
	for _, e := range s.matching(q, s.form) {
		if e.arrival <= q.After || q.Until > 0 && e.arrival > q.Until {
			continue
		}
		if size += int64(len(e.env.Raw())); size > q.Budget && len(packet) > 0 || size > 6<<20 {
			more = true
			break
		}
		packet, through = append(packet, e.env), e.arrival
		if len(packet) == s.perPacket {
			flush()
		}
	}
	if !more {
		for _, e := range s.list {
			through = max(through, e.arrival)
		}
	}
	flush()
	s.answer = append(s.answer, history.Ended{More: more, Through: through, Epoch: q.Epoch})
}

func cursorOf(e *envelope.Envelope) []byte {
	h := e.Hash()
	return append(binary.BigEndian.AppendUint32(nil, e.Sent()), h[:]...)
}

func (s *server) bySent(form history.Form, q history.Question) {
	list := s.matching(q, form)
	slices.SortFunc(list, func(a, b stored) int {
		c := bytes.Compare(cursorOf(a.env), cursorOf(b.env))
		if s.newestFirst {
			return -c
		}
		return c
	})
	var end history.Ended
	if form == history.Paged {
		if q.Cursor != nil {
			list = slices.DeleteFunc(list, func(e stored) bool {
				c := bytes.Compare(cursorOf(e.env), q.Cursor)
				return c == 0 || (c < 0) != s.newestFirst
			})
		}
		if len(list) >= q.Limit {
			list = list[:q.Limit]
			end.Cursor = cursorOf(list[q.Limit-1].env)
		}
		if len(list) > 0 {
			end.Last = list[len(list)-1].env.Hash()
		}
	}
	for chunk := range slices.Chunk(list, s.perPacket) {
		var got history.Got
		for _, e := range chunk {
			got.Envelopes = append(got.Envelopes, e.env)
		}
		s.answer = append(s.answer, s.spoil(got)...)
	}
	s.lie(&end)
	if form == history.Paged {
		if len(list) > 0 && s.chance(s.dropLast) {
			s.answer = s.answer[:len(s.answer)-1]
		}
		s.answer = append(s.answer, end)
	}
}

func (s *server) lie(end *history.Ended) {
	s.pages++
	switch {
	case s.barren:
		end.Cursor = binary.BigEndian.AppendUint64(nil, uint64(s.pages))
		s.answer, end.Last = nil, envelope.Hash{}
	case s.circle > 0:
		end.Cursor = []byte{byte(s.pages % s.circle)}
		for range 3 {
			s.answer = append(s.answer, history.Got{Envelopes: []*envelope.Envelope{s.make(50)}})
		}
	}
}

// spoil adds to a packet what is not asked for.
func (s *server) spoil(g history.Got) []history.Answer {
	if s.chance(s.repeat) && len(g.Envelopes) > 0 {
		g.Envelopes = append(g.Envelopes, g.Envelopes[s.rng.IntN(len(g.Envelopes))])
		i, j := s.rng.IntN(len(g.Envelopes)), len(g.Envelopes)-1
		if j != i { // the last one stays last
			g.Envelopes[i], g.Envelopes[j-1] = g.Envelopes[j-1], g.Envelopes[i]
		}
	}
	list := []history.Answer{g}
	if s.chance(s.junk) {
		bad := []*envelope.Envelope{
			envelope.New(rangeStart+60, 50, envelope.Topic{0xff, byte(s.made)}, []byte("not asked"), 1),
			envelope.New(10, 5, topics[0], []byte("long ago"), 1),
		}
		list = append([]history.Answer{history.Got{Envelopes: bad, Through: 0}}, list...)
	}
	return list
}

// pull gives the next answer, if there is one that may be sent now.
func (s *server) pull() (history.Answer, bool) {
	if s.dead {
		return nil, false
	}
	if s.form == history.Listing && (s.forged || s.known > 0) {
		return s.endlessList()
	}
	if s.endless || s.onlyBad {
		env := envelope.New(10, 5, envelope.Topic{9}, binary.BigEndian.AppendUint64(nil, s.made), 1)
		if s.made++; s.endless {
			for env = s.make(4000); env.Sent() < rangeStart || env.Sent() > rangeEnd || env.Topic() != topics[0]; env = s.make(4000) {
			}
		}
		if s.form == history.ByArrival && s.credit <= 0 {
			return nil, false
		}
		s.next = time.Millisecond
		s.credit -= int64(len(env.Raw()))
		return history.Got{Envelopes: []*envelope.Envelope{env}, Bytes: int64(len(env.Raw())), Through: s.made}, true
	}
	if len(s.answer) == 0 {
		return nil, false
	}
	ans := s.answer[0]
	got, ok := ans.(history.Got)
	named, list := ans.(history.Named)
	if !ok && !list {
		s.answer = nil
		return ans, true
	}
	if s.form != history.Paged && s.form != history.Bare && s.credit <= 0 && !s.overrun {
		return nil, false
	}
	switch s.answer = s.answer[1:]; {
	case s.chance(s.cut):
		s.dead = true
		return history.Lost{Err: fault.E("", fault.Closed, nil, "the peer left")}, true
	case s.chance(s.silent):
		s.answer = nil
	case s.chance(s.ingest):
		s.make(300)
	}
	s.next = time.Duration(s.rng.IntN(200)) * time.Millisecond
	if list {
		named.Bytes = int64(len(named.List))*44 + 9
		s.credit -= named.Bytes
		return named, true
	}
	for _, env := range got.Envelopes {
		got.Bytes += int64(len(env.Raw()))
	}
	s.credit -= got.Bytes
	if s.back {
		got.Through = uint64(s.rng.IntN(50))
	}
	return got, true
}

// byHash orders envelopes for comparison.
func byHash(a, b *envelope.Envelope) int {
	x, y := a.Hash(), b.Hash()
	return cmp.Compare(string(x[:]), string(y[:]))
}
