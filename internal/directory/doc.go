// Package directory keeps which mail servers a user knows, what was measured of each, and which to use now.
//
// Start with New and Load. Servers come in with Add, AddLink and AddFleet; whoever talks to them tells what happened with
// Note, and asks Choose whom to ask next. View says of one server what is known, each measured thing also as a sentence
// with its evidence. Records and Changed give what to store.
//
// It promises that a server is judged by answers that were checked and compared, never by being reachable; that what a
// stranger's link names is not used before Confirm; that nothing it is fed makes it grow beyond its bounds; and that the
// same calls give the same results: it reads no clock, and nothing in it is left to chance. A Directory is not safe for
// concurrent use.
package directory
