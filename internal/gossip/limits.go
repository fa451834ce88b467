package gossip

import "time"

// bucket is a budget of bytes that fills up with time.
type bucket struct {
	tokens float64
	at     time.Duration
}

// fill brings the bucket up to date.
func (b *bucket) fill(now time.Duration, rate, burst float64) {
	b.tokens = min(burst, b.tokens+rate*(now-b.at).Seconds())
	b.at = now
}

// take spends bytes and returns how long the spender has to wait, at most maxPause; what it owes beyond is forgiven.
func (b *bucket) take(now time.Duration, rate, burst, bytes float64) time.Duration {
	if rate <= 0 {
		return 0
	}
	b.fill(now, rate, burst)
	b.tokens = max(b.tokens-bytes, -rate*maxPause.Seconds())
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / rate * float64(time.Second))
}

// charge debits a packet to its connection and its source, and pauses the connection when either has spent too much.
// Nothing is dropped, and nobody is punished: honest relays pass on floods.
func (m *Machine) charge(c *conn, bytes int) {
	if c.source == nil || bytes <= 0 {
		return
	}
	wait := c.budget.take(m.mono, m.cfg.PeerRate, m.cfg.PeerBurst, float64(bytes))
	wait = max(wait, c.source.budget.take(m.mono, m.cfg.SourceRate, m.cfg.SourceBurst, float64(bytes)))
	if wait > 0 {
		m.stats.Pauses++
		m.do(Pause{Conn: c.id, For: wait})
	}
}

// penalize counts what no honest peer does. Points are forgiven with time; too many end the connection.
func (m *Machine) penalize(c *conn, points float64, what string) {
	if c.trusted {
		return
	}
	c.points = max(0, c.points-penaltyDecay*(m.mono-c.judged).Seconds()) + points
	c.judged = m.mono
	m.stats.Penalties++
	if c.points > penaltyLimit {
		m.disconnect(c, "peer "+what)
	}
}

// source is an address prefix with the budget that its connections share.
type source struct {
	name   string
	conns  int
	budget bucket
	listed bool // in sources.idle
}

// sources remembers each prefix until its budget is whole again, so that reconnecting does not renew it.
type sources struct {
	byName map[string]*source
	idle   []*source // in the order in which they were left; some may have come back
}

func newSources() *sources { return &sources{byName: make(map[string]*source)} }

func (s *sources) join(name string, now time.Duration, cfg *Config) *source {
	s.purge(now, cfg)
	src := s.byName[name]
	if src == nil {
		src = &source{name: name, budget: bucket{tokens: cfg.SourceBurst, at: now}}
		s.byName[name] = src
	}
	src.conns++
	return src
}

func (s *sources) leave(src *source) {
	src.conns--
	if src.conns == 0 && !src.listed {
		src.listed = true
		s.idle = append(s.idle, src)
	}
}

// purge forgets, oldest first, sources that nobody uses and that have their whole budget, or that are too many.
func (s *sources) purge(now time.Duration, cfg *Config) {
	n := 0
	for ; n < len(s.idle); n++ {
		src := s.idle[n]
		if src.conns > 0 {
			src.listed = false
			continue
		}
		b := src.budget
		b.fill(now, cfg.SourceRate, cfg.SourceBurst)
		if b.tokens < cfg.SourceBurst && cfg.SourceRate > 0 && len(s.idle)-n <= maxIdleSources {
			break
		}
		delete(s.byName, src.name)
	}
	s.idle = s.idle[n:]
}
