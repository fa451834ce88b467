package rpc

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

const opArchive = "rpc: archive"

// Archive is what the namespace archive needs of a node that keeps mail. Methods
// may be called concurrently; the long ones return when they are done or ctx is.
// Paths are absolute, on the node's machine. Errors are faults. ArchiveStore
// implements it.
type Archive interface {
	// Stats describes the archive as it is now.
	Stats(ctx context.Context) (ArchiveStats, error)
	// Check reads and verifies everything.
	Check(ctx context.Context) (ArchiveCheck, error)
	// Prune applies the rules of retention now; with an age, as if that were the
	// longest that mail is kept.
	Prune(ctx context.Context, age time.Duration) (ArchivePruned, error)
	// Drop removes single envelopes for good, and returns how many were there.
	Drop(ctx context.Context, hashes []envelope.Hash) (int, error)
	// Export writes envelopes to a new file.
	Export(ctx context.Context, req ArchiveExport) (ArchiveCopied, error)
	// Import stores the envelopes of a file.
	Import(ctx context.Context, path string) (ArchiveImported, error)
	// Backup copies the archive into an empty or new directory.
	Backup(ctx context.Context, dir string) (ArchiveCopied, error)
	// Explain says what became of an envelope.
	Explain(ctx context.Context, hash envelope.Hash) (Explanation, error)
}

// ArchiveStats is the result of archive_stats.
type ArchiveStats struct {
	Dir       string    `json:"dir"`
	Epoch     string    `json:"epoch"` // 16 hex digits; another one means that arrivals were numbered anew
	Envelopes uint64    `json:"envelopes"`
	Bytes     int64     `json:"bytes"` // of the envelopes
	Disk      int64     `json:"disk"`  // bytes on disk, all included
	Slices    int       `json:"slices"`
	First     uint64    `json:"first"` // smallest arrival stored; 0 when empty
	Next      uint64    `json:"next"`  // the next arrival
	Oldest    time.Time `json:"oldest,omitzero"`
	Newest    time.Time `json:"newest,omitzero"`

	Puts       uint64 `json:"puts"` // envelopes stored since the start
	Duplicates uint64 `json:"duplicates"`
	Syncs      uint64 `json:"syncs"`
	Pruned     uint64 `json:"pruned"`
	Damaged    uint64 `json:"damaged"`
	Refusing   string `json:"refusing,omitempty"` // why nothing is stored now

	MaxAge  uint64 `json:"maxAge"` // seconds; 0: for ever
	MinAge  uint64 `json:"minAge"`
	Cap     int64  `json:"cap"` // bytes on disk; 0: no cap
	MinFree int64  `json:"minFree"`
}

// ArchiveCheck is the result of archive_check.
type ArchiveCheck struct {
	Envelopes uint64           `json:"envelopes"`
	Bytes     int64            `json:"bytes"`
	Problems  int              `json:"problems"`
	List      []ArchiveProblem `json:"list"` // the first MaxProblems
}

// ArchiveProblem is one damage.
type ArchiveProblem struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Text   string `json:"text"`
}

// Bounds of the namespace archive.
const (
	MaxProblems = 1000 // that archive_check lists
	MaxDrops    = archive.MaxFind
)

// ArchivePruned is the result of archive_prune.
type ArchivePruned struct {
	Envelopes uint64 `json:"envelopes"`
	Bytes     int64  `json:"bytes"` // given back to the disk
}

// ArchiveExport is the argument of archive_export.
type ArchiveExport struct {
	Path   string  `json:"path"`             // of a file that does not exist yet
	From   uint32  `json:"from,omitempty"`   // Unix seconds, sent, both inclusive
	To     uint32  `json:"to,omitempty"`     // 0: until now
	Topics []Topic `json:"topics,omitempty"` // empty: any
}

// ArchiveCopied is the result of archive_export and archive_backup.
type ArchiveCopied struct {
	Envelopes uint64 `json:"envelopes"`
	Bytes     int64  `json:"bytes"`
}

// ArchiveImported is the result of archive_import.
type ArchiveImported struct {
	Read      uint64 `json:"read"`
	New       uint64 `json:"new"`
	Duplicate uint64 `json:"duplicate"`
	Refused   uint64 `json:"refused"`           // too large
	Problem   string `json:"problem,omitempty"` // why not all was read
}

