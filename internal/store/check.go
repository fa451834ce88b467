package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ncruces/go-sqlite3"

	"github.com/restante-im/restante/internal/fault"
)

const (
	checkRows   = 256 // envelopes whose hashes are compared at a time
	backupPages = 256 // copied at a time
)

// Stats is what the file holds.
type Stats struct {
	Format  int
	Mail    uint64 // envelopes whose bodies are stored
	Bytes   int64  // of those
	Last    uint64 // the highest sequence number ever given; 0: none
	Missing uint64 // envelopes known by name only
	File    int64  // bytes on disk, the log not counted
	Unused  int64  // of those, for reuse
}

// Stats returns what the file holds now.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	var st Stats
	err := s.read(ctx, "store: count", func() error {
		var format, missing, pages, free, size int64
		for sql, n := range map[string]*int64{"PRAGMA user_version": &format, "SELECT count(*) FROM missing": &missing,
			"PRAGMA page_count": &pages, "PRAGMA freelist_count": &free, "PRAGMA page_size": &size} {
			var err error
			if *n, _, err = s.number(sql); err != nil {
				return err
			}
		}
		st = Stats{Format: int(format), Mail: s.state.mail, Bytes: s.state.bytes, Last: s.state.next - 1,
			Missing: uint64(missing), File: pages * size, Unused: free * size}
		return nil
	})
	return st, err
}

// Check reads the whole file and compares every envelope with its hash. Damage is a fault of kind Corrupt. While SQLite
// looks at its own structures, some 100 MB a second, others wait.
func (s *Store) Check(ctx context.Context) error {
	const op = "store: check"
	if err := s.read(ctx, op, s.checkStructure); err != nil {
		return err
	}
	for after, more := uint64(0), true; more; {
		err := s.read(ctx, op, func() error {
			last := after
			err := s.query(`SELECT mail.seq, mail.hash, raw, seen.seq FROM mail LEFT JOIN seen ON seen.hash = mail.hash
				WHERE mail.seq > ? ORDER BY mail.seq LIMIT ?`, []any{after, checkRows}, func(row *sqlite3.Stmt) error {
				last = uint64(row.ColumnInt64(0))
				if _, err := intact(row.ColumnRawBlob(1), row.ColumnBlob(2, nil)); err != nil {
					return err
				}
				if uint64(row.ColumnInt64(3)) != last {
					return fmt.Errorf("%w: envelope %d is not among the hashes", sqlite3.CORRUPT, last)
				}
				return nil
			})
			more, after = last > after, last
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) checkStructure() error {
	err := s.query("PRAGMA integrity_check(1)", nil, func(row *sqlite3.Stmt) error {
		if text := row.ColumnText(0); text != "ok" {
			return fmt.Errorf("%w: %s", sqlite3.CORRUPT, text)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.query("SELECT count(*), coalesce(sum(length(raw)), 0), coalesce(max(seq), 0) FROM mail", nil, func(row *sqlite3.Stmt) error {
		if uint64(row.ColumnInt64(0)) != s.state.mail || row.ColumnInt64(1) != s.state.bytes || uint64(row.ColumnInt64(2)) >= s.state.next {
			return fmt.Errorf("%w: the counts do not agree with the mail", sqlite3.CORRUPT)
		}
		return nil
	})
}

// Backup copies the file, as it is at the end, to path, where nothing may be yet; the copy has the same key and mode 0600.
// Others go on working meanwhile. The encryption does not protect against changes: sign a backup that others keep.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	const op = "store: back up"
	if _, err := os.Lstat(path); err == nil {
		return fault.Errorf(op, fault.Exists, "%s exists already; give the backup another name, or move that away", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return notCopied(op, path, err)
	}
	part := path + ".part"
	if err := errors.Join(removeIfThere(part), removeIfThere(part+"-journal"), prepare(part)); err != nil {
		return notCopied(op, path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(part))
		}
	}()
	if err := s.copyTo(ctx, op, part); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return notCopied(op, path, err)
	}
	if err := syncFolder(path); err != nil {
		return notCopied(op, path, err)
	}
	return nil
}

// copyTo copies page by page. What this connection writes meanwhile goes into the copy too.
func (s *Store) copyTo(ctx context.Context, op, path string) error {
	err := s.read(ctx, op, func() (err error) {
		if s.backup != nil {
			return fault.Errorf(op, fault.Busy, "another backup is being written; wait for its end")
		}
		s.backup, err = s.conn.BackupInit("main", uri(encrypted(""), path)+"&hexkey="+hex.EncodeToString(s.opt.Key[:]))
		return err
	})
	if err != nil {
		return err
	}
	for done := false; err == nil && !done; {
		err = s.read(ctx, op, func() (err error) {
			done, err = s.backup.Step(backupPages)
			return err
		})
	}
	s.turn <- struct{}{}
	defer s.leave()
	return errors.Join(err, s.fail(op, s.endBackup()))
}

// endBackup is for the end of a backup and of the connection, whichever comes first.
func (s *Store) endBackup() error {
	err := s.backup.Close()
	s.backup = nil
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func notCopied(op, path string, err error) error {
	return fault.E(op, fault.Unavailable, err, fmt.Sprintf("no backup could be written to %s; check that its folder exists, "+
		"belongs to you and has room", path))
}
