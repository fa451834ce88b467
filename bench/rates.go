package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restante-im/restante/test/peers/peerproc"
)

// rates are operations per second of CPU time on one core, a value for each run, by name.
type rates map[string][]float64

// collect runs a subcommand of ours or of the helper for one round and adds what it printed.
func (r rates) collect(ctx context.Context, bin string, args ...string) error {
	raw, err := peerproc.StartRaw(bin, args...)
	if err != nil {
		return err
	}
	defer raw.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	got, err := raw.Rates(ctx)
	if err != nil {
		return err
	}
	for name, v := range got {
		r[name] = append(r[name], v.PerCPUS)
	}
	return nil
}

// compare runs a child of ours and a subcommand of the helper in turn.
func (b *bench) compare(ctx context.Context, name string, peerArgs ...string) (ours, peer rates, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	ours, peer = rates{}, rates{}
	for range b.runs {
		if err := ours.collect(ctx, self, "-child", name); err != nil {
			return nil, nil, err
		}
		if err := peer.collect(ctx, b.peer, append([]string{name, "-rounds", "1"}, peerArgs...)...); err != nil {
			return nil, nil, err
		}
	}
	return ours, peer, nil
}

// accept is the path from a packet's payload to the pool and the sinks.
func (b *bench) accept(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ours, peer := rates{}, rates{}
	for range b.runs {
		if err := ours.collect(ctx, self, "-child", "accept", "-rounds", "7"); err != nil {
			return err
		}
		if err := peer.collect(ctx, b.peer, "accept", "-rounds", "7"); err != nil {
			return err
		}
	}
	b.out.add("accept.per_s", "/core/s", target{ratioAtLeast: 3}, ours["accept.512"], peer["accept.512"])
	b.out.add("accept.2048_per_s", "/core/s", target{ratioAtLeast: 3}, ours["accept.2048"], peer["accept.2048"])
	return nil
}

// mine is nonces tried per second of one core, vectorised and without AVX2.
func (b *bench) mine(ctx context.Context) error {
	ours, peer, err := b.compare(ctx, "mine")
	if err != nil {
		return err
	}
	scalar := rates{}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for range b.runs {
		if err := scalar.collect(ctx, self, "-child", "mine-scalar"); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		size  int
		ratio float64
	}{{512, 15}, {2048, 40}} {
		name := fmt.Sprintf("nonces.%d", c.size)
		b.out.add(fmt.Sprintf("mine.%d_per_s", c.size), "nonces/core/s", target{ratioAtLeast: c.ratio}, ours[name], peer[name])
		b.out.add(fmt.Sprintf("mine.scalar.%d_per_s", c.size), "nonces/core/s", target{}, scalar[name], peer[name])
	}
	return nil
}

// crypto compares sealing and opening of the Data alone, without mining.
func (b *bench) crypto(ctx context.Context) error {
	ours, peer, err := b.compare(ctx, "crypto", "-seconds", strconv.FormatFloat(cryptoRound.Seconds(), 'f', 3, 64))
	if err != nil {
		return err
	}
	var names []string
	for name := range ours {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if len(peer[name]) == 0 {
			return fmt.Errorf("the peer's helper measures no %s", name)
		}
		op, kind, _ := strings.Cut(name, ".")
		b.out.add(fmt.Sprintf("crypto.%s.%s_per_s", op, kind), "/core/s", target{ratioAtLeast: 1}, ours[name], peer[name])
	}
	return nil
}
