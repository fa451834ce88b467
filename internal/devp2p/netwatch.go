package devp2p

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	sleepMin = 5 * time.Second // shorter gaps between the clocks are noise
	// peerSilence is after how long without a byte devp2p peers give a connection up: go-ethereum's read timeout.
	peerSilence = 30 * time.Second
)

// Snapshot is the network and the clocks at one moment. The clocks count from arbitrary points.
type Snapshot struct {
	Mono  time.Duration // stands still while the machine sleeps
	Wall  time.Duration // the time of day: may jump
	Boot  time.Duration // counts sleep and never jumps; 0 where the system has no such clock
	Addrs []netip.Addr  // addresses of this machine
}

// Change is what happened between two snapshots.
type Change struct {
	Slept time.Duration // how long the machine slept, 0 for not at all
	Gone  []netip.Addr  // addresses that were lost
	New   []netip.Addr  // addresses that came, without loopback and link-local ones
}

// Compare tells what happened from a to b. Without a Boot clock a jump of the time of day counts as sleep.
func Compare(a, b Snapshot) Change {
	var c Change
	with := b.Wall - a.Wall
	if a.Boot != 0 && b.Boot != 0 {
		with = b.Boot - a.Boot
	}
	if slept := with - (b.Mono - a.Mono); slept >= sleepMin {
		c.Slept = slept
	}
	for _, addr := range a.Addrs {
		if !slices.Contains(b.Addrs, addr) {
			c.Gone = append(c.Gone, addr)
		}
	}
	for _, addr := range b.Addrs {
		if !addr.IsLoopback() && !addr.IsLinkLocalUnicast() && !slices.Contains(a.Addrs, addr) {
			c.New = append(c.New, addr)
		}
	}
	return c
}

// Back reports whether the network may have come back, so that dialling again is worth it.
func (c Change) Back() bool { return c.Slept > 0 || len(c.New) > 0 }

// String tells the change to people, without addresses.
func (c Change) String() string {
	var parts []string
	if c.Slept > 0 {
		parts = append(parts, fmt.Sprintf("the machine slept for %s", c.Slept.Round(time.Second)))
	}
	if n := len(c.New); n > 0 {
		parts = append(parts, fmt.Sprintf("%d new network address(es)", n))
	}
	if n := len(c.Gone); n > 0 {
		parts = append(parts, fmt.Sprintf("%d network address(es) gone", n))
	}
	if len(parts) == 0 {
		return "nothing changed"
	}
	return strings.Join(parts, ", ")
}

// watch compares the network with what it was, every WatchInterval, until ctx ends.
func (s *Server) watch(ctx context.Context) {
	last, known := s.snapshot()
	ticker := time.NewTicker(s.cfg.WatchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, ok := s.snapshot()
		if !ok {
			continue
		}
		if c := Compare(last, now); known && (c.Back() || len(c.Gone) > 0) {
			s.NetworkChanged(c)
		}
		last, known = now, true
	}
}

func (s *Server) snapshot() (Snapshot, bool) {
	addrs, err := s.cfg.Interfaces()
	if err != nil {
		return Snapshot{}, false // the next look will tell
	}
	return Snapshot{Mono: time.Since(s.started), Wall: time.Duration(s.cfg.Now().UnixNano()), Boot: bootClock(), Addrs: addrs}, true
}

// NetworkChanged acts on a change: connections that cannot have survived are ended, and if the network is back every static
// peer is dialled at once. The server's own watcher calls it.
func (s *Server) NetworkChanged(c Change) {
	s.cfg.Log.Info("network changed", "what", c.String())
	s.event(Event{Kind: NetworkChanged, Text: c.String()})
	for _, l := range s.open() {
		switch {
		case c.Slept > peerSilence:
			l.end(errSlept)
		case slices.Contains(c.Gone, l.local):
			l.end(errAddressGone)
		}
	}
	if c.Back() {
		s.Kick()
	}
}

func interfaceAddrs() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs, nil
}

// bootClock is the time since the machine started, sleep included: Linux tells it, others give 0.
func bootClock() time.Duration {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	sec, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return time.Duration(sec * float64(time.Second))
}
