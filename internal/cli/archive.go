package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/rpc"
)

// ArchiveOpener opens the archive in a directory, and makes one where there is none. Its error is a fault: Exists if
// another process has it open.
type ArchiveOpener func(dir string) (archive.Archive, error)

const archiveLong = `A mail server keeps what it has in its archive. These commands ask the running node; when no node is
running they open the archive in the data directory themselves.`

const archiveExample = `  restante archive stats
  restante archive check                                  read and verify everything
  restante archive backup /srv/backup/2027-01-31          a copy, while the node works
  restante archive export mail.rlp --since 7d             the envelopes, one behind the other
  restante archive drop 0x6f8b6a1e…                       remove one envelope for good`

func (a *App) archiveCommand() *cobra.Command {
	g := group("archive", "look after the mail server's archive", a.archiveStats(), a.archiveCheck(), a.archivePrune(),
		a.archiveDrop(), a.archiveExport(), a.archiveImport(), a.archiveBackup())
	g.Long = archiveLong
	g.Example = archiveExample
	return g
}

// onArchive works with the archive, by the running node or else without one. Only with create an archive is made where
// there is none.
func (a *App) onArchive(ctx context.Context, create bool, work func(rpc.Archive) error) error {
	n, err := a.connect(ctx)
	if err == nil {
		defer n.close()
		return work(nodeArchive{n})
	}
	var f *failure
	if !errors.As(err, &f) || f.code != ExitNoNode || a.global.ipc != "" {
		return err
	}
	cfg, _, err := a.loadConfig(nil)
	if err != nil {
		return err
	}
	dir := cfg.Archive.Dir
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) && !create {
		return fail(ExitNoNode, "start a mail server with `restante serve --mailserver`, or point to another with --data-dir",
			"no node is running, and there is no archive at %s", dir)
	}
	store, err := a.OpenArchive(dir)
	if err != nil {
		if fault.Is(err, fault.Exists) {
			return fail(ExitOther, "", "%s", fault.Text(err))
		}
		return err
	}
	rules := archive.Rules{Age: cfg.Archive.MaxAge, Min: cfg.Archive.MinAge, Cap: cfg.Archive.Cap, MinFree: cfg.Archive.MinFree}
	store.SetRules(rules)
	a.note("no node is running; opened the archive at %s", dir)
	err = work(&rpc.ArchiveStore{Dir: dir, Store: store, Rules: func() archive.Rules { return rules }, Now: a.now})
	if closeErr := store.Close(); err == nil {
		err = closeErr
	}
	return err
}

// nodeArchive is a running node's archive.
type nodeArchive struct{ *node }

// answer asks by call, which is the node's call or callLong.
func answer[T any](ctx context.Context, call func(context.Context, any, string, ...any) error, method string, args ...any) (out T, err error) {
	err = call(ctx, &out, method, args...)
	return out, err
}

func (n nodeArchive) Stats(ctx context.Context) (rpc.ArchiveStats, error) {
	return answer[rpc.ArchiveStats](ctx, n.call, "archive_stats")
}

func (n nodeArchive) Check(ctx context.Context) (rpc.ArchiveCheck, error) {
	return answer[rpc.ArchiveCheck](ctx, n.callLong, "archive_check")
}

func (n nodeArchive) Prune(ctx context.Context, age time.Duration) (rpc.ArchivePruned, error) {
	if age == 0 {
		return answer[rpc.ArchivePruned](ctx, n.callLong, "archive_prune")
	}
	return answer[rpc.ArchivePruned](ctx, n.callLong, "archive_prune", uint32(age/time.Second))
}

func (n nodeArchive) Drop(ctx context.Context, hashes []envelope.Hash) (int, error) {
	return answer[int](ctx, n.callLong, "archive_drop", hashes)
}

func (n nodeArchive) Export(ctx context.Context, req rpc.ArchiveExport) (rpc.ArchiveCopied, error) {
	return answer[rpc.ArchiveCopied](ctx, n.callLong, "archive_export", req)
}

func (n nodeArchive) Import(ctx context.Context, path string) (rpc.ArchiveImported, error) {
	return answer[rpc.ArchiveImported](ctx, n.callLong, "archive_import", path)
}

func (n nodeArchive) Backup(ctx context.Context, dir string) (rpc.ArchiveCopied, error) {
	return answer[rpc.ArchiveCopied](ctx, n.callLong, "archive_backup", dir)
}

func (n nodeArchive) Explain(ctx context.Context, hash envelope.Hash) (rpc.Explanation, error) {
	return answer[rpc.Explanation](ctx, n.call, "archive_explain", hash)
}

