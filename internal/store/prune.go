package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Horizon is how long after it was sent an envelope is recognised though its body was forgotten. Later it would count as
// new again; so it is longer than mail servers keep mail.
const Horizon = 40 * 24 * time.Hour

const (
	pruneRows  = 256  // of one transaction: others wait for it
	sweepRows  = 4096 // hashes that one transaction looks at
	sweepEvery = 24 * time.Hour
	vacuumPart = 4   // space is given back to the disk where more than 1/4 of the file is unused,
	vacuumStep = 256 // pages at a time
)

// Pruned says what went.
type Pruned struct {
	Mail   uint64
	Bytes  int64
	Hashes uint64 // older than Horizon
}

// Forget removes the bodies of these topics' mail up to and including a sequence number; no topics: of all mail. Their
// hashes stay until Horizon, so that nothing is new twice. It works in small transactions: after an error some may be gone.
func (s *Store) Forget(ctx context.Context, topics []envelope.Topic, through uint64) error {
	const op = "store: forget mail"
	if len(topics) > MaxTopics {
		return fault.Errorf(op, fault.Invalid, "at most %d topics can be named at a time", MaxTopics)
	}
	every := func(envelope.Topic, uint64, time.Time) (bool, bool) { return true, true }
	if len(topics) == 0 {
		return s.remove(ctx, op, &Pruned{}, every, func(after uint64) (string, []any) {
			return "SELECT seq, topic, came FROM mail WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?", []any{after, through, pruneRows}
		})
	}
	for _, t := range topics {
		err := s.remove(ctx, op, &Pruned{}, every, func(after uint64) (string, []any) {
			return "SELECT seq, topic, came FROM mail WHERE topic = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
				[]any{number(t), after, through, pruneRows}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Prune removes the bodies of mail that came before a time, up to the first that came later, except what keep protects: mail of a topic in keep stays where
// its sequence number is greater than the one given there, however old it is. It drops hashes older than Horizon, once a
// day, and gives unused space back to the disk. It works in small transactions: after an error some may be gone.
func (s *Store) Prune(ctx context.Context, before time.Time, keep map[envelope.Topic]uint64) (Pruned, error) {
	const op = "store: prune"
	var p Pruned
	old := func(topic envelope.Topic, seq uint64, came time.Time) (goes, more bool) {
		floor, kept := keep[topic]
		return !kept || seq <= floor, came.Before(before)
	}
	err := s.remove(ctx, op, &p, old, func(after uint64) (string, []any) {
		return "SELECT seq, topic, came FROM mail WHERE seq > ? ORDER BY seq LIMIT ?", []any{after, pruneRows}
	})
	if err == nil {
		err = s.sweep(ctx, op, &p)
	}
	if err == nil {
		err = s.vacuum(ctx, op)
	}
	return p, err
}

// remove deletes mail from page to page. page selects seq, topic and came behind a sequence number; judge says whether an
// envelope goes, and whether it and what follows is to be looked at at all.
func (s *Store) remove(ctx context.Context, op string, p *Pruned, judge func(envelope.Topic, uint64, time.Time) (goes, more bool),
	page func(after uint64) (string, []any)) error {
	for after, more := uint64(0), true; more; {
		var part Pruned
		err := s.write(ctx, op, func() error {
			var doomed []uint64
			more = false
			sql, args := page(after)
			err := s.query(sql, args, func(row *sqlite3.Stmt) error {
				var topic envelope.Topic
				binary.BigEndian.PutUint32(topic[:], uint32(row.ColumnInt64(1)))
				seq := uint64(row.ColumnInt64(0))
				var goes bool
				if goes, more = judge(topic, seq, moment(row.ColumnInt64(2))); !more {
					return errEnough
				}
				if after = seq; goes {
					doomed = append(doomed, seq)
				}
				return nil
			})
			if err != nil && err != errEnough {
				return err
			}
			part.Mail = uint64(len(doomed))
			part.Bytes, err = s.deleteMail(doomed)
			return err
		})
		if err != nil {
			return err
		}
		p.Mail += part.Mail
		p.Bytes += part.Bytes
	}
	return nil
}

// errEnough ends a query before its last row.
var errEnough = errors.New("enough")

// deleteMail deletes bodies, and returns how many bytes they were.
func (s *Store) deleteMail(seqs []uint64) (bytes int64, err error) {
	for _, seq := range seqs {
		size, _, err := s.number("DELETE FROM mail WHERE seq = ? RETURNING length(raw)", seq)
		if err != nil {
			return 0, err
		}
		bytes += size
	}
	s.state.mail -= uint64(len(seqs))
	s.state.bytes -= bytes
	return bytes, nil
}

// sweep drops hashes beyond the horizon whose bodies are gone, looking through all of them once a day.
func (s *Store) sweep(ctx context.Context, op string, p *Pruned) error {
	now := s.opt.Now()
	var after []byte
	for done := false; !done; {
		var dropped uint64
		err := s.write(ctx, op, func() (err error) {
			if !s.swept.IsZero() && now.Sub(s.swept) < sweepEvery {
				done = true
				return nil
			}
			var last []byte
			var old [][]byte
			err = s.query("SELECT hash, sent FROM seen WHERE hash > ? ORDER BY hash LIMIT ?", []any{after, sweepRows}, func(row *sqlite3.Stmt) error {
				last = row.ColumnBlob(0, nil)
				if row.ColumnInt64(1) < now.Add(-Horizon).Unix() {
					old = append(old, last)
				}
				return nil
			})
			for i := 0; err == nil && i < len(old); i++ {
				err = s.exec("DELETE FROM seen WHERE hash = ? AND NOT EXISTS (SELECT 1 FROM mail WHERE mail.seq = seen.seq)", old[i])
				dropped += uint64(s.conn.Changes())
			}
			after, done = last, last == nil
			return err
		})
		if err != nil {
			return err
		}
		p.Hashes += dropped
	}
	return s.write(ctx, op, func() error { s.swept = now; return nil })
}

// vacuum gives unused pages back, where they are many.
func (s *Store) vacuum(ctx context.Context, op string) error {
	for done := false; !done; {
		err := s.write(ctx, op, func() error {
			pages, _, err := s.number("PRAGMA page_count")
			if err != nil {
				return err
			}
			free, _, err := s.number("PRAGMA freelist_count")
			if err != nil || free < vacuumStep || free*vacuumPart < pages {
				done = true
				return err
			}
			return s.exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumStep))
		})
		if err != nil {
			return err
		}
	}
	return nil
}
