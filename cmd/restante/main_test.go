package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/restante-im/restante/internal/rpc"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"restante": main})
}

// TestStories runs the program as people do: several nodes and commands, each a process of its own.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "h") // short: socket paths are bounded
			e.Setenv("HOME", home)
			e.Setenv("XDG_DATA_HOME", "")
			return os.MkdirAll(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"running": running, "peers": peers, "saw": saw, "explain": onHash("explain"), "drop": onHash("archive", "drop"), "invited": invited,
		},
	})
}

// patience bounds each wait. Machines of tests can be slow.
const patience = 20 * time.Second

// until asks the node of a data directory again and again until it says what is wanted.
func until(ts *testscript.TestScript, dir string, wanted func(context.Context, *rpc.Client) bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := rpc.Dial(ctx, filepath.Join(ts.MkAbs(dir), rpc.SocketName)); err == nil {
			ok := wanted(ctx, c)
			c.Close()
			if ok {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("the node in %s did not get there in %v", dir, patience)
		}
	}
}

// running DIR VAR waits for the node of a data directory and puts its address into a variable.
func running(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, args[0], func(ctx context.Context, c *rpc.Client) bool {
		st, err := c.Status(ctx)
		if err == nil {
			ts.Setenv(args[1], st.Enode)
		}
		return err == nil
	})
}

// peers DIR N waits until a node has so many peers that speak.
func peers(ts *testscript.TestScript, _ bool, args []string) {
	var want int
	ts.Check(json.Unmarshal([]byte(args[1]), &want))
	until(ts, args[0], func(ctx context.Context, c *rpc.Client) bool {
		list, err := c.Peers(ctx)
		n := 0
		for _, p := range list {
			if p.Connected && len(p.Dialects) > 0 {
				n++
			}
		}
		return err == nil && n == want
	})
}

// saw DIR METRIC N waits until a counter of a node has at least a value.
func saw(ts *testscript.TestScript, _ bool, args []string) {
	var want float64
	ts.Check(json.Unmarshal([]byte(args[2]), &want))
	until(ts, args[0], func(ctx context.Context, c *rpc.Client) bool {
		st, err := c.Status(ctx)
		return err == nil && st.Counters[args[1]] >= want
	})
}

// onHash DIR FILE runs a command on the hash that a file holds.
func onHash(command ...string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		hash := strings.TrimSpace(ts.ReadFile(args[1]))
		ts.Check(ts.Exec("restante", append(slices.Clone(command), "--data-dir", args[0], hash)...))
	}
}

// invited DIR NAME VAR invites somebody and puts the link into a variable.
func invited(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("restante", "members", "invite", "--data-dir", args[0], args[1]))
	ts.Setenv(args[2], strings.TrimSpace(ts.ReadFile("stdout")))
}
