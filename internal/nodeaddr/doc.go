// Package nodeaddr reads and writes where a node is found: enode URLs, node records (ENR, EIP-778) and plain host:port
// addresses; and it names the source prefix by which connections are limited.
//
// Start with Parse for an address that will be dialled and with ParseIdentity where a key alone is enough. Host names are
// kept as written and never resolved here. Errors are of kind fault.Invalid; their text names the usual mistakes (a cut
// key, a missing port, the node id instead of the key) and says what to write instead. All types are immutable values and
// all functions are safe for concurrent use.
package nodeaddr
