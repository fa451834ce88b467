// Package gossip decides what happens to envelopes: which are accepted, how long they are pooled, to whom they go and
// when. It is a state machine: New makes a Machine, Step takes the time and one Event and returns the Actions that the
// caller has to perform, and Deadline says when the next Tick is due. Everything else (sockets, encodings, disks, who is
// told) is the caller's.
//
// What it promises:
//
//   - The same Config and the same events at the same times give the same actions: it starts no goroutine, reads no
//     clock, depends on no map order, and draws random numbers only from Config.Seed.
//   - An envelope is given to the sinks once (Accept), and nothing goes out twice on one connection, whatever dialects run
//     on it. Nothing is sent to a peer that does not want it, nor back to one that sent it.
//   - What is accepted leaves at once, or Config.Coalesce after the link's last packet at the latest, in packets of
//     Config.Packet bytes. A link that was joined late gets the whole pool the same way, as fast as it reads.
//   - Memory is bounded: the pool by count and bytes, everything else per connection or by a constant. Time is spent on
//     events only: nothing walks the pool while nothing happens.
//   - What is passed on for others in a day stays within Config.RelayPerDay; own posts leave whatever it is.
//   - Peers are never punished for the time, TTL or number of what they relay, only for what no honest node does.
//
// A Machine is not safe for concurrent use.
package gossip
