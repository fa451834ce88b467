package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Bounds of what one question returns.
const (
	MaxMail      = 1024     // envelopes of a page
	MaxTopics    = 4096     // of a question
	maxPageBytes = 16 << 20 // a page ends with the envelope that reaches this
)

// MailQuery asks for stored mail.
type MailQuery struct {
	Topics []envelope.Topic // any of these; none: every topic. At most MaxTopics
	After  uint64           // sequence numbers greater than this one
	Limit  int              // at most so many; 0 or more than MaxMail: MaxMail
	Hash   *envelope.Hash   // only this envelope, where it fits the rest as well
}

// Mail is a stored envelope.
type Mail struct {
	Seq      uint64 // in the order in which they came; never given twice
	Envelope *envelope.Envelope
	Came     time.Time   // by our clock
	Server   nodeaddr.ID // that handed it over; zero: it came live
}

// Mail returns what is stored, by ascending Seq. A page may hold less than Limit though more is there: go on after its
// last Seq until a page is empty. A stored envelope that is damaged is a fault of kind Corrupt.
func (s *Store) Mail(ctx context.Context, q MailQuery) ([]Mail, error) {
	const op = "store: read mail"
	if len(q.Topics) > MaxTopics {
		return nil, fault.Errorf(op, fault.Invalid, "at most %d topics can be asked for at a time; ask for less", MaxTopics)
	}
	if q.Limit <= 0 || q.Limit > MaxMail {
		q.Limit = MaxMail
	}
	var page []Mail
	err := s.read(ctx, op, func() error {
		seqs, err := s.find(q)
		if err != nil {
			return err
		}
		page, err = s.fetch(seqs)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// find returns the sequence numbers that q asks for, without reading a body.
func (s *Store) find(q MailQuery) (seqs []uint64, err error) {
	if q.Hash != nil {
		return s.findHash(q)
	}
	add := func(row *sqlite3.Stmt) error {
		seqs = append(seqs, uint64(row.ColumnInt64(0)))
		return nil
	}
	if len(q.Topics) == 0 {
		err = s.query("SELECT seq FROM mail WHERE seq > ? ORDER BY seq LIMIT ?", []any{q.After, q.Limit}, add)
		return seqs, err
	}
	for _, topic := range q.Topics {
		if err = s.query("SELECT seq FROM mail WHERE topic = ? AND seq > ? ORDER BY seq LIMIT ?",
			[]any{number(topic), q.After, q.Limit}, add); err != nil {
			return nil, err
		}
	}
	slices.Sort(seqs)
	seqs = slices.Compact(seqs)
	return seqs[:min(len(seqs), q.Limit)], nil
}

func (s *Store) findHash(q MailQuery) ([]uint64, error) {
	seq, known, err := s.number(selectSeen, q.Hash[:])
	if err != nil || !known || uint64(seq) <= q.After {
		return nil, err
	}
	topic, stored, err := s.number("SELECT topic FROM mail WHERE seq = ?", seq)
	if err != nil || !stored || len(q.Topics) > 0 && !slices.ContainsFunc(q.Topics, func(t envelope.Topic) bool { return number(t) == topic }) {
		return nil, err
	}
	return []uint64{uint64(seq)}, nil
}

// fetch reads envelopes, until maxPageBytes are reached.
func (s *Store) fetch(seqs []uint64) (page []Mail, err error) {
	bytes := 0
	for _, seq := range seqs {
		if bytes >= maxPageBytes {
			break
		}
		err := s.query("SELECT came, server, hash, raw FROM mail WHERE seq = ?", []any{seq}, func(row *sqlite3.Stmt) error {
			m := Mail{Seq: seq, Came: moment(row.ColumnInt64(0))}
			copy(m.Server[:], row.ColumnRawBlob(1))
			var err error
			m.Envelope, err = intact(row.ColumnRawBlob(2), row.ColumnBlob(3, nil))
			bytes += len(row.ColumnRawBlob(3))
			page = append(page, m)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return page, nil
}

// intact decodes a stored envelope. The encryption does not authenticate, so the hash is compared.
func intact(hash, raw []byte) (*envelope.Envelope, error) {
	e, err := envelope.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sqlite3.CORRUPT, err)
	}
	if h := e.Hash(); string(h[:]) != string(hash) {
		return nil, fmt.Errorf("%w: envelope %v does not have its hash", sqlite3.CORRUPT, h)
	}
	return e, nil
}

// number is a topic as the file's column has it.
func number(t envelope.Topic) int64 { return int64(binary.BigEndian.Uint32(t[:])) }
