package history

import (
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// Check compares what one mail server has with what we have, and fetches what we lack. Make it with NewCheck.
type Check struct{ talk }

// NewCheck makes the comparison of a plan with a server that Lists. Plan.After, if any, is a position ByArrival, which a Fetch
// of the same plan can go on from as well. The error is an Invalid, Unavailable or Limit fault about the plan. The check
// begins with the first Step.
func NewCheck(p Plan, c Caps) (*Check, error) {
	return nil, fault.E("history: check", fault.Unavailable, nil, "comparing is not there yet")
}

// Step implements Job.
func (c *Check) Step(now time.Time, ev Event) []Action { return nil }

// Deadline implements Job.
func (c *Check) Deadline() (time.Time, bool) { return time.Time{}, false }

type talk struct{}
