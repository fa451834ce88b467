package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

const (
	ownerOnly     = 0o600
	applicationID = 0x52737449 // of SQLite's header: which program's file it is
)

// The settings of a connection. Temporary tables stay in memory: on disk they would be written under yet another key.
const settings = `
	PRAGMA locking_mode = EXCLUSIVE;
	PRAGMA temp_store = MEMORY;
	PRAGMA cache_size = -8192;
	PRAGMA synchronous = FULL;
	PRAGMA fullfsync = ON;
	PRAGMA journal_size_limit = 8388608;`

// logPages is the length at which the log is read back into the file: some 4 MiB.
const logPages = 1000

func (s *Store) open() error {
	base, sync := "", func() error { return syncFolder(s.path) }
	if s.opt.On != nil {
		base, sync = s.opt.On.VFS, s.opt.On.Sync
	} else if err := prepare(s.path); err != nil {
		return err
	}
	err := s.connect(base)
	if errors.Is(err, sqlite3.NOTADB) && s.unborn(base) {
		err = s.connect(base)
	}
	if err != nil {
		return err
	}
	if err := sync(); err != nil { // the file and its log were created; SQLite's own sync of a new file does not reach its name here
		return err
	}
	if err := s.migrate(append(formats(), s.opt.later...)); err != nil {
		return err
	}
	return s.query("SELECT next, mail, bytes FROM state", nil, func(row *sqlite3.Stmt) error {
		s.state = state{uint64(row.ColumnInt64(0)), uint64(row.ColumnInt64(1)), row.ColumnInt64(2)}
		return nil
	})
}

func (s *Store) connect(base string) (err error) {
	if s.conn, err = sqlite3.Open(uri(encrypted(base), s.path)); err != nil {
		return err
	}
	return s.unlock()
}

// firstPage is the most that a file has before its first transaction is in its log.
const firstPage = 4096

// unborn removes a file that a crash left before it was made: it cannot be read, and nothing was ever in it, since there is no
// log and no second page. It reports whether that was so.
func (s *Store) unborn(base string) bool {
	v := vfs.Find(base)
	for name, most := range map[string]int64{s.path: firstPage, s.path + "-wal": 0} {
		if there, err := v.Access(name, vfs.ACCESS_EXISTS); err != nil {
			return false
		} else if !there {
			continue
		}
		f, _, err := v.Open(name, vfs.OPEN_READWRITE|vfs.OPEN_MAIN_DB)
		if err != nil {
			return false
		}
		size, err := f.Size()
		if f.Close(); err != nil || size > most {
			return false
		}
	}
	if s.shut() != nil {
		return false
	}
	s.stmts = map[string]*sqlite3.Stmt{}
	for _, name := range []string{s.path + "-wal", s.path + "-journal"} {
		_ = v.Delete(name, false) // it may not be there
	}
	if v.Delete(s.path, true) != nil {
		return false
	}
	return s.opt.On != nil || prepare(s.path) == nil
}

// unlock gives the connection its key and settings, reads the log that a crash left back into the file, and empties it. To
// write on at the log's end could tear its last block, which after a crash may hold the end of a transaction that was
// reported as durable: a block of the encryption is readable whole or not at all.
//
// With a wrong key that log looks empty, and SQLite would remove it when the connection closes. So that is forbidden until
// the first page could be read.
func (s *Store) unlock() error {
	if _, err := s.conn.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return err
	}
	start := fmt.Sprintf("PRAGMA hexkey = '%x'; %s; PRAGMA wal_autocheckpoint = %d", s.opt.Key, settings, s.opt.logPages)
	if err := s.conn.Exec(start); err != nil {
		return err
	}
	pages, _, err := s.number("PRAGMA page_count")
	if err != nil {
		return err
	}
	mode := "PRAGMA journal_mode = WAL; SELECT count(*) FROM sqlite_schema; PRAGMA wal_checkpoint(TRUNCATE)"
	if pages == 0 {
		mode = "PRAGMA auto_vacuum = INCREMENTAL;" + mode // can only be chosen while the file is empty
	}
	if err := s.conn.Exec(mode); err != nil {
		return err
	}
	_, err = s.conn.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, false)
	return err
}

// uri names a file for SQLite. Files that SQLite makes beside it get its mode.
func uri(vfs, path string) string {
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") { // a Windows drive
		slashed = "/" + slashed
	}
	query := url.Values{"vfs": {vfs}, "modeof": {path}}.Encode()
	u := url.URL{Scheme: "file", OmitHost: true, Path: slashed, RawQuery: strings.ReplaceAll(query, "+", "%20")} // SQLite reads a plus as itself
	return u.String()
}

// prepare makes an empty file where there is none, so that it is never readable for others, not even for a moment.
func prepare(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, ownerOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fs.ErrInvalid
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != ownerOnly {
		return f.Chmod(ownerOnly)
	}
	return nil
}

// syncFolder makes what was created and removed in a file's folder durable.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" { // folders cannot be synced there
		return nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
