package mailsim

import (
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// source names claims of one server about one topic.
type source struct {
	topic  envelope.Topic
	server nodeaddr.ID
}

// store is what a client has on disk. It outlives its crashes.
type store struct {
	c       *client
	free    time.Duration // it writes one transaction at a time
	mail    map[envelope.Hash]*envelope.Envelope
	fresh   map[envelope.Hash]int // how often it was taken for new
	claims  map[source][]coverage.Claim
	missing map[envelope.Hash]coverage.Missing
	open    map[uint64]catchup.OpenFetch
	wants   []coverage.Want
	servers map[string][]byte // of the directory
	letters map[string][]byte
}

func newStore(c *client) *store {
	return &store{
		c: c, mail: make(map[envelope.Hash]*envelope.Envelope), fresh: make(map[envelope.Hash]int),
		claims: make(map[source][]coverage.Claim), missing: make(map[envelope.Hash]coverage.Missing),
		open: make(map[uint64]catchup.OpenFetch), servers: make(map[string][]byte), letters: make(map[string][]byte),
	}
}

// transaction lets a transaction happen after its turn. done learns what it did, unless the process has crashed by then; a
// crash in the middle leaves all of it or nothing.
func (s *store) transaction(apply func() (int, int64), done func(fresh int, bytes int64, err error)) {
	w, c, life := s.c.w, s.c, s.c.life
	s.free = max(s.free, w.now) + w.between(time.Millisecond, 20*time.Millisecond)
	w.at(s.free, func() {
		var fresh int
		var bytes int64
		var err error
		switch {
		case c.life != life && w.chance(0.5): // it was under way when the process died
			return
		case c.life == life && w.fault(c.diskFails):
			err = fault.E("store", fault.Unavailable, nil, "the disk fails")
		default:
			fresh, bytes = apply()
		}
		w.after(w.between(0, 3*time.Millisecond), func() {
			if c.life == life {
				done(fresh, bytes, err)
			}
		})
	})
}

// keep stores envelopes and tells how many were new.
func (s *store) keep(list []*envelope.Envelope) (fresh int, bytes int64) {
	for _, e := range list {
		h := e.Hash()
		if s.mail[h] != nil && !(s.c.w.plan.Break == NewAgain && s.c.w.chance(0.3)) {
			continue
		}
		s.mail[h] = e
		s.fresh[h]++
		fresh++
		bytes += int64(len(e.Raw()))
	}
	return fresh, bytes
}

// commit is one Commit of the machine.
func (s *store) commit(a catchup.Commit) (fresh int, bytes int64) {
	w := s.c.w
	switch {
	case w.plan.Break == LoseCommits && len(a.Envelopes) > 0 && w.chance(0.1):
		for _, e := range a.Envelopes {
			bytes += int64(len(e.Raw()))
		}
		fresh = len(a.Envelopes)
	default:
		fresh, bytes = s.keep(a.Envelopes)
	}
	s.note(a)
	return fresh, bytes
}

// note stores what a Commit says besides envelopes.
func (s *store) note(a catchup.Commit) {
	for _, r := range a.Claims {
		if len(r.Claims) == 0 {
			delete(s.claims, source{r.Topic, r.Server})
			continue
		}
		s.claims[source{r.Topic, r.Server}] = r.Claims
	}
	for _, m := range a.Missing {
		s.missing[m.Hash] = m
	}
	for _, h := range a.Found {
		delete(s.missing, h)
	}
	for _, o := range a.Open {
		s.open[o.ID] = o
	}
	for _, id := range a.Closed {
		delete(s.open, id)
	}
}
