package devp2p

import "time"

const (
	backoffMin  = 500 * time.Millisecond
	backoffMax  = 60 * time.Second
	stableAfter = 30 * time.Second // a connection that lived longer starts the back-off afresh
)

// backoff counts failed attempts to reach one peer.
type backoff struct{ attempts int }

// next counts a failure and returns how long to wait: backoffMin doubled per failure up to backoffMax, shortened by up to
// half. random is in [0,1).
func (b *backoff) next(random float64) time.Duration {
	d := backoffMin
	for range b.attempts {
		if d *= 2; d >= backoffMax {
			d = backoffMax
			break
		}
	}
	b.attempts++
	return d - time.Duration(random*float64(d)/2)
}

// lived takes note of how long a connection lasted.
func (b *backoff) lived(d time.Duration) {
	if d > stableAfter {
		b.attempts = 0
	}
}
