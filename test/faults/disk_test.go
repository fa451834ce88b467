package faults_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/rpc"
)

// A mail server whose disk is full says so, goes on serving what it has, acknowledges nothing that it cannot keep, and
// takes mail again by itself when there is room: also what it could not keep before.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "restante.toml")
	write := func(minFree string) {
		t.Helper()
		if err := os.WriteFile(config, []byte("[archive]\nmin_free = "+minFree+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("0")
	s := startWith(t, dir, "--set", "mailserver.enabled=true")
	packets := make(chan []*envelope.Envelope)
	from := newSender(t, s.node, packets)
	defer from.close()
	before, during := fresh(1, 300), fresh(2, 300)
	packets <- []*envelope.Envelope{before}
	waitFor(t, from, before.Hash())

	write(`"1000TiB"`) // nobody has that much: the disk counts as full
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// The next envelope is what tells it.
	packets <- []*envelope.Envelope{during}
	st := s.until("it says that its disk is full", func(st rpc.Status) bool { return len(failing(st)) > 0 })
	if text := failing(st)[0]; !strings.Contains(text, "free") {
		t.Errorf("the sentence does not speak of free space: %s", text)
	}
	if got := s.fetch(); got[before.Hash()] != 1 || got[during.Hash()] != 0 {
		t.Errorf("with a full disk it serves %d of the old and %d of the new envelope, want 1 and 0", got[before.Hash()], got[during.Hash()])
	}
	for _, h := range from.acknowledged() {
		if h == during.Hash() {
			t.Error("it acknowledged what it could not keep")
		}
	}

	write("0")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.until("it is well again", func(st rpc.Status) bool { return len(failing(st)) == 0 })
	if got := s.fetch(); got[before.Hash()] != 1 || got[during.Hash()] != 1 {
		t.Errorf("with room again it serves %d of the old and %d of the new envelope, want 1 and 1", got[before.Hash()], got[during.Hash()])
	}
}

// failing lists what the archive complains of.
func failing(st rpc.Status) (texts []string) {
	for _, c := range st.Health {
		if strings.HasPrefix(c.Code, "archive-") {
			texts = append(texts, c.Text)
		}
	}
	return texts
}

func waitFor(t *testing.T, from *sender, hash envelope.Hash) {
	t.Helper()
	late := time.After(patience)
	for {
		for _, h := range from.acknowledged() {
			if h == hash {
				return
			}
		}
		select {
		case <-from.news:
		case <-late:
			t.Fatalf("%s was not acknowledged in %v", hash, patience)
		}
	}
}
