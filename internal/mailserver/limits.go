package mailserver

import (
	"time"

	"github.com/restante-im/restante/internal/archive"
)

// Bounds of answering. A request beyond a bound on requests is refused at once with a Busy fault.
const (
	MaxRunning  = 4       // requests of a connection in progress
	MaxWaiting  = 16      // further requests of a connection
	MaxSource   = 64      // open requests of a source
	MaxOpen     = 2048    // open requests in all
	MaxWalks    = 512     // answers in progress, not counting those that wait for a slow reader
	sourceWalks = 16      // of MaxWalks, for one source
	MaxCount    = 1000    // records of a packet
	MaxPacket   = 1 << 20 // bytes that a request may set as its packet size

	PacketBytes = 64 << 10        // usual size of a packet; a larger record comes alone
	WindowBytes = 4 * PacketBytes // of one answer under way
	BareSize    = 48              // bytes that a record of a Bare request counts

	// TotalWindow bounds the bytes under way of all answers: beyond, an answer has no more than one packet under way.
	TotalWindow = 64 << 20
)

// Times of answering.
const (
	StallTimeout = 30 * time.Second // a reader that takes nothing for so long is given up
	QueueTimeout = 30 * time.Second // a request that could not begin within is refused
	parkAfter    = 2 * time.Second  // a walk is not kept open for a reader that is slower
)

// Limits are what the operator grants. The zero Limits grant everything within the bounds of this package.
type Limits struct {
	Conn   Allowance // to each connection
	Source Allowance // to each source: all connections of one address prefix
	Total  Allowance // to all together, trusted ones included

	// BytesPerDay bounds what is sent in a UTC day, to all together; 0 for no bound. What remains to be sent then ends
	// with a Limit fault. The count starts anew with the Server.
	BytesPerDay int64
}

// Allowance is granted each minute, evenly; what was not used is saved up to one minute's worth. 0 is no limit. A request
// beyond Requests is refused with a Limit fault; Bytes and Work slow answers down.
type Allowance struct {
	Requests int
	Bytes    int64         // of Raw sent
	Work     time.Duration // spent on turns: reading the archive and preparing requests
}

// DefaultLimits are generous to people and stop floods: 240 requests a minute and connection, 1,200 a minute and source.
func DefaultLimits() Limits {
	return Limits{Conn: Allowance{Requests: 240}, Source: Allowance{Requests: 1200}}
}

// bound brings a request within the package's bounds.
func (r *Request) bound() {
	if r.Packet.Count <= 0 || r.Packet.Count > MaxCount {
		r.Packet.Count = MaxCount
	}
	if r.Packet.Bytes <= 0 {
		r.Packet.Bytes = PacketBytes
	}
	r.Packet.Bytes = min(r.Packet.Bytes, MaxPacket)
}

// byHash reports whether a request asks for single envelopes; one to look that names none never means all.
func (r *Request) byHash() bool { return r.Hashes != nil || r.Kind == Look }

// size is what a record counts towards budgets and limits.
func (r *Request) size(rec *archive.Record) int {
	if r.Bare {
		return BareSize
	}
	return len(rec.Raw)
}
