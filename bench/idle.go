package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/restante-im/restante/test/peers/peerproc"
)

// Size of the idle case.
const (
	idlePool  = 20_000
	idlePeers = 20
	idleTTL   = 3600 // seconds
	idleWhile = 20 * time.Second
)

// debugf tells the impatient what goes on, with BENCH_DEBUG=1.
func debugf(format string, args ...any) {
	if os.Getenv("BENCH_DEBUG") != "" {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

// filled is a relay with a full pool and idle peers that have all of it.
type filled struct {
	relay relayProcess
	sink  *peerproc.Raw
}

func (f *filled) close() {
	f.sink.Close()
	f.relay.close()
}

// idle is the share of a core that a relay uses while nothing happens. Both sides idle at the same time.
func (b *bench) idle(ctx context.Context) error {
	var all [2]*filled
	for side, begin := range b.sides() {
		f, err := b.fill(ctx, begin)
		if err != nil {
			return err
		}
		defer f.close()
		all[side] = f
	}
	var values [2][]float64
	for range b.runs {
		var before [2]time.Duration
		began := time.Now()
		for side, f := range all {
			v, err := cpuTime(f.relay.pid())
			if err != nil {
				return err
			}
			before[side] = v
		}
		if err := pause(ctx, idleWhile); err != nil {
			return err
		}
		for side, f := range all {
			after, err := cpuTime(f.relay.pid())
			if err != nil {
				return err
			}
			values[side] = append(values[side], 100*(after-before[side]).Seconds()/time.Since(began).Seconds())
		}
	}
	for _, f := range all { // or it was not the case that was meant
		if err := waitState(ctx, f.relay, idlePool, idlePeers); err != nil {
			return err
		}
	}
	b.out.add("relay.idle_core_pct", "% of a core", target{atMost: 1}, values[0], values[1])
	return nil
}

func (b *bench) fill(ctx context.Context, begin start) (*filled, error) {
	r, err := begin(ctx, "")
	if err != nil {
		return nil, err
	}
	f := &filled{relay: r}
	if f.sink, err = peerproc.StartRaw(b.peer, "sink", "-to", r.enode(), "-conns", strconv.Itoa(idlePeers),
		"-expect", strconv.Itoa(idlePool*idlePeers), "-settle", "1h"); err != nil {
		r.close()
		return nil, err
	}
	if err := f.await(ctx, b.peer); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *filled) await(ctx context.Context, helper string) error {
	if err := waitState(ctx, f.relay, 0, idlePeers); err != nil {
		return err
	}
	if err := pour(ctx, helper, f.relay.enode(), idlePool); err != nil {
		return err
	}
	if err := waitState(ctx, f.relay, idlePool, idlePeers); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for n := 0; ; n++ {
		var got peerproc.SinkResult
		if err := f.sink.Send("stats"); err != nil {
			return err
		}
		if err := f.sink.Wait(ctx, "stats", n, &got); err != nil {
			return err
		}
		if got.Received >= idlePool*idlePeers {
			return pause(ctx, 2*time.Second)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("idle peers got %d of %d envelopes (%s): %w", got.Received, idlePool*idlePeers, got.Error, err)
		}
	}
}

// pour sends envelopes that live long to a node, slowly enough for everyone.
func pour(ctx context.Context, helper, enode string, count int) error {
	source, err := peerproc.StartRaw(helper, "source", "-to", enode, "-rate", "2000", "-count", strconv.Itoa(count),
		"-ttl", strconv.Itoa(idleTTL), "-tick", "10ms", "-linger", "1s")
	if err != nil {
		return err
	}
	defer source.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var sent peerproc.SourceResult
	if err := source.Result(ctx, &sent); err != nil {
		return err
	}
	if int(sent.Sent) != count || sent.Error != "" {
		return fmt.Errorf("the source sent %d of %d envelopes (%s)", sent.Sent, count, sent.Error)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
