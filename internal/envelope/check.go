package envelope

import "fmt"

// Seconds of disagreement between clocks that nodes forgive.
const (
	FutureTolerance = 10 // an envelope may have been sent this far ahead of our clock
	OldTolerance    = 20 // an envelope that died longer ago than this is an error, not bad luck
)

// Reason says why an envelope was refused.
type Reason uint8

// The reasons, in the order in which they are checked.
const (
	FromFuture Reason = iota + 1 // sent more than FutureTolerance ahead of now
	VeryOld                      // died more than OldTolerance ago
	Expired                      // died just now: dropped in silence, nobody's fault
	ZeroTTL                      // lives for no time, which would make its proof of work infinite
	TooLarge                     // above Rules.MaxSize
	LowPoW                       // below Rules.MinPoW
	NotWanted                    // outside the bloom filters
)

// String names the reason as a metric label.
func (r Reason) String() string {
	names := [...]string{"", "future", "very_old", "expired", "zero_ttl", "too_large", "low_pow", "not_wanted"}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}

// Refusal is the error of Check.
type Refusal struct {
	Reason Reason
	Hash   Hash
	text   string
}

// Error says what is wrong with which envelope.
func (r *Refusal) Error() string { return fmt.Sprintf("%s [%s]", r.text, r.Hash) }

// Silent reports whether nobody should be told: the envelope is merely late.
func (r *Refusal) Silent() bool { return r.Reason == Expired }

// Rules is what a node accepts.
type Rules struct {
	MinPoW   float64 // the least proof of work
	MaxSize  int     // the largest Size
	Bloom    *Bloom  // the topics wanted; nil for all
	OldBloom *Bloom  // topics wanted until a moment ago, accepted too; nil adds nothing
}

// Check decides whether a node whose clock says now (Unix seconds) takes the envelope. It returns the proof of work that
// counts, which for an envelope from the near future is lower than PoW, or a *Refusal.
func (e *Envelope) Check(now uint32, r *Rules) (float64, error) {
	sent, pow := uint64(e.Sent()), e.PoW()
	switch {
	case sent > uint64(now)+FutureTolerance:
		return 0, e.refuse(FromFuture, "envelope from future")
	case sent > uint64(now):
		pow = e.PoWFuture(uint32(sent) - now + 1)
	}
	if e.expiry < now {
		if uint64(e.expiry)+OldTolerance < uint64(now) {
			return 0, e.refuse(VeryOld, "very old envelope")
		}
		return 0, e.refuse(Expired, "envelope has expired")
	}
	if e.ttl == 0 {
		return 0, e.refuse(ZeroTTL, "envelope has a TTL of 0")
	}
	if e.Size() > r.MaxSize {
		return 0, e.refuse(TooLarge, fmt.Sprintf("envelope of %d bytes is larger than %d", e.Size(), r.MaxSize))
	}
	if pow < r.MinPoW {
		return 0, e.refuse(LowPoW, fmt.Sprintf("envelope with low PoW: %g is less than %g", pow, r.MinPoW))
	}
	if r.Bloom != nil && !r.Bloom.AdmitsTopic(e.topic) && (r.OldBloom == nil || !r.OldBloom.AdmitsTopic(e.topic)) {
		return 0, e.refuse(NotWanted, "envelope does not match the bloom filter")
	}
	return pow, nil
}

func (e *Envelope) refuse(reason Reason, text string) error {
	return &Refusal{Reason: reason, Hash: e.hash, text: text}
}
