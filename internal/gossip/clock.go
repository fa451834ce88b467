package gossip

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// The network's time. An envelope says when it was sent, and nodes take it only around that time; so a node whose clock is
// wrong neither receives nor is heard. What peers relay shows what they take for the time: an honest peer has nothing
// that was sent more than envelope.FutureTolerance ahead of its clock, and nothing that has expired. Thus each peer's
// envelopes bound its clock, and no third party can move those bounds: floods of back-dated or future envelopes do not.
//
// Two conclusions are drawn, each by the median over peers of distinct sources:
//
//   - Where the bounds prove our clock wrong, validity goes by the peers' time (offset).
//   - Own envelopes are stamped by the best estimate (stamp), the median of the times of fresh envelopes within the bounds;
//     ahead of what is proven by at most maxStampAhead. (A higher quantile would make all nodes follow the fast clocks
//     among them, one after the other, until nobody's is right.)
const (
	samplesKept     = 64
	samplesNeeded   = 3
	sampleEvery     = time.Second      // a burst of late ones must not fill the ring
	boundsPeriod    = 30 * time.Second // bounds are kept by such periods,
	boundsPeriods   = 16               // so many
	dumpTime        = 10 * time.Second // after joining, in which peers send their pools: not fresh
	judgeEvery      = time.Second
	markEvery       = 2500 * time.Millisecond // between two envelopes whose death proves anything
	jumpNoticed     = 2 * time.Second
	settleTime      = 5 * time.Second // after a jump, in which what arrives was under way before
	maxSkew         = 24 * time.Hour
	maxStampAhead   = 5 * time.Second
	skewStep        = time.Second // smaller changes of the offset are not followed
	heldLife        = 10 * time.Minute
	latenessAllowed = 2                     // seconds that an envelope may take from pool to us
	quietBytes      = 16 << 10              // a packet no larger than this,
	quietGap        = 20 * time.Millisecond // which follows its forerunner no sooner, has not waited in a queue
)

// clock is what we know about our own.
type clock struct {
	offset time.Duration // added to our clock to judge envelopes
	stamp  time.Duration // added to our clock to stamp envelopes
	known  bool          // enough peers say so
	told   Skew

	fresh   bool // there are new samples
	judged  time.Duration
	jumped  time.Duration // until then samples do not count
	doubted time.Duration // when we started, or our clock was last set
	held    []heldEnvelope
	bytes   int
}

// heldEnvelope was refused for its time while our clock was in doubt.
type heldEnvelope struct {
	env  *envelope.Envelope
	conn *conn
	net  Network
	at   time.Duration
}

// observe takes the time of a Step.
func (m *Machine) observe(now time.Time) {
	if !m.started {
		m.started, m.last = true, now
		m.net = m.networkSecond()
		m.pool.swept = m.net
		return
	}
	passed := max(now.Sub(m.last), 0) // by the monotonic clock, if now has one
	wall := now.Round(0).Sub(m.last.Round(0))
	m.last = now
	m.mono += passed
	if jump := wall - passed; jump.Abs() >= jumpNoticed {
		m.clockJumped(jump)
	}
}

// clockJumped is called when our clock was set, or the machine has slept.
func (m *Machine) clockJumped(by time.Duration) {
	m.stats.ClockJumps++
	for _, l := range m.links {
		l.conn.view = view{source: l.conn.view.source}
	}
	c := &m.clock
	c.known, c.fresh = false, false
	c.jumped, c.doubted = m.mono+settleTime, m.mono
	if by > 0 == (c.offset > 0) && by.Abs() >= c.offset.Abs()/2 {
		c.offset, c.stamp = 0, 0 // somebody has put it right
	}
	m.tellSkew(Skew{Offset: c.stamp})
}

func (m *Machine) networkSecond() int64 { return m.last.Add(m.clock.offset).Unix() }

// NetworkTime returns the time by which own envelopes should be stamped: now, corrected by what the peers say.
func (m *Machine) NetworkTime(now time.Time) time.Time { return now.Add(m.clock.stamp) }

// view is what a peer's envelopes tell of its clock, in seconds relative to ours.
type view struct {
	source  string
	fresh   [samplesKept]int32 // sent times of live envelopes, a ring
	count   int
	last    time.Duration
	bounds  [boundsPeriods]bounds // the present period first
	started time.Duration         // when that began
	packet  time.Duration         // when the last packet came
}

// bounds of what a peer has relayed.
type bounds struct {
	any     bool
	newest  int64   // the latest sent time
	soonest [3]mark // the soonest expiries, of different times
	marks   int     // how many of them there are
}

