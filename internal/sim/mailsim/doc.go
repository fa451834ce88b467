// Package mailsim runs whole worlds of mail in one process, on one heap of events and one virtual clock, drawn from a
// seed: senders, mail servers of every kind, and clients who come and go. Envelopes reach the servers late, twice or not at
// all; servers crash, lose their disks, stall, prune, leave things out, name what they do not hand over, put off, talk nonsense;
// clients crash between any two steps. Then the faults end, and it is checked that nothing was lost and nothing false was claimed.
//
// Start with Run: it builds the world of a seed, lets it live, and reports what went wrong. The same Plan gives the same
// Report to the last event, which Report.Trace proves. Plan.Break makes a client lie on purpose, which the checks must find.
//
// What is real: catchup, coverage, history, directory and outbox. What is modelled: the network, the servers, and the store,
// whose transactions are atomic, durable when answered, and fail now and then. What is checked:
//
//   - A claim is never false: the server said so, and all that it handed over or named within is kept, or recorded as missing.
//   - In the end every client has what the servers that it asked have for it, once; what is not there is a gap, and what is a
//     gap is not there.
//   - Every Sync is finished once. A letter is held only where a server said so. An idle world asks nothing. Memory is bounded.
//
// Everything in a run happens on the caller's goroutine; separate runs are independent.
package mailsim
