package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/rpc"
)

const listenLong = `Listen prints messages as they come, until it is interrupted: those of the topics that open with
the password or symmetric key, or those encrypted for a key of ours. Only messages that the node
receives from now on are shown. In the text form, characters that a terminal would obey are escaped.`

const listenExample = `  restante listen --topic-text lobby                             asks for the password
  restante listen --topic 0x5a4ea131 --password-file pw --json
  restante listen --new-key --count 1 --timeout 30s              prints a key to write to, waits for one message`

type listenFlags struct {
	sealing
	keyFile  string
	key      string
	newKey   bool
	signedBy string
	minPoW   float64
	json     bool
	count    int
	timeout  time.Duration
}

func (a *App) listenCommand() *cobra.Command {
	var f listenFlags
	cmd := &cobra.Command{
		Use:     "listen [flags]",
		Short:   "print messages as they come",
		Long:    listenLong,
		Example: listenExample,
		Args:    arguments(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listen(cmd, &f) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.keyFile, "key-file", "", "open messages for the private key in `FILE`, 64 hex digits")
	flags.StringVar(&f.key, "key", "", "open messages for the node's key pair of this `ID`")
	flags.BoolVar(&f.newKey, "new-key", false, "make a key pair for this listening, and print the public key to write to")
	flags.StringVar(&f.signedBy, "signed-by", "", "only messages signed with this `PUBLIC-KEY`, 0x04 and 128 hex digits")
	flags.Float64Var(&f.minPoW, "min-pow", 0, "only messages with at least this proof of work, a `NUMBER`")
	flags.BoolVar(&f.json, "json", false, "print one JSON object a line")
	flags.IntVar(&f.count, "count", 0, "stop after this `NUMBER` of messages (0: do not)")
	flags.DurationVar(&f.timeout, "timeout", 0, "stop after this `TIME` (0: do not); exit code 5 if messages of --count are missing")
	exclusive(cmd, "password", "password-file", "sym-key", "sym-key-file", "key-file", "key", "new-key")
	return cmd
}

func (a *App) listen(cmd *cobra.Command, f *listenFlags) error {
	ctx := cmd.Context()
	private := f.keyFile != "" || f.key != "" || f.newKey
	want := rpc.Criteria{MinPow: f.minPoW, AllowP2P: true}
	switch {
	case f.count < 0:
		return usage(cmd, "--count is %d; allowed: a whole number from 0", f.count)
	case f.timeout < 0:
		return usage(cmd, "--timeout is %s; allowed: a duration from 0s", f.timeout)
	case !(f.minPoW >= 0):
		return usage(cmd, "--min-pow is %g; allowed: a number from 0", f.minPoW)
	}
	topics, err := f.parseTopics(cmd)
	if err != nil {
		return err
	}
	for _, t := range topics {
		want.Topics = append(want.Topics, rpc.Topic(t))
	}
	if len(want.Topics) == 0 && !private {
		return usage(cmd, "the topic is missing: give --topic or --topic-text")
	}
	if f.signedBy != "" {
		if want.Sig, err = parsePublic(f.signedBy, "the public key of --signed-by"); err != nil {
			return err
		}
	}
	var secret symSource
	if !private {
		if secret, err = a.symmetric(cmd, &f.sealing, ", --key-file, --new-key"); err != nil {
			return err
		}
	}
	keyFile, err := f.readKeyFile()
	if err != nil {
		return err
	}
	n, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	forget, err := a.lendKey(ctx, n, f, &want, secret, keyFile)
	if err != nil {
		return err
	}
	defer forget()
	return a.receive(ctx, n, f, want)
}

func (f *listenFlags) readKeyFile() ([]byte, error) {
	if f.keyFile == "" {
		return nil, nil
	}
	text, err := readSmall(f.keyFile, "private key")
	if err != nil {
		return nil, err
	}
	return parseKey(text, "the private key in "+f.keyFile)
}

// lendKey puts the key that opens the messages into the node, for the time of listening.
func (a *App) lendKey(ctx context.Context, n *node, f *listenFlags, want *rpc.Criteria, secret symSource, key []byte) (forget func(), err error) {
	forget = func() {}
	switch {
	case f.key != "":
		want.PrivateKeyID = f.key
		return forget, nil
	case key != nil:
		want.PrivateKeyID, forget, err = n.addPrivate(ctx, key)
		return forget, err
	case !f.newKey:
		want.SymKeyID, forget, err = n.addSymmetric(ctx, secret)
		return forget, err
	}
	if err := n.call(ctx, &want.PrivateKeyID, "shh_newKeyPair"); err != nil {
		return forget, err
	}
	forget = n.forget("shh_deleteKeyPair", want.PrivateKeyID)
	var public string
	if err := n.call(ctx, &public, "shh_getPublicKey", want.PrivateKeyID); err != nil {
		forget()
		return func() {}, err
	}
	a.note("write to %s", printable(public))
	return forget, nil
}

// queue is how many messages may wait to be printed.
const queue = 256

func (a *App) receive(ctx context.Context, n *node, f *listenFlags, want rpc.Criteria) error {
	messages := make(chan *rpc.Message, queue)
	subCtx, cancel := context.WithTimeout(ctx, callTime)
	sub, err := n.client.Subscribe(subCtx, want, messages)
	cancel()
	if err != nil {
		return answerError(ctx, err)
	}
	defer sub.Unsubscribe()
	a.note("listening%s; stop with Ctrl-C", onTopics(want.Topics))
	var timeout <-chan time.Time
	if f.timeout > 0 {
		timer := time.NewTimer(f.timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	for got := 0; ; {
		select {
		case m := <-messages:
			if err := a.show(m, f.json); err != nil {
				return err
			}
			if got++; got == f.count {
				return nil
			}
		case <-timeout:
			if f.count > 0 {
				return fail(ExitTimeout, "", "timed out after %s with %d of %s", f.timeout, got,
					plural(f.count, "message", "messages"))
			}
			return nil
		case <-sub.Err():
			return lost()
		case <-ctx.Done():
			if f.count > 0 {
				return ctx.Err()
			}
			return nil
		}
	}
}

func onTopics(topics []rpc.Topic) string {
	if len(topics) == 0 {
		return ""
	}
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = envelope.Topic(t).String()
	}
	return " on " + strings.Join(names, ", ")
}

// shownMessage is the JSON form of a message. docs/man/restante.1 describes it.
type shownMessage struct {
	Hash      hexBytes       `json:"hash"`
	Topic     envelope.Topic `json:"topic"`
	Sent      time.Time      `json:"sent"`
	TTL       uint32         `json:"ttl"`
	PoW       float64        `json:"pow"`
	Signer    hexBytes       `json:"signer,omitempty"`
	Recipient hexBytes       `json:"recipient,omitempty"`
	Text      *string        `json:"text,omitempty"` // absent if the payload is no text
	Payload   hexBytes       `json:"payload"`
}

func (a *App) show(m *rpc.Message, asJSON bool) error {
	if asJSON {
		sent := time.Unix(int64(m.Timestamp), 0)
		out := shownMessage{Hash: hexBytes(m.Hash), Topic: envelope.Topic(m.Topic), Sent: sent.UTC(), TTL: m.TTL,
			PoW: m.PoW, Signer: hexBytes(m.Sig), Recipient: hexBytes(m.Dst), Payload: hexBytes(m.Payload)}
		if isText(m.Payload) {
			text := string(m.Payload)
			out.Text = &text
		}
		return printJSON(a.Out, out)
	}
	return a.showText("", m)
}

// showText prints a message for people, after a prefix.
func (a *App) showText(prefix string, m *rpc.Message) error {
	signer := "unsigned"
	if len(m.Sig) > 0 {
		text, _ := m.Sig.MarshalText()
		signer = short(string(text))
	}
	sent := time.Unix(int64(m.Timestamp), 0)
	head := fmt.Sprintf("%s%s  %s  %s  ", prefix, sent.Format(time.DateTime), envelope.Topic(m.Topic), signer)
	for _, line := range showPayload(m.Payload) {
		if _, err := fmt.Fprintln(a.Out, head+line); err != nil {
			return err
		}
		head = strings.Repeat(" ", len([]rune(head)))
	}
	return nil
}
