package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/config"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/members"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Fetcher connects with one mail server and asks it as the request says. The report holds what is known also where there
// is an error.
type Fetcher func(ctx context.Context, r FetchRequest, e FetchEvents) (history.Report, error)

// FetchRequest is what to ask whom.
type FetchRequest struct {
	Server   nodeaddr.Node  // with an address
	Token    string         // of an invitation, to be taken up before asking; "" = none
	KeyFile  string         // of the key to connect with; "" = one made for this fetch
	Network  config.Network // dialects and proxy
	Form     history.Form   // the only one to ask in; 0 = what the server knows best
	Password string         // seals requests in the older forms; "" = they are sealed for the server's own key
	Plan     history.Plan
}

// FetchEvents are told what happens, one at a time.
type FetchEvents struct {
	// Connected is called before the first question.
	Connected func(FetchServer)
	// Deliver returns when the page is kept. Its error ends the fetch.
	Deliver func(context.Context, history.Page) error
}

// FetchServer is what a mail server says of itself.
type FetchServer struct {
	Name    string    // for people; "" if it has none
	Client  string    // its program
	Member  string    // as whom it knows us, after an invitation was taken up
	Closing time.Time // when its service ends; zero if that is not planned
}

const fetchLong = `Fetch asks a mail server for what was sent while nobody listened here. It needs no running node.
Messages that open with the given password or key are printed as listen prints them; without a key,
one line tells of each envelope: when it was sent, its topic, size and hash. With --json each
envelope is one JSON object with "hash", "topic", "sent", "ttl", "pow", "size" and, if it opened,
"payload", "text" (if it is text), "signer" and "recipient"; the last line is {"report": {…}} with
"end" (complete, assumed, limited or failed), "error", "form", "server", "cursor", "epoch",
"firstArrival", "lastArrival", "from", "to", "envelopes", "opened", "bytes", "received",
"duplicates", "discarded", "unsent", "restarted" and "seconds".

The exit code is 0 if the mail server said that this is all it has, or a limit given here was
reached, and 6 if nothing more came but the server does not say whether that is all: older ones
cannot. A fetch that ended early goes on with the cursor that it prints.`

const fetchExample = `  restante fetch --server enode://… --topic-text lobby --password-file pw --since 7d
  restante fetch --server "restante://join?…" --topic 0x5a4ea131 --as-member
  restante fetch --server enode://… --all --since 2026-11-01 --output mail.rlp`

type fetchFlags struct {
	sealing
	server         string
	keyFile        string
	bloom          string
	all            bool
	since, until   string
	cursor         string
	limit          int
	budget         int64
	json           bool
	output         string
	form           string
	serverPassword string
	asMember       bool
	timeout        time.Duration
}

// defaultSince is how far back a fetch reaches unless told otherwise.
const defaultSince = "24h"

