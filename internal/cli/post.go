package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/rpc"
)

const postLong = `Post sends one message through the running node: MESSAGE, or what comes on standard input.
It is encrypted with a password or symmetric key for a topic, or for a public key (--to).
Success means that the running node accepted the message and offers it to its peers; it does
not mean that anybody has read or keeps it. The envelope's hash is printed.`

const postExample = `  restante post --topic-text lobby "hello"                     asks for the password
  restante post --topic 0x5a4ea131 --password-file pw <report.txt
  restante post --to 0x04… --sign-key-file me.key "for you only"`

// Bounds of a post.
const (
	maxPayload = 10 << 20         // bytes, what any node takes at most
	maxPoWTime = 10 * time.Minute // what a node works at most
	maxTTL     = math.MaxUint32 * time.Second
)

type postFlags struct {
	sealing
	to          string
	sign        string
	signKeyFile string
	ttl         time.Duration
	pow         float64
	powTime     time.Duration
	json        bool
}

func (a *App) postCommand() *cobra.Command {
	var f postFlags
	cmd := &cobra.Command{
		Use:     "post [flags] [MESSAGE]",
		Short:   "send a message through the running node",
		Long:    postLong,
		Example: postExample,
		Args:    arguments(0, 1, "the message"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.post(cmd, &f, args) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "encrypt for this `PUBLIC-KEY`, 0x04 and 128 hex digits; the topic is optional then")
	flags.StringVar(&f.sign, "sign", "", "sign with the node's key pair of this `ID`")
	flags.StringVar(&f.signKeyFile, "sign-key-file", "", "sign with the private key in `FILE`, 64 hex digits")
	flags.DurationVar(&f.ttl, "ttl", 50*time.Second, "`TIME` for which the network is to offer it")
	flags.Float64Var(&f.pow, "pow", 0.002, "proof of work to reach, a `NUMBER`; many nodes refuse less than 0.002")
	flags.DurationVar(&f.powTime, "pow-time", time.Minute, "`TIME` to work for it at most")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	exclusive(cmd, "password", "password-file", "sym-key", "sym-key-file", "to")
	exclusive(cmd, "sign", "sign-key-file")
	return cmd
}

func exclusive(cmd *cobra.Command, flags ...string) {
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		given := ""
		for _, name := range flags {
			if !cmd.Flags().Changed(name) {
				continue
			}
			if given != "" {
				return usage(cmd, "--%s and --%s exclude each other", given, name)
			}
			given = name
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
}

func (f *postFlags) message(cmd *cobra.Command) (m rpc.NewMessage, err error) {
	if f.ttl < time.Second || f.ttl > maxTTL || f.ttl%time.Second != 0 {
		return m, usage(cmd, "--ttl is %s; allowed: whole seconds, at least 1s", f.ttl)
	}
	if !(f.pow >= 0 && f.pow < math.MaxFloat32) {
		return m, usage(cmd, "--pow is %g; allowed: a number from 0", f.pow)
	}
	if f.powTime < time.Second || f.powTime > maxPoWTime {
		return m, usage(cmd, "--pow-time is %s; allowed: from 1s to %s", f.powTime, maxPoWTime)
	}
	topics, err := f.parseTopics(cmd)
	if err != nil {
		return m, err
	}
	switch {
	case len(topics) > 1:
		return m, usage(cmd, "a message has one topic, %d are given", len(topics))
	case len(topics) == 1:
		m.Topic = rpc.Topic(topics[0])
	case f.to == "":
		return m, usage(cmd, "the topic is missing: give --topic or --topic-text")
	}
	if f.to != "" {
		if m.PublicKey, err = parsePublic(f.to, "the public key of --to"); err != nil {
			return m, err
		}
	}
	m.TTL, m.Sig = uint32(f.ttl/time.Second), f.sign
	m.PowTarget, m.PowTime = f.pow, uint32((f.powTime+time.Second-1)/time.Second)
	return m, nil
}

func (a *App) post(cmd *cobra.Command, f *postFlags, args []string) error {
	ctx := cmd.Context()
	m, err := f.message(cmd)
	if err != nil {
		return err
	}
	var secret symSource
	if f.to == "" {
		if secret, err = a.symmetric(cmd, &f.sealing, " or --to"); err != nil {
			return err
		}
	}
	var signKey []byte
	if f.signKeyFile != "" {
		text, err := readSmall(f.signKeyFile, "signing key")
		if err != nil {
			return err
		}
		if signKey, err = parseKey(text, "the signing key in "+f.signKeyFile); err != nil {
			return err
		}
	}
	if m.Payload, err = a.payload(args); err != nil {
		return err
	}
	n, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	hash, err := n.post(ctx, m, secret, signKey, f)
	if err != nil {
		return err
	}
	return a.posted(ctx, n, hash, f)
}

// payload reads the message.
func (a *App) payload(args []string) ([]byte, error) {
	var b []byte
	if len(args) == 1 && args[0] != "-" {
		b = []byte(args[0])
	} else {
		var err error
		if b, err = io.ReadAll(io.LimitReader(a.In, maxPayload+1)); err != nil {
			return nil, fail(ExitFailure, "", "the message could not be read: %v", err)
		}
	}
	switch {
	case len(b) == 0:
		return nil, fail(ExitUsage, "give it as the last argument or on standard input", "the message is empty")
	case len(b) > maxPayload:
		return nil, fail(ExitUsage, "", "the message has more than %s, which no node takes", showBytes(maxPayload))
	}
	return b, nil
}

// post lends the node the keys, posts, and takes them back.
func (n *node) post(ctx context.Context, m rpc.NewMessage, secret symSource, signKey []byte, f *postFlags) (hash string, err error) {
	if f.to == "" {
		id, forget, err := n.addSymmetric(ctx, secret)
		if err != nil {
			return "", err
		}
		defer forget()
		m.SymKeyID = id
	}
	if signKey != nil {
		id, forget, err := n.addPrivate(ctx, signKey)
		if err != nil {
			return "", err
		}
		defer forget()
		m.Sig = id
	}
	// The node works for powTime and may have others to work for first.
	workCtx, cancel := context.WithTimeout(ctx, f.powTime+maxPoWTime)
	defer cancel()
	err = n.callLong(workCtx, &hash, "shh_post", m)
	return hash, err
}

// posted says what is true now.
func (a *App) posted(ctx context.Context, n *node, hash string, f *postFlags) error {
	var st rpc.Status
	known := n.call(ctx, &st, "node_status") == nil
	if f.json {
		out := struct {
			Hash  string `json:"hash"`
			TTL   int64  `json:"ttl"`
			Peers *int   `json:"peers,omitempty"`
		}{Hash: hash, TTL: int64(f.ttl / time.Second)}
		if known {
			out.Peers = &st.PeersConnected
		}
		return printJSON(a.Out, out)
	}
	fmt.Fprintln(a.Out, printable(hash))
	switch {
	case !known:
		a.note("accepted by the running node")
	case st.PeersConnected == 0:
		a.note("accepted by the running node, which has no peers now; it offers the message to those that connect within %s",
			f.ttl)
	default:
		a.note("accepted by the running node, which offers it to %s for %s; nobody has confirmed it",
			plural(st.PeersConnected, "peer", "peers"), f.ttl)
	}
	return nil
}
