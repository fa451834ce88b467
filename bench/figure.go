package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
)

// figure is one line of output.
type figure struct {
	Name   string   `json:"name"`
	Ours   float64  `json:"ours"`
	Peer   *float64 `json:"peer"`  // nil: the peer has nothing to compare
	Ratio  *float64 `json:"ratio"` // ours / peer
	Unit   string   `json:"unit"`
	Target string   `json:"target,omitempty"`
	OK     bool     `json:"ok"`

	PeerRuns int `json:"peer_runs,omitempty"` // where they are fewer than ours
}

// target is what a figure must reach. Fields that are zero ask nothing.
type target struct {
	atMost, atLeast           float64
	ratioAtMost, ratioAtLeast float64
}

func (t target) String() string {
	switch {
	case t.atMost > 0:
		return fmt.Sprintf("<= %v", t.atMost)
	case t.atLeast > 0:
		return fmt.Sprintf(">= %v", t.atLeast)
	case t.ratioAtMost > 0:
		return fmt.Sprintf("ratio <= %.3g", t.ratioAtMost)
	case t.ratioAtLeast > 0:
		return fmt.Sprintf("ratio >= %.3g", t.ratioAtLeast)
	}
	return ""
}

func (t target) met(ours, ratio float64) bool {
	return (t.atMost == 0 || ours <= t.atMost) && (t.atLeast == 0 || ours >= t.atLeast) &&
		(t.ratioAtMost == 0 || ratio <= t.ratioAtMost) && (t.ratioAtLeast == 0 || ratio >= t.ratioAtLeast)
}

// printer prints figures and counts those that fall short.
type printer struct {
	json   bool
	passed int
	failed int
}

// add prints the medians of the runs. There may be no peer's.
func (p *printer) add(name, unit string, t target, ours, peer []float64) {
	f := figure{Name: name, Ours: median(ours), Unit: unit, Target: t.String()}
	ratio := math.NaN()
	if len(peer) > 0 {
		v := median(peer)
		f.Peer = &v
		if v != 0 {
			ratio = f.Ours / v
			f.Ratio = &ratio
		}
		if len(peer) < len(ours) {
			f.PeerRuns = len(peer)
		}
	}
	f.OK = t.met(f.Ours, ratio)
	switch {
	case !f.OK:
		p.failed++
	case f.Target != "":
		p.passed++
	}
	if p.json {
		json.NewEncoder(os.Stdout).Encode(f)
		return
	}
	line := fmt.Sprintf("%-34s %10s %10s %8s %-12s %-14s", name, number(&f.Ours), number(f.Peer), number(f.Ratio), unit, f.Target)
	if !f.OK {
		line += " SHORT"
	}
	if f.PeerRuns > 0 {
		line += fmt.Sprintf(" (peer: %d of %d runs)", f.PeerRuns, len(ours))
	}
	fmt.Println(line)
}

// end tells how many figures with a target met it.
func (p *printer) end() error {
	if !p.json {
		fmt.Printf("%d passed, %d failed\n", p.passed, p.failed)
	}
	if p.failed > 0 {
		return fmt.Errorf("%d of %d figures: %w", p.failed, p.passed+p.failed, errShort)
	}
	return nil
}

func number(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case math.Abs(*v) >= 1000:
		return fmt.Sprintf("%.0f", *v)
	}
	return fmt.Sprintf("%.3g", *v)
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n == 0 {
		return math.NaN()
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}
