package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/cli"
	"github.com/restante-im/restante/internal/config"
)

// process is an App in this process: its output, its signals and its exit.
type process struct {
	app      *cli.App
	out, err bytes.Buffer // to be read after the end only
	signals  chan os.Signal
	exits    chan int
	env      map[string]string // of the fake node
	dir      string
}

func newProcess(t *testing.T, run cli.Runner) *process {
	p := &process{signals: make(chan os.Signal), exits: make(chan int, 1), dir: t.TempDir(), env: map[string]string{"NODE": "running"}}
	p.app = &cli.App{
		In: strings.NewReader(""), Out: &p.out, Err: &p.err, Run: run,
		Platform: config.Platform{OS: "linux", Home: p.dir, Getenv: func(string) string { return "" }},
		Dial: func(_ context.Context, path string) (cli.Client, error) {
			return dialFake(path, func(name string) string { return p.env[name] })
		},
		Signals: func() (<-chan os.Signal, func()) { return p.signals, func() {} },
		Exit:    func(code int) { p.exits <- code },
	}
	return p
}

func (p *process) configure(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, config.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGracefulStop(t *testing.T) {
	running, told := make(chan struct{}), make(chan struct{})
	p := newProcess(t, func(ctx context.Context, _ config.Config, _ cli.Streams) error {
		close(running)
		<-ctx.Done()
		<-told
		return nil
	})
	p.app.Err = &watcher{Buffer: &p.err, want: "stopping; interrupt again to stop at once", seen: told}
	go func() {
		<-running
		p.signals <- syscall.SIGTERM
	}()
	if code := p.app.Main([]string{"serve"}); code != cli.ExitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestSecondInterruptStopsAtOnce(t *testing.T) {
	running, stuck := make(chan struct{}), make(chan struct{})
	p := newProcess(t, func(context.Context, config.Config, cli.Streams) error {
		close(running)
		<-stuck
		return nil
	})
	go func() {
		<-running
		p.signals <- os.Interrupt
		p.signals <- os.Interrupt
	}()
	finished := make(chan int)
	go func() { finished <- p.app.Main([]string{"serve"}) }()
	if code := <-p.exits; code != cli.ExitInterrupted {
		t.Errorf("exit code %d", code)
	}
	close(stuck)
	<-finished
}

func TestReload(t *testing.T) {
	configs := make(chan config.Config)
	p := newProcess(t, func(ctx context.Context, cfg config.Config, s cli.Streams) error {
		configs <- cfg
		for {
			select {
			case cfg := <-s.Reload:
				s.Log.Debug("taken over")
				configs <- cfg
			case <-ctx.Done():
				return nil
			}
		}
	})
	finished := make(chan int)
	p.configure(t, "[gossip]\nmax_ttl = \"1h\"\n")
	go func() { finished <- p.app.Main([]string{"serve", "--data-dir", p.dir, "--min-pow", "0.5"}) }()
	if c := <-configs; c.Gossip.MaxTTL != time.Hour || c.Gossip.MinPoW != 0.5 {
		t.Errorf("started with %+v", c)
	}

	// What can be taken over is, what cannot stays, flags still come first.
	p.configure(t, "[network]\nbridge = true\n[gossip]\nmax_ttl = \"30m\"\nmin_pow = 0.1\n[log]\nlevel = \"debug\"\n")
	p.signals <- syscall.SIGHUP
	if c := <-configs; c.Gossip.MaxTTL != 30*time.Minute || c.Network.Bridge || c.Gossip.MinPoW != 0.5 {
		t.Errorf("reloaded %+v", c)
	}

	// A broken file changes nothing, and the next good one is taken.
	p.configure(t, "[network]\nmax_pers = 7\n")
	p.signals <- syscall.SIGHUP
	p.signals <- os.Interrupt
	if code := <-finished; code != cli.ExitOK {
		t.Errorf("exit code %d", code)
	}
	log := p.err.String()
	for _, want := range []string{
		`msg="configuration changed" key=gossip.max_ttl from="\"1h\"" to="\"30m\""`,
		`level=WARN msg="this change needs a restart" key=network.bridge from=false to=true`,
		`msg="taken over"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
}

func TestReloadRefused(t *testing.T) {
	refused := make(chan struct{})
	p := newProcess(t, nil)
	p.app.Err = &watcher{Buffer: &p.err, want: "reload refused", seen: refused}
	p.app.Run = func(ctx context.Context, _ config.Config, s cli.Streams) error {
		p.configure(t, "[network]\nmax_pers = 7\n")
		p.signals <- syscall.SIGHUP
		select {
		case <-refused:
		case <-s.Reload:
			t.Error("a broken file was taken over")
		}
		return nil
	}
	p.app.Main([]string{"serve", "--data-dir", p.dir})
	if log := p.err.String(); !strings.Contains(log, "restante.toml:2: unknown key `max_pers` in [network]; did you mean `max_peers`?") {
		t.Errorf("logged %s", log)
	}
}

// watcher closes seen when want is written.
type watcher struct {
	*bytes.Buffer
	want string
	seen chan struct{}
}

func (w *watcher) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(w.want)) {
		close(w.seen)
	}
	return w.Buffer.Write(b)
}

func TestInterruptedListen(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want int
	}{
		{nil, cli.ExitOK},
		{[]string{"--count", "2"}, cli.ExitInterrupted},
	} {
		listening := make(chan struct{})
		p := newProcess(t, nil)
		p.app.Err = &watcher{Buffer: &p.err, want: "listening on", seen: listening}
		go func() {
			<-listening
			p.signals <- os.Interrupt
		}()
		args := append([]string{"listen", "--topic-text", "lobby", "--password", "x"}, tc.args...)
		if code := p.app.Main(args); code != tc.want {
			t.Errorf("%v: exit code %d, want %d", args, code, tc.want)
		}
	}
}

// TestInterruptedInbox: following is over when it is interrupted; waiting for something has failed then, and a catch-up ends.
func TestInterruptedInbox(t *testing.T) {
	for _, tc := range []struct {
		args string
		out  string // what is printed when it waits
		want int
	}{
		{"messages --follow", "2  2026-11-22", cli.ExitOK},
		{"send --topic 0x5a4ea131 --password x --wait 1m hello", "letter-1", cli.ExitInterrupted},
		{"sync", "", cli.ExitInterrupted},
	} {
		waiting := make(chan struct{})
		p := newProcess(t, nil)
		p.env["INBOX"] = "hangs"
		p.app.Out = &watcher{Buffer: &p.out, want: tc.out, seen: waiting}
		go func() {
			if tc.out != "" {
				<-waiting
			}
			p.signals <- os.Interrupt
		}()
		if code := p.app.Main(append([]string{"inbox"}, strings.Fields(tc.args)...)); code != tc.want {
			t.Errorf("%s: exit code %d, want %d: %s", tc.args, code, tc.want, p.err.String())
		}
	}
}
