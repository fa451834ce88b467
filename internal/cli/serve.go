package cli

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/config"
	"github.com/restante-im/restante/internal/fault"
)

const serveLong = `Serve runs a node until it is interrupted. It keeps its key and socket in the data directory,
reads restante.toml there (or --config), and logs to standard error. SIGINT or SIGTERM stop it
gracefully, a second one at once. SIGHUP reloads the configuration: what cannot be taken over
without a restart is named in the log. Flags come before the file.`

const serveExample = `  restante serve
  restante serve --data-dir ~/inbox --listen :30304 --static enode://…@192.0.2.9:30303
  restante serve --mailserver --set archive.cap=50GiB
  restante serve --config /etc/restante/restante.toml
  restante serve --set gossip.max_ttl=30m --set log.level=debug`

// Streams is what a running node is given besides its configuration.
type Streams struct {
	Out io.Writer // for what the node tells its operator at the start
	// Log is the node's log, in the configured form. An attribute with the key "addr" holds a network address and is
	// left out unless configured otherwise. The level follows reloads by itself.
	Log *slog.Logger
	// Reload delivers a checked configuration at each reload: the running one with the new values of its reloadable
	// keys. It is never closed. The node takes it over when it can; only the newest is kept for it.
	Reload <-chan config.Config
	// Passphrase gives the inbox's passphrase: from the file or variable that the user named, else from the user, who is
	// shown the prompt. With isNew it is to protect a new inbox, and a person types it twice. The error is a fault of kind
	// Unavailable where nobody can be asked.
	Passphrase func(prompt string, isNew bool) (string, error)
}

// serveFlags maps flags to the configuration keys that they override.
func serveFlags() []keyFlag {
	return []keyFlag{
		{"listen", "network.listen", "accept peers on these `ADDRESSES`, with commas between them"},
		{"advertise", "network.advertise", "tell others to reach the node at this `ADDRESS`"},
		{"static", "network.static", "stay connected with these `NODES`, with commas between them"},
		{"trusted", "network.trusted", "let these `NODES` in beyond the limits, with commas between them"},
		{"mailserver", "mailserver.enabled", "be a mail server: keep what passes by and hand it to those who ask"},
		{"max-peers", "network.max_peers", "`NUMBER` of peers at the same time"},
		{"socks5", "network.socks5", "dial through the proxy at this `ADDRESS`"},
		{"min-pow", "gossip.min_pow", "refuse envelopes with a smaller proof of work than this `NUMBER`"},
		{"ops", "ops.listen", "serve /metrics and /healthz on this `ADDRESS` (\"\": off)"},
		{"log-level", "log.level", "`LEVEL`: debug, info, warn or error"},
		{"log-format", "log.format", "`FORM`: text or json"},
	}
}

func (a *App) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "serve",
		Short:   "run a node",
		Long:    serveLong,
		Example: serveExample,
		Args:    arguments(0, 0, ""),
	}
	a.runsNode(cmd, serveFlags(), func(*config.Config) error { return nil })
	return cmd
}

// keyFlag is a flag that stands for a configuration key.
type keyFlag struct{ flag, key, usage string }

// runsNode makes a command run a node. before changes the configuration of the file; flags come after it.
func (a *App) runsNode(cmd *cobra.Command, list []keyFlag, before func(*config.Config) error) {
	flags := cmd.Flags()
	flags.SortFlags = false
	var set overrides
	for _, f := range list {
		if k, _ := config.Find(f.key); k.Type == "boolean" {
			value := flags.Bool(f.flag, false, f.usage)
			set = append(set, override{key: f.key, value: func() (string, bool) { return strconv.FormatBool(*value), flags.Changed(f.flag) }})
			continue
		}
		value := flags.String(f.flag, "", f.usage)
		set = append(set, override{key: f.key, value: func() (string, bool) { return *value, flags.Changed(f.flag) }})
	}
	pairs := flags.StringArray("set", nil, "set a configuration `KEY=VALUE`; `restante config explain` lists the keys")
	passphrase := flags.String("passphrase-file", "", "`FILE` with the passphrase of the inbox (or "+envPassphrase+", or answer the prompt)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.serve(cmd.Context(), a.passphrase(*passphrase), func(c *config.Config) error {
			if err := before(c); err != nil {
				return err
			}
			if err := set.apply(c); err != nil {
				return err
			}
			for _, pair := range *pairs {
				key, value, ok := strings.Cut(pair, "=")
				if !ok {
					return usage(cmd, "--set %s has no =; write --set KEY=VALUE", pair)
				}
				if err := c.Set(key, value); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// override is a flag that stands for a configuration key.
type override struct {
	key   string
	value func() (value string, given bool)
}

type overrides []override

func (o overrides) apply(c *config.Config) error {
	for _, one := range o {
		if value, given := one.value(); given {
			if err := c.Set(one.key, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *App) serve(ctx context.Context, ask func(string, bool) (string, error), override func(*config.Config) error) error {
	cfg, file, err := a.loadConfig(override)
	if err != nil {
		return err
	}
	logs := newLogs(a.Err, cfg.Log)
	if file != "" {
		logs.log.Info("configuration read", "file", file)
	}
	reloads := make(chan config.Config, 1)
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		running := cfg
		for {
			select {
			case <-a.hangups:
				if next, ok := a.reload(running, override, logs); ok {
					running = next
					replace(reloads, next)
				}
			case <-ctx.Done():
				logs.log.Info("stopping; interrupt again to stop at once")
				<-done
				return
			case <-done:
				return
			}
		}
	}()
	err = a.Run(ctx, cfg, Streams{Out: a.Out, Log: logs.log, Reload: reloads, Passphrase: ask})
	close(done)
	<-stopped
	if fault.Is(err, fault.Exists) {
		return fail(ExitOther, "stop it, or give another directory with --data-dir", "%s", fault.Text(err))
	}
	return err
}

// reload reads the configuration again and says in the log what comes of it.
func (a *App) reload(running config.Config, override func(*config.Config) error, logs *logs) (next config.Config, ok bool) {
	wanted, _, err := a.loadConfig(override)
	if err != nil {
		logs.log.Error("reload refused, the configuration stays as it was", "reason", classify(err).text)
		return running, false
	}
	changes := config.Diff(running, wanted)
	for _, c := range changes {
		if c.Reload {
			logs.log.Info("configuration changed", "key", c.Key, "from", c.Old, "to", c.New)
		} else {
			logs.log.Warn("this change needs a restart", "key", c.Key, "from", c.Old, "to", c.New)
		}
	}
	if len(changes) == 0 {
		logs.log.Info("reloaded, nothing has changed")
	}
	next = config.Reload(running, wanted)
	logs.set(next.Log)
	return next, true
}

// replace puts the newest configuration into the channel in place of one that was not taken.
func replace(c chan config.Config, next config.Config) {
	select {
	case <-c:
	default:
	}
	c <- next
}
