package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/config"
	"github.com/restante-im/restante/internal/fault"
)

const upLong = `Up runs your inbox until it is interrupted: a node that waits for what you watch, asks mail servers
for what was missed while it was off, keeps all of it in one encrypted file in the data directory,
and follows what you send until a mail server holds it. It is "restante serve" with inbox.enabled
turned on, and takes the same configuration; programs and "restante inbox" reach it while it runs.
It also relays for others, as much a day as gossip.relay_per_day says.`

const upExample = `  restante up --server enode://…@192.0.2.9:30303
  restante up --server "restante://join?…"          with the invitation that an operator gave you
  restante up --mailserver                          keep mail for yourself and others, too
  restante up --passphrase-file pass --set inbox.key=passphrase`

func (a *App) upCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "run your inbox",
		Long:    upLong,
		Example: upExample,
		Args:    arguments(0, 0, ""),
	}
	servers := cmd.Flags().StringArray("server", nil, "ask this mail `SERVER`, an enode URL, ENR or link; may be repeated")
	a.runsNode(cmd, upFlags(), func(c *config.Config) error {
		c.Inbox.Enabled = true
		if len(*servers) > 0 {
			c.Inbox.Servers = *servers
		}
		return nil
	})
	return cmd
}

// upFlags are the flags of serve that a user of an inbox may need.
func upFlags() (list []keyFlag) {
	for _, f := range serveFlags() {
		switch f.flag {
		case "mailserver", "listen", "static", "socks5", "log-level", "log-format":
			list = append(list, f)
		}
	}
	return list
}

// passphrase makes the hook by which a node gets the passphrase of its inbox.
func (a *App) passphrase(file string) func(prompt string, isNew bool) (string, error) {
	const op = "passphrase"
	return func(prompt string, isNew bool) (string, error) {
		if file != "" {
			text, err := readSmall(file, "passphrase")
			return strings.TrimRight(text, "\r\n"), err
		}
		if text := a.getenv(envPassphrase); text != "" {
			return text, nil
		}
		if a.Terminal == nil || !a.Terminal.Interactive() {
			return "", fault.E(op, fault.Unavailable, nil,
				"the inbox needs its passphrase, and nobody is there to type it: give --passphrase-file, or set "+envPassphrase)
		}
		text, err := a.Terminal.Secret(strings.TrimRight(prompt, ": ") + ": ")
		if err != nil || !isNew {
			return text, err
		}
		again, err := a.Terminal.Secret("the same once more: ")
		if err == nil && again != text {
			err = fault.E(op, fault.Invalid, nil, "the two passphrases differ: start again")
		}
		return text, err
	}
}
