package catchup

import (
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
)

// job is one fetch, check or recall at a server, and how it stands with it.
type job struct {
	lane     *lane
	machine  history.Job
	check    bool // a history.Check
	bodies   bool // bodies may be handed over
	topics   []envelope.Topic
	finishes []envelope.Topic        // those that are done with when the job ends well
	from, to uint32                  // of the question
	until    uint64                  // arrivals up to; 0 for no bound
	places   []place                 // by arrival
	givenUp  map[envelope.Topic]bool // topics that nobody waits for any more, or again
	recalls  []envelope.Hash         // what a recall is for
	at       history.Position        // by sent time: where to go on
	open     OpenFetch               // as it is stored with each page

	began time.Time

	outer uint64 // of the open Ask; 0 for none
	inner int
	found []envelope.Hash // no longer missing; to be committed

	report  history.Report
	ended   bool // the report is there
	over    bool // and what follows from it is committed
	demoted bool
	local   error // our own failure
}

func (m *Machine) startJob(j *job) *job {
	j.began = m.now
	if j.open.ID == 0 {
		j.open = OpenFetch{ID: m.openID(j), Server: j.lane.server.id, Topics: j.topics, From: j.from, To: j.to, Began: m.now}
		for _, p := range j.places {
			j.open.After = max(j.open.After, p.base)
		}
	}
	return j
}

// openID is that of the job which this one goes on with, or a new one.
func (m *Machine) openID(j *job) uint64 {
	for _, o := range m.open {
		if o.Server == j.lane.server.id && o.at.Form == history.ByArrival && slices.Equal(o.Topics, j.topics) {
			return o.ID
		}
	}
	m.opens++
	return m.opens
}

// step feeds a job and performs what it wants.
func (m *Machine) step(j *job, ev history.Event) {
	for events := []history.Event{ev}; len(events) > 0 && !j.ended; events = events[1:] {
		for _, action := range j.machine.Step(m.now, events[0]) {
			if follows := m.perform(j, action); follows != nil {
				events = append(events, follows)
			}
		}
	}
}

// perform does what a job wants. It returns the event that follows at once, if any.
func (m *Machine) perform(j *job, action history.Action) history.Event {
	id := j.lane.server.id
	switch a := action.(type) {
	case history.Ask:
		if !j.lane.server.up {
			return history.Answered{Ask: a.Ask, Answer: history.Lost{Err: fault.E(op, fault.Unavailable, nil, "the connection was lost")}}
		}
		m.asks++
		j.outer, j.inner = m.asks, a.Ask
		m.do(Ask{Server: id, Ask: m.asks, Form: a.Form, Question: a.Question})
	case history.Cancel:
		if j.outer != 0 {
			m.do(CancelAsk{Server: id, Ask: j.outer})
			j.outer = 0
		}
	case history.Grant:
		if j.outer != 0 {
			m.do(Grant{Server: id, Ask: j.outer, Bytes: a.Bytes})
		}
	case history.Lookup:
		m.lookup(j, a)
	case history.Deliver:
		return m.deliver(j, a.Page)
	case history.Finish:
		j.report, j.ended = a.Report, true
		m.conclude(j)
	}
	return nil
}

// giveUp ends a job; what is with the store is waited for.
func (m *Machine) giveUp(j *job, err error) { m.step(j, history.Stop{Err: err}) }

// lose tells a job that its connection is gone.
func (m *Machine) lose(j *job, err error) {
	if j.outer == 0 {
		return // it hears of it when it asks next
	}
	j.outer = 0
	m.step(j, history.Answered{Ask: j.inner, Answer: history.Lost{Err: err}})
}

