package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/cli"
	"github.com/restante-im/restante/internal/config"
	"github.com/restante-im/restante/internal/fault"
	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts in testdata run the program with a node that is told by environment variables how to behave:
//
//	NODE      none (the default), running, denied, lost, refuses
//	MESSAGES  file with one message a line, delivered to listen: "SENDER|TEXT", Go escapes allowed
//	CALLS     file to which each call is appended
//	TTY       what is typed at a prompt; without it nobody can be asked
//	FETCH     how a mail server behaves: complete (the default), paged, bare, silent, limited, breaks, hangs or unreachable
//	INBOX     how the inbox is and behaves, see fakeInbox
//	EVENTS    if set, there is news of the inbox
//	ARCHIVE   locked: another process has the archive open
//	WIDTH     columns of the terminal that standard error is
//	SERVE     exists or fails, how serve's node ends; otherwise it prints what is configured
//	ASKS      the node asks for a passphrase; for a new one with "new"
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"restante": func() { os.Exit(testApp().Main(os.Args[1:])) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": exitCode},
	})
}

// exitCode is "code N command...": it runs the command and wants this exit code.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func testApp() *cli.App {
	home := os.Getenv("HOME")
	return &cli.App{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Version:  cli.Version{Number: "1.2.3", Commit: "0123456789abcdef"},
		Platform: config.Platform{OS: "linux", Home: home, Getenv: os.Getenv},
		Dial:     func(_ context.Context, path string) (cli.Client, error) { return dialFake(path, os.Getenv) },
		Terminal: fakeTTY{},
		Now:      func() time.Time { return started.Add(26*time.Hour + 3*time.Minute) },
		Run:      runFake,
		Fetch:    fetchFake,

		OpenArchive: openFakeArchive,
	}
}

type fakeTTY struct{}

func (fakeTTY) Interactive() bool { return os.Getenv("TTY") != "" }

func (fakeTTY) Secret(prompt string) (string, error) {
	fmt.Fprintln(os.Stderr, strings.TrimSpace(prompt))
	return os.Getenv("TTY"), nil
}

func (fakeTTY) Width() int {
	n, _ := strconv.Atoi(os.Getenv("WIDTH"))
	return n
}

func runFake(_ context.Context, cfg config.Config, s cli.Streams) error {
	switch os.Getenv("SERVE") {
	case "exists":
		return fault.Errorf("node: lock", fault.Exists, "another restante uses %s (process 4711)", cfg.DataDir)
	case "fails":
		return fault.Errorf("node: listen", fault.Unavailable, "port 30303 is in use by another program")
	}
	if asks := os.Getenv("ASKS"); asks != "" {
		text, err := s.Passphrase("passphrase of the inbox: ", asks == "new")
		if err != nil {
			return err
		}
		fmt.Fprintf(s.Out, "passphrase %q\n", text)
	}
	for _, change := range config.Diff(config.Default(), cfg) {
		fmt.Fprintf(s.Out, "%s = %s\n", change.Key, change.New)
	}
	s.Log.Info("peer connected", "addr", "192.0.2.7:30303", "id", "abc")
	return nil
}
