package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/config"
)

func (a *App) configCommand() *cobra.Command {
	g := group("config", "print, check or explain the configuration", a.configPrint(), a.configCheck(), a.configExplain())
	g.Example = "  restante config print --example >restante.toml\n" +
		"  restante config check restante.toml\n" +
		"  restante config explain network.listen"
	return g
}

func (a *App) configPrint() *cobra.Command {
	var example bool
	cmd := &cobra.Command{
		Use:   "print",
		Short: "print the configuration in force, or a commented example",
		Long: "Print prints every key with the value that `restante serve` would use: the defaults, changed by the file and\n" +
			"the flags.",
		Args: arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			if example {
				_, err := io.WriteString(a.Out, config.Example())
				return err
			}
			cfg, file, err := a.loadConfig(nil)
			if err != nil {
				return err
			}
			if file == "" {
				fmt.Fprintln(a.Out, "# defaults; there is no configuration file")
			} else {
				fmt.Fprintf(a.Out, "# %s over the defaults\n", printable(file))
			}
			_, err = io.WriteString(a.Out, config.Print(cfg))
			return err
		},
	}
	cmd.Flags().BoolVar(&example, "example", false, "print a commented file with the defaults")
	return cmd
}

func (a *App) configCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "check a configuration file",
		Long: "Check reads FILE, or the file that `restante serve` would read, and reports every unknown key and every value\n" +
			"that is not allowed, with its line. The exit code is 0 if there is nothing to report.",
		Args: arguments(0, 1, "the file"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.global.config = args[0]
			}
			cfg, file, err := a.loadConfig(nil)
			if err != nil {
				return err
			}
			if file == "" {
				a.note("there is no configuration file; the defaults hold")
				return nil
			}
			defaults, err := config.Default().Resolve(a.Platform)
			if err != nil {
				return err
			}
			changed := len(config.Diff(defaults, cfg))
			a.note("%s is correct; it differs from the defaults in %s", file, plural(changed, "key", "keys"))
			return nil
		},
	}
}

func (a *App) configExplain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [KEY | SECTION]",
		Short: "say what a configuration key means, or list all",
		Args:  arguments(0, 1, "the key"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, k := range config.Keys() {
				names = append(names, k.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.explain(strings.Join(args, "")) },
	}
}

func (a *App) explain(name string) error {
	if k, ok := config.Find(name); ok {
		_, err := io.WriteString(a.Out, k.Explain())
		return err
	}
	var listed []config.Key
	longest := 0
	for _, k := range config.Keys() {
		if name == "" || strings.HasPrefix(k.Name, name+".") {
			listed = append(listed, k)
			longest = max(longest, len(k.Name))
		}
	}
	if len(listed) == 0 {
		hint := "`restante config explain` lists all keys"
		if near := config.Near(name); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		return fail(ExitUsage, hint, "unknown key %q", name)
	}
	for _, k := range listed {
		first, _, _ := strings.Cut(k.Help, ". ")
		fmt.Fprintf(a.Out, "%-*s  %s\n", longest, k.Name, strings.TrimSuffix(first, "."))
	}
	return nil
}
