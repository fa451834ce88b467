package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/rpc"
)

type exportFlags struct {
	sealing
	since, until string
}

func (a *App) archiveExport() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "write the archive's envelopes to a file",
		Long: "Export writes envelopes in the order in which they came to a new file: one behind the other, as the network has\n" +
			"them. Any archive can import it, and files can be joined with cat. The node writes the file itself.",
		Args: arguments(1, 1, "the file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.exportArchive(cmd, &f, args[0]) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringArrayVar(&f.topics, "topic", nil, "only this topic, 0x and 8 `HEX` digits")
	flags.StringArrayVar(&f.topicTexts, "topic-text", nil, "only this topic, by `NAME`")
	flags.StringVar(&f.since, "since", "", "sent since this `TIME`: an age such as 24h or 7d, a date, or Unix seconds")
	flags.StringVar(&f.until, "until", "", "sent until this `TIME`")
	return cmd
}

func (a *App) exportArchive(cmd *cobra.Command, f *exportFlags, file string) error {
	var req rpc.ArchiveExport
	topics, err := f.parseTopics(cmd)
	if err != nil {
		return err
	}
	for _, t := range topics {
		req.Topics = append(req.Topics, rpc.Topic(t))
	}
	if req.From, err = parseMoment(cmd, "since", f.since, a.now()); err != nil {
		return err
	}
	if req.To, err = parseMoment(cmd, "until", f.until, a.now()); err != nil {
		return err
	}
	if req.To != 0 && req.From > req.To {
		return usage(cmd, "--since is later than --until")
	}
	if req.Path, err = absolute(file); err != nil {
		return err
	}
	return a.onArchive(cmd.Context(), false, func(ar rpc.Archive) error {
		a.note("exporting to %s", printable(req.Path))
		got, err := ar.Export(cmd.Context(), req)
		return a.copied("exported", got, err)
	})
}

func (a *App) copied(done string, got rpc.ArchiveCopied, err error) error {
	if err == nil {
		a.note("%s %s, %s", done, plural(int(got.Envelopes), "envelope", "envelopes"), showBytes(got.Bytes))
	}
	return err
}

func (a *App) archiveBackup() *cobra.Command {
	return &cobra.Command{
		Use:   "backup DIRECTORY",
		Short: "copy the archive into a new directory",
		Long: "Backup copies the archive, while the node works, into a directory that is new or empty. To restore it, stop the\n" +
			"node and put the copy where the archive was. Clients notice that the copy is not the original, and ask again.",
		Args: arguments(1, 1, "the directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := absolute(args[0])
			if err != nil {
				return err
			}
			return a.onArchive(cmd.Context(), false, func(ar rpc.Archive) error {
				a.note("copying to %s", printable(dir))
				got, err := ar.Backup(cmd.Context(), dir)
				return a.copied("copied", got, err)
			})
		},
	}
}

func (a *App) archiveImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "store the envelopes of a file",
		Long: "Import stores what export, or fetch --output, wrote. What is there already stays as it is. A file that is cut or\n" +
			"damaged is stored up to there, and the exit code is 1. The node reads the file itself.",
		Args: arguments(1, 1, "the file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := absolute(args[0])
			if err != nil {
				return err
			}
			return a.onArchive(cmd.Context(), true, func(ar rpc.Archive) error { return a.importArchive(cmd.Context(), ar, file) })
		},
	}
}

func (a *App) importArchive(ctx context.Context, ar rpc.Archive, file string) error {
	a.note("importing %s", printable(file))
	got, err := ar.Import(ctx, file)
	if err != nil {
		return err
	}
	a.note("stored %s; %d were there already, %d were too large", plural(int(got.New), "new envelope", "new envelopes"), got.Duplicate, got.Refused)
	if got.Problem != "" {
		return fail(ExitFailure, "", "not all was read: %s", printable(got.Problem))
	}
	return nil
}
