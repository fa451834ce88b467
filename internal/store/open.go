package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ncruces/go-sqlite3"
	_ "github.com/ncruces/go-sqlite3/vfs/adiantum" // registers the VFS that encrypts
)

const (
	encrypting    = "adiantum"
	ownerOnly     = 0o600
	applicationID = 0x52737449 // of SQLite's header: which program's file it is
)

// The settings of a connection. auto_vacuum can only be chosen while the file is empty. Temporary tables stay in memory:
// on disk they would be written under yet another key.
const settings = `
	PRAGMA locking_mode = EXCLUSIVE;
	PRAGMA temp_store = MEMORY;
	PRAGMA cache_size = -8192;
	PRAGMA auto_vacuum = INCREMENTAL;
	PRAGMA journal_mode = WAL;
	PRAGMA synchronous = FULL;
	PRAGMA fullfsync = ON;
	PRAGMA wal_autocheckpoint = 1000;
	PRAGMA journal_size_limit = 8388608;`

func (s *Store) open() error {
	if s.opt.VFS == "" {
		if err := prepare(s.path); err != nil {
			return err
		}
	}
	var err error
	if s.conn, err = sqlite3.Open(s.uri(s.path)); err != nil {
		return err
	}
	// With a wrong key the log of an earlier crash looks empty, and closing would remove it. So nothing is tidied up
	// before the first page could be read.
	if _, err := s.conn.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return err
	}
	if err := s.conn.Exec("PRAGMA hexkey = '" + hex.EncodeToString(s.opt.Key[:]) + "';" + settings); err != nil {
		return err
	}
	if err := s.conn.Exec("SELECT count(*) FROM sqlite_schema"); err != nil {
		return err
	}
	if _, err := s.conn.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, false); err != nil {
		return err
	}
	if s.opt.VFS == "" {
		if err := syncFolder(s.path); err != nil { // the file and its log were created in it
			return err
		}
	}
	if err := s.migrate(formats()); err != nil {
		return err
	}
	return s.query("SELECT next, mail, bytes FROM state", nil, func(row *sqlite3.Stmt) error {
		s.state = state{uint64(row.ColumnInt64(0)), uint64(row.ColumnInt64(1)), row.ColumnInt64(2)}
		return nil
	})
}

// uri names a file for SQLite. Files that SQLite makes beside it get its mode.
func (s *Store) uri(path string) string {
	vfs := s.opt.VFS
	if vfs == "" {
		vfs = encrypting
	}
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") { // a Windows drive
		slashed = "/" + slashed
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: slashed, RawQuery: url.Values{"vfs": {vfs}, "modeof": {path}}.Encode()}
	return strings.ReplaceAll(u.String(), "+", "%20") // SQLite reads a plus as itself
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
		return fmt.Errorf("%w: not a file", fs.ErrInvalid)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != ownerOnly {
		return f.Chmod(ownerOnly)
	}
	return nil
}

// syncFolder makes new entries of the folder durable; SQLite's own sync of a new file does not reach it here.
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
