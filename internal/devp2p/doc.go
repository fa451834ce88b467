// Package devp2p connects this node with others over devp2p (RLPx, TCP): it listens, dials, keeps static peers connected,
// limits who comes in, and hands each protocol that two nodes share a packet transport. It is the only importer of
// go-ethereum/p2p itself.
//
// Start with Start and a Config; end with Server.Close. Each Protocol's Run is called once per connection, on its own
// goroutine, and the connection ends when any Run returns. Protocols of one connection see the same Conn.ID.
//
// What it promises:
//
//   - Nobody waits for go-ethereum's throttles (35 s before a redial, 30 s between two visitors from one address): its
//     listener and dialer are not used. Limits per source prefix, on the rate of visits, on open handshakes and on peers
//     stand in their place; static and trusted peers are exempt from the limits on peers.
//   - Everything that a peer can cause is bounded: client names, packets (checked before the payload is handed on),
//     handshakes in number and time, connections by prefix and in all, memory of the limiter.
//   - A panic in Run ends that connection and nothing else.
//   - Remote addresses reach neither a log nor an error text. They are shown by Peers when asked for.
//   - A static peer is redialled 0.2 s after a loss; in the first minute without an answer at most every 0.5 s, then doubling
//     up to 60 s, each wait shortened by up to half at random; at once when the network is back (Kick). So it is connected
//     again within a second of a short interruption. Where this machine has no network at all, trying costs nothing and
//     goes on at the quick rate. A peer that comes again while its old connection still seems open replaces
//     it.
//
// Known bound that is not ours to lower: go-ethereum reads, decompresses and copies one packet of up to 16 MiB per
// connection before this package sees its size. Frames far above Config.MaxPacket are refused while they arrive; what
// remains are small frames that decompress to at most 16 MiB.
//
// All exported methods are safe for concurrent use.
package devp2p
