package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/restante-im/restante/internal/config"
	"github.com/restante-im/restante/internal/fault"
	"github.com/spf13/cobra"
)

// Environment variables, in the order in which the manual lists them.
const (
	envConfig   = "RESTANTE_CONFIG"
	envDataDir  = "RESTANTE_DATA_DIR"
	envPassword = "RESTANTE_PASSWORD"
	envSymKey   = "RESTANTE_SYM_KEY"

	envPassphrase = "RESTANTE_PASSPHRASE"
)

// globalFlags say where the configuration and the node are.
type globalFlags struct {
	config  string
	dataDir string
	ipc     string
}

const rootLong = `Restante is an offline inbox for decentralised messengers. This program runs your inbox, which
fetches from mail servers what you missed, or a node that relays and keeps encrypted messages for
others.`

const rootExample = `  restante up                                      run your inbox
  restante inbox sync                              fetch what was missed: is it all?
  restante serve                                   run a node
  restante status                                  is it well?
  restante listen --topic-text lobby               print messages as they come (asks for the password)
  restante post --topic-text lobby "hello"         send one
  restante config explain network.listen           what a configuration key means`

func (a *App) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "restante",
		Short:         "an offline inbox for decentralised messengers",
		Long:          rootLong,
		Example:       rootExample,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,

		SuggestionsMinimumDistance: nearCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.global.config, "config", "", "configuration `FILE` (default: "+config.FileName+" in the data directory)")
	flags.StringVar(&a.global.dataDir, "data-dir", "", "`DIRECTORY` of the node's key, socket and data")
	flags.StringVar(&a.global.ipc, "ipc", "", "`PATH` of the node's socket (default: restante.ipc in the data directory)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%v", err) })
	root.AddGroup(&cobra.Group{ID: groupInbox, Title: "Your inbox"}, &cobra.Group{ID: groupNode, Title: "The node"}, &cobra.Group{ID: groupMessages, Title: "Messages"},
		&cobra.Group{ID: groupProgram, Title: "This program"})
	addTo(root, groupInbox, a.upCommand(), a.inboxCommand())
	addTo(root, groupNode, a.serveCommand(), a.statusCommand(), a.peersCommand(), a.reachCommand(), a.keyCommand(), a.configCommand())
	addTo(root, groupNode, a.membersCommand(), a.archiveCommand(), a.explainCommand())
	addTo(root, groupMessages, a.postCommand(), a.listenCommand(), a.fetchCommand())
	addTo(root, groupProgram, a.versionCommand(), a.manCommand())
	root.SetCompletionCommandGroupID(groupProgram)
	root.SetHelpCommandGroupID(groupProgram)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(helpTemplate)
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Hidden = true
		case "completion":
			c.Short = "print a completion script for your shell"
		}
	}
	return root
}

const helpTemplate = `{{with .Long}}{{.}}{{else}}{{.Short}}{{end}}

Usage:
{{- if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND [flags]
{{- else}}
  {{.UseLine}}
{{- end}}
{{- if .HasAvailableSubCommands}}

{{- $all := .Commands}}{{if .Groups}}{{range $group := .Groups}}

{{.Title}}:{{range $all}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}{{else}}

Commands:{{range $all}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}
{{- end}}
{{- if .HasExample}}

Examples:
{{.Example}}
{{- end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableInheritedFlags}}

Flags of all commands:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableSubCommands}}

"{{.CommandPath}} COMMAND --help" tells more about a command.
{{- end}}
`

// nearCommand is how many letters of a mistyped command may be wrong for a suggestion.
const nearCommand = 2

// Groups of commands in the help.
const (
	groupInbox    = "inbox"
	groupNode     = "node"
	groupMessages = "messages"
	groupProgram  = "program"
)

func addTo(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return fail(ExitUsage, fmt.Sprintf("did you mean `%s %s`?", cmd.CommandPath(), near[0]),
			"unknown command %q", name)
	}
	return usage(cmd, "unknown command %q", name)
}

// group makes a command that only has subcommands.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, SuggestionsMinimumDistance: nearCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, "%s needs a command", cmd.CommandPath())
			}
			return unknownCommand(cmd, args[0])
		}}
	c.AddCommand(commands...)
	return c
}

// arguments accepts between lo and hi positional arguments; names are for the messages.
func arguments(lo, hi int, name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < lo:
			return usage(cmd, "%s is missing", name)
		case len(args) > hi && hi == 0:
			return usage(cmd, "unexpected argument %q", args[0])
		case len(args) > hi:
			return usage(cmd, "unexpected argument %q after %s", args[hi], name)
		}
		return nil
	}
}

// loadConfig reads the configuration that the global flags, the environment and the platform point to, has override
// change it, and resolves and checks it. file is "" where there was none.
func (a *App) loadConfig(override func(*config.Config) error) (cfg config.Config, file string, err error) {
	dataDir, err := absolute(first(a.global.dataDir, a.getenv(envDataDir)))
	if err != nil {
		return cfg, "", err
	}
	if cfg, file, err = a.readConfig(dataDir); err != nil {
		return cfg, file, err
	}
	if dataDir != "" {
		cfg.DataDir = dataDir
	}
	ipc, err := absolute(a.global.ipc)
	if err != nil {
		return cfg, file, err
	}
	if ipc != "" {
		cfg.RPC.IPC = ipc
	}
	if override != nil {
		if err := override(&cfg); err != nil {
			return cfg, file, err
		}
	}
	if err := cfg.Check(); err != nil {
		return cfg, file, err
	}
	cfg, err = cfg.Resolve(a.Platform)
	return cfg, file, err
}

// readConfig finds the file. One that was named must exist; the one in the data directory need not.
func (a *App) readConfig(dataDir string) (config.Config, string, error) {
	if file := first(a.global.config, a.getenv(envConfig)); file != "" {
		cfg, err := config.Load(file)
		return cfg, file, err
	}
	if dataDir == "" {
		var err error
		if dataDir, err = a.Platform.DataDir(); err != nil {
			return config.Config{}, "", err
		}
	}
	file := filepath.Join(dataDir, config.FileName)
	cfg, err := config.Load(file)
	if fault.Is(err, fault.NotFound) {
		return config.Default(), "", nil
	}
	return cfg, file, err
}

func (a *App) getenv(name string) string {
	if a.Platform.Getenv == nil {
		return ""
	}
	return a.Platform.Getenv(name)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// absolute makes a path of the command line independent of the working directory. "" stays "".
func absolute(path string) (string, error) {
	if path == "" || strings.HasPrefix(path, `\\.\pipe\`) || strings.HasPrefix(path, "~/") {
		return path, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fail(ExitFailure, "", "the path %s cannot be made absolute: %v", path, err)
	}
	return abs, nil
}

// readSmall reads a file that holds a key or a password.
func readSmall(path, what string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxSecretFile {
		return "", fail(ExitFailure, "", "the %s file %s has %d bytes, more than the %d that are read",
			what, path, info.Size(), maxSecretFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fail(ExitFailure, "", "the %s file cannot be read: %v", what, err)
	}
	return string(data), nil
}

// maxSecretFile bounds a file with a key or a password.
const maxSecretFile = 64 << 10
