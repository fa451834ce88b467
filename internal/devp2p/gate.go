package devp2p

import "time"

// maxSources bounds the prefixes that the gate remembers.
const maxSources = 4096

// gate decides which inbound connections may begin a handshake: a rate and a number of open handshakes per prefix, and a
// number in all. It knows no clock and no lock. The prefix "" is exempt from what is counted by prefix.
type gate struct {
	rate         float64 // visits a second; negative: no limit
	burst        float64
	maxPending   int // negative: no limit
	maxPerPrefix int

	pending int
	sources map[string]*source
}

type source struct {
	tokens  float64
	last    time.Time
	pending int
}

// verdict is the gate's answer.
type verdict uint8

const (
	welcome verdict = iota
	tooFast         // the prefix comes too often
	crowded         // the prefix has too many handshakes open
	full            // too many handshakes are open in all
)

// enter asks for admission and, when welcome, counts an open handshake that leave must give back.
func (g *gate) enter(now time.Time, prefix string) verdict {
	if g.maxPending >= 0 && g.pending >= g.maxPending {
		return full
	}
	if prefix != "" {
		s := g.source(now, prefix)
		if g.maxPerPrefix >= 0 && s.pending >= g.maxPerPrefix {
			return crowded
		}
		if g.rate >= 0 {
			if s.tokens < 1 {
				return tooFast
			}
			s.tokens--
		}
		s.pending++
	}
	g.pending++
	return welcome
}

// leave gives back what enter counted.
func (g *gate) leave(prefix string) {
	g.pending--
	if s := g.sources[prefix]; s != nil {
		s.pending--
	}
}

func (g *gate) source(now time.Time, prefix string) *source {
	s := g.sources[prefix]
	if s == nil {
		if len(g.sources) >= maxSources {
			g.forget(now)
		}
		s = &source{tokens: g.burst, last: now}
		g.sources[prefix] = s
	}
	if d := now.Sub(s.last).Seconds(); d > 0 {
		s.tokens = min(g.burst, s.tokens+d*g.rate)
	}
	s.last = now
	return s
}

// forget drops every source that has recovered and, where that is not enough, any without an open handshake, until a
// quarter of the room is free. So a flood from ever new prefixes costs little per visit.
func (g *gate) forget(now time.Time) {
	for prefix, s := range g.sources {
		if s.pending == 0 && s.tokens+now.Sub(s.last).Seconds()*g.rate >= g.burst {
			delete(g.sources, prefix)
		}
	}
	for prefix, s := range g.sources {
		if len(g.sources) <= maxSources*3/4 {
			return
		}
		if s.pending == 0 {
			delete(g.sources, prefix)
		}
	}
}
