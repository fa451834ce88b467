package directory

import (
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// How long a server is left alone: the first time, doubled with each further failure in a row, up to a bound.
const (
	coolFirst   = 10 * time.Second
	coolStalled = 30 * time.Second
	coolRefused = 10 * time.Minute // it serves others, or gave all that it gives today
	coolMost    = time.Hour
	coolLiar    = 24 * time.Hour
	coolLast    = 10 * time.Minute // at most, of a liar when no other is left: what it sends is checked, and may be all there is
	coolOnly    = 30 * time.Second // at most, of the only server that may be asked

	maxTries = 20 // counted
)

// cause says what a cool-down is for, and so what ends it early.
type cause uint8

const (
	noCause     cause = iota
	unreachable       // ended by a connection
	failing           // ended by a good answer
	refused           // ended by joining
	lied              // by nothing
)

// passing reports whether our own network may have been at fault.
func (c cause) passing() bool { return c == unreachable || c == failing }

// cooling is a server's cool-down, and the failures in a row that make the next one longer.
type cooling struct {
	Until    time.Time `json:"until,omitzero"`
	Cause    cause     `json:"cause,omitempty"`
	Dials    int       `json:"dials,omitempty"`
	Failures int       `json:"failures,omitempty"`
}

// active reports whether the server is left alone now. A longer wait than any that we would set, after a jump of the
// clock, is none.
func (c *cooling) active(now time.Time) bool {
	return c.Until.After(now) && c.Until.Sub(now) <= coolLiar
}

// begin leaves the server alone for d, unless it already is for longer.
func (c *cooling) begin(now time.Time, d time.Duration, why cause) {
	if until := now.Add(d); !c.active(now) || until.After(c.Until) {
		c.Until, c.Cause = until, why
	}
}

// unreachable counts once in each cool-down: who keeps the connection may try more often.
func (c *cooling) unreachable(now time.Time) {
	if c.active(now) && c.Cause == unreachable {
		return
	}
	c.Dials = min(c.Dials+1, maxTries)
	c.begin(now, doubled(coolFirst, c.Dials), unreachable)
}

func (c *cooling) failed(now time.Time, kind fault.Kind) {
	c.Failures = min(c.Failures+1, maxTries)
	switch kind {
	case fault.Corrupt:
		c.begin(now, coolLiar, lied)
	case fault.Denied, fault.Limit:
		c.begin(now, doubled(coolRefused, c.Failures), refused)
	case fault.Timeout:
		c.begin(now, doubled(coolStalled, c.Failures), failing)
	default:
		c.begin(now, doubled(coolFirst, c.Failures), failing)
	}
}

func doubled(d time.Duration, times int) time.Duration {
	for ; times > 1 && d < coolMost; times-- {
		d *= 2
	}
	return min(d, coolMost)
}

// connected ends what was for want of a connection.
func (c *cooling) connected() {
	c.Dials = 0
	if c.Cause == unreachable {
		c.Until, c.Cause = time.Time{}, noCause
	}
}

// answered ends everything but the cool-down of a liar.
func (c *cooling) answered(now time.Time) {
	if c.Cause == lied && c.active(now) {
		return
	}
	*c = cooling{}
}