func (a *App) fetchCommand() *cobra.Command {
	var f fetchFlags
	cmd := &cobra.Command{
		Use:     "fetch --server SERVER [flags]",
		Short:   "fetch past messages from a mail server",
		Long:    fetchLong,
		Example: fetchExample,
		Args:    arguments(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.fetch(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.server, "server", "", "`SERVER` to ask: its enode URL, ENR or invitation link")
	f.register(cmd)
	flags.StringVar(&f.keyFile, "key-file", "", "open messages for the private key in `FILE`, 64 hex digits")
	flags.StringVar(&f.bloom, "bloom", "", "the topics that this filter admits, 0x and 128 `HEX` digits, instead of --topic")
	flags.BoolVar(&f.all, "all", false, "every topic")
	flags.StringVar(&f.since, "since", "", "sent since this `TIME`: an age such as 24h or 7d, a date, or Unix seconds (default "+defaultSince+")")
	flags.StringVar(&f.until, "until", "", "sent until this `TIME` (default: now)")
	flags.StringVar(&f.cursor, "cursor", "", "go on at the `CURSOR` that an earlier fetch printed")
	flags.IntVar(&f.limit, "limit", 0, "stop after this `NUMBER` of envelopes (0: do not)")
	flags.Func("budget", "stop after envelopes of this `SIZE`, such as 10MB", func(s string) (err error) {
		f.budget, err = parseSize(s)
		return err
	})
	flags.BoolVar(&f.json, "json", false, "print one JSON object a line")
	flags.StringVar(&f.output, "output", "", "add the envelopes as they came to `FILE`, instead of printing them")
	flags.StringVar(&f.form, "form", "auto", "`FORM` of the questions: auto, mail1, paged or bare")
	flags.StringVar(&f.serverPassword, "mailserver-password", "status-offline-inbox",
		"`PASSWORD` of the mail server (\"\": its key)")
	flags.BoolVar(&f.asMember, "as-member", false, "connect with the node's own key, by which the server knows a member")
	flags.DurationVar(&f.timeout, "timeout", 0, "give up after this `TIME` (0: do not), with exit code 5")
	exclusive(cmd, "password", "password-file", "sym-key", "sym-key-file", "key-file")
	exclusive(cmd, "topic", "bloom", "all")
	exclusive(cmd, "topic-text", "bloom", "all")
	return cmd
}

func (a *App) fetch(cmd *cobra.Command, f *fetchFlags) error {
	req, err := a.fetchRequest(cmd, f)
	if err != nil {
		return err
	}
	keys, err := a.openingKeys(cmd, f)
	if err != nil {
		return err
	}
	out, err := a.newFetched(f, keys, req.Plan)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	report, err := a.Fetch(ctx, req, FetchEvents{Connected: out.connected, Deliver: out.deliver})
	return out.finish(report, err)
}

// fetchRequest makes a request of the flags and the configuration.
func (a *App) fetchRequest(cmd *cobra.Command, f *fetchFlags) (req FetchRequest, err error) {
	switch {
	case f.server == "":
		return req, usage(cmd, "the mail server is missing: give --server")
	case f.limit < 0:
		return req, usage(cmd, "--limit is %d; allowed: a whole number from 0", f.limit)
	case f.timeout < 0:
		return req, usage(cmd, "--timeout is %s; allowed: a duration from 0s", f.timeout)
	}
	if req.Server, req.Token, err = parseServer(f.server); err != nil {
		return req, err
	}
	if req.Form, err = parseForm(cmd, f.form); err != nil {
		return req, err
	}
	if req.Plan, err = a.fetchPlan(cmd, f); err != nil {
		return req, err
	}
	cfg, _, err := a.loadConfig(nil)
	if err != nil {
		return req, err
	}
	req.Network, req.Password = cfg.Network, f.serverPassword
	if f.asMember || req.Token != "" {
		req.KeyFile = cfg.NodeKeyFile()
	}
	return req, nil
}

// parseServer reads an address or an invitation.
func parseServer(text string) (nodeaddr.Node, string, error) {
	if strings.HasPrefix(text, "restante:") {
		link, err := members.ParseLink(text)
		if err != nil {
			return nodeaddr.Node{}, "", fail(ExitUsage, "", "the invitation link is not understood: %s", fault.Text(err))
		}
		return link.Server, link.Token, nil
	}
	n, err := nodeaddr.Parse(text)
	if err != nil {
		return n, "", fail(ExitUsage, "", "the address of --server is not understood: %s", fault.Text(err))
	}
	return n, "", nil
}

func parseForm(cmd *cobra.Command, text string) (history.Form, error) {
	form, ok := map[string]history.Form{"auto": 0, "mail1": history.ByArrival, "paged": history.Paged, "bare": history.Bare}[text]
	if !ok {
		return 0, usage(cmd, "--form is %q; allowed: auto, mail1, paged or bare", text)
	}
	return form, nil
}

// fetchPlan says what to fetch.
func (a *App) fetchPlan(cmd *cobra.Command, f *fetchFlags) (p history.Plan, err error) {
	p.Limit, p.Budget = f.limit, f.budget
	if p.Topics, err = f.parseTopics(cmd); err != nil {
		return p, err
	}
	switch {
	case f.bloom != "":
		b, err := parseHex(f.bloom, "the filter of --bloom", envelope.BloomSize)
		if err != nil {
			return p, err
		}
		p.Bloom = (*envelope.Bloom)(b)
	case len(p.Topics) == 0 && !f.all:
		return p, usage(cmd, "the topic is missing: give --topic or --topic-text, or --all")
	case len(p.Topics) > history.MaxTopics:
		return p, usage(cmd, "%d topics are given; allowed: %d", len(p.Topics), history.MaxTopics)
	}
	if f.cursor != "" {
		if p.After, err = history.ParsePosition(f.cursor); err != nil {
			return p, fail(ExitUsage, "", "%s", fault.Text(err))
		}
	}
	since := f.since
	if since == "" && p.After.IsZero() { // a cursor says itself from where on
		since = defaultSince
	}
	if p.From, err = parseMoment(cmd, "since", since, a.now()); err != nil {
		return p, err
	}
	if p.To, err = parseMoment(cmd, "until", f.until, a.now()); err != nil {
		return p, err
	}
	if p.To != 0 && p.From > p.To {
		return p, usage(cmd, "--since is later than --until")
	}
	return p, nil
}

// parseMoment reads a time as Unix seconds; "" is 0.
func parseMoment(cmd *cobra.Command, flag, text string, now time.Time) (uint32, error) {
	if text == "" {
		return 0, nil
	}
	t, ok := readMoment(text, now)
	if !ok || t.Unix() < 0 || t.Unix() > 1<<32-1 {
		return 0, usage(cmd, "--%s is %q; allowed: an age such as 24h or 7d, a date such as 2026-11-20 or \"2026-11-20 18:00\", or Unix seconds",
			flag, text)
	}
	return uint32(t.Unix()), nil
}

func readMoment(text string, now time.Time) (time.Time, bool) {
	if n, ok := wholeNumber(text); ok {
		// What is smaller was rather meant as an age, without its unit.
		const plausible = 100_000_000
		return time.Unix(n, 0), n == 0 || n >= plausible
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, ok := wholeNumber(days)
		return now.AddDate(0, 0, -int(n)), ok
	}
	if age, err := time.ParseDuration(text); err == nil {
		return now.Add(-age), age >= 0
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// wholeNumber reads up to ten digits.
func wholeNumber(s string) (n int64, ok bool) {
	for _, c := range s {
		if c < '0' || c > '9' || len(s) > 10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, s != ""
}
