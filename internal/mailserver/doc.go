// Package mailserver is the role of a mail server: it archives what gossip accepts, answers requests from the archive,
// and says what became of an envelope. Start with New, give it envelopes by Keep and requests by Ask, and call Housekeep
// every minute. It knows no sockets, dialects or engines: requests come prepared, answers leave through an Outbox.
//
// What it promises:
//
//   - An envelope is reported Durable only when the archive says so. What could not be stored is reported Retry.
//   - Every Ask is ended exactly once, also when it is refused, when the archive fails and when the reader stalls,
//     unless the asker left or took the request back.
//   - Nothing of a request runs in the caller of Ask. Answers stream: at most WindowBytes of one are under way, and an
//     answer whose reader stalls holds nobody else up.
//   - Turns are shared by cost, first among sources (address prefixes), then among the connections of a source, then
//     among the requests of a connection: a thousand connections of one source together get what one of another gets.
//   - Memory is bounded by the constants in limits.go. Time is spent on requests and envelopes only.
//
// The scheduler is a state machine (machine.go) without goroutines or clock; server.go drives it. A Server is safe for
// concurrent use.
package mailserver
