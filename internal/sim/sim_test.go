package sim_test

import (
	"flag"
	"testing"

	"github.com/restante-im/restante/internal/sim"
)

var (
	runs = flag.Int("sim.runs", 20, "networks to simulate")
	seed = flag.Uint64("sim.seed", 1, "seed of the first network; the others follow")
)

// TestNetworks simulates networks of 50 nodes with every kind of fault.
func TestNetworks(t *testing.T) {
	failed, required, worst := 0, 0, 0
	for i := range *runs {
		r := sim.Run(sim.Plan{Seed: *seed + uint64(i)})
		required += r.Required
		worst = max(worst, r.WorstHops)
		if len(r.Failures) > 0 {
			failed++
			t.Errorf("%v\nreplay: make faults K=gossip N=1 SEED=%d", r, r.Plan.Seed)
		} else if *runs == 1 {
			t.Log(r)
		}
		if r.Required == 0 {
			t.Errorf("seed %d: nothing was required", r.Plan.Seed)
		}
	}
	t.Logf("seeds %d to %d: %d deliveries checked, at most %d hops at rest", *seed, *seed+uint64(*runs)-1, required, worst)
	t.Logf("%d passed, %d failed", *runs-failed, failed)
}

// TestReplay runs one seed twice.
func TestReplay(t *testing.T) {
	first := sim.Run(sim.Plan{Seed: *seed})
	again := sim.Run(sim.Plan{Seed: *seed})
	if first.Trace != again.Trace || first.Steps != again.Steps {
		t.Errorf("not the same:\n%v\n%v", first, again)
	}
	if other := sim.Run(sim.Plan{Seed: *seed + 1}); other.Trace == first.Trace {
		t.Error("two seeds gave the same run")
	}
}
