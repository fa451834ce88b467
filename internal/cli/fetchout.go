package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/rpc"
)

// openingKeys open messages; at most one of them is set.
type openingKeys struct {
	sym     *message.SymKey
	private *message.PrivateKey
}

func (k *openingKeys) any() bool { return k.sym != nil || k.private != nil }

// openingKeys finds the key by which messages are opened, if one is given by flag or environment. Nobody is asked:
// fetching without opening is useful, too.
func (a *App) openingKeys(cmd *cobra.Command, f *fetchFlags) (k openingKeys, err error) {
	if f.keyFile != "" {
		text, err := readSmall(f.keyFile, "private key")
		if err != nil {
			return k, err
		}
		b, err := parseKey(text, "the private key in "+f.keyFile)
		if err != nil {
			return k, err
		}
		if k.private, err = message.ParsePrivateKey(b); err != nil {
			return k, fail(ExitUsage, "", "the private key in %s: %s", f.keyFile, fault.Text(err))
		}
		return k, nil
	}
	given := a.getenv(envSymKey) != "" || a.getenv(envPassword) != ""
	for _, flag := range []string{"password", "password-file", "sym-key", "sym-key-file"} {
		given = given || cmd.Flags().Changed(flag)
	}
	if !given {
		return k, nil
	}
	src, err := a.symmetric(cmd, &f.sealing, ", --key-file")
	if err != nil {
		return k, err
	}
	sym := message.PasswordKey(src.password)
	if src.key != nil {
		if sym, err = message.NewSymKey(src.key); err != nil {
			return k, fail(ExitUsage, "", "%s", fault.Text(err))
		}
	}
	k.sym = &sym
	return k, nil
}