// mark is the expiry of an envelope that was alive, to its sender, at a time.
type mark struct {
	expiry int64
	at     time.Duration
}

// died notes an expiry. Of what comes at about the same time only the soonest counts, so that one hold-up does not look
// like proof. It reports whether anything changed.
func (b *bounds) died(k mark) bool {
	marks := b.soonest[:b.marks]
	if i := slices.IndexFunc(marks, func(old mark) bool { return (k.at - old.at).Abs() < markEvery }); i >= 0 {
		if k.expiry >= marks[i].expiry {
			return false
		}
		marks[i].expiry = k.expiry
	} else if b.marks < len(b.soonest) {
		b.soonest[b.marks] = k
		b.marks++
	} else if k.expiry < marks[b.marks-1].expiry {
		marks[b.marks-1] = k
	} else {
		return false
	}
	slices.SortFunc(b.soonest[:b.marks], bySoonest)
	return true
}

// with adds the bounds of an earlier period.
func (b bounds) with(p bounds) bounds {
	if !b.any {
		return p
	}
	if p.any {
		b.newest = max(b.newest, p.newest)
		for _, k := range p.soonest[:p.marks] {
			b.died(k)
		}
	}
	return b
}

// limits are the least and the most that the peer's clock may be ahead of ours. They cross if its clock was changed
// meanwhile, or the line was held up.
func (b *bounds) limits() (least, most int64) {
	least, most = b.newest-envelope.FutureTolerance, math.MaxInt64
	if b.marks == len(b.soonest) {
		most = b.soonest[b.marks-1].expiry + latenessAllowed
	}
	return least, most
}

// turn begins new periods when it is time.
func (v *view) turn(now time.Duration) {
	for n := 0; now >= v.started+boundsPeriod; n++ {
		if n == boundsPeriods {
			v.started = now
			return
		}
		copy(v.bounds[1:], v.bounds[:])
		v.bounds[0] = bounds{}
		v.started += boundsPeriod
	}
}

// present joins the periods, back to where they contradict later ones: a peer that has corrected itself must not be
// judged by what it sent before.
func (v *view) present() bounds {
	var b bounds
	for _, p := range &v.bounds {
		joined := b.with(p)
		if least, most := joined.limits(); b.any && least > most {
			break
		}
		b = joined
	}
	return b
}

func bySoonest(x, y mark) int { return cmp.Compare(x.expiry, y.expiry) }

// sample takes the times of an envelope that a peer sent.
func (m *Machine) sample(in *arrival, env *envelope.Envelope) {
	if in.held {
		return
	}
	v, now := &in.conn.view, m.last.Unix()
	sent, expiry := int64(env.Sent())-now, int64(env.Expiry())-now
	if expiry < sent || math.Abs(float64(sent)) > maxSkew.Seconds() || m.mono < m.clock.jumped {
		return
	}
	v.turn(m.mono)
	b := &v.bounds[0]
	if !b.any {
		*b = bounds{any: true, newest: sent}
	}
	if sent > b.newest {
		b.newest = sent
		m.clock.fresh = true
	}
	if in.quiet && b.died(mark{expiry, m.mono}) {
		m.clock.fresh = true
	}
	if m.mono >= in.conn.joined+dumpTime && (m.mono >= v.last+sampleEvery || v.count < samplesNeeded) {
		v.fresh[v.count%samplesKept] = int32(sent)
		v.count++
		v.last = m.mono
		m.clock.fresh = true
	}
}

// estimate is how far a peer's clock is ahead of ours, by its envelopes.
type estimate struct {
	known  bool  // the peer has sent anything
	proven int64 // 0 if our clocks may agree
	sure   bool  // best is worth something
	best   int64
}

// estimate judges by what the peer sent. offset is what we go by so far: it stands unless the bounds
// speak against it, or allow our own clock, which is nearer to the peer's.
func (v *view) estimate(offset int64) estimate {
	b := v.present()
	if !b.any {
		return estimate{}
	}
	least, most := b.limits()
	most = max(most, least) // what was held up looks older than it is: the other bound is the safer one
	e := estimate{known: true, sure: v.count >= samplesNeeded}
	switch {
	case e.sure:
		e.best = v.typical()
	case least > 0:
		e.best = b.newest
	}
	e.best = min(max(e.best, least), most, max(b.newest, least))
	switch {
	case least > 0 || most < 0:
		e.proven, e.sure = e.best, true
	case least <= offset && offset <= most && !(e.sure && nearer(e.best, 0, offset)):
		e.proven = offset
	}
	return e
}