// answered passes an answer on to the job that asked.
func (m *Machine) answered(ev Answered) {
	s := m.servers[ev.Server]
	if s == nil || m.round == nil {
		return
	}
	l := m.round.lane(s)
	if l == nil || l.job == nil || l.job.outer == 0 || l.job.outer != ev.Ask {
		return
	}
	j := l.job
	switch a := ev.Answer.(type) {
	case history.Got:
		size := int64(0)
		for _, env := range a.Envelopes {
			size += int64(len(env.Raw()))
		}
		l.report.Bytes += max(size, a.Bytes)
		l.heard = true
	case history.Named:
		l.report.Bytes += max(a.Bytes, 0)
		l.heard = l.heard || l == m.round.bringer
	case history.Ended:
		j.outer = 0
		l.heard = l.heard || l == m.round.bringer && a.Err == nil
	case history.Lost:
		j.outer = 0
	}
	m.step(j, history.Answered{Ask: j.inner, Answer: ev.Answer})
}

// tick gives every job its time.
func (m *Machine) tick() {
	if m.round == nil {
		return
	}
	for _, l := range m.round.lanes {
		if l.job == nil {
			continue
		}
		if at, ok := l.job.machine.Deadline(); ok && !m.now.Before(at) {
			m.step(l.job, history.Tick{})
		}
	}
}

// looking is a Lookup that is open.
type looking struct {
	job     *job
	inner   int
	entries []history.Entry
}

func (m *Machine) lookup(j *job, a history.Lookup) {
	m.lookups++
	m.looking[m.lookups] = looking{j, a.Lookup, a.Entries}
	hashes := make([]envelope.Hash, len(a.Entries))
	for i, e := range a.Entries {
		hashes[i] = e.Hash
	}
	if j.recalls == nil {
		m.do(Seen{Server: j.lane.server.id, Hashes: hashes})
	}
	m.do(Lookup{Lookup: m.lookups, Hashes: hashes})
}

func (m *Machine) looked(ev Looked) {
	l, ok := m.looking[ev.Lookup]
	if !ok || len(ev.Have) != len(l.entries) {
		return
	}
	delete(m.looking, ev.Lookup)
	for i, e := range l.entries {
		if l.job.recalls == nil {
			l.job.lane.seen.add(e.Hash, e.Sent, ev.Have[i])
		}
		if _, missing := m.missing[e.Hash]; missing && ev.Have[i] {
			l.job.found = append(l.job.found, e.Hash)
		}
	}
	m.step(l.job, history.Looked{Lookup: l.inner, Have: ev.Have})
}

// deliver commits a page. One that only moves the position is not worth a transaction: conclude stores where it ended.
func (m *Machine) deliver(j *job, p history.Page) history.Event {
	missing, err := m.withheld(j, p.Withheld)
	if err != nil {
		return history.Delivered{Err: err} // the position must not pass what cannot be remembered
	}
	c := Commit{Server: j.lane.server.id, Envelopes: m.filter(j, p.Envelopes), Missing: missing}
	for _, env := range c.Envelopes {
		if _, ok := m.missing[env.Hash()]; ok {
			c.Found = append(c.Found, env.Hash())
		}
	}
	c.Found, j.found = append(c.Found, j.found...), nil
	if len(c.Envelopes)+len(c.Missing)+len(c.Found) == 0 {
		return history.Delivered{}
	}
	c.Open = j.stored(p.Resume)
	m.commit(&pending{job: j, page: true, share: p.Progress.Share}, c)
	return nil
}

// stored is what to store of a job that has come to a position.
func (j *job) stored(at history.Position) []OpenFetch {
	o := j.open
	o.Topics = slices.DeleteFunc(slices.Clone(j.topics), func(t envelope.Topic) bool { return j.givenUp[t] })
	o.Position = at.String()
	if at.IsZero() || j.recalls != nil || len(o.Topics) == 0 || o.Position == j.open.Position {
		return nil
	}
	if at.Form != history.ByArrival {
		o.To = at.To
	}
	j.open = o
	return []OpenFetch{o}
}

