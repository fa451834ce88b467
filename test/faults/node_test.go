// Package faults_test kills the real program, and takes its disk away, to see whether it keeps its promise.
package faults_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/wire"
)

// patience bounds each wait. Machines of tests can be slow.
const patience = 30 * time.Second

var building sync.Once

// program builds the program once and returns its path.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("restante-faults-%d", os.Getpid()))
	building.Do(func() {
		if out, err := exec.Command("go", "build", "-o", path, "../../cmd/restante").CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	})
	return path
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.Remove(filepath.Join(os.TempDir(), fmt.Sprintf("restante-faults-%d", os.Getpid())))
	os.Exit(code)
}

// server is a running mail server.
type server struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	log  bytes.Buffer
	node nodeaddr.Node
}

// start runs the program as a mail server on a data directory and waits until it answers.
func start(t *testing.T, dir string) *server {
	t.Helper()
	return startWith(t, dir, "--set", "mailserver.enabled=true", "--set", "archive.min_free=0")
}

func startWith(t *testing.T, dir string, flags ...string) *server {
	t.Helper()
	s := &server{t: t, dir: dir}
	args := []string{"serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--ops", ""}
	s.cmd = exec.Command(program(t), append(args, flags...)...)
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	st := s.until("it answers", func(rpc.Status) bool { return true })
	n, err := nodeaddr.Parse(st.Enode)
	if err != nil {
		t.Fatal(err)
	}
	s.node = n
	return s
}

// until asks for the status until it is as wanted.
func (s *server) until(what string, wanted func(rpc.Status) bool) rpc.Status {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := rpc.Dial(ctx, filepath.Join(s.dir, rpc.SocketName)); err == nil {
			st, err := c.Status(ctx)
			c.Close()
			if err == nil && wanted(st) {
				return st
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("waited in vain until %s; its log:\n%s", what, s.log.String())
		}
	}
}

// kill ends the process as a power cut would, but for the disk's own cache.
func (s *server) kill() {
	if s.cmd.ProcessState == nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
}

// fetch asks the mail server for all it has.
func (s *server) fetch() map[envelope.Hash]int {
	s.t.Helper()
	key, err := message.GeneratePrivateKey(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	defer cancel()
	got := map[envelope.Hash]int{}
	report, err := node.Fetch(ctx, node.FetchOptions{
		Version: "test", Key: key, Server: s.node, Dialects: wire.Dialects(), Log: slog.New(slog.DiscardHandler),
	}, func(_ context.Context, page history.Page) error {
		for _, e := range page.Envelopes {
			got[e.Hash()]++
		}
		return nil
	})
	if err != nil || report.End != history.EndComplete {
		s.t.Fatalf("fetch ended %v (%v)", report.End, err)
	}
	return got
}

// sender offers envelopes to a mail server and notes what it acknowledges.
type sender struct {
	network *devp2p.Server
	dialect *wire.Dialect
	packets <-chan []*envelope.Envelope // what to send

	mu      sync.Mutex
	sent    map[envelope.Hash][]*envelope.Envelope // by the packet's digest
	acked   map[envelope.Hash]bool
	refused map[envelope.Hash]string
	news    chan struct{} // an answer came
}

func newSender(t *testing.T, to nodeaddr.Node, packets <-chan []*envelope.Envelope) *sender {
	t.Helper()
	key, err := message.GeneratePrivateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &sender{
		dialect: wire.Dialects()[0], packets: packets, sent: map[envelope.Hash][]*envelope.Envelope{},
		acked: map[envelope.Hash]bool{}, refused: map[envelope.Hash]string{}, news: make(chan struct{}, 1),
	}
	s.network, err = devp2p.Start(devp2p.Config{
		Key: key.Bytes(), Name: "sender", Static: []nodeaddr.Node{to}, Log: slog.New(slog.DiscardHandler),
		Protocols: []devp2p.Protocol{{Name: s.dialect.Name(), Version: s.dialect.Version(), Codes: s.dialect.Codes(), Run: s.run}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sender) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.network.Close(ctx)
}

// run speaks with the mail server until the connection ends.
func (s *sender) run(c *devp2p.Conn) error {
	code, hello := s.dialect.EncodeHello(wire.Hello{Bloom: &envelope.Bloom{}, Confirms: true})
	if err := c.WritePacket(code, hello); err != nil {
		return err
	}
	if _, _, err := c.ReadPacket(); err != nil {
		return err
	}
	over := make(chan struct{})
	defer close(over)
	go func() {
		for {
			select {
			case list, ok := <-s.packets:
				if !ok {
					return
				}
				frame := s.dialect.EnvelopesFrame(list)
				s.mu.Lock()
				s.sent[envelope.Keccak256(frame.Payload)] = list
				s.mu.Unlock()
				if c.WritePacket(frame.Code, frame.Payload) != nil {
					return
				}
			case <-over:
				return
			}
		}
	}()
	for {
		code, payload, err := c.ReadPacket()
		if err != nil {
			return err
		}
		if packet, err := s.dialect.Decode(code, payload, len(payload)); err == nil {
			s.answered(packet)
		}
	}
}

func (s *sender) answered(p wire.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p := p.(type) {
	case wire.Report:
		for _, r := range p.Refused {
			s.refused[r.Hash] = r.Text
		}
	case wire.Acknowledged:
		for _, e := range s.sent[p.Digest] {
			if s.refused[e.Hash()] == "" {
				s.acked[e.Hash()] = true
			}
		}
	default:
		return
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// acknowledged copies what was acknowledged so far.
func (s *sender) acknowledged() []envelope.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]envelope.Hash, 0, len(s.acked))
	for h := range s.acked {
		list = append(list, h)
	}
	return list
}

// fresh makes an envelope that no other one is like.
func fresh(serial uint64, size int) *envelope.Envelope {
	data := make([]byte, size)
	for i := range 8 {
		data[i] = byte(serial >> (8 * i))
	}
	return envelope.New(uint32(time.Now().Unix())+60, 60, envelope.Topic{byte(serial), byte(serial >> 8)}, data, 0)
}
