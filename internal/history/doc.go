// Package history fetches what one mail server has: it asks, checks what comes, hands it over in pages and follows the
// server's pages to the end. Run does it over a Transport. Fetch is the state machine inside: New makes one, Step takes
// the time and one Event and returns the Actions to perform, and Deadline says when the next Tick is due.
//
// What it promises:
//
//   - The same Plan and the same events at the same times give the same actions: no goroutine, clock, map order or
//     randomness within Fetch.
//   - What the server sent and the plan asked for is delivered, and once: an envelope that comes again while the last
//     65,536 are remembered is dropped. Nothing else is delivered, whatever the server sends.
//   - The position moves only over what was delivered and kept. A fetch that ended early goes on from Report.Resume, and
//     nothing is missing; some may come again.
//   - At most 4 MiB wait for the consumer, and one packet. What the server sends beyond is asked for again.
//   - Every fetch ends, however the server behaves, as long as the consumer takes what it is given.
//   - A claim is as strong as its ground: EndComplete needs a server that said so and whose words fit what it sent.
//
// A Fetch is not safe for concurrent use; Run may be called many times at once.
package history
