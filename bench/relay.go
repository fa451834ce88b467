package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/restante-im/restante/test/peers/peerproc"
)

// relay measures what it costs to pass envelopes on.
func (b *bench) relay(ctx context.Context) error {
	steps := []struct {
		prefix string
		run    func(context.Context) error
	}{
		{"relay.hop1_p50_ms", func(ctx context.Context) error { return b.latency(ctx, 1, 5) }},
		{"relay.hop3_p50_ms", func(ctx context.Context) error { return b.latency(ctx, 3, 15) }},
		{"relay.cpu_us", b.cpu},
		{"relay.sustained_per_s", b.sustained},
		{"relay.idle_core_pct", b.idle},
		{"relay.memory", b.memory},
		{"accept.", b.accept},
	}
	for _, s := range steps {
		if !b.wants(s.prefix) {
			continue
		}
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.prefix, err)
		}
	}
	return nil
}

// chain is a source, relays in a row, and a sink, all connected.
type chain struct {
	source, sink *peerproc.Raw
	relays       []relayProcess
}

// load is what a source sends.
type load struct {
	rate    int
	seconds float64
	ttl     int
	bundle  int
	tick    time.Duration // least time between packets
}

func (l load) count() int { return int(float64(l.rate) * l.seconds) }

// settle is how long a sink waits for the rest after all has come, and a source stays connected.
const settle = "300ms"

