package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
)

const serversLong = `Servers shows the mail servers that the inbox knows, with what was measured of each. Two are asked at a
time where there are two: one hands over the mail, the other is compared with it. A server that fails
or lies is left alone for a while. A server is named by its name, by the first digits of its id, or by
its address. With --json the answer of inbox_servers is printed.`

func (a *App) inboxServers() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "servers",
		Short: "show and choose the mail servers that are asked",
		Long:  serversLong,
		Example: `  restante inbox servers add enode://…@192.0.2.9:30303 --name home
  restante inbox servers prefer home
  restante inbox servers import fleets.json --fleet eth.prod`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []rpc.InboxServer
			raw, err := a.ask(cmd.Context(), &list, "inbox_servers")
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Out, raw)
			}
			return a.showServers(list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(a.serverAdd(), a.serverImport(),
		a.serverDo("remove SERVER", "forget a mail server", "inbox_removeServer", "forgotten"),
		a.serverDo("confirm SERVER", "let a mail server be asked that somebody suggested", "inbox_confirmServer", "it may be asked from now on"),
		a.serverSet("prefer SERVER", "ask this mail server before others", "off", "do not prefer it any more", "preferred",
			func(c *rpc.ServerChange, on *bool) { c.Preferred = on }),
		a.serverSet("pause SERVER", "do not ask this mail server for now", "off", "ask it again", "paused",
			func(c *rpc.ServerChange, on *bool) { c.Paused = on }),
		a.serverSet("only SERVER", "ask this mail server and no other, whatever happens to it", "off", "ask others, too", "the only one that is asked",
			func(c *rpc.ServerChange, on *bool) { c.Only = on }))
	return cmd
}

func (a *App) showServers(list []rpc.InboxServer) error {
	if len(list) == 0 {
		a.note("no mail servers are known")
		a.note("hint: `restante inbox servers add` takes an address or an invitation, `import` a list")
		return nil
	}
	for i := range list {
		s := &list[i]
		if _, err := fmt.Fprintf(a.Out, "%s: %s\n", printable(serverName(s)), printable(strings.Join(traits(s), ", "))); err != nil {
			return err
		}
		for _, sentence := range s.Sentences {
			if _, err := fmt.Fprintf(a.Out, "  %s\n", printable(sentence.Text)); err != nil {
				return err
			}
		}
	}
	return nil
}

// serverName is how lists call a mail server: by the user's name for it or its own, and by its id, which nobody can imitate.
func serverName(s *rpc.InboxServer) string {
	id := s.ID[:min(len(s.ID), shortID)]
	if name := first(s.Name, s.CallsItself); name != "" {
		return fmt.Sprintf("%s (%s)", name, id)
	}
	return id
}

func traits(s *rpc.InboxServer) (list []string) {
	list = append(list, "not connected")
	if s.Connected {
		list[0] = "connected"
	}
	if s.Used != "" {
		list = append(list, s.Used)
	}
	for _, t := range []struct {
		name string
		is   bool
	}{{"preferred", s.Preferred}, {"paused", s.Paused}, {"suggested: confirm it to use it", s.Suggested}} {
		if t.is {
			list = append(list, t.name)
		}
	}
	return list
}

func (a *App) serverAdd() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "add LINK",
		Short: "add a mail server by its address or link",
		Long: "Add takes an enode URL, an ENR, or a link that begins with restante://, such as an invitation. The mail server is\n" +
			"asked from now on, also after a restart.",
		Args: arguments(1, 1, "the link"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer n.close()
			var s rpc.InboxServer
			if err := n.call(cmd.Context(), &s, "inbox_addServer", args[0], true); err != nil {
				return err
			}
			if name != "" {
				if err := n.call(cmd.Context(), &s, "inbox_changeServer", s.ID, rpc.ServerChange{Name: &name}); err != nil {
					return err
				}
			}
			a.note("added %s", printable(serverName(&s)))
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "call it by this `NAME`")
	return cmd
}

func (a *App) serverImport() *cobra.Command {
	var fleet string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "add the mail servers of a list",
		Long: "Import reads a list of fleets as Status publishes it, of which it takes the mail servers of one fleet, or a text file\n" +
			"with an enode URL or ENR in each line and perhaps a name behind it. FILE may be -, for standard input.",
		Args: arguments(1, 1, "the file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := a.readAll(args[0], directory.MaxFleet)
			if err != nil {
				return err
			}
			var n int
			if _, err := a.ask(cmd.Context(), &n, "inbox_importFleet", text, fleet); err != nil {
				return err
			}
			a.note("added %s", plural(n, "mail server", "mail servers"))
			return nil
		},
	}
	cmd.Flags().StringVar(&fleet, "fleet", "", "take the mail servers of this `FLEET`, such as eth.prod")
	return cmd
}

func (a *App) serverDo(use, short, method, done string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: arguments(1, 1, "the mail server"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onServer(cmd.Context(), args[0], func(n *node, s *rpc.InboxServer) error {
				var ok bool
				if err := n.call(cmd.Context(), &ok, method, s.ID); err != nil {
					return err
				}
				a.note("%s: %s", printable(serverName(s)), done)
				return nil
			})
		}}
}

func (a *App) serverSet(use, short, flag, meaning, done string, set func(*rpc.ServerChange, *bool)) *cobra.Command {
	var off bool
	cmd := &cobra.Command{Use: use, Short: short, Args: arguments(1, 1, "the mail server"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onServer(cmd.Context(), args[0], func(n *node, s *rpc.InboxServer) error {
				on := !off
				var change rpc.ServerChange
				set(&change, &on)
				var after rpc.InboxServer
				if err := n.call(cmd.Context(), &after, "inbox_changeServer", s.ID, change); err != nil {
					return err
				}
				not := ""
				if off {
					not = "not "
				}
				a.note("%s is %s%s", printable(serverName(&after)), not, done)
				return nil
			})
		}}
	cmd.Flags().BoolVar(&off, flag, false, meaning)
	return cmd
}

// onServer finds the mail server that is meant.
func (a *App) onServer(ctx context.Context, text string, do func(*node, *rpc.InboxServer) error) error {
	n, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	s, err := n.server(ctx, text)
	if err != nil {
		return err
	}
	return do(n, s)
}

// server finds a mail server by what a user calls it.
func (n *node) server(ctx context.Context, text string) (*rpc.InboxServer, error) {
	if strings.HasPrefix(text, "enode:") || strings.HasPrefix(text, "enr:") {
		addr, err := nodeaddr.ParseIdentity(text)
		if err != nil {
			return nil, err
		}
		text = addr.ID().String()
	}
	var list []rpc.InboxServer
	if err := n.call(ctx, &list, "inbox_servers"); err != nil {
		return nil, err
	}
	return one(list, text, "mail server", "restante inbox servers", func(s *rpc.InboxServer) (id, name string) {
		return s.ID, first(s.Name, s.CallsItself)
	})
}

// readAll reads a file, or standard input for "-", of limited size.
func (a *App) readAll(path string, limit int) (string, error) {
	in := a.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", fail(ExitFailure, "", "the list cannot be read: %v", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, int64(limit)+1))
	switch {
	case err != nil:
		return "", fail(ExitFailure, "", "the list cannot be read: %v", err)
	case len(b) > limit:
		return "", fail(ExitFailure, "", "the list has more than %s, which is no list of mail servers", showBytes(int64(limit)))
	}
	return string(b), nil
}
