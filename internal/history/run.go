package history

import (
	"context"
	"time"
)

// Run fetches what the plan says from one server. deliver is called with one page after the other and returns when the
// page is kept; its error ends the fetch. Run returns when nothing of it runs any more. The report is valid also with an
// error, which is then Report.Err: a fault, or ctx's error if that ended it. clock tells the time; nil means time.Now.
func Run(ctx context.Context, t Transport, p Plan, deliver func(context.Context, Page) error, clock func() time.Time) (Report, error) {
	return Report{}, nil
}
