// Package catchup brings a client up to date from several mail servers: it decides who is asked what, compares what they
// have, fails over, and keeps what is known to be complete. Machine is the whole of it, a state machine: New makes one of
// what is stored, Step takes the time and one Event and returns the Actions to perform, Deadline says when the next Tick is due.
//
// A round is one catch-up. One server, the primary, hands over bodies; a second one only names what it has, is asked for
// what the primary did not bring, and takes over when the primary fails or is slow. Each server is talked to by jobs of
// package history, one after the other; what a job delivers leaves in a Commit, and only what was Kept is claimed.
//
// What it promises:
//
//   - The same Config and the same events at the same times give the same actions.
//   - What any asked server had of what is wanted is committed, or recorded as missing and asked for again.
//   - A claim is as strong as the server's words and what it sent. It leaves in one Commit with what it is about.
//   - A machine made anew from what was committed, after any Commit, loses nothing.
//   - Every Sync gets exactly one Finished, whatever the servers do, as long as Commits and Lookups are answered.
//   - Without a reason nobody is asked: a start, the network's return, a new want, a Sync, mail that came live, a gap.
//
// A Machine is not safe for concurrent use.
package catchup
