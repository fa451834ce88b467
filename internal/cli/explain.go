package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/rpc"
)

func (a *App) explainCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain HASH",
		Short: "tell what became of an envelope on this mail server",
		Long: "Explain tells whether the mail server has an envelope, since when, until when it is held and how often it was handed\n" +
			"out, or why it was refused. Refusals are remembered for a day, not beyond a restart. To whom it was handed out is\n" +
			"not recorded. With --json it prints the answer of archive_explain.",
		Args: arguments(1, 1, "the envelope's hash"),
		RunE: func(cmd *cobra.Command, args []string) error {
			hash, err := parseHash(args[0])
			if err != nil {
				return err
			}
			return a.onArchive(cmd.Context(), false, func(ar rpc.Archive) error {
				x, err := ar.Explain(cmd.Context(), hash)
				switch {
				case err != nil:
					return err
				case asJSON:
					return printJSON(a.Out, x)
				}
				fmt.Fprintln(a.Out, printable(x.Text))
				if x.From != "" {
					fmt.Fprintf(a.Out, "It came from %s, a name for today only.\n", printable(x.From))
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
