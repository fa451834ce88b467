// Command bench measures this program beside go-ethereum v1.9.20, the last of its releases with Whisper, in the same run
// on the same machine, and says where a target is missed. docs/performance.md explains the figures.
//
//	go run ./bench -b relay|mine|crypto|ingest|history|scale|catchup|rpc [-json] [-runs 5] [-lenient]
//
// It prints one line a figure: name, ours, the peer's, ratio (ours / peer), unit, target. Each value is the median of
// the runs, in which both take turns.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/restante-im/restante/test/peers/peerproc"
)

var errShort = errors.New("short of a target")

// bench is one run of the command.
type bench struct {
	out  *printer
	runs int
	only string // a prefix of the names of the figures wanted
	dir  string // scratch
	ours string // our binary
	peer string // the helper's
}

func main() {
	child := flag.String("child", "", "")
	rounds := flag.Int("rounds", 1, "")
	var with archiveArgs
	with.flags()
	profile := flag.String("cpuprofile", "", "with -child: write a CPU profile to this file")
	name := flag.String("b", "", "relay, mine, crypto, ingest, history, scale, catchup or rpc")
	only := flag.String("only", "", "measure only figures with this prefix")
	json := flag.Bool("json", false, "print JSON lines")
	runs := flag.Int("runs", 5, "runs of each figure; the median counts")
	lenient := flag.Bool("lenient", false, "do not fail when a target is missed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *child != "" {
		err = profiled(*profile, func() error { return runChild(ctx, *child, *rounds, with) })
	} else {
		err = run(ctx, *name, &bench{out: &printer{json: *json}, runs: max(*runs, 1), only: *only})
	}
	if errors.Is(err, errShort) && *lenient {
		err = nil
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name string, b *bench) (err error) {
	kinds := map[string]func(context.Context) error{
		"relay": b.relay, "mine": b.mine, "crypto": b.crypto, "ingest": b.ingest, "history": b.history, "scale": b.scale,
		"catchup": b.catchup, "rpc": b.rpc,
	}
	measure := kinds[name]
	if measure == nil {
		return fmt.Errorf("-b %q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	if b.dir, err = os.MkdirTemp("", "restante-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.peer, err = peerproc.Build(ctx, peerproc.Geth6, ""); err != nil {
		return err
	}
	b.ours = filepath.Join(b.dir, "restante")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.ours, "github.com/restante-im/restante/cmd/restante").CombinedOutput(); err != nil {
		return fmt.Errorf("building restante: %w\n%s", err, out)
	}
	if err := measure(ctx); err != nil {
		return err
	}
	return b.out.end()
}

// wants reports whether a figure with this name, or with names that start with it, was asked for.
func (b *bench) wants(name string) bool {
	return strings.HasPrefix(name, b.only) || strings.HasPrefix(b.only, name)
}
