package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/restante-im/restante/internal/cli"
	"github.com/restante-im/restante/internal/config"
)

// TestDocuments holds the committed documents against what the program prints. Write them anew with UPDATE=1.
func TestDocuments(t *testing.T) {
	for path, args := range map[string][]string{
		"man/restante.1":         {"man", "restante.1"},
		"man/restante.toml.5":    {"man", "restante.toml.5"},
		"man/restante.toml.5.md": {"man", "restante.toml.5.md"},
		"restante.example.toml":  {"config", "print", "--example"},
	} {
		path = filepath.Join("..", "..", "docs", path)
		want := output(t, args...)
		if os.Getenv("UPDATE") != "" {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is out of date; run UPDATE=1 go test ./internal/cli:\n%s", path, diff)
		}
	}
}

// output runs a command line and returns what it prints.
func output(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	app := &cli.App{In: strings.NewReader(""), Out: &out, Err: &errs,
		Platform: config.Platform{OS: "linux", Home: t.TempDir(), Getenv: func(string) string { return "" }}}
	if code := app.Main(args); code != cli.ExitOK {
		t.Fatalf("%v: exit code %d: %s", args, code, errs.String())
	}
	return out.String()
}

func TestEveryKeyIsDocumented(t *testing.T) {
	markdown, page, example := output(t, "man", "restante.toml.5.md"), output(t, "man", "restante.toml.5"), config.Example()
	for _, k := range config.Keys() {
		if !strings.Contains(markdown, "\n### "+k.Short()+"\n") || !strings.Contains(page, "\n.B "+k.Short()+" = ") {
			t.Errorf("a manual page lacks %s", k.Name)
		}
		if !strings.Contains(example, "\n#"+k.Short()+" = ") {
			t.Errorf("the example lacks %s", k.Name)
		}
	}
}

func TestEveryCommandIsDocumented(t *testing.T) {
	page := output(t, "man")
	for _, command := range []string{"serve", "status", "peers", "peers add", "peers remove", "key show", "key export",
		"key import", "members invite", "members list", "members add", "members revoke", "members remove", "config print", "config check", "config explain", "post", "listen", "fetch", "archive stats", "archive check", "archive prune",
		"archive drop", "archive export", "archive import", "archive backup", "explain", "version", "completion", "up",
		"inbox status", "inbox watch", "inbox unwatch", "inbox watches", "inbox messages", "inbox sync", "inbox coverage", "inbox gaps", "inbox servers",
		"inbox servers add", "inbox servers import", "inbox servers remove", "inbox servers confirm", "inbox servers prefer", "inbox servers pause",
		"inbox servers only", "inbox send", "inbox letters", "inbox letters stop", "inbox letters forget", "inbox budget", "inbox explain"} {
		if !strings.Contains(page, "\n.SS \""+command) {
			t.Errorf("the manual page lacks %q", command)
		}
		help := output(t, append(strings.Fields(command), "--help")...)
		for line := range strings.Lines(help) {
			if flag := strings.Fields(line); len(flag) > 0 && strings.HasPrefix(flag[0], "--") {
				if !strings.Contains(page, strings.ReplaceAll(flag[0], "-", `\-`)) {
					t.Errorf("the manual page lacks %s of %s", flag[0], command)
				}
			}
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 125 {
				t.Errorf("the help of %s has a line of %d characters: %s", command, n, line)
			}
		}
	}
	for _, code := range []int{cli.ExitOK, cli.ExitFailure, cli.ExitUsage, cli.ExitNoNode, cli.ExitOther, cli.ExitTimeout, cli.ExitIncomplete} {
		if !strings.Contains(page, fmt.Sprintf("\n.B %d\n", code)) {
			t.Errorf("the manual page lacks exit code %d", code)
		}
	}
}

func TestGlossaryAndDependencies(t *testing.T) {
	glossary := read(t, "docs", "glossary.md")
	for _, term := range []string{"envelope", "topic", "bloom", "PoW", "message", "pool", "peer", "session", "dialect",
		"mail server", "wnode", "archive", "arrival", "cursor", "history request", "coverage", "gap", "accepted", "held",
		"enode", "ENR"} {
		if !strings.Contains(glossary, "**"+term+"**") {
			t.Errorf("docs/glossary.md lacks %q", term)
		}
	}
	dependencies := read(t, "docs", "dependencies.md")
	for line := range strings.Lines(read(t, "go.mod")) {
		fields := strings.Fields(line)
		if len(fields) == 2 && strings.HasPrefix(fields[1], "v") && !strings.Contains(dependencies, "`"+fields[0]+"`") {
			t.Errorf("docs/dependencies.md lacks %s", fields[0])
		}
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
