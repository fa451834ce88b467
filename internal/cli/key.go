package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/message"
)

const keyLong = `The node's key is its identity: clients and peers know the node by it. Whoever has it can be this
node, and whoever loses it loses every client. Keep an export in a safe place.`

func (a *App) keyCommand() *cobra.Command {
	g := group("key", "show, export or import the node's key", a.keyShow(), a.keyExport(), a.keyImport())
	g.Long = keyLong
	g.Example = "  restante key export node-key.txt\n  restante key import node-key.txt"
	return g
}

func (a *App) keyFile() (string, error) {
	cfg, _, err := a.loadConfig(nil)
	return cfg.NodeKeyFile(), err
}

func (a *App) keyShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "print the node's public key",
		Long:  "Show prints the public part of the node's key. `restante status` prints the whole address of a running node.",
		Args:  arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			path, err := a.keyFile()
			if err != nil {
				return err
			}
			text, err := keyring.ExportNodeKey(path)
			if err != nil {
				return err
			}
			secret, err := parseKey(text, "the node key")
			if err != nil {
				return err
			}
			key, err := message.ParsePrivateKey(secret)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.Out, key.Public())
			return nil
		},
	}
}

func (a *App) keyExport() *cobra.Command {
	return &cobra.Command{
		Use:   "export [FILE]",
		Short: "write the node's key to a file or standard output",
		Long: "Export writes the node's secret key as 64 hex digits to FILE, which must not exist yet and is made readable\n" +
			"by its owner only, or to standard output.",
		Args: arguments(0, 1, "the file"),
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := a.keyFile()
			if err != nil {
				return err
			}
			text, err := keyring.ExportNodeKey(path)
			if err != nil {
				return err
			}
			if len(args) == 0 || args[0] == "-" {
				_, err := io.WriteString(a.Out, text)
				return err
			}
			if err := writeSecret(args[0], text); err != nil {
				return err
			}
			a.note("the node's key is in %s; whoever has this file can be this node", args[0])
			return nil
		},
	}
}

// writeSecret makes a file that only its owner may read, and does not overwrite one.
func writeSecret(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return fail(ExitFailure, "give another name or remove it", "the file %s exists already", path)
	}
	if err == nil {
		_, err = f.WriteString(text)
		if err == nil {
			err = f.Sync()
		}
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		return fail(ExitFailure, "", "the key could not be written: %v", err)
	}
	return nil
}

func (a *App) keyImport() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "make an exported key the node's",
		Long: "Import reads a key that was exported, from FILE or standard input, and makes it the node's. A different key is\n" +
			"replaced only with --force; a backup of it stays in the data directory. A running node takes it over at its\n" +
			"next start.",
		Args: arguments(0, 1, "the file"),
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := a.keyFile()
			if err != nil {
				return err
			}
			text, err := a.keyText(args)
			if err != nil {
				return err
			}
			key, backup, err := keyring.ImportNodeKey(path, text, force)
			if fault.Is(err, fault.Exists) {
				return fail(ExitFailure, "add --force to replace it; a backup is kept", "%s", fault.Text(err))
			}
			if err != nil {
				return err
			}
			if backup != "" {
				a.note("the key that was there is kept in %s", backup)
			}
			a.note("the node's public key is now %s", key.Public())
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a different key")
	return cmd
}

func (a *App) keyText(args []string) (string, error) {
	if len(args) == 1 && args[0] != "-" {
		return readSmall(args[0], "key")
	}
	data, err := io.ReadAll(io.LimitReader(a.In, maxSecretFile))
	if err != nil {
		return "", fail(ExitFailure, "", "the key could not be read: %v", err)
	}
	return string(data), nil
}
