// Package store is the client's one file: mail, what mail servers are known to have answered, what is missing, and the
// small records of the other parts (watches, servers, letters), in SQLite, encrypted below SQLite.
//
// Start with Open; Deliver is the one door for mail and for everything that has to be true together with it. A Deliver
// that returned without an error is in the file whole and survives a crash and a power cut; one that failed, or was under
// way at a crash, is there whole or not at all. An envelope counts as new once, also after its body was forgotten.
//
// There is one connection, which locks the file for this process. It writes ahead to a log beside the file
// (journal_mode=WAL, synchronous=FULL): one sync for each commit, where a rollback journal needs three. Several
// connections would share that log below encryption, where a reader may meet a block half rewritten; so readers wait
// for the commit under way instead, some milliseconds. Deliveries that come together are committed together.
//
// All methods of a Store are safe for concurrent use. docs/inbox-format.md describes the file.
package store
