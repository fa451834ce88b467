package faults_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

var (
	killRuns = flag.Int("kill9.runs", 3, "how often the program is killed")
	killSeed = flag.Uint64("kill9.seed", 0, "seed of what is sent and when it is killed; 0 draws one")
)

// lives is how often one archive is killed before a new one is begun.
const lives = 10

// A mail server that is killed at any moment has, after a restart, every envelope that it acknowledged, once.
func TestKill9(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with: make faults K=kill9 N=%d SEED=%d", *killRuns, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	serial, passed, acknowledged := uint64(0), 0, 0
	var dir string
	var promised []envelope.Hash
	for run := range *killRuns {
		if run%lives == 0 {
			dir, promised = t.TempDir(), nil
		}
		s := start(t, dir)
		promised = append(promised, sendUntilKilled(t, s, random, &serial)...)
		s = start(t, dir)
		got := s.fetch()
		for _, h := range promised {
			if got[h] != 1 {
				t.Errorf("run %d: %s was acknowledged and came back %d times", run, h, got[h])
			}
		}
		for h, n := range got {
			if n > 1 {
				t.Errorf("run %d: %s came %d times", run, h, n)
			}
		}
		s.kill()
		if t.Failed() {
			t.Fatalf("run %d of %d failed; the mail server's log:\n%s", run+1, *killRuns, s.log.String())
		}
		passed++
		acknowledged = len(promised)
	}
	t.Logf("%d passed, %d failed; the last archive held %d acknowledged envelopes", passed, *killRuns-passed, acknowledged)
}

// sendUntilKilled sends envelopes, kills the mail server in the middle of it, and returns what it acknowledged.
func sendUntilKilled(t *testing.T, s *server, random *rand.Rand, serial *uint64) []envelope.Hash {
	t.Helper()
	packets := make(chan []*envelope.Envelope)
	from := newSender(t, s.node, packets)
	defer from.close()
	size, most := 64+random.IntN(2048), 1+random.IntN(100)
	alarm := (<-chan time.Time)(nil)
	late := time.After(patience)
	for {
		list := make([]*envelope.Envelope, 1+random.IntN(most))
		for i := range list {
			*serial++
			list[i] = fresh(*serial, size)
		}
		select {
		case packets <- list:
		case <-from.news:
			if alarm == nil { // the first acknowledgement has come: from now on any moment will do
				alarm = time.After(time.Duration(random.IntN(300)) * time.Millisecond)
			}
		case <-alarm:
			s.kill()
			return from.acknowledged()
		case <-late:
			t.Fatalf("nothing was acknowledged; the log:\n%s", s.log.String())
		}
	}
}
