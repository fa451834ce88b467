package store

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/restante-im/restante/internal/fault"
)

// Options of Open.
type Options struct {
	Key [32]byte         // encrypts the file; a lost key is a lost inbox
	Cap int64            // of the stored envelopes' bytes; 0: none
	Now func() time.Time // when mail came; nil: time.Now
	Log *slog.Logger     // nil: silent
	On  *Disk            // for tests; nil: the operating system's files

	later    []string // for tests: formats after the last one
	logPages int      // for tests; 0: logPages
}

// Disk is where a store's files are in place of the operating system's: in tests.
type Disk struct {
	VFS  string       // registered with SQLite; it encrypts
	Sync func() error // makes the files' names durable
}

// Store is an open file. Close it; while it is open no other process can open it.
type Store struct {
	path string // absolute
	opt  Options

	// turn is held by whoever uses what follows.
	turn  chan struct{}
	conn  *sqlite3.Conn // nil: closed
	stmts map[string]*sqlite3.Stmt
	state state
	swept time.Time // when hashes were last looked through for old ones

	backup *sqlite3.Backup // nil: none is being written

	mu    sync.Mutex
	queue []*job // deliveries that wait for a transaction
}

// state is kept in the file and counted on in memory.
type state struct {
	next  uint64 // seq of the next envelope
	mail  uint64 // envelopes whose bodies are stored
	bytes int64  // of those bodies
}

// Open opens the file at path, or makes it, with mode 0600; its folder must exist. An older format is brought up to date.
//
// Faults: Denied where the key is another one than the file's, Exists while another process has the file open, Invalid
// for a format of a newer version, Corrupt for a damaged file, Unavailable when the disk fails.
func Open(path string, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fault.E("store: open", fault.Invalid, err, "the path of the inbox cannot be made absolute; give it in full")
	}
	if o.logPages == 0 {
		o.logPages = logPages
	}
	s := &Store{path: abs, opt: o, turn: make(chan struct{}, 1), stmts: map[string]*sqlite3.Stmt{}}
	if err := s.open(); err != nil {
		s.shut()
		return nil, s.opening(err)
	}
	return s, nil
}

// Close waits for what is under way, writes the log back into the file and releases it. Later calls fail with a fault of
// kind Closed, Close itself excepted.
func (s *Store) Close() error {
	s.turn <- struct{}{}
	defer s.leave()
	return s.fail("store: close", s.shut())
}

func (s *Store) shut() error {
	if s.conn == nil {
		return nil
	}
	for _, stmt := range s.stmts {
		_ = stmt.Close() // repeats the error of its last use
	}
	err := errors.Join(s.endBackup(), s.conn.Close())
	s.conn, s.stmts = nil, nil
	return err
}

// enter takes the connection for the caller, until leave.
func (s *Store) enter(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.conn == nil {
		s.leave()
		return errClosed
	}
	return nil
}

func (s *Store) leave() { <-s.turn }

// read runs f with the connection; ctx interrupts it. A page of f's work should be short: everybody else waits.
func (s *Store) read(ctx context.Context, op string, f func() error) error {
	if err := s.enter(ctx); err != nil {
		return s.fail(op, err)
	}
	defer s.leave()
	defer s.conn.SetInterrupt(s.conn.SetInterrupt(ctx))
	err := f()
	if errors.Is(err, sqlite3.INTERRUPT) && ctx.Err() != nil {
		err = ctx.Err() // which says why
	}
	return s.fail(op, err)
}

// write runs f in a transaction of its own. ctx ends the waiting only: what has begun is finished.
func (s *Store) write(ctx context.Context, op string, f func() error) error {
	if err := s.enter(ctx); err != nil {
		return s.fail(op, err)
	}
	defer s.leave()
	return s.fail(op, s.transact(f))
}

// transact commits what f did, durably, or undoes all of it. The caller has the turn.
func (s *Store) transact(f func() error) error {
	before := s.state
	err := s.conn.Exec("BEGIN IMMEDIATE")
	if err == nil {
		err = f()
	}
	if err == nil && s.state != before {
		err = s.exec("UPDATE state SET next = ?, mail = ?, bytes = ?", s.state.next, s.state.mail, s.state.bytes)
	}
	if err == nil {
		err = s.conn.Exec("COMMIT")
	}
	if err == nil {
		return nil
	}
	s.state = before
	if !s.conn.GetAutocommit() {
		_ = s.conn.Exec("ROLLBACK") // fails only where SQLite has rolled back already
	}
	return err
}
