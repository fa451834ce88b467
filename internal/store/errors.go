package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/ncruces/go-sqlite3"

	"github.com/restante-im/restante/internal/fault"
)

var errClosed = errors.New("the store is closed")

// fail makes a fault of what SQLite, the operating system or a context said.
func (s *Store) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	if fault.KindOf(err) != fault.Internal {
		return err // it says already what it is
	}
	kind, text := s.explain(err)
	return fault.E(op, kind, err, text)
}

func (s *Store) explain(err error) (fault.Kind, string) {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case is(errClosed):
		return fault.Closed, "the inbox is closed: the program is stopping"
	case is(context.DeadlineExceeded):
		return fault.Timeout, "the inbox did not answer in time; try again"
	case is(context.Canceled):
		return fault.Closed, "stopped before the inbox had answered"
	case is(sqlite3.CORRUPT, sqlite3.NOTADB, sqlite3.IOERR_CORRUPTFS):
		return fault.Corrupt, fmt.Sprintf("the inbox file %s is damaged; restore a backup of it, or move it and the files "+
			"beside it with the same beginning away: a new one asks the mail servers for all that they still keep", s.path)
	case is(sqlite3.FULL):
		return fault.Unavailable, fmt.Sprintf("the disk that holds %s is full; nothing of this was stored: free some space", s.path)
	case is(sqlite3.READONLY, sqlite3.CANTOPEN, sqlite3.PERM, fs.ErrPermission, fs.ErrNotExist, fs.ErrInvalid, syscall.EISDIR):
		return fault.Unavailable, fmt.Sprintf("the inbox file %s cannot be opened for writing; check that it and its folder "+
			"exist and belong to you, and that the disk is not read-only", s.path)
	case is(sqlite3.IOERR) || errors.As(err, new(*fs.PathError)):
		return fault.Unavailable, fmt.Sprintf("the disk that holds %s failed; nothing of this was stored: check the disk", s.path)
	}
	return fault.Internal, ""
}

// opening is fail for the errors that mean something else while the file is opened.
func (s *Store) opening(err error) error {
	const op = "store: open"
	var later newer
	switch {
	case errors.As(err, &later):
		return fault.E(op, fault.Invalid, err, fmt.Sprintf("the inbox file %s was written by a newer version of this program "+
			"(format %d, this one reads up to %d): use that version, or restore a backup made by this one", s.path, later.have, later.known))
	case errors.Is(err, sqlite3.NOTADB):
		return fault.E(op, fault.Denied, err, fmt.Sprintf("the key does not open the inbox file %s: it belongs to another inbox, "+
			"or the file's beginning is damaged; put the file and its key (inbox.key, or the system's keyring) back together, "+
			"or restore a backup of both", s.path))
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED):
		return fault.E(op, fault.Exists, err, fmt.Sprintf("another program has the inbox file %s open, probably another "+
			"restante: stop that one first", s.path))
	}
	return s.fail(op, err)
}
