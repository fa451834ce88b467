// Package wire speaks the gossip's dialects: it turns packets into plain Go values and back. Every difference between
// dialects, and every oddity of the nodes that speak them, ends here; callers handle Hello and the Packet types alike
// for all. protocol.go is the one page with codes, layouts and caps; docs/protocol/gossip.md tells the same in prose.
//
// Start with Lookup, or Dialects for all of them. A Dialect encodes and decodes the first packet (EncodeHello,
// DecodeHello) and all later ones (Encode, Decode).
//
// The package does no I/O, reads no clock and keeps no state. A decoding error means that the connection must end, and
// its text is the reason. Nothing is allocated by a number that a peer sent: memory is bounded by the length of the
// payload. What Decode returns aliases the payload. All functions are safe for concurrent use.
package wire
