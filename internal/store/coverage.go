package store

import (
	"context"
	"encoding/binary"

	"github.com/ncruces/go-sqlite3"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Claims returns all claims, ordered by topic and server, each list as it was put.
func (s *Store) Claims(ctx context.Context) (list []coverage.Claim, err error) {
	err = s.read(ctx, "store: read claims", func() error {
		return s.query(`SELECT topic, server, exact, epoch, first, through, since, sent1, sent2, asked, doubt
			FROM claim ORDER BY topic, server, n`, nil, func(row *sqlite3.Stmt) error {
			c := coverage.Claim{
				Exact: row.ColumnBool(2),
				First: uint64(row.ColumnInt64(4)), Through: uint64(row.ColumnInt64(5)),
				Since: uint32(row.ColumnInt64(6)), From: uint32(row.ColumnInt64(7)), To: uint32(row.ColumnInt64(8)),
				Asked: moment(row.ColumnInt64(9)), Doubt: row.ColumnBool(10),
			}
			binary.BigEndian.PutUint32(c.Topic[:], uint32(row.ColumnInt64(0)))
			copy(c.Server[:], row.ColumnRawBlob(1))
			copy(c.Epoch[:], row.ColumnRawBlob(3))
			list = append(list, c)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func (s *Store) putClaims(d Delivery) error {
	for _, r := range d.Claims {
		if err := s.exec("DELETE FROM claim WHERE topic = ? AND server = ?", number(r.Topic), r.Server[:]); err != nil {
			return err
		}
		for n, c := range r.Claims {
			if err := s.exec("INSERT INTO claim VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", number(r.Topic), r.Server[:], n,
				c.Exact, c.Epoch[:], c.First, c.Through, c.Since, c.From, c.To, stamp(c.Asked), c.Doubt); err != nil {
				return err
			}
		}
	}
	return nil
}

// Missing returns the envelopes that are known by name only, ordered by hash.
func (s *Store) Missing(ctx context.Context) (list []coverage.Missing, err error) {
	err = s.read(ctx, "store: read what is missing", func() error {
		return s.query(`SELECT hash, sent, size, topics, named, noticed, tried, next, gone, cause
			FROM missing ORDER BY hash`, nil, func(row *sqlite3.Stmt) error {
			m := coverage.Missing{
				Sent: uint32(row.ColumnInt64(1)), Size: uint32(row.ColumnInt64(2)),
				Noticed: moment(row.ColumnInt64(5)), Tried: row.ColumnInt(6), Next: moment(row.ColumnInt64(7)),
				Gone: row.ColumnBool(8), Cause: coverage.Cause(row.ColumnInt(9)),
			}
			copy(m.Hash[:], row.ColumnRawBlob(0))
			for b := row.ColumnRawBlob(3); len(b) >= len(envelope.Topic{}); b = b[len(envelope.Topic{}):] {
				m.Topics = append(m.Topics, envelope.Topic(b[:len(envelope.Topic{})]))
			}
			for b := row.ColumnRawBlob(4); len(b) >= len(nodeaddr.ID{}); b = b[len(nodeaddr.ID{}):] {
				m.Named = append(m.Named, nodeaddr.ID(b[:len(nodeaddr.ID{})]))
			}
			list = append(list, m)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// putMissing removes what was found first: an envelope that is both is missing again.
func (s *Store) putMissing(d Delivery) error {
	for _, h := range d.Found {
		if err := s.exec("DELETE FROM missing WHERE hash = ?", h[:]); err != nil {
			return err
		}
	}
	for _, m := range d.Missing {
		var topics, named []byte
		for _, t := range m.Topics {
			topics = append(topics, t[:]...)
		}
		for _, id := range m.Named {
			named = append(named, id[:]...)
		}
		if err := s.exec("INSERT OR REPLACE INTO missing VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", m.Hash[:], m.Sent, m.Size,
			topics, named, stamp(m.Noticed), m.Tried, stamp(m.Next), m.Gone, int(m.Cause)); err != nil {
			return err
		}
	}
	return nil
}