// nearer reports whether x is nearer to a than to b.
func nearer(x, a, b int64) bool { return max(x-a, a-x) < max(x-b, b-x) }

// typical is the median of the fresh envelopes' sent times.
func (v *view) typical() int64 {
	n := min(v.count, samplesKept)
	var sorted [samplesKept]int32
	s := append(sorted[:0], v.fresh[:n]...)
	slices.Sort(s)
	return int64(s[n/2])
}

func (c *clock) due(now time.Duration) bool { return c.fresh && now >= c.judged+judgeEvery }

func (c *clock) nextJudgement() time.Duration {
	if !c.fresh {
		return never
	}
	return c.judged + judgeEvery
}

// judgeClock compares our clock with the peers'.
func (m *Machine) judgeClock() {
	c := &m.clock
	c.fresh, c.judged = false, m.mono
	seen := make(map[string]bool)
	var best, proven []int64
	for _, l := range m.links {
		v := &l.conn.view
		if l != l.conn.links[0] || l.conn.closing || v.source != "" && seen[v.source] {
			continue
		}
		e := v.estimate(int64(c.offset / time.Second))
		if !e.known {
			continue
		}
		seen[v.source] = true
		// A peer of which little is known, but nothing against our clock, speaks for it.
		proven = append(proven, e.proven)
		if e.sure {
			best = append(best, e.best)
		}
	}
	if len(proven) < m.cfg.SkewSources || len(best) == 0 {
		return // what is believed stays so
	}
	c.known = true
	offset := seconds(median(proven))
	stamp := offset
	if len(best) >= m.cfg.SkewSources {
		stamp = seconds(median(best))
	}
	if offset == 0 {
		stamp = min(stamp, maxStampAhead)
	}
	threshold := m.cfg.SkewReport
	if c.stamp != 0 {
		threshold /= 2 // do not waver
	}
	if stamp.Abs() <= threshold && offset == 0 {
		stamp = 0
	}
	changed := (offset - c.offset).Abs() >= skewStep
	if changed {
		c.offset = offset
	}
	if (stamp-c.stamp).Abs() >= skewStep || changed {
		c.stamp = stamp
	}
	m.tellSkew(Skew{Offset: c.stamp, Known: true})
	if changed {
		m.net = m.networkSecond()
		m.releaseHeld()
	} else if !c.inDoubt(m.mono) {
		c.held, c.bytes = nil, 0
	}
}

// inDoubt reports whether an envelope that is refused for its time may be taken later.
func (c *clock) inDoubt(now time.Duration) bool {
	return !c.known || c.stamp != 0 || c.offset != 0 || now < c.doubted+doubtLife
}

func (m *Machine) tellSkew(s Skew) {
	if s != m.clock.told {
		m.clock.told = s
		m.do(s)
	}
}

func seconds(n int64) time.Duration {
	limit := int64(maxSkew / time.Second)
	return time.Duration(min(max(n, -limit), limit)) * time.Second
}

// median of an even number of values is that of the middle two which is nearer to 0.
func median(values []int64) int64 {
	slices.Sort(values)
	n := len(values)
	a, b := values[(n-1)/2], values[n/2]
	if max(a, -a) < max(b, -b) {
		return a
	}
	return b
}

// hold keeps an envelope that was refused for its time, while our clock may be to blame.
func (m *Machine) hold(in *arrival, env *envelope.Envelope) {
	c := &m.clock
	if size := len(env.Raw()); c.inDoubt(m.mono) && !in.held && size <= maxHeldBytes/16 && env.TTL() > 0 {
		if in.bytes > 2*size {
			env = env.Detach()
		}
		c.held = append(c.held, heldEnvelope{env, in.conn, in.link.net, m.mono})
		c.bytes += size
	}
	for len(c.held) > maxHeld || c.bytes > maxHeldBytes {
		c.bytes -= len(c.held[0].env.Raw())
		c.held[0] = heldEnvelope{}
		c.held = c.held[1:]
	}
}

// releaseHeld looks again at what was held, now that we go by another time.
func (m *Machine) releaseHeld() {
	held := m.clock.held
	m.clock.held, m.clock.bytes = nil, 0
	for _, h := range held {
		l := h.conn.link(h.net)
		if l == nil || h.conn.gone || m.mono-h.at > heldLife {
			continue
		}
		m.stats.Reconsidered++
		m.offer(&arrival{conn: h.conn, link: l, held: true}, h.env)
	}
}
