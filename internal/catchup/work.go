package catchup

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// place is where a server was left for a topic.
type place struct {
	topic   envelope.Topic
	known   bool
	arrival uint64 // everything up to it was considered, and kept
	base    uint64 // and this much of it is in the book
	since   uint32 // of what was sent since then
	from    uint32 // the want's start
	until   uint32 // when the server was last asked to the end; 0 for never
}

// openFetch is a job to go on with.
type openFetch struct {
	OpenFetch
	at history.Position
}

// putOpen takes over a job to go on with. What cannot be read is begun anew.
func (m *Machine) putOpen(o OpenFetch) {
	at, err := history.ParsePosition(o.Position)
	if err != nil || at.IsZero() {
		return
	}
	m.closeOpen(o.ID)
	m.open = append(m.open, openFetch{o, at})
	slices.SortFunc(m.open, func(a, b openFetch) int { return cmp.Compare(a.ID, b.ID) })
	if len(m.open) > maxOpen {
		m.open = slices.Delete(m.open, 0, 1)
	}
}

func (m *Machine) closeOpen(id uint64) {
	m.open = slices.DeleteFunc(m.open, func(o openFetch) bool { return o.ID == id })
}

// places finds out where a server was left, by arrival: by the book, or further on in a job that did not end.
func (m *Machine) places(s *server, topics []envelope.Topic) []place {
	list := make([]place, len(topics))
	index := make(map[envelope.Topic]*place, len(topics))
	for i, t := range topics {
		p := place{topic: t, from: m.want[t].Since}
		p.since = p.from
		if at, ok := m.book.Position(t, s.id, s.caps.Epoch); ok {
			if at.Since <= p.from { // otherwise the position says nothing of what is wanted now
				p.known, p.arrival, p.base, p.since, p.until = true, at.Arrival, at.Arrival, at.Since, at.Until
			}
		}
		list[i] = p
		index[t] = &list[i]
	}
	for _, o := range m.open {
		if o.Server != s.id || o.at.Form != history.ByArrival || o.at.Epoch != s.caps.Epoch {
			continue
		}
		for _, t := range o.Topics {
			if p := index[t]; p != nil && o.From <= p.from && o.After <= p.base && o.at.Arrival > p.arrival {
				p.known, p.arrival, p.since = true, o.at.Arrival, max(p.since, o.From)
			}
		}
	}
	return list
}

// byArrival finds the next question to a server that answers by arrival. Topics without a position come first. Of the
// others, those that lag behind are asked up to where the rest is; then all are one question, and so they are the next time.
func (m *Machine) byArrival(l *lane, topics []envelope.Topic) (*job, error) {
	if len(topics) > maxTopics(l.server) {
		return m.byParts(l, topics)
	}
	if !slices.ContainsFunc(topics, func(t envelope.Topic) bool { return !l.did[t] }) {
		return nil, nil
	}
	list := slices.DeleteFunc(m.places(l.server, topics), func(p place) bool { return l.did[p.topic] })
	if fresh := slices.DeleteFunc(slices.Clone(list), func(p place) bool { return p.known }); len(fresh) > 0 {
		return m.arrivalJob(l, lowest(fresh, func(p place) uint64 { return uint64(p.from) }), 0)
	}
	arrival := func(p place) uint64 { return p.arrival }
	head := arrival(slices.MaxFunc(list, func(a, b place) int { return cmp.Compare(a.arrival, b.arrival) }))
	if behind := lowest(list, arrival); behind[0].arrival < head {
		return m.arrivalJob(l, behind, head)
	}
	return m.arrivalJob(l, list, 0)
}

// byParts asks for the topics in parts that the server takes at a time.
func (m *Machine) byParts(l *lane, topics []envelope.Topic) (*job, error) {
	for part := range slices.Chunk(topics, maxTopics(l.server)) {
		if j, err := m.byArrival(l, part); j != nil || err != nil {
			return j, err
		}
	}
	return nil, nil
}

func maxTopics(s *server) int {
	if s.caps.MaxTopics > 0 {
		return min(s.caps.MaxTopics, cellSize)
	}
	return cellSize
}

// lowest returns the places that come first by a measure.
func lowest(list []place, by func(place) uint64) []place {
	least := by(slices.MinFunc(list, func(a, b place) int { return cmp.Compare(by(a), by(b)) }))
	return slices.DeleteFunc(slices.Clone(list), func(p place) bool { return by(p) != least })
}

