package mailsim_test

import (
	"flag"
	"runtime"
	"sync"
	"testing"

	"github.com/restante-im/restante/internal/sim/mailsim"
)

var (
	runs  = flag.Int("mailsim.runs", 20, "worlds to simulate")
	seed  = flag.Uint64("mailsim.seed", 1, "seed of the first world; the others follow")
	trace = flag.Bool("mailsim.log", false, "print everything that happens in the worlds")
)

// simulate runs worlds on all processors; the reports come in the order of the seeds.
func simulate(n int, plan func(i int) mailsim.Plan, each func(mailsim.Report)) {
	workers := runtime.GOMAXPROCS(0)
	reports := make([]chan mailsim.Report, n)
	for i := range reports {
		reports[i] = make(chan mailsim.Report, 1)
	}
	var wg sync.WaitGroup
	for first := range workers {
		wg.Go(func() {
			for i := first; i < n; i += workers {
				reports[i] <- mailsim.Run(plan(i))
			}
		})
	}
	for _, r := range reports {
		each(<-r)
	}
	wg.Wait()
}

// TestWorlds simulates worlds with every kind of fault.
func TestWorlds(t *testing.T) {
	failed := 0
	var sum mailsim.Report
	simulate(*runs, func(i int) mailsim.Plan {
		p := mailsim.Plan{Seed: *seed + uint64(i)}
		if *trace {
			p.Log = func(line string) { t.Log(line) }
		}
		return p
	}, func(r mailsim.Report) {
		sum.Asks += r.Asks
		sum.Syncs += r.Syncs
		sum.Claims += r.Claims
		sum.Required += r.Required
		sum.Crashes += r.Crashes
		sum.Gaps += r.Gaps
		if len(r.Failures) > 0 {
			failed++
			t.Errorf("%v\nreplay: make faults K=network N=1 SEED=%d", r, r.Plan.Seed)
		} else if *runs == 1 {
			t.Log(r)
		}
	})
	t.Logf("seeds %d to %d: %d crashes, %d questions, %d syncs, %d claims and %d deliveries checked, %d gaps left",
		*seed, *seed+uint64(*runs)-1, sum.Crashes, sum.Asks, sum.Syncs, sum.Claims, sum.Required, sum.Gaps)
	t.Logf("%d passed, %d failed", *runs-failed, failed)
	if sum.Required == 0 || sum.Claims == 0 {
		t.Error("nothing was checked")
	}
}

// TestReplay runs one seed twice.
func TestReplay(t *testing.T) {
	first := mailsim.Run(mailsim.Plan{Seed: *seed})
	again := mailsim.Run(mailsim.Plan{Seed: *seed})
	if first.Trace != again.Trace || first.Events != again.Events {
		t.Errorf("not the same:\n%v\n%v", first, again)
	}
	if other := mailsim.Run(mailsim.Plan{Seed: *seed + 1}); other.Trace == first.Trace {
		t.Error("two seeds gave the same run")
	}
}

// TestTeeth runs worlds whose clients are broken in one way, which the checks must find.
func TestTeeth(t *testing.T) {
	const worlds = 9
	for b := mailsim.Unbroken + 1; b < mailsim.Breaks; b++ {
		found := 0
		simulate(worlds, func(i int) mailsim.Plan { return mailsim.Plan{Seed: *seed + uint64(i), Break: b} }, func(r mailsim.Report) {
			if len(r.Failures) > 0 {
				found++
			}
		})
		if t.Logf("break %d: found in %d of %d worlds", b, found, worlds); found < worlds/3 {
			t.Errorf("break %d was found in %d of %d worlds only", b, found, worlds)
		}
	}
}
