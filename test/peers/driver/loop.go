package driver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxLine bounds one request: the largest envelope (10 MiB) in hexadecimal and then some.
const maxLine = 32 << 20

// writer prints one JSON value per line, whole lines only, from any goroutine.
type writer struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func newWriter(w io.Writer) *writer { return &writer{w: bufio.NewWriterSize(w, 1<<16)} }

func (w *writer) print(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types always marshal
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.w.Write(line)
	w.w.WriteByte('\n')
	w.w.Flush()
}

type node struct {
	name string
	make func(Options) (Engine, error)
	out  *writer

	mu      sync.Mutex
	host    *Host
	engine  Engine
	tap     *tap
	key     Hex                      // the node's own
	filters map[string]chan struct{} // closed to stop polling
}

func (n *node) emit(e Event) {
	if e.AtNS == 0 {
		e.AtNS = time.Now().UnixNano()
	}
	n.out.print(e)
}

// serve answers until the input ends. Requests run concurrently, so that a long mining or waiting one holds up no other.
func (n *node) serve(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var req request
		if err := strict(lines.Bytes(), &req); err != nil {
			return fmt.Errorf("a request is not understood: %w", err)
		}
		if req.Cmd == "stop" {
			n.stop()
			n.out.print(response{ID: req.ID, Result: struct{}{}})
			return nil
		}
		go func() {
			result, err := n.do(req)
			if err != nil {
				n.out.print(response{ID: req.ID, Error: err.Error()})
				return
			}
			n.out.print(response{ID: req.ID, Result: result})
		}()
	}
	n.stop()
	return lines.Err()
}

func (n *node) do(req request) (any, error) {
	c, ok := commands[req.Cmd]
	if !ok {
		return nil, fmt.Errorf("unknown command %q", req.Cmd)
	}
	n.mu.Lock()
	running := n.engine != nil
	n.mu.Unlock()
	if !running && req.Cmd != "start" {
		return nil, errors.New("not started")
	}
	result, err := c(n, req.Args)
	if result == nil {
		result = struct{}{}
	}
	return result, err
}

func (n *node) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.engine == nil {
		return
	}
	for id, quit := range n.filters {
		close(quit)
		delete(n.filters, id)
	}
	n.host.Stop()
	// The engine's Stop may wait 10 s for a tolerance period; the process ends anyway.
	go n.engine.Stop()
}

func strict(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