// arrivalJob asks one question; until is 0 for everything.
func (m *Machine) arrivalJob(l *lane, list []place, until uint64) (*job, error) {
	s := l.server
	j := &job{lane: l, places: list, until: until, topics: make([]envelope.Topic, len(list)), from: list[0].from}
	for i, p := range list {
		j.topics[i] = p.topic
		j.from = min(j.from, p.from)
		l.see(p)
	}
	if until == 0 {
		j.finishes = j.topics
	}
	plan := m.planFor(l, j.topics, j.from, 0)
	plan.Until = until
	if list[0].known {
		plan.After = history.Position{Form: history.ByArrival, Epoch: s.caps.Epoch, Arrival: list[0].arrival}
	}
	caps := s.caps
	caps.Forms = []history.Form{history.ByArrival}
	var err error
	if j.check = s.lists() && (!m.fetches(l) || m.mostlyHere(l, list)); j.check {
		j.machine, err = history.NewCheck(plan, caps)
	} else {
		j.machine, err = history.New(plan, caps)
	}
	if err != nil {
		return nil, err
	}
	return m.startJob(j), nil
}

// fetches reports whether a server is asked for bodies in the first place.
func (m *Machine) fetches(l *lane) bool { return l == m.round.bringer || l == m.round.rival }

// mostlyHere reports whether most of what a server would send is probably had: from others, or because it came live.
func (m *Machine) mostlyHere(l *lane, list []place) bool {
	for _, o := range m.round.lanes {
		if o != l && o.brought[l.cell] {
			return true
		}
	}
	now := int64(m.second())
	for _, p := range list {
		left := int64(max(p.until, p.from))
		if p.arrival > p.base {
			left = max(left, int64(m.openSince(l.server.id, p.topic)))
		}
		here := int64(m.book.AnsweredUntil(p.topic)) - left
		if !m.online.IsZero() {
			here = max(here, now-max(left, m.liveSince(p.topic)))
		}
		if here > 0 && here*4 > now-left {
			return true
		}
	}
	return false
}

// openSince is when a job that did not end was begun for a topic.
func (m *Machine) openSince(id nodeaddr.ID, t envelope.Topic) (at uint32) {
	for _, o := range m.open {
		if o.Server == id && slices.Contains(o.Topics, t) {
			at = max(at, second(o.Began))
		}
	}
	return at
}

// liveSince is since when a topic's mail has been coming by itself.
func (m *Machine) liveSince(t envelope.Topic) int64 {
	return max(m.online.Unix(), int64(m.wantedAt[t]))
}

func (m *Machine) planFor(l *lane, topics []envelope.Topic, from, to uint32) history.Plan {
	return history.Plan{Topics: topics, From: from, To: to, MinPoW: m.config.MinPoW, MaxSize: m.config.MaxSize, Budget: m.round.left()}
}

// bySent finds the next question to a server that answers by sent time only.
func (m *Machine) bySent(l *lane, topics []envelope.Topic) (*job, error) {
	for _, o := range m.open {
		if o.Server != l.server.id || o.at.Form == history.ByArrival || !slices.Contains(l.server.caps.Forms, o.at.Form) {
			continue
		}
		mine := m.stillWanted(o.Topics)
		if slices.ContainsFunc(mine, func(t envelope.Topic) bool { return slices.Contains(topics, t) && !l.did[t] }) {
			return m.sentJob(l, &job{lane: l, topics: mine, open: o.OpenFetch, from: o.From, to: o.To, at: o.at})
		}
	}
	starts := map[envelope.Topic]uint32{}
	first := uint32(1<<32 - 1)
	for _, t := range topics {
		if !l.did[t] {
			starts[t] = m.startBySent(l.server, t)
			first = min(first, starts[t])
		}
	}
	if len(starts) == 0 {
		return nil, nil
	}
	j := &job{lane: l, from: first}
	for t, from := range starts {
		if from == first {
			j.topics = append(j.topics, t)
		}
	}
	slices.SortFunc(j.topics, func(a, b envelope.Topic) int { return bytes.Compare(a[:], b[:]) })
	j.finishes = j.topics
	return m.sentJob(l, j)
}

// coarse makes starts alike, so that topics are one question.
const coarse = 600

// doubted is for how long what a server was silent about is asked for again, if it has answered better before.
const doubted = 24 * 60 * 60

// startBySent is the sent time from which on a server is asked for a topic.
func (m *Machine) startBySent(s *server, t envelope.Topic) uint32 {
	since := m.want[t].Since
	until, ok := m.book.AnsweredFrom(t, s.id, since, false)
	if !ok {
		return since
	}
	if sure, ok := m.book.AnsweredFrom(t, s.id, since, true); ok {
		until = max(sure, until-min(until, doubted))
	}
	until -= min(until, uint32(m.config.Overlap.Seconds()))
	return max(since, until-until%coarse)
}

func (m *Machine) sentJob(l *lane, j *job) (*job, error) {
	plan := m.planFor(l, j.topics, j.from, j.to)
	plan.After = j.at
	var err error
	if j.machine, err = history.New(plan, l.server.caps); err != nil {
		return nil, err
	}
	return m.startJob(j), nil
}
