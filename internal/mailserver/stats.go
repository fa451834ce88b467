package mailserver

import "time"

// Stats count since the Server started, but for what is open now.
type Stats struct {
	Running, Waiting int   // requests open now
	UnderWay         int64 // bytes of answers under way now

	Requests uint64 // asked
	Answered uint64 // ended without an error
	Busy     uint64 // refused because too much was open
	Limited  uint64 // refused or ended by a limit or quota
	Denied   uint64 // refused by the gate
	Invalid  uint64 // ended because they were wrong
	Stalled  uint64 // ended because the reader took nothing
	Gone     uint64 // taken back, or the connection was lost
	Failed   uint64 // ended by an error of ours or the archive's

	Records uint64        // sent
	Bytes   uint64        // of Raw sent
	Today   int64         // bytes counted towards BytesPerDay
	Work    time.Duration // spent on turns

	Kept, KeptBytes uint64 // envelopes stored, without duplicates
	Duplicates      uint64 // given to Keep and stored before
	Declined        uint64
	Retried         uint64 // envelopes that could not be stored and were reported Retry
	Puts            uint64 // batches: Kept/Puts is the average size of one
	Keeping         int    // given to Keep and without verdict now
}
