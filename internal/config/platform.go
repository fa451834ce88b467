package config

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/restante-im/restante/internal/fault"
)

// maxSocketPath is the longest path a Unix socket may have on every system we run on: 104 bytes with the closing zero on
// macOS and the BSDs, 108 on Linux.
const maxSocketPath = 103

// Platform is what of the machine decides where files are.
type Platform struct {
	OS     string // as runtime.GOOS
	Getenv func(string) string
	Home   string // "" = unknown
}

// ThisPlatform describes the machine we run on.
func ThisPlatform() Platform {
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	return Platform{OS: runtime.GOOS, Getenv: os.Getenv, Home: home}
}

// DataDir is where data is kept unless configured otherwise: $XDG_DATA_HOME/restante (~/.local/share/restante without
// the variable), ~/Library/Application Support/Restante on macOS, %AppData%\Restante on Windows.
func (p Platform) DataDir() (string, error) {
	switch {
	case p.OS == "windows":
		if dir := p.Getenv("AppData"); dir != "" {
			return filepath.Join(dir, "Restante"), nil
		}
	case p.OS == "darwin" && p.Home != "":
		return filepath.Join(p.Home, "Library", "Application Support", "Restante"), nil
	case p.OS != "darwin":
		// The XDG specification has relative values ignored.
		if dir := p.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
			return filepath.Join(dir, "restante"), nil
		}
		if p.Home != "" {
			return filepath.Join(p.Home, ".local", "share", "restante"), nil
		}
	}
	return "", fault.E("config: find data directory", fault.NotFound, nil,
		"no data directory: neither a home directory nor a platform default is known; give one with --data-dir")
}

func (p Platform) expand(path string) (string, error) {
	rest, tilde := strings.CutPrefix(path, "~/")
	if !tilde {
		return path, nil
	}
	if p.Home == "" {
		return "", fault.Errorf("config: expand path", fault.NotFound,
			"%s cannot be found: no home directory is known; give an absolute path", path)
	}
	return filepath.Join(p.Home, rest), nil
}

func (p Platform) socket(dataDir string) string {
	if p.OS == "windows" {
		return `\\.\pipe\restante`
	}
	return filepath.Join(dataDir, "restante.ipc")
}

func (p Platform) checkSocket(path string) error {
	if p.OS == "windows" || len(path) <= maxSocketPath {
		return nil
	}
	return fault.Errorf("config: check socket path", fault.Invalid,
		"the socket path %s has %d bytes and systems allow %d; choose a shorter one with --ipc or rpc.ipc",
		path, len(path), maxSocketPath)
}
