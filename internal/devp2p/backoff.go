package devp2p

import (
	"errors"
	"syscall"
	"time"
)

const (
	firstRetry  = 200 * time.Millisecond
	quickMax    = 500 * time.Millisecond // between attempts that cost next to nothing
	quickFor    = time.Minute            // in which an attempt that nobody answers counts as such
	backoffMax  = 60 * time.Second
	stableAfter = 30 * time.Second // a connection that lived longer starts the back-off afresh
)

// trouble is how far an attempt got.
type trouble uint8

const (
	noNetwork trouble = iota // nothing left this machine
	noAnswer                 // nobody answered, or the peer takes us for connected still
	unkept                   // the peer answered, and did not keep the connection
)

// troubleOf tells what kept a connection from being opened.
func troubleOf(err error) trouble {
	if errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ENETDOWN) {
		return noNetwork
	}
	return noAnswer
}

// backoff counts failed attempts to reach one peer.
type backoff struct {
	attempts int
	since    time.Time // of the first of them
	step     int       // how often the wait has doubled
}

// next counts a failure and returns how long to wait: firstRetry doubled per failure up to backoffMax, but up to quickMax
// only as long as an interruption may be short or trying costs nothing; shortened by up to half. random is in [0,1).
func (b *backoff) next(now time.Time, why trouble, random float64) time.Duration {
	if b.attempts == 0 {
		b.since = now
	}
	b.attempts++
	most := backoffMax
	if why == noNetwork || why == noAnswer && now.Sub(b.since) < quickFor {
		most = quickMax
	}
	d := firstRetry << b.step
	if d < most {
		b.step++
	}
	d = min(d, most)
	return d - time.Duration(random*float64(d)/2)
}

// lived takes note of how long a connection lasted.
func (b *backoff) lived(d time.Duration) {
	if d > stableAfter {
		*b = backoff{}
	}
}
