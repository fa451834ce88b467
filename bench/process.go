package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// relayProcess is a node in its own process, ours or the peer's.
type relayProcess interface {
	enode() string
	pid() int
	state(ctx context.Context) (pooled, peers int, err error)
	close()
}

// start runs a relay, ours or the peer's, that stays connected with the given node.
type start func(ctx context.Context, static string) (relayProcess, error)

// sides are who is compared, ours first.
func (b *bench) sides() []start { return []start{b.startOurs, b.startPeer} }

// oursProcess is a node of ours.
type oursProcess struct {
	cmd    *exec.Cmd
	dir    string
	keep   bool // the directory stays
	url    string
	client *rpc.Client
	stderr bytes.Buffer
	ended  chan struct{}
}

func (b *bench) startOurs(ctx context.Context, static string) (relayProcess, error) {
	if static != "" {
		return b.serve(ctx, "--static", static)
	}
	return b.serve(ctx)
}

// serve runs our node as it comes out of the box, but for: any PoW, as the peer's relay takes any.
func (b *bench) serve(ctx context.Context, more ...string) (*oursProcess, error) {
	dir, err := os.MkdirTemp(b.dir, "node-")
	if err != nil {
		return nil, err
	}
	return b.serveIn(ctx, dir, more...)
}

// serveIn is serve with a data directory.
func (b *bench) serveIn(ctx context.Context, dir string, more ...string) (*oursProcess, error) {
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--ops", "", "--min-pow", "0"}, more...)
	p, err := b.launch(dir, args...)
	if err != nil {
		return nil, err
	}
	if err := p.connect(ctx); err != nil {
		p.close()
		return nil, fmt.Errorf("restante did not start: %w\n%s", err, p.stderr.Bytes())
	}
	return p, nil
}

// launch runs a command of ours that is a node.
func (b *bench) launch(dir string, args ...string) (*oursProcess, error) {
	args = append(args, "--data-dir", dir, "--log-level", "warn")
	p := &oursProcess{cmd: exec.Command(b.ours, args...), dir: dir, ended: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *oursProcess) connect(ctx context.Context) (err error) {
	p.client, p.url, err = dialNode(ctx, filepath.Join(p.dir, socketName), p.ended)
	return err
}

const socketName = "restante.ipc"

// dialNode waits until a node of ours answers on its socket, and returns its address too.
func dialNode(ctx context.Context, socket string, ended <-chan struct{}) (*rpc.Client, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		client, err := rpc.Dial(ctx, socket)
		if err == nil {
			var st rpc.Status
			if st, err = client.Status(ctx); err == nil {
				return client, st.Enode, nil
			}
			client.Close()
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ended:
			return nil, "", err
		case <-ctx.Done():
			return nil, "", err
		}
	}
}

func (p *oursProcess) enode() string { return p.url }
func (p *oursProcess) pid() int      { return p.cmd.Process.Pid }

func (p *oursProcess) state(ctx context.Context) (pooled, peers int, err error) {
	st, err := p.client.Status(ctx)
	return int(st.Pool.Envelopes), st.PeersConnected, err
}

func (p *oursProcess) close() {
	if p.client != nil {
		p.client.Close()
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		p.cmd.Process.Kill()
		<-p.ended
	}
	if !p.keep {
		os.RemoveAll(p.dir)
	}
}

// peerProcess is the helper's relay.
type peerProcess struct {
	raw *peerproc.Raw
	url string
}

func (b *bench) startPeer(ctx context.Context, static string) (relayProcess, error) {
	if static != "" {
		return b.runPeer(ctx, "-peer", static)
	}
	return b.runPeer(ctx)
}

func (b *bench) runPeer(ctx context.Context, more ...string) (relayProcess, error) {
	raw, err := peerproc.StartRaw(b.peer, append([]string{"relay"}, more...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url, err := raw.Ready(ctx)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return &peerProcess{raw, url}, nil
}

func (p *peerProcess) enode() string { return p.url }
func (p *peerProcess) pid() int      { return p.raw.Pid() }
func (p *peerProcess) close()        { p.raw.Close() }

func (p *peerProcess) state(ctx context.Context) (pooled, peers int, err error) {
	r, err := p.raw.CPU(ctx)
	return r.Pool, r.Peers, err
}

// waitState waits until a relay has so many envelopes and peers, at least.
func waitState(ctx context.Context, p relayProcess, pooled, peers int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		n, c, err := p.state(ctx)
		if err != nil {
			return err
		}
		if n >= pooled && c >= peers {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("a relay has %d envelopes and %d peers, not %d and %d", n, c, pooled, peers)
		}
	}
}

// ticksPerSecond is the unit of times in /proc: 100 on all Linux systems.
const ticksPerSecond = 100

// cpuTime returns the user and system time that a process has used.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of a process is read from /proc: %w", err)
	}
	_, rest, _ := strings.Cut(string(b), ") ") // after the name, which may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("/proc/%d/stat: %q, %q", pid, fields[11], fields[12])
	}
	return time.Duration(user+system) * (time.Second / ticksPerSecond), nil
}
