package directory

import (
	"cmp"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/nodeaddr"
)

// Bounds of Choice.HedgeAfter, and its value for a server that has not answered yet.
const (
	HedgeLeast   = 250 * time.Millisecond
	HedgeMost    = 5 * time.Second
	HedgeUnknown = 2 * time.Second
)

// Choice is a server to ask.
type Choice struct {
	Server     nodeaddr.ID
	HedgeAfter time.Duration // without a first answer by then, another one is asked too
}

// class orders servers before their scores do.
type class uint8

const (
	good    class = iota // it has answered, mostly well and completely
	unknown              // it has not been asked, or not compared, enough to tell
	poor                 // it fails, lacks or withholds, or serves members and we are none
)

const (
	leastAnswered = 0.5 // of questions, by a good server
	leastComplete = 0.9 // of envelopes
)

func (s *server) class() class {
	answered, of := s.answered()
	complete, _ := s.completeness()
	switch {
	case s.said.MembersOnly && !s.said.Member && s.Token == "":
		return poor
	case of > 0 && float64(answered) < leastAnswered*float64(of), complete >= 0 && complete < leastComplete:
		return poor
	case answered == 0:
		return unknown
	}
	return good
}

// score weighs what a server is worth within its class, 0 to 1: the share of questions that it answered well, times its
// completeness, which counts most, times how soon it was done, which counts for half at most.
func (s *server) score() float64 {
	answered, of := s.answered()
	score := float64(answered+1) / float64(of+2)
	if complete, _ := s.completeness(); complete >= 0 {
		for range 8 {
			score *= complete
		}
	}
	return score * (0.5 + 0.5/(1+quantile(s.last, 0.5).Seconds()/2))
}

// Choose returns the servers to ask now, best first: those that are preferred, then by what was verified of their
// answers. The second is on another network than the first where one that is not poor can be had. None are suggested, paused, closed or
// cooling down; where only one may be asked cool-downs are short, and where all fail nobody is left alone for that.
func (d *Directory) Choose(now time.Time) []Choice {
	list := d.usable(now)
	choices := make([]Choice, len(list))
	for i, s := range list {
		choices[i] = Choice{Server: s.ID(), HedgeAfter: s.hedgeAfter()}
	}
	return choices
}

func (s *server) hedgeAfter() time.Duration {
	if len(s.first) == 0 {
		return HedgeUnknown
	}
	return min(max(quantile(s.first, 0.95), HedgeLeast), HedgeMost)
}

func (d *Directory) usable(now time.Time) []*server {
	list, alone := d.sorted(), d.noneLeft(now)
	list = slices.DeleteFunc(list, func(s *server) bool { return !d.allowed(now, s) || !d.coolUntil(now, s, alone).IsZero() })
	slices.SortStableFunc(list, func(a, b *server) int {
		return cmp.Or(first(a.Preferred, b.Preferred), cmp.Compare(a.class(), b.class()), cmp.Compare(b.score(), a.score()))
	})
	spread(list)
	return list
}

func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// spread moves a server of another network to the second place, unless the user or its quality speaks against it.
func spread(list []*server) {
	if len(list) < 3 || list[1].Preferred || !neighbours(list[0], list[1]) {
		return
	}
	for i := 2; i < len(list); i++ {
		if s := list[i]; s.class() <= max(list[1].class(), unknown) && !neighbours(list[0], s) {
			copy(list[2:i+1], list[1:i])
			list[1] = s
			return
		}
	}
}

// neighbours reports whether two servers are likely to fail together.
func neighbours(a, b *server) bool {
	x, y := a.Node.Address(), b.Node.Address()
	ipX, okX := x.IP()
	ipY, okY := y.IP()
	if okX && okY {
		p := nodeaddr.Prefix(ipX)
		return p != "" && p == nodeaddr.Prefix(ipY)
	}
	return x.Host == y.Host
}

// allowed reports whether the user lets a server be asked and it is still there.
func (d *Directory) allowed(now time.Time, s *server) bool {
	if s.Suggested || s.Paused {
		return false
	}
	if d.only != (nodeaddr.ID{}) {
		return s.ID() == d.only
	}
	return !s.closed(now)
}

func (s *server) closed(now time.Time) bool {
	return !s.said.Closing.IsZero() && !now.Before(s.said.Closing)
}

// noneLeft reports whether all servers that may be asked are cooling down. Then it is as likely that our own network is
// away, and nobody is served by long waits.
func (d *Directory) noneLeft(now time.Time) bool {
	for _, s := range d.servers {
		if d.allowed(now, s) && !s.cool.active(now) {
			return false
		}
	}
	return true
}

// coolUntil returns until when a server is left alone; zero when it is not. The only one is left alone briefly, whatever
// it did, and when none is left those that only failed not at all and liars for some minutes.
func (d *Directory) coolUntil(now time.Time, s *server, noneLeft bool) time.Time {
	if !s.cool.active(now) {
		return time.Time{}
	}
	if noneLeft && s.cool.Cause.passing() {
		return time.Time{} // trying goes on: who connects and who asks have waits of their own
	}
	until := s.cool.Until
	most := time.Duration(0)
	switch {
	case s.ID() == d.only:
		most = coolOnly
	case noneLeft && s.cool.Cause == lied:
		most = coolLast
	}
	if most > 0 {
		if soon := s.lastFailure.Add(most); soon.Before(until) {
			until = soon
		}
		if !until.After(now) {
			return time.Time{}
		}
	}
	return until
}

// NextChange returns when Choose will answer differently without anything having been noted; false for never.
func (d *Directory) NextChange(now time.Time) (time.Time, bool) {
	var next time.Time
	sooner := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	alone := d.noneLeft(now)
	for _, s := range d.servers {
		if !d.allowed(now, s) {
			continue
		}
		sooner(d.coolUntil(now, s, alone))
		if d.only == (nodeaddr.ID{}) {
			sooner(s.said.Closing)
		}
	}
	return next, !next.IsZero()
}

// Online says that our network is there again: who failed while it was away may be asked at once, except who refused or
// lied.
func (d *Directory) Online() {
	for _, s := range d.servers {
		if s.cool.Cause.passing() {
			s.cool = cooling{}
			d.touch(s.ID())
		}
	}
}
