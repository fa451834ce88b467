package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/restante-im/restante/internal/cli"
	"github.com/restante-im/restante/internal/config"
)

// guides are the documents that tell people what to type.
var guides = []string{"README.md", "docs/operator.md", "docs/inbox.md", "docs/inbox-format.md", "docs/mail-1.md", "docs/archive-format.md", "docs/performance.md", "docs/weaknesses.md"}

func guide(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// help returns what a command says of itself; "" if there is none.
func help(words ...string) string {
	var out bytes.Buffer
	app := &cli.App{In: strings.NewReader(""), Out: &out, Err: io.Discard, Platform: config.ThisPlatform(), Terminal: cli.SystemTerminal()}
	if app.Main(append(slices.Clone(words), "--help")) != cli.ExitOK || !strings.Contains(out.String(), "restante "+strings.Join(words, " ")) {
		return ""
	}
	return out.String()
}

var (
	typed   = regexp.MustCompile("(?m)(?:^|[` /])restante((?: --(?:ipc|data-dir|config) \\S+)*)((?: [a-z]+)+)([^`\n#]*)")
	flagged = regexp.MustCompile(`--[a-z0-9-]+`)
)

// TestGuidesNameCommandsThatExist holds the commands and flags that people are told to type against the program.
func TestGuidesNameCommandsThatExist(t *testing.T) {
	for _, name := range guides {
		count := 0
		for _, m := range typed.FindAllStringSubmatch(guide(t, name), -1) {
			words := strings.Fields(m[2])
			text := help(words[0])
			if text == "" {
				continue // prose, unless it is the first word of a line of code; those are checked below
			}
			count++
			if len(words) > 1 {
				if sub := help(words[:2]...); sub != "" {
					text = sub
				}
			}
			for _, flag := range flagged.FindAllString(m[3], -1) {
				if !strings.Contains(text, flag) {
					t.Errorf("%s: restante %s has no flag %s", name, m[2], flag)
				}
			}
		}
		if name == "README.md" && count < 8 || name == "docs/operator.md" && count < 15 {
			t.Errorf("%s names only %d commands", name, count)
		}
	}
}

// TestGuidesTypeOnlyCommands looks at what stands in blocks of code and between backquotes.
func TestGuidesTypeOnlyCommands(t *testing.T) {
	for _, name := range guides {
		for _, m := range regexp.MustCompile("(?m)(?:bin/|`|^(?:sudo )?)restante (?:--ipc \\S+ )?([a-z]+)").FindAllStringSubmatch(guide(t, name), -1) {
			if help(m[1]) == "" {
				t.Errorf("%s tells people to type restante %s, which does not exist", name, m[1])
			}
		}
	}
}

func TestGuidesLinkToWhatExists(t *testing.T) {
	makefile := guide(t, "Makefile")
	for _, name := range guides {
		text := guide(t, name)
		for _, m := range regexp.MustCompile(`\]\(([A-Za-z.][^):#]*)(?:#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("../..", filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
		for _, m := range regexp.MustCompile("`make ([a-z]+)").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s names make %s, which does not exist", name, m[1])
			}
		}
	}
}
