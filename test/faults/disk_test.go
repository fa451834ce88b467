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
	before := fresh(1, 300)
	packets <- []*envelope.Envelope{before}
	waitFor(t, from, before.Hash())

	write(`"1000TiB"`) // nobody has that much: the disk counts as full
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	var during []*envelope.Envelope
	st := s.until("it says that its disk is full", func(st rpc.Status) bool {
		during = append(during, fresh(uint64(2+len(during)), 300)) // the next one it cannot store is what tells it
		packets <- during[len(during)-1:]
		return len(failing(st)) > 0
	})
	if text := failing(st)[0]; !strings.Contains(text, "free") {
		t.Errorf("the sentence does not speak of free space: %s", text)
	}
	got := s.fetch()
	acked := map[envelope.Hash]bool{}
	for _, h := range from.acknowledged() {
		acked[h] = true
	}
	if last := during[len(during)-1].Hash(); got[before.Hash()] != 1 || got[last] != 0 || acked[last] {
		t.Errorf("with a full disk it serves the old envelope %d times and the last new one %d times (acknowledged: %v), want 1 and 0",
			got[before.Hash()], got[last], acked[last])
	}
	for h := range acked {
		if got[h] != 1 {
			t.Errorf("%s was acknowledged and is served %d times", h, got[h])
		}
	}

	write("0")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.until("it is well again", func(st rpc.Status) bool {
		return len(failing(st)) == 0 && st.Counters["restante_archive_envelopes"] == float64(1+len(during))
	})
	got = s.fetch()
	for _, e := range append(during, before) {
		if got[e.Hash()] != 1 {
			t.Errorf("with room again it serves %s %d times, want once", e.Hash(), got[e.Hash()])
		}
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
