package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/watch"
)

const watchLong = `Watch has the inbox wait for topics from now on, and ask mail servers for what was sent before. Give the
password or key that opens what comes, or --no-key to keep it as it is, encrypted. A key is kept in the
inbox; it need not be given again. The id of the watch is printed.`

const watchExample = `  restante inbox watch --topic-text lobby --since 7d           asks for the password
  restante inbox watch --topic 0x5a4ea131 --key-file me.key --name "for me"
  restante inbox watch --topic 0x5a4ea131 --no-key`

type watchFlags struct {
	sealing
	keyFile  string
	key      string
	noKey    bool
	signedBy string
	since    string
	name     string
	rank     int
}

func (a *App) inboxWatch() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:     "watch [flags]",
		Short:   "wait for topics",
		Long:    watchLong,
		Example: watchExample,
		Args:    arguments(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.watch(cmd, &f) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.keyFile, "key-file", "", "open messages for the private key in `FILE`, 64 hex digits")
	flags.StringVar(&f.key, "key", "", "open messages for the node's key pair of this `ID`")
	flags.BoolVar(&f.noKey, "no-key", false, "keep what comes as it is, encrypted")
	flags.StringVar(&f.signedBy, "signed-by", "", "only messages signed with this `PUBLIC-KEY`, 0x04 and 128 hex digits")
	flags.StringVar(&f.since, "since", "", "sent since this `TIME`: an age such as 24h or 7d, a date, or Unix seconds (default: inbox.since)")
	flags.StringVar(&f.name, "name", "", "call it by this `NAME`")
	flags.IntVar(&f.rank, "rank", 0, fmt.Sprintf("fetch those with a smaller `NUMBER` first, 0 to %d", watch.MaxRank))
	exclusive(cmd, "password", "password-file", "sym-key", "sym-key-file", "key-file", "key", "no-key")
	return cmd
}

func (a *App) watch(cmd *cobra.Command, f *watchFlags) error {
	ctx := cmd.Context()
	want, err := f.request(cmd, a.now())
	if err != nil {
		return err
	}
	private := f.keyFile != "" || f.key != ""
	var secret symSource
	if !private && !f.noKey {
		if secret, err = a.symmetric(cmd, &f.sealing, ", --key-file, --no-key"); err != nil {
			return err
		}
	}
	keys := &listenFlags{keyFile: f.keyFile, key: f.key}
	keyFile, err := keys.readKeyFile()
	if err != nil {
		return err
	}
	n, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	if !f.noKey {
		var lent rpc.Criteria
		forget, err := a.lendKey(ctx, n, keys, &lent, secret, keyFile)
		if err != nil {
			return err
		}
		defer forget()
		want.SymKeyID, want.PrivateKeyID = lent.SymKeyID, lent.PrivateKeyID
	}
	var w rpc.InboxWatch
	if err := n.call(ctx, &w, "inbox_watch", want); err != nil {
		return err
	}
	fmt.Fprintln(a.Out, printable(w.ID))
	a.note("watching %s; `restante inbox sync` fetches what was sent before", plural(len(w.Topics), "topic", "topics"))
	return nil
}

func (f *watchFlags) request(cmd *cobra.Command, now time.Time) (want rpc.NewWatch, err error) {
	want = rpc.NewWatch{Name: f.name, Rank: f.rank}
	if f.rank < 0 || f.rank > watch.MaxRank {
		return want, usage(cmd, "--rank is %d; allowed: 0 to %d", f.rank, watch.MaxRank)
	}
	topics, err := f.parseTopics(cmd)
	if err != nil {
		return want, err
	}
	if len(topics) == 0 {
		return want, usage(cmd, "the topic is missing: give --topic or --topic-text")
	}
	for _, t := range topics {
		want.Topics = append(want.Topics, rpc.Topic(t))
	}
	if f.since != "" {
		since, err := parseMoment(cmd, "since", f.since, now)
		if err != nil {
			return want, err
		}
		want.Since = &since
	}
	if f.signedBy != "" {
		want.Sig, err = parsePublic(f.signedBy, "the public key of --signed-by")
	}
	return want, err
}

func (a *App) inboxUnwatch() *cobra.Command {
	return &cobra.Command{
		Use:   "unwatch WATCH",
		Short: "end a watch",
		Long:  "Unwatch ends a watch, named by its name or id. What came for it is deleted, unless another watch has the topic, too.",
		Args:  arguments(1, 1, "the watch"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer n.close()
			w, err := n.watch(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var ok bool
			if err := n.call(cmd.Context(), &ok, "inbox_unwatch", w.ID); err != nil {
				return err
			}
			a.note("%s is not watched any more", printable(first(w.Name, w.ID)))
			return nil
		},
	}
}

// watch finds a watch by its name or id.
func (n *node) watch(ctx context.Context, text string) (*rpc.InboxWatch, error) {
	var list []rpc.InboxWatch
	if err := n.call(ctx, &list, "inbox_watches"); err != nil {
		return nil, err
	}
	return one(list, text, "watch", "restante inbox watches", func(w *rpc.InboxWatch) (id, name string) { return w.ID, w.Name })
}

func (a *App) inboxWatches() *cobra.Command {
	return question(a, "watches", "list what the inbox waits for", "Watches lists what the inbox waits for.", "inbox_watches",
		func(list []rpc.InboxWatch) error {
			if len(list) == 0 {
				a.note("nothing is watched; `restante inbox watch` begins")
				return nil
			}
			w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tNAME\tRANK\tKEY\tSINCE\tTOPICS")
			for i := range list {
				one := &list[i]
				since := "ever"
				if one.Since > 0 {
					since = time.Unix(int64(one.Since), 0).Format(time.DateTime)
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", printable(one.ID), printable(one.Name), one.Rank, printable(one.Key), since, someTopics(one.Topics))
			}
			return w.Flush()
		})
}

// someTopics names a few topics.
func someTopics(list []rpc.Topic) string {
	const most = 4
	var names []string
	for _, t := range list[:min(len(list), most)] {
		names = append(names, envelope.Topic(t).String())
	}
	text := strings.Join(names, " ")
	if len(list) > most {
		text += fmt.Sprintf(" and %d more", len(list)-most)
	}
	return text
}