func (b *bench) newChain(ctx context.Context, begin start, hops int, l load) (c *chain, err error) {
	c = &chain{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	last := ""
	for range hops {
		r, err := begin(ctx, last)
		if err != nil {
			return nil, err
		}
		c.relays = append(c.relays, r)
		last = r.enode()
	}
	c.sink, err = peerproc.StartRaw(b.peer, "sink", "-to", last, "-expect", strconv.Itoa(l.count()), "-settle", settle, "-quiet", "5s")
	if err != nil {
		return nil, err
	}
	c.source, err = peerproc.StartRaw(b.peer, "source", "-to", c.relays[0].enode(), "-rate", strconv.Itoa(l.rate),
		"-count", strconv.Itoa(l.count()), "-ttl", strconv.Itoa(l.ttl), "-bundle", strconv.Itoa(max(l.bundle, 1)), "-tick", l.tick.String(), "-hold", "-linger", settle)
	if err != nil {
		return nil, err
	}
	for _, raw := range []*peerproc.Raw{c.sink, c.source} {
		connected, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := raw.Wait(connected, "connected", 0, nil)
		cancel()
		if err != nil {
			return nil, err
		}
	}
	for _, r := range c.relays {
		if err := waitState(ctx, r, 0, 2); err != nil { // each has a node before it and one behind it
			return nil, err
		}
	}
	return c, nil
}

// send lets the source begin and returns what it sent and what the sink got.
func (c *chain) send(ctx context.Context, l load) (sent peerproc.SourceResult, got peerproc.SinkResult, err error) {
	limit := time.Duration(l.seconds*3*float64(time.Second)) + 20*time.Second
	sending, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err = c.source.Send("go"); err != nil {
		return sent, got, err
	}
	if err = c.source.Result(sending, &sent); err != nil {
		return sent, got, err
	}
	// A sink that gets nothing at all does not end by itself.
	stop := time.AfterFunc(lostAfter, func() { c.sink.Send("stop") })
	defer stop.Stop()
	arriving, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = c.sink.Result(arriving, &got)
	return sent, got, err
}

// lostAfter is when what the source has sent before is lost.
const lostAfter = 10 * time.Second

func (c *chain) close() {
	for _, raw := range []*peerproc.Raw{c.source, c.sink} {
		if raw != nil {
			raw.Close()
		}
	}
	for _, r := range c.relays {
		r.close()
	}
}

// each runs fn for both sides in turn, as often as asked, and returns what it measured: ours, the peer's.
func (b *bench) each(fn func(begin start, side int) (float64, error)) (values [2][]float64, err error) {
	for range b.runs {
		for side, begin := range b.sides() {
			v, err := fn(begin, side)
			if err != nil {
				return values, fmt.Errorf("%s: %w", [...]string{"ours", "peer"}[side], err)
			}
			values[side] = append(values[side], v)
		}
	}
	return values, nil
}

// latency is the median time from an envelope's stamping to its arrival behind so many relays.
func (b *bench) latency(ctx context.Context, hops int, atMost float64) error {
	l := load{rate: 10, seconds: 6, ttl: 10}
	values, err := b.each(func(begin start, _ int) (float64, error) {
		c, err := b.newChain(ctx, begin, hops, l)
		if err != nil {
			return 0, err
		}
		defer c.close()
		sent, got, err := c.send(ctx, l)
		if err == nil && got.Received != sent.Sent {
			err = fmt.Errorf("%d of %d envelopes arrived (%s)", got.Received, sent.Sent, got.Error)
		}
		return got.P50MS, err
	})
	if err != nil {
		return err
	}
	b.out.add(fmt.Sprintf("relay.hop%d_p50_ms", hops), "ms", target{atMost: atMost}, values[0], values[1])
	return nil
}

// cpuLoads are the loads at which CPU time is measured. A source that waits 5 ms between packets sends as a neighbour of
// ours does: go-ethereum collects for 300 ms. One that does not wait sends one to four envelopes in a packet, as nodes would
// that pass on everything at once.
func cpuLoads() map[string]load {
	l := func(rate int, tick time.Duration) load {
		return load{rate: rate, seconds: 5, ttl: 10, bundle: 64, tick: tick}
	}
	return map[string]load{
		"relay.cpu_us":         l(4000, 5*time.Millisecond),
		"relay.cpu_us_at_2000": l(2000, 5*time.Millisecond),
		"relay.cpu_us_single":  l(4000, 0),
	}
}

// cpu is the relay's CPU time for each envelope that it takes and passes on to one peer.
func (b *bench) cpu(ctx context.Context) error {
	loads := cpuLoads()
	for _, name := range slices.Sorted(maps.Keys(loads)) {
		l := loads[name]
		values, err := b.each(func(begin start, _ int) (float64, error) {
			c, err := b.newChain(ctx, begin, 1, l)
			if err != nil {
				return 0, err
			}
			defer c.close()
			before, err := cpuTime(c.relays[0].pid())
			if err != nil {
				return 0, err
			}
			_, got, err := c.send(ctx, l)
			if err != nil {
				return 0, err
			}
			after, err := cpuTime(c.relays[0].pid())
			if err == nil && got.Received == 0 {
				err = fmt.Errorf("nothing arrived (%s)", got.Error)
			}
			return float64((after - before).Microseconds()) / float64(got.Received), err
		})
		if err != nil {
			return err
		}
		b.out.add(name, "us/envelope", target{ratioAtMost: 1.0 / 3}, values[0], values[1])
	}
	return nil
}

// ladder is the rates that sustained tries, in envelopes a second.
var ladder = [...]int{1000, 2000, 4000, 6000, 10000, 15000, 20000, 25000, 30000}

// firstStep is where each side begins to climb.
var firstStep = [...]int{5, 2}

// sustained is the highest rate of the ladder at which nothing is lost and the relay keeps up.
func (b *bench) sustained(ctx context.Context) error {
	values, err := b.each(func(begin start, side int) (float64, error) {
		best := 0
		for step, down := firstStep[side], false; step >= 0 && step < len(ladder); {
			ok, err := b.keepsUp(ctx, begin, ladder[step])
			if err != nil {
				return 0, err
			}
			if ok {
				best = ladder[step]
			}
			if ok && down || !ok && best > 0 {
				break
			}
			if down = !ok; down {
				step--
			} else {
				step++
			}
		}
		return float64(best), nil
	})
	if err != nil {
		return err
	}
	b.out.add("relay.sustained_per_s", "envelopes/s", target{atLeast: 15000}, values[0], values[1])
	return nil
}

// slack is how much slower than asked a step may be and still count: the source begins each second late by a little.
const slack = 0.95

func (b *bench) keepsUp(ctx context.Context, begin start, rate int) (bool, error) {
	l := load{rate: rate, seconds: 5, ttl: 10, bundle: 64}
	c, err := b.newChain(ctx, begin, 1, l)
	if err != nil {
		return false, err
	}
	defer c.close()
	sent, got, err := c.send(ctx, l)
	if err != nil {
		return false, err
	}
	ok := got.Received == sent.Sent && sent.Error == "" && got.PerS >= slack*float64(rate)
	debugf("%T %d/s: sent %d at %.0f/s, received %d at %.0f/s, p50 %.1f ms, p99 %.1f ms %s", c.relays[0], rate, sent.Sent, sent.PerS, got.Received, got.PerS, got.P50MS, got.P99MS, got.Error)
	return ok, nil
}
