package cli

import (
	"fmt"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/rpc"
)

const inboxLong = `These commands ask the running inbox (see "restante up"): what it waits for, what has come, which mail
servers it asks, what is known to be complete, and what became of what you sent.`

const inboxExample = `  restante inbox servers add "restante://join?…"     ask this mail server
  restante inbox watch --topic-text lobby            wait for a public chat (asks for the password)
  restante inbox sync                                fetch what was missed, and hear whether that is all
  restante inbox messages --follow                   read what is there, and what comes
  restante inbox send --topic-text lobby "hello"     send, and keep at it until a mail server holds it`

func (a *App) inboxCommand() *cobra.Command {
	g := group("inbox", "watch, catch up, read and send with the running inbox",
		a.inboxStatus(), a.inboxWatch(), a.inboxUnwatch(), a.inboxWatches(), a.inboxMessages(), a.inboxSync(), a.inboxCoverage(),
		a.inboxGaps(), a.inboxServers(), a.inboxSend(), a.inboxLetters(), a.inboxBudget(), a.inboxExplain())
	g.Long = inboxLong
	g.Example = inboxExample
	return g
}

// question makes a command that asks for one thing and shows it.
func question[T any](a *App, use, short, long, method string, show func(T) error) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long + "\nWith --json it prints the answer of " + method + ".",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer T
			raw, err := a.ask(cmd.Context(), &answer, method)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Out, raw)
			}
			return show(answer)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *App) inboxStatus() *cobra.Command {
	return question(a, "status", "show how the inbox is doing",
		"Status shows what the inbox keeps and waits for, and whether anything needs attention.", "inbox_status", a.showInbox)
}

func (a *App) showInbox(st rpc.InboxStatus) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("file", "%s, %s; %s", st.File, showBytes(st.FileBytes), protection(st.Protection))
	of := ""
	if st.Cap > 0 {
		of = " of " + showBytes(st.Cap)
	}
	line("mail", "%s, %s%s", plural(int(st.Mail), "envelope", "envelopes"), showBytes(st.MailBytes), of)
	line("watches", "%d, of %s", st.Watches, plural(st.Topics, "topic", "topics"))
	line("servers", "%d connected of %d", st.Connected, st.Servers)
	line("gaps", "%d open", st.Gaps)
	line("letters", "%d still followed", st.Letters)
	switch {
	case st.Syncing:
		line("catch-up", "under way")
	case st.LastSync.IsZero():
		line("catch-up", "none has ended well yet")
	default:
		line("catch-up", "ended %s ago", showAge(a.now().Sub(st.LastSync)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.Out, "\n%s\n", printable(st.Text))
	return err
}

// protection says where the key of the inbox is.
func protection(kind string) string {
	switch kind {
	case "keyring":
		return "its key is in the system's keyring"
	case "passphrase":
		return "its key is protected by a passphrase"
	}
	return "not protected: whoever can read the data directory can read the mail"
}

func (a *App) inboxBudget() *cobra.Command {
	return question(a, "budget", "show the bytes spent today",
		"Budget shows what was received from mail servers and passed on for others today, by UTC day.", "inbox_budget",
		func(b rpc.InboxBudget) error {
			w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "day\t%s (UTC)\n", printable(b.Day))
			fmt.Fprintf(w, "from mail servers\t%s\n", showBytes(b.Fetched))
			sort.Slice(b.Servers, func(i, j int) bool { return b.Servers[i].Bytes > b.Servers[j].Bytes })
			for _, s := range b.Servers {
				fmt.Fprintf(w, "  %s\t%s\n", printable(first(s.Name, short(s.Server))), showBytes(s.Bytes))
			}
			of := ""
			if b.RelayedLimit > 0 {
				of = " of " + showBytes(b.RelayedLimit)
			}
			fmt.Fprintf(w, "for others\t%s%s\n", showBytes(b.Relayed), of)
			if b.PerSync > 0 {
				fmt.Fprintf(w, "a catch-up\t%s at most\n", showBytes(b.PerSync))
			}
			return w.Flush()
		})
}

func (a *App) inboxExplain() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain HASH",
		Short: "tell what the inbox knows of an envelope",
		Long: "Explain tells whether the inbox has an envelope, where it came from and for which watches, or that it is missing,\n" +
			"or which letter of yours it carries. With --json it prints the answer of inbox_explain.",
		Args: arguments(1, 1, "the envelope's hash"),
		RunE: func(cmd *cobra.Command, args []string) error {
			hash, err := parseHash(args[0])
			if err != nil {
				return err
			}
			var x rpc.InboxExplanation
			raw, err := a.ask(cmd.Context(), &x, "inbox_explain", hash)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Out, raw)
			}
			_, err = fmt.Fprintln(a.Out, printable(x.Text))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// one finds what a user means: by id, by the first digits of the id as lists show them, or by name. names gives an
// element's id and name.
func one[T any](list []T, text, what, where string, names func(*T) (id, name string)) (*T, error) {
	const enough = 4 // digits
	var found []*T
	for i := range list {
		id, name := names(&list[i])
		if id == text {
			return &list[i], nil
		}
		if strings.EqualFold(name, text) && name != "" || len(text) >= enough && strings.HasPrefix(id, strings.ToLower(text)) {
			found = append(found, &list[i])
		}
	}
	hint := fmt.Sprintf("`%s` lists them", where)
	switch len(found) {
	case 0:
		return nil, fail(ExitFailure, hint, "there is no %s %q", what, text)
	case 1:
		return found[0], nil
	}
	return nil, fail(ExitFailure, hint, "%d are called %q: give the id", len(found), text)
}
