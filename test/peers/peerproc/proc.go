package peerproc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	maxLine    = 64 << 20               // one line of a helper: the largest envelope in hexadecimal and then some
	maxStderr  = 16 << 10               // what is kept of a helper's complaints, for error texts
	closeGrace = 3 * time.Second        // between asking a process to end and killing it
	exitGrace  = 500 * time.Millisecond // for the last output of a process that has ended
)

// process is a helper and its lines. onLine gets each line of its standard output, in order, from one goroutine.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	writes sync.Mutex
	stderr head
	ended  chan struct{} // closed when the process has ended and its output has been read
	err    error         // why, after ended
}

func launch(bin string, args []string, onLine func([]byte) error) (*process, error) {
	p := &process{name: bin, cmd: exec.Command(bin, args...), ended: make(chan struct{})}
	// A group of its own: closing kills whatever the helper started as well, and an interrupt from the terminal reaches
	// only us, so that helpers end in our order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = exitGrace
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.read(stdout, onLine)
	return p, nil
}

func (p *process) read(stdout io.Reader, onLine func([]byte) error) {
	s := bufio.NewScanner(stdout)
	s.Buffer(make([]byte, 1<<16), maxLine)
	var err error
	for err == nil && s.Scan() {
		err = onLine(s.Bytes())
	}
	if err = errors.Join(err, s.Err()); err != nil {
		p.kill()
	}
	err = errors.Join(err, p.cmd.Wait())
	if err == nil {
		err = errors.New("it ended")
	}
	p.err = fmt.Errorf("%s: %w", p.name, err)
	if text := p.stderr.String(); text != "" {
		p.err = fmt.Errorf("%w\n%s", p.err, text)
	}
	close(p.ended)
}

// write sends one line.
func (p *process) write(line []byte) error {
	p.writes.Lock()
	defer p.writes.Unlock()
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		select {
		case <-p.ended:
			return p.err
		case <-time.After(exitGrace):
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// close closes standard input, upon which every helper ends, and kills what is still there after a while.
func (p *process) close() {
	p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(closeGrace):
		p.kill()
		<-p.ended
	}
}

func (p *process) kill() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// head keeps the first bytes written to it: a panic's own text stands before its goroutines.
type head struct {
	mu  sync.Mutex
	buf []byte
}

func (h *head) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf = append(h.buf, b[:min(len(b), maxStderr-len(h.buf))]...)
	return len(b), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(bytes.TrimSpace(h.buf))
}