// Explanation is the result of archive_explain.
type Explanation struct {
	Hash      envelope.Hash `json:"hash"`
	State     string        `json:"state"`             // stored, refused or unknown
	Text      string        `json:"text"`              // a sentence for people
	Arrival   uint64        `json:"arrival,omitempty"` // the rest as far as it is known
	Arrived   time.Time     `json:"arrived,omitzero"`
	HeldUntil time.Time     `json:"heldUntil,omitzero"`
	Served    uint64        `json:"served"`
	Reason    string        `json:"reason,omitempty"`
	When      time.Time     `json:"when,omitzero"`
	From      string        `json:"from,omitempty"` // id of who sent it, salted anew each day
}

// archiveAPI is the namespace archive. Without an archive every method says so.
type archiveAPI struct {
	archive Archive
	bind    func(context.Context) (context.Context, context.CancelFunc) // ends work when the connection or the node does
}

var errNoArchive = errors.New("this node keeps no mail: set enabled = true under [mailserver] in its configuration and restart it")

// archiveCall runs one method for as long as somebody waits for it.
func archiveCall[T any](ctx context.Context, a *archiveAPI, f func(context.Context) (T, error)) (T, error) {
	if a.archive == nil {
		var zero T
		return zero, errNoArchive
	}
	if a.bind != nil {
		bound, cancel := a.bind(ctx)
		defer cancel()
		ctx = bound
	}
	v, err := f(ctx)
	return v, public(err)
}

// Stats describes the archive.
func (a *archiveAPI) Stats(ctx context.Context) (ArchiveStats, error) {
	return archiveCall(ctx, a, func(ctx context.Context) (ArchiveStats, error) { return a.archive.Stats(ctx) })
}

// Check reads and verifies everything.
func (a *archiveAPI) Check(ctx context.Context) (ArchiveCheck, error) {
	return archiveCall(ctx, a, func(ctx context.Context) (ArchiveCheck, error) { return a.archive.Check(ctx) })
}

// Prune removes what is too old, by the rules or by an age in seconds.
func (a *archiveAPI) Prune(ctx context.Context, age *uint32) (ArchivePruned, error) {
	return archiveCall(ctx, a, func(ctx context.Context) (ArchivePruned, error) {
		if age == nil {
			return a.archive.Prune(ctx, 0)
		}
		if *age == 0 {
			return ArchivePruned{}, fault.E(opArchive, fault.Invalid, nil, "the age is 0 seconds; allowed: at least 1")
		}
		return a.archive.Prune(ctx, time.Duration(*age)*time.Second)
	})
}

// Drop removes envelopes for good.
func (a *archiveAPI) Drop(ctx context.Context, hashes []envelope.Hash) (int, error) {
	return archiveCall(ctx, a, func(ctx context.Context) (int, error) {
		if len(hashes) > MaxDrops {
			return 0, fault.Errorf(opArchive, fault.Limit, "%d envelopes are named; allowed: %d at a time", len(hashes), MaxDrops)
		}
		return a.archive.Drop(ctx, hashes)
	})
}

// Export writes envelopes to a file.
func (a *archiveAPI) Export(ctx context.Context, req ArchiveExport) (ArchiveCopied, error) {
	return archiveCall(ctx, a, func(ctx context.Context) (ArchiveCopied, error) {
		if err := checkPath(req.Path); err != nil {
			return ArchiveCopied{}, err
		}
		return a.archive.Export(ctx, req)
	})
}

// Import stores the envelopes of a file.
func (a *archiveAPI) Import(ctx context.Context, path string) (ArchiveImported, error) {
	return archiveCall(ctx, a, func(ctx context.Context) (ArchiveImported, error) {
		if err := checkPath(path); err != nil {
			return ArchiveImported{}, err
		}
		return a.archive.Import(ctx, path)
	})
}

// Backup copies the archive into a directory.
func (a *archiveAPI) Backup(ctx context.Context, dir string) (ArchiveCopied, error) {
	return archiveCall(ctx, a, func(ctx context.Context) (ArchiveCopied, error) {
		if err := checkPath(dir); err != nil {
			return ArchiveCopied{}, err
		}
		return a.archive.Backup(ctx, dir)
	})
}

// Explain says what became of an envelope.
func (a *archiveAPI) Explain(ctx context.Context, hash envelope.Hash) (Explanation, error) {
	return archiveCall(ctx, a, func(ctx context.Context) (Explanation, error) { return a.archive.Explain(ctx, hash) })
}

func checkPath(path string) error {
	if !filepath.IsAbs(path) {
		return fault.Errorf(opArchive, fault.Invalid, "the path %q is not absolute: the node may run in another directory", path)
	}
	return nil
}
