package cli

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/rpc"
)

func (a *App) statusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "show what the running node is and how it is",
		Long: "Status shows the running node's address, peers, pool and conditions that need attention.\n" +
			"With --json it prints the answer of node_status.",
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var st rpc.Status
			raw, err := a.ask(cmd.Context(), &st, "node_status")
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Out, raw)
			}
			a.showStatus(&st)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *App) showStatus(st *rpc.Status) {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("version", "%s", st.Version)
	line("running", "%s", showAge(a.now().Sub(st.Started)))
	line("enode", "%s", st.Enode)
	if st.Listen == "" {
		line("listens", "nowhere: it only dials")
	} else {
		line("listens", "%s", st.Listen)
	}
	line("speaks", "%s", strings.Join(st.Dialects, ", "))
	line("peers", "%d of %d", st.PeersConnected, st.PeersMax)
	line("pool", "%s, %s", plural(st.Pool.Envelopes, "envelope", "envelopes"), showBytes(st.Pool.Bytes))
	interest := "what its filters ask for"
	if st.FullNode {
		interest = "every topic"
	}
	if st.Mail != nil {
		a.mailLines(line, st.Mail)
	}
	line("takes", "%s with proof of work from %s", interest, strconv.FormatFloat(st.MinPoW, 'f', -1, 64))
	if st.ClockOffset != nil {
		line("clock", "%+.1f s against the peers' median", -*st.ClockOffset)
	}
	line("data", "%s", st.DataDir)
	w.Flush()
	if len(st.Health) == 0 {
		fmt.Fprintln(a.Out, "\nnothing needs attention")
		return
	}
	fmt.Fprintln(a.Out)
	for _, c := range st.Health {
		fmt.Fprintf(a.Out, "%s (%s, for %s): %s\n", printable(c.Severity), printable(c.Code),
			showAge(a.now().Sub(c.Since)), printable(c.Text))
	}
}

// mailLines tells of the mail server.
func (a *App) mailLines(line func(what, format string, args ...any), m *rpc.Mail) {
	of := ""
	if m.Cap > 0 {
		of = " of " + showBytes(m.Cap)
	}
	oldest := ""
	if !m.Oldest.IsZero() {
		oldest = ", the oldest " + showAge(a.now().Sub(m.Oldest)) + " old"
	}
	line("archive", "%s, %s%s%s", plural(int(m.Envelopes), "envelope", "envelopes"), showBytes(m.Disk), of, oldest)
	whom := "everybody"
	if m.MembersOnly {
		whom = "members"
	}
	line("serves", "%s; %s answered, %s handed out, %d open", whom, plural(int(m.Answered), "request", "requests"),
		plural(int(m.Sent), "envelope", "envelopes"), m.Open)
	if !m.Closing.IsZero() {
		line("closes", "after %s", m.Closing.UTC().Add(-time.Second).Format(time.DateOnly))
	}
}

func (a *App) reachCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reach",
		Short: "check whether others can connect to the running node",
		Long: "Reach has the running node connect to the address that it tells others, and asks for a proof that it\n" +
			"reached itself. A router may let others in and not this machine, or the reverse: a friend's\n" +
			"`restante peers add` is the final test. The exit code is 1 if the node was not reached.",
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r rpc.Reachability
			raw, err := a.ask(cmd.Context(), &r, "node_reachable")
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Out, raw)
			}
			fmt.Fprintln(a.Out, printable(r.Enode))
			if r.Outcome != "reachable" {
				return fail(ExitFailure, "forward the port in your router, or set network.advertise to the address that others see",
					"%s", printable(r.Text))
			}
			fmt.Fprintln(a.Out, printable(r.Text))
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *App) peersCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "list, add and remove the running node's peers",
		Long: "Peers lists the nodes that the running node is connected with, and the static ones that it is not.\n" +
			"With --json it prints the answer of node_peers.",
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.peers(cmd, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	cmd.AddCommand(
		a.peerCommand("add ENODE", "stay connected with a node until the node stops", "node_addPeer",
			"added until the node stops; to keep it, put it under network.static in the configuration"),
		a.peerCommand("remove ENODE", "forget a static node and end its connection", "node_removePeer", "removed"))
	return cmd
}

func (a *App) peerCommand(use, short, method, done string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: arguments(1, 1, "the node's address"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ok bool
			if _, err := a.ask(cmd.Context(), &ok, method, args[0]); err != nil {
				return err
			}
			a.note("%s", done)
			return nil
		}}
}

func (a *App) peers(cmd *cobra.Command, asJSON bool) error {
	var list []rpc.Peer
	raw, err := a.ask(cmd.Context(), &list, "node_peers")
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.Out, raw)
	}
	if len(list) == 0 {
		a.note("no peers")
		return nil
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tADDRESS\tSTATE\tSPEAKS\tRECEIVED\tSENT\tNAME")
	for _, p := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", printable(p.ID[:min(len(p.ID), 8)]), printable(p.Address),
			printable(state(&p, a.now())), printable(strings.Join(p.Dialects, ",")), p.EnvelopesIn, p.EnvelopesOut,
			printable(p.Name))
	}
	return w.Flush()
}

// state says in a few words how the connection is.
func state(p *rpc.Peer, now time.Time) string {
	if !p.Connected {
		if p.Problem != "" {
			return "not connected: " + p.Problem
		}
		return "not connected"
	}
	direction := "out"
	if p.Inbound {
		direction = "in"
	}
	if p.Since != nil {
		direction += " " + showAge(now.Sub(*p.Since))
	}
	if p.Static {
		direction += ", static"
	}
	if p.Trusted {
		direction += ", trusted"
	}
	return direction
}

func (a *App) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}
