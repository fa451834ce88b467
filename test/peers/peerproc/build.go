// Package peerproc runs the real Whisper peers of test/peers as processes of their own and steers them: build a helper
// with [Build], start one with [Start] (or, in a test, with [ForTest], whose methods fail the test), let it talk to
// another node, and wait for what it reports. [StartRaw] starts the load ends and relays of benchmarks.
//
// Everything a helper reports is kept, so that a wait finds what has already happened; no test needs to be early.
// All types are safe for concurrent use. Closing a [Node] or [Raw] ends its process, at the latest by a kill; a helper
// also ends when our process does, because its standard input closes.
package peerproc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Names of the helpers.
const (
	Geth6     = "geth6"     // go-ethereum v1.9.20, whisper/whisperv6
	Status162 = "status162" // github.com/status-im/whisper v1.6.2
)

// Build builds the named helper into outDir (empty: .build/peers at the module's root) and returns the binary's path.
// It is quick when nothing has changed, and may be called by several processes at once.
func Build(ctx context.Context, name, outDir string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	if outDir == "" {
		outDir = filepath.Join(root, ".build", "peers")
	}
	if outDir, err = filepath.Abs(outDir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(outDir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(outDir, name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()

	bin := filepath.Join(outDir, name)
	// go-ethereum v1.9.20 reaches into the runtime, which today's linker refuses unless told otherwise.
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-checklinkname=0", "-o", bin, ".")
	cmd.Dir = filepath.Join(root, "test", "peers", name)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return bin, nil
}

// moduleRoot is the directory above the working directory that holds this package.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "test", "peers", "peerproc", "build.go")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no directory above the working directory holds test/peers: run this inside the checkout")
		}
		dir = parent
	}
}

// lock takes an exclusive lock on a file, so that parallel test binaries build one after the other.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