// open gives the message in an envelope, or false if the keys do not fit.
func (k *openingKeys) open(env *envelope.Envelope) (*rpc.Message, bool) {
	var got *message.Opened
	var err error
	m := &rpc.Message{TTL: env.TTL(), Timestamp: env.Sent(), Topic: rpc.Topic(env.Topic()), PoW: env.PoW()}
	switch {
	case k.sym != nil:
		got, err = message.OpenSymmetric(*k.sym, env.Data())
	case k.private != nil:
		got, err = message.OpenAsymmetric(k.private, env.Data())
		recipient := k.private.Public()
		m.Dst = recipient[:]
	default:
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	hash := env.Hash()
	m.Hash, m.Payload = hash[:], got.Payload
	if got.Signed {
		m.Sig = got.Signer[:]
	}
	return m, true
}

// fetched is where a fetch's envelopes go.
type fetched struct {
	app    *App
	flags  *fetchFlags
	keys   openingKeys
	plan   history.Plan
	file   *os.File // of --output
	bar    *progressBar
	server FetchServer
	opened uint64
}

func (a *App) newFetched(f *fetchFlags, keys openingKeys, p history.Plan) (*fetched, error) {
	s := &fetched{app: a, flags: f, keys: keys, plan: p, bar: newProgressBar(a)}
	if f.output == "" {
		return s, nil
	}
	var err error
	if s.file, err = os.OpenFile(f.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fail(ExitFailure, "", "the file of --output cannot be written: %v", err)
	}
	return s, nil
}

func (s *fetched) connected(server FetchServer) {
	s.server = server
	name := first(server.Name, server.Client, "the mail server")
	s.app.note("connected with %s", printable(name))
	if server.Member != "" {
		s.app.note("it knows this machine as a device of %s from now on", printable(server.Member))
	}
	if !server.Closing.IsZero() {
		s.app.note("its service ends on %s", server.Closing.Format(time.DateOnly))
	}
	s.bar.draw(history.Progress{Share: -1})
}

// deliver prints and writes a page.
func (s *fetched) deliver(_ context.Context, p history.Page) error {
	s.bar.clear()
	var raw []byte
	for _, env := range p.Envelopes {
		if s.file != nil {
			raw = append(raw, env.Raw()...)
		}
		if err := s.print(env); err != nil {
			return err
		}
	}
	if len(raw) > 0 {
		if _, err := s.file.Write(raw); err != nil {
			return fault.E("fetch", fault.Unavailable, err, "the file of --output cannot be written: "+err.Error())
		}
	}
	s.bar.draw(p.Progress)
	return nil
}

// fetchedEnvelope is the JSON form of an envelope. The help of fetch describes it.
type fetchedEnvelope struct {
	Hash      envelope.Hash  `json:"hash"`
	Topic     envelope.Topic `json:"topic"`
	Sent      time.Time      `json:"sent"`
	TTL       uint32         `json:"ttl"`
	PoW       float64        `json:"pow"`
	Size      int            `json:"size"`
	Signer    hexBytes       `json:"signer,omitempty"`
	Recipient hexBytes       `json:"recipient,omitempty"`
	Text      *string        `json:"text,omitempty"`
	Payload   *hexBytes      `json:"payload,omitempty"` // absent if it did not open
}

func (s *fetched) print(env *envelope.Envelope) error {
	m, ok := s.keys.open(env)
	if ok {
		s.opened++
	}
	switch {
	case s.flags.json:
		return s.printJSON(env, m)
	case ok:
		return s.app.show(m, false)
	case s.keys.any() || s.file != nil:
		return nil
	}
	_, err := fmt.Fprintf(s.app.Out, "%s  %s  %7d bytes  %s\n", time.Unix(int64(env.Sent()), 0).Format(time.DateTime), env.Topic(), env.Size(), env.Hash())
	return err
}

func (s *fetched) printJSON(env *envelope.Envelope, m *rpc.Message) error {
	if s.file != nil && m == nil {
		return nil
	}
	out := fetchedEnvelope{Hash: env.Hash(), Topic: env.Topic(), Sent: time.Unix(int64(env.Sent()), 0).UTC(), TTL: env.TTL(),
		PoW: env.PoW(), Size: env.Size()}
	if m != nil {
		payload := hexBytes(m.Payload)
		out.Signer, out.Recipient, out.Payload = hexBytes(m.Sig), hexBytes(m.Dst), &payload
		if isText(m.Payload) {
			text := string(m.Payload)
			out.Text = &text
		}
	}
	return printJSON(s.app.Out, out)
}

// finish says how it ended.
func (s *fetched) finish(r history.Report, err error) error {
	s.bar.clear()
	if s.file != nil {
		if closeErr := errors.Join(s.file.Sync(), s.file.Close()); closeErr != nil && err == nil {
			err = fail(ExitFailure, "", "the file of --output cannot be written: %v", closeErr)
			r.End, r.Resume = history.EndFailed, s.plan.After
		}
	}
	if r.Asked == 0 && err != nil && !s.flags.json {
		return s.failure(r, err)
	}
	if s.flags.json {
		if printErr := printJSON(s.app.Out, map[string]any{"report": s.report(r, err)}); printErr != nil {
			return printErr
		}
	} else {
		s.app.note("%s", s.count(r))
		for _, line := range remarks(r) {
			s.app.note("%s", line)
		}
	}
	switch {
	case err != nil:
		return s.failure(r, err)
	case r.End == history.EndAssumed:
		return fail(ExitIncomplete, s.hint(r), "%s", assumed(r))
	}
	if !s.flags.json {
		if r.End == history.EndLimited {
			s.app.note("stopped at the limit given; there may be more")
		} else {
			s.app.note("%s", complete(r))
		}
		if hint := s.hint(r); hint != "" {
			s.app.note("hint: %s", hint)
		}
	}
	return nil
}

// failure makes the command's error of what ended the fetch.
func (s *fetched) failure(r history.Report, err error) error {
	hint := ""
	if r.Asked > 0 {
		hint = s.hint(r)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fail(ExitTimeout, hint, "timed out after %s", s.flags.timeout)
	case errors.Is(err, context.Canceled):
		return fail(ExitInterrupted, hint, "interrupted")
	}
	f := classify(err)
	return fail(f.code, first(f.hint, hint), "%s", f.text)
}

// count says what came.
func (s *fetched) count(r history.Report) string {
	text := fmt.Sprintf("fetched %s (%s) in %s", plural(int(r.Envelopes), "envelope", "envelopes"), showBytes(r.Bytes),
		r.Took.Round(time.Millisecond))
	if s.keys.any() {
		text += fmt.Sprintf("; %d opened", s.opened)
	}
	return text
}

// remarks say what was odd.
func remarks(r history.Report) (lines []string) {
	var parts []string
	for reason, n := range r.Discarded {
		if n > 0 && history.Reason(reason) != history.NoRoom {
			parts = append(parts, fmt.Sprintf("%d (%s)", n, history.Reason(reason)))
		}
	}
	if r.Duplicates > 0 {
		parts = append(parts, fmt.Sprintf("%d (came twice)", r.Duplicates))
	}
	if len(parts) > 0 {
		lines = append(lines, "discarded "+strings.Join(parts, ", "))
	}
	if r.Restarted {
		lines = append(lines, "the mail server's archive has begun anew, and so did the fetch: some of it may have come before")
	}
	return lines
}

func complete(r history.Report) string {
	if r.Form == history.ByArrival {
		return fmt.Sprintf("the mail server says that this is all it has, up to its arrival %d", r.LastArrival)
	}
	return "the mail server says that this is all it has, sent " + rangeOf(r)
}

func assumed(r history.Report) string {
	switch {
	case !r.Answered:
		return "the mail server did not react: it has nothing of this, or does not understand the question"
	case r.Unsent > 0:
		return "the mail server did not send all that it named; there may be gaps"
	}
	return "nothing more came; the mail server does not say whether this is all that it has, sent " + rangeOf(r)
}

func rangeOf(r history.Report) string {
	show := func(sec uint32) string { return time.Unix(int64(sec), 0).Format(time.DateTime) }
	if r.From == 0 {
		return "until " + show(r.To)
	}
	return show(r.From) + " to " + show(r.To)
}

// overlap is by how many seconds a fetch by sent time should reach into the one before: mail takes a while to get there.
const overlap = 60

// hint says how to go on.
func (s *fetched) hint(r history.Report) string {
	switch {
	case !r.Resume.IsZero() && r.End == history.EndComplete:
		return "what comes later: the same command with --cursor " + r.Resume.String()
	case !r.Resume.IsZero():
		return "to go on: the same command with --cursor " + r.Resume.String()
	case r.To > overlap && s.plan.To == 0:
		return fmt.Sprintf("what comes later: the same command with --since %d", r.To-overlap)
	}
	return ""
}
