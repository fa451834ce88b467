package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/rpc"
)

const messagesLong = `Messages prints what has come, in the order in which it was kept, live or from mail servers. Each message
has a number, which grows; what came later than one is read with --after. With --follow it goes on with
what comes, until it is interrupted. With --acknowledge the inbox is told that what was printed was read:
it may delete that when it is older than inbox.keep says. With --json each message is one JSON object, as
inbox_messages has it, and with "text" if it is text.`

const messagesExample = `  restante inbox messages
  restante inbox messages --watch lobby --after 120 --follow
  restante inbox messages --json --acknowledge`

type messagesFlags struct {
	watch       string
	after       uint64
	limit       int
	follow      bool
	acknowledge bool
	json        bool
}

func (a *App) inboxMessages() *cobra.Command {
	var f messagesFlags
	cmd := &cobra.Command{
		Use:     "messages [flags]",
		Short:   "print what has come",
		Long:    messagesLong,
		Example: messagesExample,
		Args:    arguments(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.messages(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.watch, "watch", "", "only what came for this `WATCH`, by name or id")
	flags.Uint64Var(&f.after, "after", 0, "only messages later than this `NUMBER`")
	flags.IntVar(&f.limit, "limit", 0, "stop after this `NUMBER` of messages (0: do not)")
	flags.BoolVar(&f.follow, "follow", false, "go on with what comes")
	flags.BoolVar(&f.acknowledge, "acknowledge", false, "say that what was printed was read")
	flags.BoolVar(&f.json, "json", false, "print one JSON object a line")
	return cmd
}

func (a *App) messages(cmd *cobra.Command, f *messagesFlags) error {
	ctx := cmd.Context()
	if f.limit < 0 {
		return usage(cmd, "--limit is %d; allowed: a whole number from 0", f.limit)
	}
	n, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	r := &reader{app: a, node: n, flags: f, next: f.after, read: map[string]uint64{}}
	if f.watch != "" {
		w, err := n.watch(ctx, f.watch)
		if err != nil {
			return err
		}
		r.watch = w.ID
	}
	if !f.follow {
		_, err = r.all(ctx)
		return err
	}
	return r.follow(ctx)
}

// reader prints messages.
type reader struct {
	app   *App
	node  *node
	flags *messagesFlags
	watch string // id; "" for all
	next  uint64
	count int
	read  map[string]uint64 // by watch: what was printed and not acknowledged
}

// all prints what is there. done tells that the limit is reached.
func (r *reader) all(ctx context.Context) (done bool, err error) {
	for more := true; more && !done; {
		q := rpc.MessageQuery{Watch: r.watch, After: r.next}
		if r.flags.limit > 0 {
			q.Limit = min(r.flags.limit-r.count, maxAsked)
		}
		var page rpc.InboxMessages
		if err := r.node.call(ctx, &page, "inbox_messages", q); err != nil {
			return false, err
		}
		for i := range page.Messages {
			if err := r.print(&page.Messages[i]); err != nil {
				return false, err
			}
		}
		r.count += len(page.Messages)
		more, r.next = page.More && page.Next > r.next, page.Next
		done = r.flags.limit > 0 && r.count >= r.flags.limit
		if err := r.confirm(ctx); err != nil {
			return false, err
		}
	}
	return done, nil
}

// maxAsked is how many messages are asked for in one question.
const maxAsked = 100

// confirm acknowledges what was printed.
func (r *reader) confirm(ctx context.Context) error {
	if !r.flags.acknowledge {
		return nil
	}
	for watch, seq := range r.read {
		var ok bool
		if err := r.node.call(ctx, &ok, "inbox_acknowledge", watch, seq); err != nil {
			return err
		}
		delete(r.read, watch)
	}
	return nil
}

// follow prints what is there and then what comes.
func (r *reader) follow(ctx context.Context) error {
	events, ended, cancel, err := r.node.events(ctx, "mail")
	if err != nil {
		return err
	}
	defer cancel()
	for {
		done, err := r.all(ctx)
		if err != nil || done {
			return err
		}
		select {
		case <-events:
			drain(events)
		case <-ended:
			return lost()
		case <-ctx.Done():
			return nil
		}
	}
}

// drain drops what waits: one question answers all of it.
func drain(events <-chan *rpc.InboxEvent) {
	for {
		select {
		case <-events:
		default:
			return
		}
	}
}

// events subscribes to kinds of events of the inbox.
func (n *node) events(ctx context.Context, kinds ...string) (events <-chan *rpc.InboxEvent, ended <-chan error, cancel func(), err error) {
	ch := make(chan *rpc.InboxEvent, queue)
	subCtx, stop := context.WithTimeout(ctx, callTime)
	defer stop()
	ended, cancel, err = n.client.Events(subCtx, kinds, ch)
	return ch, ended, cancel, answerError(ctx, err)
}

func (r *reader) print(m *rpc.InboxMessage) error {
	r.read[m.Watch] = max(r.read[m.Watch], m.Seq)
	switch {
	case r.flags.json:
		return r.printJSON(m)
	case !m.Opened:
		_, err := fmt.Fprintf(r.app.Out, "%d  %s  %s  %7d bytes  %s\n", m.Seq, time.Unix(int64(m.Sent), 0).Format(time.DateTime),
			envelope.Topic(m.Topic), len(m.Envelope), m.Hash)
		return err
	}
	return r.app.showText(fmt.Sprintf("%d  ", m.Seq), &rpc.Message{Timestamp: m.Sent, Topic: m.Topic, Sig: m.Sig, Payload: m.Payload})
}

func (r *reader) printJSON(m *rpc.InboxMessage) error {
	out := struct {
		*rpc.InboxMessage
		Text *string `json:"text,omitempty"`
	}{InboxMessage: m}
	if m.Opened && isText(m.Payload) {
		text := string(m.Payload)
		out.Text = &text
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return printJSON(r.app.Out, json.RawMessage(raw))
}
