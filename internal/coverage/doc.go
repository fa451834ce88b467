// Package coverage knows which mail server answered what about which topic, and works out from that what is complete, what
// is only answered, and which gaps there are. All of it is plain values: no clock, store or network.
//
// Start with Claim, which is what one server is known to have answered, and Book, which holds all claims. Gaps and Summary
// derive from a Book what people are told; they are computed and never stored, so they cannot go stale.
//
// What it promises: a claim never says more than the answers that were added; claims are merged only where they touch;
// every second since a Want's start is either answered by a server, covered live, or part of a Gap; and nothing in it grows
// without bound. A Book is not safe for concurrent use.
package coverage
