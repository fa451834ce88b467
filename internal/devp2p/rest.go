package devp2p

import "time"

// A connection on which packets come thick and fast is read every few milliseconds instead of at every packet: waking a
// process costs more than reading a packet does. A lone packet is read at once, and so are large amounts, and everything from
// a peer whose answers somebody waits for.
const (
	restTime  = 4 * time.Millisecond // between reads of a busy connection
	restAfter = 4                    // reads in a row that make it busy
)

// rest decides when to read. It belongs to the one goroutine that reads.
type rest struct {
	last    time.Time // when the last read returned
	row     int       // reads in a row, none of them long after the one before
	drained bool      // the last one took all there was
}

// wait returns how long to wait before the next read.
func (r *rest) wait(now time.Time) time.Duration {
	if r.row < restAfter || !r.drained {
		return 0
	}
	return restTime - now.Sub(r.last)
}

// read takes note of a read that returned now; drained says that it had room for more than there was.
func (r *rest) read(now time.Time, drained bool) {
	if now.Sub(r.last) < 2*restTime {
		r.row = min(r.row+1, restAfter)
	} else {
		r.row = 0
	}
	r.last, r.drained = now, drained
}
