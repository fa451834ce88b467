package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Version says which build this is.
type Version struct {
	Number string // "1.2.0", or "devel"
	Commit string // "" = unknown
	Dirty  bool   // built from changed sources
}

// BuildVersion tells what the build knows: number comes from the linker and may be empty, the rest from the module
// information that go build records.
func BuildVersion(number string) Version {
	v := Version{Number: number}
	info, ok := debug.ReadBuildInfo()
	if ok {
		// A version that go build made up of a commit (v0.0.0-DATE-COMMIT) says less than the commit itself.
		if m := info.Main.Version; v.Number == "" && strings.HasPrefix(m, "v") && !strings.ContainsAny(m, "-+") {
			v.Number = m[1:]
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.modified":
				v.Dirty = s.Value == "true"
			}
		}
	}
	if v.Number == "" {
		v.Number = "devel"
	}
	return v
}

// String gives the version with as much of the commit as tells it from others: "1.2.0 (1a2b3c4d5e6f)".
func (v Version) String() string {
	const digits = 12
	if v.Commit == "" {
		return v.Number
	}
	dirty := ""
	if v.Dirty {
		dirty = ", changed"
	}
	return fmt.Sprintf("%s (%s%s)", v.Number, v.Commit[:min(len(v.Commit), digits)], dirty)
}

func (a *App) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.Out, "restante %s, %s, %s/%s\n", a.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
