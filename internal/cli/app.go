// Package cli is Restante's command line: what is typed, what is printed, what is asked, and the exit code. It knows
// nothing of protocols: it starts a node through a Runner and talks to a running one through a Client, and both are
// given to it by main.
//
// Start with App and its Main. What people read follows a few rules: results go to standard output; everything else goes
// to standard error, behind "restante: ", in lower case, without a full stop, and where something can be done about it a
// second line says what. Secrets are read from files, the environment or a prompt. An App is used once.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/restante-im/restante/internal/config"
	"github.com/restante-im/restante/internal/fault"
	"github.com/spf13/cobra"
)

// Exit codes. They are part of the interface: programs depend on them.
const (
	ExitOK          = 0   // done
	ExitFailure     = 1   // it did not work
	ExitUsage       = 2   // the command line or the configuration was not understood; nothing was done
	ExitNoNode      = 3   // no node is running that could be asked
	ExitOther       = 4   // another instance uses the data directory
	ExitTimeout     = 5   // the time given with --timeout passed
	ExitIncomplete  = 6   // fetch or inbox sync ended, but nobody says that this is all
	ExitInterrupted = 130 // stopped by a signal before it was done
)

// App is the program's surroundings. All fields but Getenv, Signals and Terminal are needed.
type App struct {
	In       io.Reader
	Out, Err io.Writer
	Version  Version
	Run      Runner
	Dial     Dialer
	Fetch    Fetcher
	// OpenArchive opens an archive when no node has it open.
	OpenArchive ArchiveOpener
	Platform    config.Platform
	Terminal    Terminal
	Now         func() time.Time // nil means time.Now
	// Signals delivers interrupts, terminations and hang-ups until stop is called; nil means the process's own.
	Signals func() (signals <-chan os.Signal, stop func())
	// Exit ends the process at once, for the second interrupt; nil means os.Exit.
	Exit func(code int)

	global  globalFlags
	hangups chan struct{}
}

// Runner runs a node with a checked and resolved configuration until ctx is done, and returns after a graceful stop. An
// error of kind fault.Exists means that another instance uses the data directory.
type Runner func(ctx context.Context, cfg config.Config, s Streams) error

// Terminal asks people.
type Terminal interface {
	// Interactive reports whether somebody can be asked.
	Interactive() bool
	// Secret shows the prompt and reads a line without showing it.
	Secret(prompt string) (string, error)
	// Width is how many columns standard error has; 0 if that is no terminal.
	Width() int
}

// Main runs one command line, without the program's name, and returns the exit code. It reports errors itself.
func (a *App) Main(args []string) int {
	a.hangups = make(chan struct{}, 1)
	ctx, stop := a.catchSignals()
	defer stop()
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	err := root.ExecuteContext(ctx)
	return a.report(err)
}

// catchSignals gives the context that the first interrupt cancels. The second one ends the process.
func (a *App) catchSignals() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	notify, exit := a.Signals, a.Exit
	if notify == nil {
		notify = processSignals
	}
	if exit == nil {
		exit = os.Exit
	}
	signals, stop := notify()
	done := make(chan struct{})
	go func() {
		interrupted := false
		for {
			select {
			case s := <-signals:
				switch {
				case s == syscall.SIGHUP:
					select {
					case a.hangups <- struct{}{}:
					default: // one is waiting already
					}
				case interrupted:
					exit(ExitInterrupted)
				default:
					interrupted = true
					cancel()
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() { stop(); close(done); cancel() }
}

func processSignals() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// note prints a line that is not a result.
func (a *App) note(format string, args ...any) {
	fmt.Fprintf(a.Err, "restante: "+format+"\n", args...)
}

// failure is an error that knows its exit code and what can be done about it.
type failure struct {
	code int
	text string
	hint string // "" = none
}

func (f *failure) Error() string { return f.text }

func fail(code int, hint, format string, args ...any) error {
	return &failure{code: code, text: fmt.Sprintf(format, args...), hint: hint}
}

// usage reports a command line that was not understood.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return fail(ExitUsage, fmt.Sprintf("see `%s --help`", cmd.CommandPath()), format, args...)
}

// report prints an error by our rules and gives its exit code.
func (a *App) report(err error) int {
	if err == nil {
		return ExitOK
	}
	f := classify(err)
	for line := range strings.SplitSeq(strings.TrimSpace(f.text), "\n") {
		a.note("%s", printable(line))
	}
	if f.hint != "" {
		a.note("hint: %s", f.hint)
	}
	return f.code
}

func classify(err error) *failure {
	var f *failure
	var wrong config.Errors
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &wrong):
		return &failure{code: ExitUsage, text: wrong.Error(), hint: explainHint(wrong)}
	case errors.Is(err, context.Canceled):
		return &failure{code: ExitInterrupted, text: "interrupted"}
	}
	if fault.KindOf(err) != fault.Internal || fault.Is(err, fault.Internal) {
		return &failure{code: ExitFailure, text: fault.Text(err)}
	}
	// No text for people: what is known is better than nothing.
	return &failure{code: ExitFailure, text: err.Error()}
}

// explainHint points to the description of the first key that is known and has a fault.
func explainHint(wrong config.Errors) string {
	for _, e := range wrong {
		if _, ok := config.Find(e.Key); ok {
			return fmt.Sprintf("`restante config explain %s` describes it", e.Key)
		}
	}
	return ""
}
