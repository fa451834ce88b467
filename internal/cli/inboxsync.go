package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/rpc"
)

const syncLong = `Sync asks mail servers for what was missed, and says what came, from whom, and whether that is all. The
inbox does so by itself at the start, when the network is back, and for a new watch. Two mail servers are
asked where there are two: one hands over the mail, the other is compared with it. Mail counts as come
when it is on disk. With --json it prints the answer of inbox_sync.

The exit code is 0 if the mail servers said that this is all they have and nothing is missing, and 6 if
not: what is missing is listed, and the inbox goes on trying.`

const syncExample = `  restante inbox sync
  restante inbox sync --max-bytes 2MB --first lobby
  restante inbox sync --server home`

type syncFlags struct {
	maxBytes int64
	first    []string
	server   string
	alone    bool
	json     bool
}

func (a *App) inboxSync() *cobra.Command {
	var f syncFlags
	cmd := &cobra.Command{
		Use:     "sync [flags]",
		Short:   "fetch what was missed, and say whether that is all",
		Long:    syncLong,
		Example: syncExample,
		Args:    arguments(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.sync(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.Func("max-bytes", "receive at most this `SIZE`, such as 2MB (default: inbox.sync_budget)", func(s string) (err error) {
		f.maxBytes, err = parseSize(s)
		return err
	})
	flags.StringArrayVar(&f.first, "first", nil, "fetch this `WATCH`, by name or id, or this topic before others; may be repeated")
	flags.StringVar(&f.server, "server", "", "ask only this mail `SERVER`, by name, id or address")
	flags.BoolVar(&f.alone, "alone", false, "compare with no second mail server")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

func (a *App) sync(cmd *cobra.Command, f *syncFlags) error {
	ctx := cmd.Context()
	req := rpc.SyncRequest{MaxBytes: f.maxBytes, Alone: f.alone}
	n, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	if f.server != "" {
		s, err := n.server(ctx, f.server)
		if err != nil {
			return err
		}
		req.Server = s.ID
	}
	if req.First, err = n.topics(ctx, f.first); err != nil {
		return err
	}
	raw, err := a.watchSync(ctx, n, req)
	if err != nil {
		return err
	}
	var r rpc.SyncReport
	if err := json.Unmarshal(raw, &r); err != nil {
		return fail(ExitFailure, "the node and this program may be of different versions", "the node's answer is not understood: %v", err)
	}
	if f.json {
		if err := printJSON(a.Out, raw); err != nil {
			return err
		}
	} else if err := a.showReport(&r); err != nil {
		return err
	}
	return verdict(&r)
}

// topics gives those of watches that a user names, and those that are given as topics.
func (n *node) topics(ctx context.Context, names []string) (list []rpc.Topic, err error) {
	for _, name := range names {
		if t, err := envelope.ParseTopic(name); err == nil {
			list = append(list, rpc.Topic(t))
			continue
		}
		w, err := n.watch(ctx, name)
		if err != nil {
			return nil, err
		}
		list = append(list, w.Topics...)
	}
	return list, nil
}

// watchSync asks for a catch-up and draws its progress until it has ended.
func (a *App) watchSync(ctx context.Context, n *node, req rpc.SyncRequest) (raw json.RawMessage, err error) {
	bar := newProgressBar(a)
	defer bar.clear()
	events, _, cancel, err := n.events(ctx, "progress")
	if err != nil {
		return nil, err
	}
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- n.callLong(ctx, &raw, "inbox_sync", req) }()
	for {
		select {
		case e := <-events:
			if p := e.Progress; p != nil {
				bar.draw(history.Progress{Envelopes: uint64(p.New), Received: p.Bytes, Share: p.Share})
			}
		case err := <-done:
			return raw, err
		}
	}
}

// showReport says how much came, from whom, and what is missing.
func (a *App) showReport(r *rpc.SyncReport) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	if len(r.Servers) > 0 {
		fmt.Fprintln(w, "SERVER\tROLE\tENVELOPES\tNEW\tRECEIVED\tLACKED\tWITHHELD\tEND")
	}
	for i := range r.Servers {
		s := &r.Servers[i]
		end := s.End
		if s.Error != "" {
			end += ": " + s.Error
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%d\t%d\t%s\n", printable(s.Name), printable(s.Role), s.Envelopes, s.New, showBytes(s.Bytes),
			s.Lacked, s.Withheld, printable(end))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Millisecond)
	a.note("%s (%s) in %s; %s received", plural(r.New, "new message", "new messages"), showBytes(r.NewBytes), took, showBytes(r.Bytes))
	for i := range r.Gaps {
		a.note("missing: %s", printable(r.Gaps[i].Text))
	}
	if all(r) {
		a.note("%s", printable(r.Text))
	}
	return nil
}

// all reports whether nothing is missing that could still come.
func all(r *rpc.SyncReport) bool {
	for i := range r.Gaps {
		if !r.Gaps[i].Closed {
			return false
		}
	}
	return r.End == "agreed" || r.End == "complete"
}

// verdict makes the exit code of a report.
func verdict(r *rpc.SyncReport) error {
	switch {
	case all(r):
		return nil
	case r.End == "failed":
		return fail(ExitFailure, "`restante inbox servers` says what is wrong with each mail server", "%s", printable(r.Text))
	case r.End == "stopped":
		return fail(ExitInterrupted, "", "%s", printable(r.Text))
	case r.End == "over budget":
		return fail(ExitIncomplete, "to go on, the same again, or with a larger --max-bytes", "%s", printable(r.Text))
	}
	return fail(ExitIncomplete, "`restante inbox gaps` shows what is missing; the inbox goes on trying", "%s", printable(r.Text))
}

func (a *App) inboxGaps() *cobra.Command {
	return question(a, "gaps", "show what is missing",
		"Gaps lists what is known to be missing: stretches of time that no mail server answered for, and envelopes that one\n"+
			"named and nobody handed over. The inbox goes on trying to fill them.", "inbox_gaps",
		func(list []rpc.InboxGap) error {
			if len(list) == 0 {
				a.note("no gaps are known")
			}
			for i := range list {
				g := &list[i]
				state := "open"
				if g.Closed {
					state = "lost"
				}
				if _, err := fmt.Fprintf(a.Out, "%s (%s): %s\n", state, printable(g.Cause), printable(g.Text)); err != nil {
					return err
				}
			}
			return nil
		})
}

func (a *App) inboxCoverage() *cobra.Command {
	var watch string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "coverage",
		Short: "show until when each topic is complete, and who says so",
		Long: "Coverage shows for each topic until when it is complete, as mail servers said, and until when older ones answered,\n" +
			"which cannot say whether that was all. With --json it prints the answer of inbox_coverage.",
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer n.close()
			id := ""
			if watch != "" {
				w, err := n.watch(cmd.Context(), watch)
				if err != nil {
					return err
				}
				id = w.ID
			}
			var list []rpc.InboxCoverage
			if err := n.call(cmd.Context(), &list, "inbox_coverage", id); err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Out, list)
			}
			return a.showCoverage(list)
		},
	}
	cmd.Flags().StringVar(&watch, "watch", "", "only the topics of this `WATCH`, by name or id")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *App) showCoverage(list []rpc.InboxCoverage) error {
	if len(list) == 0 {
		a.note("nothing is watched; `restante inbox watch` begins")
	}
	for i := range list {
		if _, err := fmt.Fprintf(a.Out, "%s: %s\n", envelope.Topic(list[i].Topic), printable(list[i].Text)); err != nil {
			return err
		}
	}
	return nil
}
