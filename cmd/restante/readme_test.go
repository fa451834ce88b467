package main

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/restante-im/restante/internal/cli"
	"github.com/restante-im/restante/internal/config"
)

// TestREADMENamesWhatExists holds the commands and files that the README names against the program and the tree.
func TestREADMENamesWhatExists(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string]bool{}
	for _, m := range regexp.MustCompile("(?:bin/|`)restante ([a-z]+)").FindAllStringSubmatch(string(text), -1) {
		commands[m[1]] = true
	}
	if len(commands) < 6 {
		t.Errorf("the README names only %v", commands)
	}
	for name := range commands {
		var out bytes.Buffer
		app := &cli.App{In: strings.NewReader(""), Out: &out, Err: io.Discard, Platform: config.ThisPlatform(), Terminal: cli.SystemTerminal()}
		if code := app.Main([]string{name, "--help"}); code != cli.ExitOK || !strings.Contains(out.String(), "restante "+name) {
			t.Errorf("restante %s --help: exit code %d", name, code)
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([A-Za-z][^):]*)\)`).FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat("../../" + m[1]); err != nil {
			t.Errorf("the README links to %s: %v", m[1], err)
		}
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`make ([a-z]+)").FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(string(makefile), "\n"+m[1]+":") {
			t.Errorf("the README names make %s, which does not exist", m[1])
		}
	}
}
