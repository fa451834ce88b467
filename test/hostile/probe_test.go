package hostile_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// probe sends honest messages through the node all the time.
type probe struct {
	w        *world
	from, to *peer

	mu      sync.Mutex
	sent    map[envelope.Hash]time.Time
	took    []time.Duration
	again   int
	arrived map[envelope.Hash]bool
}

// probeTopic marks honest messages.
var probeTopic = envelope.Topic{0x0b, 0xad, 0xca, 0xfe}

func newProbe(w *world) *probe {
	w.t.Helper()
	p := &probe{w: w, sent: map[envelope.Hash]time.Time{}, arrived: map[envelope.Hash]bool{}}
	p.from = w.dial(conduct{hellos: map[string][]byte{shh6: hello(shh6, noEnvelopes())}})
	p.to = w.dial(conduct{hellos: speaks(shh6), read: p.read})
	return p
}

func (p *probe) read(_ string, code uint64, payload []byte) {
	if code != 1 {
		return
	}
	now := time.Now()
	envs, err := envelope.DecodeList(payload, 1<<16)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range envs {
		if e.Topic() != probeTopic {
			continue
		}
		if p.arrived[e.Hash()] {
			p.again++
			continue
		}
		p.arrived[e.Hash()] = true
		p.took = append(p.took, now.Sub(p.sent[e.Hash()]))
	}
}

func (p *probe) one() {
	env := valid(p.w.t, probeTopic, 60)
	p.mu.Lock()
	p.sent[env.Hash()] = time.Now()
	p.mu.Unlock()
	p.from.send(shh6, 1, list(env))
}

// during runs an attack and checks the honest peers meanwhile: everything arrives, once, in normal time; and the heap has
// grown by at most limit bytes afterwards. At least 40 messages are measured.
func during(w *world, limit uint64, attack func()) {
	w.t.Helper()
	p := newProbe(w)
	before := heap()
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			p.one()
			select {
			case <-done:
				if n >= 40 {
					return
				}
			default:
			}
			<-tick.C
		}
	}()
	attack()
	close(done)
	<-finished
	eventually(w.t, "every honest message arrives", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.arrived) == len(p.sent)
	})
	p.report()
	after := heap()
	if after > before+limit {
		w.t.Errorf("the heap grew from %d to %d KiB, by more than %d KiB", before>>10, after>>10, limit>>10)
	}
	w.t.Logf("heap %d KiB before, %d KiB after", before>>10, after>>10)
	if n := w.counter("protocol_panics_total"); n != 0 {
		w.t.Errorf("%v protocols panicked", n)
	}
}

func (p *probe) report() {
	t := p.w.t
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.took)
	median := p.took[len(p.took)/2]
	if median > p.w.normal {
		t.Errorf("honest messages took %s in the median, want %s at most", median, p.w.normal)
	}
	if p.again > 0 {
		t.Errorf("%d honest messages came twice", p.again)
	}
	t.Logf("%d honest messages: median %s, slowest %s", len(p.took), median.Round(10*time.Microsecond), p.took[len(p.took)-1].Round(time.Millisecond))
	for _, q := range []*peer{p.from, p.to} {
		if r := p.w.log.reasons(q.id); len(r) > 0 {
			t.Errorf("an honest peer was lost: %q", r)
		}
	}
}

// TestUndisturbed measures honest peers alone, to compare with.
func TestUndisturbed(t *testing.T) {
	during(newWorld(t, nil), 4<<20, func() {})
}
