package store

import (
	"fmt"

	"github.com/ncruces/go-sqlite3"
)

// formats returns the statements that lead from each format to the next: the first makes format 1 of an empty file. A
// format that was released never changes; a new one is appended, with a file of the format before among the fixtures.
func formats() []string {
	return []string{format1}
}

// format1: see docs/inbox-format.md.
const format1 = `
	CREATE TABLE state (
		one   INTEGER PRIMARY KEY CHECK (one = 1),
		next  INTEGER NOT NULL,
		mail  INTEGER NOT NULL,
		bytes INTEGER NOT NULL
	) STRICT;
	INSERT INTO state VALUES (1, 1, 0, 0);

	CREATE TABLE mail (
		seq    INTEGER PRIMARY KEY,
		topic  INTEGER NOT NULL,
		came   INTEGER NOT NULL,
		server BLOB,
		hash   BLOB NOT NULL,
		raw    BLOB NOT NULL
	) STRICT;
	CREATE INDEX mail_topic ON mail (topic);

	CREATE TABLE seen (
		hash BLOB PRIMARY KEY,
		seq  INTEGER NOT NULL,
		sent INTEGER NOT NULL
	) STRICT, WITHOUT ROWID;

	CREATE TABLE claim (
		topic   INTEGER NOT NULL,
		server  BLOB NOT NULL,
		n       INTEGER NOT NULL,
		exact   INTEGER NOT NULL,
		epoch   BLOB NOT NULL,
		first   INTEGER NOT NULL,
		through INTEGER NOT NULL,
		since   INTEGER NOT NULL,
		sent1   INTEGER NOT NULL,
		sent2   INTEGER NOT NULL,
		asked   INTEGER NOT NULL,
		doubt   INTEGER NOT NULL,
		PRIMARY KEY (topic, server, n)
	) STRICT, WITHOUT ROWID;

	CREATE TABLE missing (
		hash    BLOB PRIMARY KEY,
		sent    INTEGER NOT NULL,
		size    INTEGER NOT NULL,
		topics  BLOB NOT NULL,
		named   BLOB NOT NULL,
		noticed INTEGER NOT NULL,
		tried   INTEGER NOT NULL,
		next    INTEGER NOT NULL,
		gone    INTEGER NOT NULL,
		cause   INTEGER NOT NULL
	) STRICT, WITHOUT ROWID;

	CREATE TABLE record (
		kind TEXT NOT NULL,
		id   TEXT NOT NULL,
		data BLOB NOT NULL,
		PRIMARY KEY (kind, id)
	) STRICT, WITHOUT ROWID;`

// newer is the error for a file that a later version wrote.
type newer struct{ have, known int64 }

func (e newer) Error() string { return fmt.Sprintf("format %d, known up to %d", e.have, e.known) }

// migrate brings the file to the last of the formats, in one transaction.
func (s *Store) migrate(steps []string) error {
	id, _, err := s.number("PRAGMA application_id")
	if err != nil {
		return err
	}
	have, _, err := s.number("PRAGMA user_version")
	if err != nil {
		return err
	}
	known := int64(len(steps))
	switch {
	case have > known:
		return newer{have, known}
	case have > 0 && id != applicationID || have < 0:
		return sqlite3.NOTADB
	case have == known:
		return nil
	}
	if have > 0 {
		s.opt.Log.Info("store: bringing the inbox up to date", "from", have, "to", known)
	}
	return s.transact(func() error {
		for _, step := range steps[have:] {
			if err := s.conn.Exec(step); err != nil {
				return err
			}
		}
		return s.conn.Exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, known))
	})
}
