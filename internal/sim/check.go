package sim

import "time"

// farOff is a clock that is not tolerable as it is.
const farOff = 10 * time.Second

// census notes at the heal which envelopes still exist somewhere: those have to reach everybody.
func (w *world) census() {
	for _, p := range w.posts {
		for _, n := range w.nodes {
			if !n.up {
				continue
			}
			if _, ok := n.machine.Lookup(p.hash); ok {
				p.live = true
				break
			}
		}
	}
}

// check compares what everybody has with what everybody should have.
func (w *world) check(r *Report) {
	for _, p := range w.posts {
		r.Stray += p.stray
		if !p.stamped {
			continue // its author's clock was wrong, and it could not know yet
		}
		dies := p.expiry - 10*time.Second // for nodes whose clock is tolerably ahead
		switch {
		case p.at >= heal+settle && dies >= p.at+5*time.Second:
		case p.at >= heal:
			if dies < p.at+settle {
				continue
			}
		case p.live:
			if dies < heal+settle {
				continue // it could not arrive everywhere in time
			}
		case p.expiry > heal && p.from.life == p.life:
			w.failf("envelope %x of node %d, posted at %v, is lost", p.hash[:4], p.from.id, p.at)
			continue
		default:
			continue // its author crashed before it had told anybody, or it has died
		}
		for _, n := range w.nodes {
			w.checkDelivery(r, p, n)
		}
	}
	for _, n := range w.nodes {
		w.checkNode(n)
	}
}

func (w *world) checkDelivery(r *Report, p *posted, n *node) {
	if !n.full && !n.topics[p.topic] || n == p.from {
		return
	}
	// A node whose clock is far off receives reliably once it knows; and it must know before an envelope dies by its clock.
	if n.skew.Abs() > farOff && (!n.right || n.known > p.at || p.expiry-n.skew < max(p.at, heal)+settle) {
		return
	}
	r.Required++
	got := n.accepted[p.hash]
	if got == nil {
		w.failf("envelope %x of node %d, posted at %v, never reached node %d (skew %v, full %v)", p.hash[:4], p.from.id, p.at, n.id, n.skew, n.full)
		return
	}
	if p.at >= heal+settle {
		r.WorstHops = max(r.WorstHops, got.hops)
		r.Worst = max(r.Worst, got.at-p.at)
		if got.hops > maxHops || got.at-p.at > maxDelay {
			w.failf("envelope %x took %d hops and %v to node %d of a network at rest", p.hash[:4], got.hops, got.at-p.at, n.id)
		}
	}
}

func (w *world) checkNode(n *node) {
	if !n.up {
		w.failf("node %d is down at the end", n.id)
		return
	}
	if w.stampError(n).Abs() > farOff+time.Second && n.full && len(n.wires) >= 4 {
		w.failf("node %d, whose clock is %v off, stamps %v off at the end", n.id, n.skew, w.stampError(n))
	}
	if !n.archive || n.skew.Abs() > farOff { // by a wrong clock an envelope may die before the archive works again
		return
	}
	for _, p := range w.posts {
		if got := n.accepted[p.hash]; got != nil && got.at < finish-2*time.Second && p.expiry-got.at > 50*time.Second && !n.archived[p.hash] {
			w.failf("node %d accepted %x and did not archive it", n.id, p.hash[:4])
		}
	}
}
