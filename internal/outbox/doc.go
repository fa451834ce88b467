// Package outbox follows what a user sends until a mail server holds it: sealed, posted, accepted by peers, held. It is a
// state machine: Step takes what happened and returns what to do.
//
// Start with New, and give it letters with Send. The caller seals, posts and asks, stores records, and tells the machine
// how that went; Find and List say at any time how a letter stands, in a sentence too.
//
// It promises that a letter is stored before anything is done with it, so that it survives a restart; that the same
// envelope is posted again while it lives, so that nothing arrives twice without need; that a letter is called accepted or
// held only when a peer or a mail server said so; and that work and memory are bounded. It reads no clock, and nothing
// in it is left to chance. A Machine is not safe for concurrent use.
package outbox
