package gossip

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// interest is what this node wants to receive: the topics of all owners, as a filter that is told to the peers. The
// filter also has some bits that mean nothing; they are always the same, so that they cannot be told from the others by
// comparing filters.
type interest struct {
	full     bool
	owners   map[string][]envelope.Topic // nil: everything
	topics   map[envelope.Topic]int      // how many owners want it
	all      int                         // owners that want everything
	noise    envelope.Bloom
	fixed    *envelope.Bloom // set from outside, in place of all this
	current  *envelope.Bloom // announced; nil for everything
	old      *envelope.Bloom // still admitted, until Machine.oldUntil
	oldAll   bool            // everything still is
	shrinkAt time.Duration   // when the filter loses what nobody wants; 0 for not
}

func newInterest(cfg Config) interest {
	in := interest{full: cfg.Full, owners: make(map[string][]envelope.Topic), topics: make(map[envelope.Topic]int)}
	noise := rand.New(rand.NewPCG(cfg.NoiseSeed, 0))
	for range noiseBits {
		bit := noise.IntN(8 * envelope.BloomSize)
		in.noise[bit/8] |= 1 << (bit % 8)
	}
	in.current = in.target()
	return in
}

// target is the filter that fits the present interests.
func (in *interest) target() *envelope.Bloom {
	switch {
	case in.fixed != nil && in.fixed.IsFull():
		return nil
	case in.fixed != nil:
		return in.fixed
	case in.full || in.all > 0:
		return nil
	}
	b := in.noise
	for t := range in.topics { // in any order: the union is the same
		b.Or(t.WideBloom())
	}
	return &b
}

func (in *interest) remove(owner string) {
	topics, ok := in.owners[owner]
	if !ok {
		return
	}
	delete(in.owners, owner)
	if topics == nil {
		in.all--
	}
	for _, t := range topics {
		if in.topics[t]--; in.topics[t] == 0 {
			delete(in.topics, t)
		}
	}
}

func (m *Machine) wanted(ev Wanted) {
	in := &m.interest
	in.remove(ev.Owner)
	var topics []envelope.Topic
	if ev.Topics == nil {
		in.all++
	} else {
		topics = append([]envelope.Topic{}, ev.Topics...)
	}
	in.owners[ev.Owner] = topics
	for _, t := range topics {
		in.topics[t]++
	}
	m.follow()
}

func (m *Machine) unwanted(ev Unwanted) {
	m.interest.remove(ev.Owner)
	m.follow()
}

// follow brings the filter after the interests: it grows at once and shrinks later.
func (m *Machine) follow() {
	in := &m.interest
	target := in.target()
	if in.fixed != nil {
		return
	}
	grown := union(in.current, target)
	m.announceBloom(grown)
	in.shrinkAt = 0
	if !same(grown, target) {
		in.shrinkAt = m.mono + bloomShrink
	}
}

func (m *Machine) shrinkBloom() {
	m.interest.shrinkAt = 0
	m.announceBloom(m.interest.target())
}

func (m *Machine) setBloom(b *envelope.Bloom) {
	in := &m.interest
	if b == nil {
		in.fixed = nil
	} else {
		own := *b
		in.fixed = &own
	}
	m.shrinkBloom()
}

// announceBloom puts a filter into force and tells the peers, if it is another one.
func (m *Machine) announceBloom(b *envelope.Bloom) {
	in := &m.interest
	if same(in.current, b) {
		return
	}
	if m.oldUntil == 0 {
		in.old = in.current
	} else if in.oldAll || in.current == nil {
		in.old = nil
	} else {
		in.old = union(in.old, in.current)
	}
	in.oldAll = in.old == nil
	in.current = b
	m.startAllowance()
	told := envelope.FullBloom()
	if b != nil {
		told = *b
	}
	m.do(Announce{Bloom: &told})
}

func (m *Machine) setMinPoW(pow float64) {
	if math.IsNaN(pow) || math.IsInf(pow, 0) || pow < 0 || pow == m.minPoW {
		return
	}
	m.oldPoW = min(m.oldPoW, m.minPoW)
	m.minPoW = pow
	m.startAllowance()
	m.do(Announce{MinPoW: &pow})
}

func (m *Machine) setMaxSize(n int) {
	m.maxSize = min(max(n, 1), envelope.MaxSizeLimit)
	m.applyRules()
}

// startAllowance lets the old requirement count for a while: peers need time to learn of the new one.
func (m *Machine) startAllowance() {
	m.oldUntil = m.mono + m.cfg.Allowance
	m.strictAt = m.oldUntil + penaltyLag
	m.applyRules()
}

func (m *Machine) endAllowance() {
	m.oldUntil = 0
	m.oldPoW = m.minPoW
	m.interest.old, m.interest.oldAll = nil, false
	m.applyRules()
}

// applyRules brings what envelopes are checked by up to date.
func (m *Machine) applyRules() {
	in := &m.interest
	m.rules = envelope.Rules{MinPoW: min(m.minPoW, m.oldPoW), MaxSize: m.maxSize, Bloom: in.current, OldBloom: in.old}
	if in.oldAll {
		m.rules.Bloom, m.rules.OldBloom = nil, nil
	}
}

// union adds two filters, where nil is everything.
func union(a, b *envelope.Bloom) *envelope.Bloom {
	if a == nil || b == nil {
		return nil
	}
	u := *a
	u.Or(*b)
	return &u
}

func same(a, b *envelope.Bloom) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
