package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/stream"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// ArchiveStore is the Archive of an open archive, whether a node has it open or
// the command line.
type ArchiveStore struct {
	Dir   string
	Store archive.Archive
	Rules func() archive.Rules // those that hold
	Now   func() time.Time
	// What is known beyond the archive of an envelope; nil: nothing.
	Explained func(context.Context, envelope.Hash) (Explanation, error)
}

// Stats describes the archive.
func (s *ArchiveStore) Stats(context.Context) (ArchiveStats, error) {
	st, rules := s.Store.Stats(), s.Rules()
	return ArchiveStats{
		Dir: s.Dir, Epoch: fmt.Sprintf("%x", st.Epoch), Envelopes: st.Envelopes, Bytes: st.Bytes, Disk: st.Disk, Slices: st.Slices,
		First: st.First, Next: st.Next, Oldest: utc(st.Oldest), Newest: utc(st.Newest), Puts: st.Puts, Duplicates: st.Duplicates,
		Syncs: st.Syncs, Pruned: st.Pruned, Damaged: st.Damaged, Refusing: st.Refusing,
		MaxAge: uint64(rules.Age / time.Second), MinAge: uint64(rules.Min / time.Second), Cap: rules.Cap, MinFree: rules.MinFree,
	}, nil
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// cannot says that an archive's engine lacks something.
func cannot(what string) error {
	return fault.E(opArchive, fault.Unavailable, nil, "this archive cannot "+what)
}

// Check reads and verifies everything.
func (s *ArchiveStore) Check(ctx context.Context) (ArchiveCheck, error) {
	c, ok := s.Store.(archive.Checker)
	if !ok {
		return ArchiveCheck{}, cannot("be checked")
	}
	out := ArchiveCheck{List: []ArchiveProblem{}}
	got, err := c.Check(ctx, func(p archive.Problem) {
		if len(out.List) < MaxProblems {
			out.List = append(out.List, ArchiveProblem(p))
		}
	})
	out.Envelopes, out.Bytes, out.Problems = got.Envelopes, got.Bytes, got.Problems
	return out, err
}

// Prune applies the rules now. With an age they hold, for the moment, as if that
// were the longest that mail is kept.
func (s *ArchiveStore) Prune(ctx context.Context, age time.Duration) (ArchivePruned, error) {
	rules := s.Rules()
	if age != 0 {
		if age < rules.Min {
			return ArchivePruned{}, fault.Errorf(opArchive, fault.Invalid,
				"mail is promised to be kept for %v: lower min_age under [archive] in the configuration first, then prune", rules.Min)
		}
		once := rules
		once.Age = age
		s.Store.SetRules(once)
		defer s.Store.SetRules(rules)
	}
	p, err := s.Store.Retain(ctx, s.Now())
	return ArchivePruned{Envelopes: p.Envelopes, Bytes: p.Bytes}, err
}

// Drop removes single envelopes for good.
func (s *ArchiveStore) Drop(ctx context.Context, hashes []envelope.Hash) (int, error) {
	d, ok := s.Store.(archive.Dropper)
	if !ok {
		return 0, cannot("drop single envelopes")
	}
	return d.Drop(ctx, hashes)
}

// Export writes envelopes to a new file, which is durable when it returns. After
// an error there is no file.
func (s *ArchiveStore) Export(ctx context.Context, req ArchiveExport) (out ArchiveCopied, err error) {
	f, err := os.OpenFile(req.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return out, fileFault(err, "written")
	}
	q := archive.Query{Order: archive.ByArrival, From: req.From, To: req.To}
	for _, t := range req.Topics {
		q.Topics = append(q.Topics, envelope.Topic(t))
	}
	w := bufio.NewWriterSize(f, 1<<20)
	out.Envelopes, err = stream.Export(ctx, w, s.Store, q, nil)
	if err == nil {
		err = errors.Join(w.Flush(), f.Sync())
	}
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err != nil {
		_ = os.Remove(req.Path)
		return ArchiveCopied{}, fileFault(err, "written")
	}
	out.Bytes = info.Size()
	return out, nil
}

// Import stores the envelopes of a file. Where it ends early, what came before
// is stored and Problem says why.
func (s *ArchiveStore) Import(ctx context.Context, path string) (ArchiveImported, error) {
	f, err := os.Open(path)
	if err != nil {
		return ArchiveImported{}, fileFault(err, "read")
	}
	defer f.Close()
	got, err := stream.Import(ctx, f, s.Store, stream.ImportOptions{}, nil)
	out := ArchiveImported{Read: got.Read, New: got.New, Duplicate: got.Duplicate, Refused: got.Refused}
	if err != nil && got.Read > 0 && ctx.Err() == nil {
		out.Problem, err = fault.Text(fileFault(err, "read")), nil
	}
	return out, err
}

// Backup copies the archive into an empty or new directory.
func (s *ArchiveStore) Backup(ctx context.Context, dir string) (out ArchiveCopied, err error) {
	b, ok := s.Store.(archive.Backuper)
	if !ok {
		return out, cannot("make a backup")
	}
	st := s.Store.Stats()
	if err := b.Backup(ctx, dir); err != nil {
		return out, fileFault(err, "written")
	}
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			out.Bytes += info.Size()
		}
		return err
	})
	out.Envelopes = st.Envelopes
	return out, err
}

// Explain says what became of an envelope. Of those that are not stored it knows
// something only in a node.
func (s *ArchiveStore) Explain(ctx context.Context, hash envelope.Hash) (Explanation, error) {
	if s.Explained != nil {
		return s.Explained(ctx, hash)
	}
	list, err := s.Store.Find(ctx, []envelope.Hash{hash}, false)
	if err != nil {
		return Explanation{}, err
	}
	r := list[0]
	if r.Arrival == 0 {
		return Explanation{Hash: hash, State: "unknown",
			Text: "Not in the archive. Why something was refused is known to the running node only, for a day."}, nil
	}
	arrived := time.Unix(int64(r.Arrived), 0).UTC()
	held := arrived.Add(s.Rules().Min)
	return Explanation{Hash: hash, State: "stored", Arrival: r.Arrival, Arrived: arrived, HeldUntil: held,
		Text: fmt.Sprintf("Stored as arrival %d at %s; it is held at least until %s.", r.Arrival, arrived.Format(explainTime), held.Format(explainTime))}, nil
}

const explainTime = "2006-01-02 15:04:05 UTC"

// fileFault makes an error of the file system one for people. Faults stay as
// they are.
func fileFault(err error, done string) error {
	if fault.KindOf(err) != fault.Internal {
		return err
	}
	var p *fs.PathError
	name := "the file"
	if errors.As(err, &p) {
		name, err = p.Path, p.Err
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return fault.E(opArchive, fault.Exists, err, name+" exists already: name a file that does not")
	case errors.Is(err, fs.ErrNotExist):
		return fault.E(opArchive, fault.NotFound, err, name+" does not exist")
	}
	return fault.E(opArchive, fault.Unavailable, err, name+" cannot be "+done+": "+err.Error())
}
