// Package inbox is the client: it keeps what came for the user's watches, asks mail servers for what was missed, and
// follows what the user sent until a mail server holds it.
//
// Open reads the store and makes an Inbox; Run works until its context ends. Decisions are made by state machines
// (catchup, outbox) and by directory; here are their timers, connections and transactions. Live mail and mail from servers come through
// one door: Store.Deliver, which returns when it is durable, and only then anything is claimed or shown. All methods of
// Inbox are safe for concurrent use.
package inbox
