package cli

import (
	"context"
	"fmt"
	"math"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/rpc"
)

const sendLong = `Send hands the inbox a message: MESSAGE, or what comes on standard input. It is encrypted with a password
or symmetric key for a topic, or for a public key (--to). The inbox goes on by itself, also after a
restart, until mail servers say that they hold it: "restante inbox letters" shows how far it is. The id
of the letter is printed. With --json each state of it is one JSON object, as inbox_letter has it.`

const sendExample = `  restante inbox send --topic-text lobby "hello"                  asks for the password
  restante inbox send --to 0x04… --sign-key-file me.key --wait 1m "for you only"
  restante inbox send --topic 0x5a4ea131 --password-file pw --id backup-7 <report.txt`

type sendFlags struct {
	sealing
	to          string
	sign        string
	signKeyFile string
	ttl         time.Duration
	pow         float64
	giveUp      time.Duration
	id          string
	wait        time.Duration
	json        bool
}

func (a *App) inboxSend() *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use:     "send [flags] [MESSAGE]",
		Short:   "send a message, and keep at it until it is held",
		Long:    sendLong,
		Example: sendExample,
		Args:    arguments(0, 1, "the message"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.send(cmd, &f, args) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "encrypt for this `PUBLIC-KEY`, 0x04 and 128 hex digits; the topic is optional then")
	flags.StringVar(&f.sign, "sign", "", "sign with the node's key pair of this `ID`")
	flags.StringVar(&f.signKeyFile, "sign-key-file", "", "sign with the private key in `FILE`, 64 hex digits")
	flags.DurationVar(&f.ttl, "ttl", 0, "`TIME` for which the network is to offer it (0: a day)")
	flags.Float64Var(&f.pow, "pow", 0, "proof of work to reach, a `NUMBER` (0: the least that the node takes)")
	flags.DurationVar(&f.giveUp, "give-up", 0, "give up after this `TIME` (0: a week)")
	flags.StringVar(&f.id, "id", "", "`NAME` of the letter: the same twice is sent once")
	flags.DurationVar(&f.wait, "wait", 0, "wait until it is held or has failed, for this `TIME`; exit code 5 after it (0: do not)")
	flags.BoolVar(&f.json, "json", false, "print one JSON object a line")
	exclusive(cmd, "password", "password-file", "sym-key", "sym-key-file", "to")
	exclusive(cmd, "sign", "sign-key-file")
	return cmd
}

// letter checks the flags.
func (f *sendFlags) letter(cmd *cobra.Command, now time.Time) (l rpc.NewLetter, err error) {
	l = rpc.NewLetter{ID: f.id, Sig: f.sign, PowTarget: f.pow, TTL: uint32(f.ttl / time.Second)}
	switch {
	case f.ttl < 0 || f.ttl > maxTTL || f.ttl%time.Second != 0:
		return l, usage(cmd, "--ttl is %s; allowed: whole seconds", f.ttl)
	case !(f.pow >= 0 && f.pow < math.MaxFloat32):
		return l, usage(cmd, "--pow is %g; allowed: a number from 0", f.pow)
	case f.giveUp < 0:
		return l, usage(cmd, "--give-up is %s; allowed: a duration from 0s", f.giveUp)
	case f.wait < 0:
		return l, usage(cmd, "--wait is %s; allowed: a duration from 0s", f.wait)
	}
	if f.giveUp > 0 {
		l.Until = now.Add(f.giveUp).UTC()
	}
	topics, err := f.parseTopics(cmd)
	switch {
	case err != nil:
		return l, err
	case len(topics) > 1:
		return l, usage(cmd, "a message has one topic, %d are given", len(topics))
	case len(topics) == 1:
		l.Topic = rpc.Topic(topics[0])
	case f.to == "":
		return l, usage(cmd, "the topic is missing: give --topic or --topic-text")
	}
	if f.to != "" {
		l.PublicKey, err = parsePublic(f.to, "the public key of --to")
	}
	return l, err
}

