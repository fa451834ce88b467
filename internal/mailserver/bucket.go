package mailserver

import "time"

// bucket holds what is left of an Allowance. It starts full. Requests are taken before, bytes and work after the fact, so
// that those may run into debt.
type bucket struct {
	at       time.Time // when it was last filled up
	requests float64
	bytes    float64
	work     float64 // nanoseconds
}

func newBucket(a Allowance, now time.Time) bucket {
	return bucket{now, float64(a.Requests), float64(a.Bytes), float64(a.Work)}
}

func (b *bucket) fill(a Allowance, now time.Time) {
	minutes := float64(now.Sub(b.at)) / float64(time.Minute)
	b.at = now
	fill := func(have *float64, most float64) { *have = min(most, *have+most*minutes) }
	fill(&b.requests, float64(a.Requests))
	fill(&b.bytes, float64(a.Bytes))
	fill(&b.work, float64(a.Work))
}

// untilRequest is how long it takes until a request is left; 0 when one is left now.
func (b *bucket) untilRequest(a Allowance, now time.Time) time.Duration {
	if a.Requests <= 0 {
		return 0
	}
	b.fill(a, now)
	return untilMore(b.requests-1, float64(a.Requests))
}

// untilTurn is how long it takes until bytes and work are left for another turn; 0 when they are.
func (b *bucket) untilTurn(a Allowance, now time.Time) time.Duration {
	if a.Bytes <= 0 && a.Work <= 0 {
		return 0
	}
	b.fill(a, now)
	return max(untilMore(b.bytes, float64(a.Bytes)), untilMore(b.work, float64(a.Work)))
}

func (b *bucket) spend(bytes int64, work time.Duration) {
	b.bytes -= float64(bytes)
	b.work -= float64(work)
}

// untilMore is how long it takes at perMinute until a debt is paid. It rounds up, so that waiting for it suffices.
func untilMore(have, perMinute float64) time.Duration {
	if have >= 0 || perMinute <= 0 {
		return 0
	}
	return time.Duration(-have/perMinute*float64(time.Minute)) + time.Microsecond
}