// filter leaves out what nobody waits for (any more), and tells who has the rest.
func (m *Machine) filter(j *job, list []*envelope.Envelope) []*envelope.Envelope {
	kept := slices.DeleteFunc(slices.Clone(list), func(env *envelope.Envelope) bool {
		_, ok := m.want[env.Topic()]
		return !ok || j.givenUp[env.Topic()]
	})
	if len(kept) == 0 {
		return nil
	}
	hashes := make([]envelope.Hash, len(kept))
	for i, env := range kept {
		hashes[i] = env.Hash()
		j.lane.seen.add(env.Hash(), env.Sent(), true)
	}
	m.do(Seen{Server: j.lane.server.id, Hashes: hashes})
	return kept
}

// unheard reports whether a server had nothing to say to where a job was to go on: some say nothing when they have
// nothing, others do not understand. Then it begins anew.
func (j *job) unheard() bool {
	return !j.at.IsZero() && !j.report.Answered && fault.KindOf(j.report.Err) == fault.Timeout
}

// conclude commits what follows from a job's end.
func (m *Machine) conclude(j *job) {
	var c Commit
	rep := &j.report
	if s := j.lane.server; rep.Epoch != [8]byte{} && rep.Epoch != s.caps.Epoch {
		s.caps.Epoch, s.caps.Oldest = rep.Epoch, time.Time{}
		m.seeEpoch(s)
	}
	switch {
	case j.recalls != nil:
	case rep.End == history.EndComplete || rep.End == history.EndAssumed:
		claims := m.claims(j)
		c.Claims = m.book.With(claims)
		c.Closed = m.closes(j, claims)
	case j.unheard():
		c.Closed = []uint64{j.open.ID}
	case j.local == nil:
		c.Open = j.stored(rep.Resume)
	}
	c.Found, j.found = j.found, nil
	if len(c.Claims)+len(c.Found)+len(c.Closed)+len(c.Open) == 0 {
		j.over = true
		return
	}
	c.Server = j.lane.server.id
	m.commit(&pending{job: j}, c)
}

// pending is a Commit that is not answered yet.
type pending struct {
	Commit
	job   *job // nil for none
	page  bool
	share float64
}

func (m *Machine) commit(p *pending, c Commit) {
	if p == nil {
		p = &pending{}
	}
	m.commits++
	c.Commit = m.commits
	p.Commit = c
	m.pending[m.commits] = p
	m.do(c)
}

// kept takes over what is durable now.
func (m *Machine) kept(ev Kept) {
	p := m.pending[ev.Commit]
	if p == nil {
		return
	}
	delete(m.pending, ev.Commit)
	j := p.job
	if ev.Err != nil {
		if j == nil {
			return
		}
		j.local = ev.Err
	} else {
		m.apply(p)
	}
	if j == nil {
		return
	}
	if ev.Err == nil {
		m.count(p, ev)
	}
	if p.page {
		m.step(j, history.Delivered{Err: ev.Err})
	} else {
		j.over = true
	}
}

func (m *Machine) apply(p *pending) {
	m.book.Put(p.Claims)
	for _, x := range p.Missing {
		m.missing[x.Hash] = x
	}
	for _, h := range p.Found {
		delete(m.missing, h)
	}
	for _, o := range p.Open {
		m.putOpen(o)
	}
	for _, id := range p.Closed {
		m.closeOpen(id)
	}
}

// count adds what is kept to the round's figures.
func (m *Machine) count(p *pending, ev Kept) {
	r, l := m.round, p.job.lane
	if r == nil || len(p.Envelopes) == 0 {
		return
	}
	l.report.Envelopes += len(p.Envelopes)
	l.brought[l.cell] = true
	l.report.New += ev.New
	r.new += ev.New
	r.newBytes += ev.NewBytes
	if r.first == 0 {
		r.first = max(m.now.Sub(r.began), 1)
	}
	for _, id := range r.ids {
		m.do(Progress{ID: id, New: r.new, Bytes: r.bytes(), Share: p.share, Server: l.server.id})
	}
}