func (a *App) archiveStats() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "show what the archive holds",
		Long:  "Stats shows how much mail is kept and by which rules. With --json it prints the answer of archive_stats.",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.onArchive(cmd.Context(), false, func(ar rpc.Archive) error {
				st, err := ar.Stats(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.Out, st)
				}
				return a.showArchive(&st)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *App) showArchive(st *rpc.ArchiveStats) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("directory", "%s", st.Dir)
	line("envelopes", "%d, %s", st.Envelopes, showBytes(st.Bytes))
	limit := "no cap"
	if st.Cap > 0 {
		limit = fmt.Sprintf("%d%% of the cap of %s", 100*st.Disk/st.Cap, showBytes(st.Cap))
	}
	line("on disk", "%s in %s, %s", showBytes(st.Disk), plural(st.Slices, "slice", "slices"), limit)
	if st.Envelopes > 0 {
		line("arrivals", "%d to %d in epoch %s", st.First, st.Next-1, st.Epoch)
		line("oldest", "%s ago", showAge(a.now().Sub(st.Oldest)))
		line("newest", "%s ago", showAge(a.now().Sub(st.Newest)))
	}
	longest := "for ever"
	if st.MaxAge > 0 {
		longest = "for " + showKept(st.MaxAge)
	}
	line("keeps", "%s, at least for %s", longest, showKept(st.MinAge))
	line("since start", "%d stored with %s of the disk, %d came again, %d pruned", st.Puts,
		plural(int(st.Syncs), "sync", "syncs"), st.Duplicates, st.Pruned)
	if st.Damaged > 0 {
		line("damaged", "%s; `restante archive check` tells more", plural(int(st.Damaged), "part", "parts"))
	}
	if err := w.Flush(); err != nil || st.Refusing == "" {
		return err
	}
	_, err := fmt.Fprintf(a.Out, "\nnew mail is refused: %s\n", printable(st.Refusing))
	return err
}

// showKept gives a time from a configuration, which is mostly whole days.
func showKept(seconds uint64) string {
	const day = 24 * 60 * 60
	if seconds%day == 0 {
		return plural(int(seconds/day), "day", "days")
	}
	return showAge(time.Duration(seconds) * time.Second)
}

func (a *App) archiveCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "read and verify everything in the archive",
		Long: "Check reads the whole archive, while the node works, and compares it with its checksums and indexes. The exit\n" +
			"code is 1 if damage was found. With --json it prints the answer of archive_check.",
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.onArchive(cmd.Context(), false, func(ar rpc.Archive) error { return a.checkArchive(cmd.Context(), ar, asJSON) })
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *App) checkArchive(ctx context.Context, ar rpc.Archive, asJSON bool) error {
	a.note("reading the archive")
	got, err := ar.Check(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(a.Out, got); err != nil {
			return err
		}
	} else {
		for _, p := range got.List {
			fmt.Fprintf(a.Out, "%s at %d: %s\n", printable(p.File), p.Offset, printable(p.Text))
		}
		if more := got.Problems - len(got.List); more > 0 {
			fmt.Fprintf(a.Out, "and %d more\n", more)
		}
	}
	read := fmt.Sprintf("%s, %s", plural(int(got.Envelopes), "envelope", "envelopes"), showBytes(got.Bytes))
	if got.Problems > 0 {
		return fail(ExitFailure, "what is undamaged is served; check the disk, and restore what was lost with `restante archive import`",
			"found %s in %s", plural(got.Problems, "problem", "problems"), read)
	}
	a.note("all is well: %s", read)
	return nil
}

func (a *App) archivePrune() *cobra.Command {
	var age time.Duration
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "remove old mail now",
		Long: "Prune applies the rules of age and cap at once; the node does so by itself every minute. With --older-than mail is\n" +
			"removed as if it were kept for that time at most. What is younger than min_age in the configuration stays.",
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.onArchive(cmd.Context(), false, func(ar rpc.Archive) error {
				got, err := ar.Prune(cmd.Context(), age)
				if err == nil {
					a.note("removed %s; %s are free again", plural(int(got.Envelopes), "envelope", "envelopes"), showBytes(got.Bytes))
				}
				return err
			})
		},
	}
	cmd.Flags().Func("older-than", "remove what came longer than this `TIME` ago, such as 12h or 30d", func(s string) (err error) {
		age, err = parseAge(s)
		return err
	})
	return cmd
}

// maxAge bounds --older-than.
const maxAge = 3650 * 24 * time.Hour

func parseAge(s string) (time.Duration, error) {
	now := time.Unix(0, 0).UTC()
	t, ok := readMoment(s, now)
	age := now.Sub(t)
	if _, number := wholeNumber(s); !ok || number || age < time.Second || age > maxAge {
		return 0, errors.New("allowed: a time such as 12h or 30d, from 1s to 3650d")
	}
	return age, nil
}

func (a *App) archiveDrop() *cobra.Command {
	return &cobra.Command{
		Use:   "drop HASH...",
		Short: "remove single envelopes for good",
		Long: "Drop overwrites envelopes in the archive: they are not served again, and not taken again when they come back.\n" +
			"Copies in backups and on other mail servers stay.",
		Args: arguments(1, rpc.MaxDrops, "the envelope's hash"),
		RunE: func(cmd *cobra.Command, args []string) error {
			hashes := make([]envelope.Hash, len(args))
			for i, text := range args {
				var err error
				if hashes[i], err = parseHash(text); err != nil {
					return err
				}
			}
			return a.onArchive(cmd.Context(), false, func(ar rpc.Archive) error {
				n, err := ar.Drop(cmd.Context(), hashes)
				switch {
				case err != nil:
					return err
				case n < len(hashes):
					return fail(ExitFailure, "", "dropped %d of %s; the others are not in the archive", n, plural(len(hashes), "envelope", "envelopes"))
				}
				a.note("dropped %s", plural(n, "envelope", "envelopes"))
				return nil
			})
		},
	}
}

func parseHash(text string) (envelope.Hash, error) {
	hash, err := envelope.ParseHash(strings.TrimSpace(text))
	if err != nil {
		return hash, fail(ExitUsage, "", "%v", err)
	}
	return hash, nil
}
