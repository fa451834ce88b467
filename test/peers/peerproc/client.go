package peerproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Client is a JSON-RPC client of somebody else in its own process: web3.js' or go-ethereum's, driven by lines of JSON.
type Client struct {
	proc   *process
	events *log[ClientEvent]

	mu      sync.Mutex
	last    uint64
	pending map[uint64]chan clientLine
}

// ClientEvent is what a subscription of a Client brought.
type ClientEvent struct {
	Subscription string          // the name that Call gave it
	Data         json.RawMessage // nil with an Error
	Error        string
}

type clientLine struct {
	ID           uint64          `json:"id"`
	Result       json.RawMessage `json:"result"`
	Fault        string          `json:"error"`
	Subscription string          `json:"subscription"`
	Data         json.RawMessage `json:"data"`
}

// StartClient starts a client's program.
func StartClient(bin string, args ...string) (*Client, error) {
	c := &Client{events: newLog[ClientEvent](), pending: map[uint64]chan clientLine{}}
	p, err := launch(bin, args, c.onLine)
	if err != nil {
		return nil, err
	}
	c.proc = p
	go func() {
		<-p.ended
		c.events.end(p.err)
	}()
	return c, nil
}

func (c *Client) onLine(b []byte) error {
	var l clientLine
	if err := strict(b, &l); err != nil {
		return fmt.Errorf("a line is not understood: %w: %.200s", err, b)
	}
	if l.Subscription != "" {
		c.events.add(ClientEvent{l.Subscription, l.Data, l.Fault})
		return nil
	}
	c.mu.Lock()
	answer := c.pending[l.ID]
	delete(c.pending, l.ID)
	c.mu.Unlock()
	if answer != nil {
		answer <- l
	}
	return nil
}

// ClientError is what the client's library reported.
type ClientError string

func (e ClientError) Error() string { return string(e) }

// Call lets the client do something and decodes what came of it into result, which may be nil. An error of its library is a ClientError.
func (c *Client) Call(ctx context.Context, result any, cmd string, args ...any) error {
	if args == nil {
		args = []any{}
	}
	answer := make(chan clientLine, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	c.pending[id] = answer
	c.mu.Unlock()
	request, err := json.Marshal(map[string]any{"id": id, "cmd": cmd, "args": args})
	if err != nil {
		return err
	}
	if err := c.proc.write(request); err != nil {
		return err
	}
	select {
	case l := <-answer:
		if l.Fault != "" {
			return ClientError(l.Fault)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(l.Result, result)
	case <-c.proc.ended:
		return c.proc.err
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", cmd, ctx.Err())
	}
}

// Event returns the n-th event (from 0) of a subscription.
func (c *Client) Event(ctx context.Context, subscription string, n int) (ClientEvent, error) {
	e, _, err := c.events.next(ctx, 0, func(e ClientEvent) bool {
		if e.Subscription != subscription {
			return false
		}
		n--
		return n < 0
	})
	return e, err
}

// Close ends the process.
func (c *Client) Close() { c.proc.close() }

// BuildWeb3 installs web3.js' Whisper client, as its lock file says, into .build/peers/web3, and returns the path of the
// script that drives it, for node. It is quick when nothing has changed.
func BuildWeb3(ctx context.Context) (script string, err error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	from, to := filepath.Join(root, "test", "peers", "web3"), filepath.Join(root, ".build", "peers", "web3")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(to + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	fresh := true
	for _, name := range []string{"client.js", "package.json", ".npmrc", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return "", err
		}
		if old, err := os.ReadFile(filepath.Join(to, name)); name != "client.js" && (err != nil || string(old) != string(text)) {
			fresh = false
		}
		if err := os.WriteFile(filepath.Join(to, name), text, 0o644); err != nil {
			return "", err
		}
	}
	if _, err := os.Stat(filepath.Join(to, "node_modules", ".package-lock.json")); errors.Is(err, fs.ErrNotExist) {
		fresh = false
	}
	if !fresh {
		cmd := exec.CommandContext(ctx, "npm", "ci")
		cmd.Dir = to
		if out, err := cmd.CombinedOutput(); err != nil {
			os.Remove(filepath.Join(to, "package-lock.json"))
			return "", fmt.Errorf("npm ci: %w\n%s", err, out)
		}
	}
	return filepath.Join(to, "client.js"), nil
}
