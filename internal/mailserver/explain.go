package mailserver

import (
	"context"
	"fmt"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

// Refused notes for Explain that gossip refused an envelope, and why.
func (s *Server) Refused(hash envelope.Hash, reason, source string) {
	s.memory.refused(s.now(), hash, reason, source)
}

// Explain says what became of an envelope. Its error is the archive's.
func (s *Server) Explain(ctx context.Context, hash envelope.Hash) (Explanation, error) {
	list, err := s.archive.Find(ctx, []envelope.Hash{hash}, false)
	if err != nil {
		return Explanation{}, err
	}
	now := s.now()
	seen, ok := s.memory.find(now, hash)
	x := Explanation{Hash: hash, From: seen.from}
	switch {
	case list[0].Arrival != 0:
		s.explainStored(&x, &list[0])
	case ok && seen.reason != "":
		x.State, x.Reason, x.When = Refused, seen.reason, seen.at
		x.Text = fmt.Sprintf("Refused at %s: %s.", clock(seen.at), clause(seen.reason))
	case ok:
		x.Text = fmt.Sprintf("Accepted at %s, and not in the archive any more.", clock(seen.at))
	default:
		x.Text = "Not known: it did not come here in the last 24 hours since the start, or was removed when its time was over."
	}
	return x, nil
}

func (s *Server) explainStored(x *Explanation, r *archive.Record) {
	x.State, x.Arrival, x.Arrived = Stored, r.Arrival, time.Unix(int64(r.Arrived), 0)
	x.HeldUntil, x.Served = s.HeldUntil(r), s.served.times(r.Arrival)
	held := "is held at least until " + clock(x.HeldUntil)
	if !x.HeldUntil.After(s.now()) {
		held = "may be removed at any time"
	}
	times := "has not been sent since the start"
	switch {
	case x.Served == 1:
		times = "was sent once since the start"
	case x.Served > 1:
		times = fmt.Sprintf("was sent %d times since the start", x.Served)
	}
	x.Text = fmt.Sprintf("Stored as arrival %d at %s; it %s and %s.", x.Arrival, clock(x.Arrived), held, times)
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