func (a *App) send(cmd *cobra.Command, f *sendFlags, args []string) error {
	ctx := cmd.Context()
	l, err := f.letter(cmd, a.now())
	if err != nil {
		return err
	}
	var secret symSource
	if f.to == "" {
		if secret, err = a.symmetric(cmd, &f.sealing, " or --to"); err != nil {
			return err
		}
	}
	signKey, err := (&listenFlags{keyFile: f.signKeyFile}).readKeyFile()
	if err != nil {
		return err
	}
	payload, err := a.payload(args)
	if err != nil {
		return err
	}
	l.Payload = payload
	n, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	events, ended, cancel, err := n.events(ctx, "letter")
	if err != nil {
		return err
	}
	defer cancel()
	sent, err := n.send(ctx, l, secret, signKey)
	if err != nil {
		return err
	}
	if !f.json {
		fmt.Fprintln(a.Out, printable(sent.ID))
	}
	return a.followLetter(ctx, n, f, sent, events, ended)
}

// send lends the node the keys, sends, and takes them back.
func (n *node) send(ctx context.Context, l rpc.NewLetter, secret symSource, signKey []byte) (sent rpc.Letter, err error) {
	if len(l.PublicKey) == 0 {
		id, forget, err := n.addSymmetric(ctx, secret)
		if err != nil {
			return sent, err
		}
		defer forget()
		l.SymKeyID = id
	}
	if signKey != nil {
		id, forget, err := n.addPrivate(ctx, signKey)
		if err != nil {
			return sent, err
		}
		defer forget()
		l.Sig = id
	}
	err = n.call(ctx, &sent, "inbox_send", l)
	return sent, err
}

// followLetter tells each new state, until it is final or the time is over.
func (a *App) followLetter(ctx context.Context, n *node, f *sendFlags, l rpc.Letter, events <-chan *rpc.InboxEvent, ended <-chan error) error {
	var timeout <-chan time.Time
	if f.wait > 0 {
		timer := time.NewTimer(f.wait)
		defer timer.Stop()
		timeout = timer.C
	}
	for said := ""; ; {
		if l.Text != said {
			said = l.Text
			if err := a.tellLetter(&l, f.json); err != nil {
				return err
			}
		}
		switch {
		case l.State == "failed":
			return fail(ExitFailure, "", "it failed: %s", printable(first(l.Error, l.Text)))
		case l.State == "held" || f.wait == 0:
			return nil
		}
		select {
		case <-events:
			drain(events)
			if err := n.call(ctx, &l, "inbox_letter", l.ID); err != nil {
				return err
			}
		case <-timeout:
			return fail(ExitTimeout, "the inbox goes on with it; `restante inbox letters` shows how far it is",
				"no mail server holds it after %s", f.wait)
		case <-ended:
			return lost()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *App) tellLetter(l *rpc.Letter, asJSON bool) error {
	if asJSON {
		return printJSON(a.Out, l)
	}
	a.note("%s", printable(l.Text))
	return nil
}

func (a *App) inboxLetters() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "letters",
		Short: "show what was sent, and how far it is",
		Long: "Letters lists what was sent: sending, accepted by peers, held by mail servers until a date, or failed, and why. With\n" +
			"--json each is one JSON object, as inbox_letters has it.",
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.letters(cmd.Context(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	cmd.AddCommand(
		a.letterDo("stop ID", "stop sending a letter; what is out cannot be called back", "inbox_giveUp", "stopped"),
		a.letterDo("forget ID", "remove a letter from the list", "inbox_forget", "forgotten"))
	return cmd
}

func (a *App) letterDo(use, short, method, done string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: arguments(1, 1, "the letter's id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ok bool
			if _, err := a.ask(cmd.Context(), &ok, method, args[0]); err != nil {
				return err
			}
			a.note("%s", done)
			return nil
		}}
}

func (a *App) letters(ctx context.Context, asJSON bool) error {
	n, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	count := 0
	for after := ""; ; {
		var list []rpc.Letter
		if err := n.call(ctx, &list, "inbox_letters", rpc.LetterQuery{After: after}); err != nil {
			return err
		}
		for i := range list {
			l := &list[i]
			if asJSON {
				if err := printJSON(a.Out, l); err != nil {
					return err
				}
				continue
			}
			if count+i == 0 {
				fmt.Fprintln(w, "ID\tSENT\tSTATE\tMORE")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", printable(l.ID), l.Created.Local().Format(time.DateTime), printable(l.State), printable(l.Text))
		}
		count += len(list)
		if len(list) < rpc.DefaultLetters {
			break
		}
		after = list[len(list)-1].ID
	}
	if count == 0 && !asJSON {
		a.note("nothing was sent; `restante inbox send` does")
	}
	return w.Flush()
}
