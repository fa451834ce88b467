package peerproc

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Config is how a helper's node starts.
type Config struct {
	MinPoW      float64
	Bloom       []byte        // 64 bytes; nil: full node
	MaxSize     uint32        // largest message and packet in bytes; 0: 1 MiB
	Key         []byte        // node key, 32 bytes; nil: a new one
	Listen      string        // empty: 127.0.0.1:0
	Light       bool          // says that it is a light node
	Unconfirmed bool          // Status162: do not answer with packets 12 and 11
	ClockOffset time.Duration // Status162: added to its clock
	Packets     bool          // report every packet as an event

	MailDir      string // Geth6: be a mail server with its LevelDB archive in this directory; empty: none
	MailPassword string // that opens its requests
}

// Node is a real Whisper node in its own process.
type Node struct {
	Enode string   // enode URL
	ID    [32]byte // node id

	proc   *process
	events *log[Event]

	mu      sync.Mutex
	last    uint64
	pending map[uint64]chan line
	filters map[string]*log[Message]
}

// Start runs the helper binary (see [Build]) and starts its node.
func Start(ctx context.Context, bin string, c Config) (*Node, error) {
	n := &Node{events: newLog[Event](), pending: map[uint64]chan line{}, filters: map[string]*log[Message]{}}
	p, err := launch(bin, nil, n.onLine)
	if err != nil {
		return nil, err
	}
	n.proc = p
	go func() {
		<-p.ended
		n.events.end(p.err)
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, f := range n.filters {
			f.end(p.err)
		}
	}()
	var started struct {
		Enode string   `json:"enode"`
		ID    hexBytes `json:"id"`
		Port  int      `json:"port"`
	}
	err = n.call(ctx, "start", args{
		"min_pow": c.MinPoW, "bloom": hexBytes(c.Bloom), "max_size": c.MaxSize, "key": hexBytes(c.Key), "listen": c.Listen,
		"light": c.Light, "unconfirmed": c.Unconfirmed, "clock_offset_ms": c.ClockOffset.Milliseconds(), "packets": c.Packets,
		"mail_dir": c.MailDir, "mail_password": c.MailPassword,
	}, &started)
	if err != nil {
		p.close()
		return nil, err
	}
	n.Enode, n.ID = started.Enode, array32(started.ID)
	return n, nil
}

// Close ends the process.
func (n *Node) Close() { n.proc.close() }

// Pid is the process id of the helper.
func (n *Node) Pid() int { return n.proc.cmd.Process.Pid }

// Kill ends the process at once, as a crash would.
func (n *Node) Kill() {
	n.proc.kill()
	<-n.proc.ended
}

type args map[string]any

// call sends one command and waits for its answer. result may be nil.
func (n *Node) call(ctx context.Context, cmd string, a args, result any) error {
	answer := make(chan line, 1)
	n.mu.Lock()
	n.last++
	id := n.last
	n.pending[id] = answer
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.pending, id)
		n.mu.Unlock()
	}()
	request, err := json.Marshal(args{"id": id, "cmd": cmd, "args": a})
	if err != nil {
		return err
	}
	if err := n.proc.write(request); err != nil {
		return err
	}
	select {
	case l := <-answer:
		if l.Fault != "" {
			return fmt.Errorf("%s: %s", cmd, l.Fault)
		}
		if result == nil {
			return nil
		}
		return strict(l.Result, result)
	case <-n.proc.ended:
		return n.proc.err
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", cmd, ctx.Err())
	}
}

func (n *Node) onLine(b []byte) error {
	var l line
	if err := strict(b, &l); err != nil {
		return fmt.Errorf("a line is not understood: %w: %.200s", err, b)
	}
	n.mu.Lock()
	answer := n.pending[l.ID]
	n.mu.Unlock()
	switch {
	case l.Kind == "":
		if answer != nil { // nil: nobody waits any more
			answer <- l
		}
	case l.Kind == "message":
		n.filter(l.Message.Filter).add(l.message())
	default:
		n.events.add(l.event())
	}
	return nil
}

// filter finds a filter's log, made by whoever comes first: the answer to "subscribe" or the first message.
func (n *Node) filter(id string) *log[Message] {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.filters[id] == nil {
		n.filters[id] = newLog[Message]()
	}
	return n.filters[id]
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// peerOf writes a peer as the helpers want it: an enode URL, or a node id as hexadecimal digits.
func peerOf(to any) string {
	switch v := to.(type) {
	case [32]byte:
		return hex.EncodeToString(v[:])
	case string:
		return strings.TrimSpace(v)
	default:
		return fmt.Sprint(v)
	}
}

// timeoutMS is the time left before ctx ends, in milliseconds, and half a minute for contexts without an end.
func timeoutMS(ctx context.Context) int64 {
	if d, ok := ctx.Deadline(); ok {
		return max(time.Until(d).Milliseconds()-50, 0) // so that the helper's better reason comes first
	}
	return 30_000
}
