// Package history gets what one mail server has. A Fetch pages through it: it asks, checks what comes, hands it over in
// pages and follows the server's pages to the end. A Check compares: it asks for names only, has them looked up, and fetches
// by hash what is lacking. Run and RunJob do it over a Transport. Fetch and Check are state machines, a Job each: New and
// NewCheck make one, Step takes the time and one Event and returns the Actions to perform, and Deadline says when the next
// Tick is due.
//
// What they promise:
//
//   - The same Plan and the same events at the same times give the same actions: no goroutine, clock, map order or
//     randomness within.
//   - What the server sent and the plan asked for is delivered, and once: an envelope that comes again while the last
//     65,536 are remembered is dropped. Nothing else is delivered, whatever the server sends. A Check delivers what was
//     lacking when it was last looked up.
//   - The position moves only over what was delivered and kept, is had, is not what the plan asks for, or was named and not
//     handed over, which the page that passes it says. A job that ended early goes on from Report.Resume, and nothing is
//     missing; some may come again.
//   - At most 4 MiB wait for the consumer, and one packet; and about 16,384 names.
//   - Every job ends, however the server behaves, as long as the consumer takes what it is given, answers lookups, and
//     lets a Check proceed.
//   - A claim is as strong as its ground: EndComplete needs a server that said so and whose words fit what it sent.
//
// A Fetch or Check is not safe for concurrent use; Run and RunJob may be called many times at once.
package history
