package mailserver

import (
	"context"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

// Server is a mail server. Make it with New.
type Server struct{}

// New makes a Server and starts its goroutines; Close ends them.
func New(o Options) *Server { return nil }

// Ask submits a request and returns at once, with a ticket for Cancel. The answer leaves through out.
func (s *Server) Ask(who Asker, prepare Prepare, out Outbox) (ticket uint64) { return 0 }

// Cancel takes a request back: what is not yet under way is not sent. A call of Records or End that has begun may still
// be running when it returns. An unknown ticket is ignored.
func (s *Server) Cancel(ticket uint64) {}

// Left says that a connection is gone: all its requests are taken back.
func (s *Server) Left(conn uint64) {}

// Keep takes an envelope that gossip accepted; Options.Resolved is told what became of it. source is where it came from
// (as Asker.Source; "" is exempt from fair shares). It returns at once: the caller bounds how many are without verdict.
// After Close it does nothing.
func (s *Server) Keep(env *envelope.Envelope, source string) {}

// Refused notes for Explain that gossip refused an envelope, and why.
func (s *Server) Refused(hash envelope.Hash, reason, source string) {}

// Explain says what became of an envelope. Its error is the archive's.
func (s *Server) Explain(ctx context.Context, hash envelope.Hash) (Explanation, error) {
	return Explanation{}, nil
}

// HeldUntil is the time before which a stored record is not removed; now, when the promise has passed.
func (s *Server) HeldUntil(rec *archive.Record) time.Time { return time.Time{} }

// Announce returns what clients are told of this server. It is cheap.
func (s *Server) Announce() Announcement { return Announcement{} }

// SetClosing announces the end of the service; the zero time takes that back.
func (s *Server) SetClosing(at time.Time) {}

// SetLimits replaces the limits, also for what is open.
func (s *Server) SetLimits(l Limits) {}

// SetRules replaces the retention rules, also those of the archive.
func (s *Server) SetRules(r archive.Rules) {}

// Housekeep applies the retention rules and renews health conditions. To be called every minute or so.
func (s *Server) Housekeep(ctx context.Context) error { return nil }

// Stats counts.
func (s *Server) Stats() Stats { return Stats{} }

// Close refuses new requests, ends open answers with a Closed fault, waits until everything that was given to Keep has
// its verdict, and ends the goroutines. A second call does nothing.
func (s *Server) Close() {}
