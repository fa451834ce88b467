package store

import (
	"time"

	"github.com/ncruces/go-sqlite3"
)

// statement returns the prepared statement of an SQL text, with these arguments bound.
func (s *Store) statement(sql string, args []any) (*sqlite3.Stmt, error) {
	stmt := s.stmts[sql]
	if stmt == nil {
		var err error
		if stmt, _, err = s.conn.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT); err != nil {
			return nil, err
		}
		s.stmts[sql] = stmt
	}
	for i, arg := range args {
		if err := bind(stmt, i+1, arg); err != nil {
			return nil, err
		}
	}
	return stmt, nil
}

// bind gives a parameter its value. Numbers above the largest int64 come back the same by conversion; an empty blob is
// not NULL, nil is.
func bind(stmt *sqlite3.Stmt, i int, arg any) error {
	switch v := arg.(type) {
	case nil:
		return stmt.BindNull(i)
	case int:
		return stmt.BindInt(i, v)
	case int64:
		return stmt.BindInt64(i, v)
	case uint32:
		return stmt.BindInt64(i, int64(v))
	case uint64:
		return stmt.BindInt64(i, int64(v))
	case bool:
		return stmt.BindBool(i, v)
	case string:
		return stmt.BindText(i, v)
	case []byte:
		return stmt.BindBlob(i, v)
	}
	return sqlite3.MISUSE
}

func (s *Store) exec(sql string, args ...any) error {
	return s.query(sql, args, nil)
}

// query calls row for each row of the result. Its columns are valid until it returns.
func (s *Store) query(sql string, args []any, row func(*sqlite3.Stmt) error) error {
	stmt, err := s.statement(sql, args)
	if err != nil {
		return err
	}
	for stmt.Step() {
		if row == nil {
			continue
		}
		if err := row(stmt); err != nil {
			_ = stmt.Reset()
			return err
		}
	}
	err = stmt.Err()
	_ = stmt.Reset() // repeats the error
	return err
}

// number returns the first column of the first row; ok is false where there is no row.
func (s *Store) number(sql string, args ...any) (n int64, ok bool, err error) {
	err = s.query(sql, args, func(row *sqlite3.Stmt) error {
		if !ok {
			n, ok = row.ColumnInt64(0), true
		}
		return nil
	})
	return n, ok, err
}

// stamp and moment keep a time in nanoseconds since 1970, UTC; 0 is the zero time.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
