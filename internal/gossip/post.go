package gossip

import (
	"math"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// pendingPost is an own post that waits for its random delay.
type pendingPost struct {
	at    time.Duration
	entry *entry
}

// post takes an envelope of our own: the sinks get it at once, the links after a random delay, so that peers cannot tell
// from the time alone who wrote it. Our own filter does not bind it.
func (m *Machine) post(ev Post) {
	env := ev.Envelope
	if e := m.pool.index[env.Hash()]; e != nil {
		m.adopt(e, ev.Networks)
		m.do(Posted{Hash: env.Hash()})
		return
	}
	rules := m.rules
	rules.Bloom = nil
	// Own posts are stamped, and judged, by a better estimate of the time than what is proven.
	stamped := m.NetworkTime(m.last).Unix()
	pow, err := env.Check(uint32(stamped), &rules)
	if err != nil {
		m.stats.refused[reasonOf(err)]++
		m.do(Posted{Hash: env.Hash(), Err: fault.E("gossip: post", fault.Invalid, err, err.Error())})
		return
	}
	e := m.newEntry(env, pow)
	e.own = true
	e.leaves = m.lastSecond(int64(env.Expiry()) + m.net - stamped)
	e.rank = math.Inf(1) // others are evicted first
	e.nets = m.postedTo(ev.Networks)
	if !m.pool.makeRoom(e, m.cfg.PoolCount, m.cfg.PoolBytes, m.evict) {
		m.do(Posted{Hash: env.Hash(), Err: fault.E("gossip: post", fault.Limit, nil, "the pool is full of posts of this node: wait until some expire")})
		return
	}
	m.stats.Posts++
	hide := !ev.Immediate && m.cfg.PostDelay > 0 && len(m.pending) < maxPending
	m.pool.add(e, hide)
	if hide {
		p := &pendingPost{m.mono + time.Duration(m.rand.Int64N(int64(m.cfg.PostDelay)+1)), e}
		i, _ := slices.BinarySearchFunc(m.pending, p.at+1, func(p *pendingPost, at time.Duration) int { return int(p.at - at) })
		m.pending = slices.Insert(m.pending, i, p)
	} else {
		m.grown()
	}
	m.do(Accept{Envelope: env, PoW: pow, Own: true})
	m.do(Posted{Hash: env.Hash()})
}

// adopt makes an entry that came from a peer one of ours: it was posted here in an earlier life of this node. All links
// look at it again, because it may have been held back.
func (m *Machine) adopt(e *entry, nets Networks) {
	if e.own {
		return
	}
	e.own = true
	e.nets |= m.postedTo(nets)
	m.pool.append(e)
	m.pool.raise(e, math.Inf(1))
	m.grown()
}

// postedTo is where an own post for some networks goes.
func (m *Machine) postedTo(n Networks) Networks {
	if n == 0 || m.cfg.Bridge {
		return AllNetworks
	}
	return n
}

// releasePosts lets out the own posts whose delay is over.
func (m *Machine) releasePosts() {
	n := 0
	for ; n < len(m.pending) && m.mono >= m.pending[n].at; n++ {
		if e := m.pending[n].entry; e.env != nil {
			m.pool.append(e)
			m.grown()
		}
	}
	m.pending = slices.Delete(m.pending, 0, n)
}

// maxVotes is how many peers' confirmations of one post are told apart.
const maxVotes = 64

// confirmed counts who has our own posts.
func (m *Machine) confirmed(ev Confirmed) {
	for _, h := range ev.Hashes {
		e := m.pool.index[h]
		if e == nil || !e.own || len(e.votes) >= maxVotes || slices.Contains(e.votes, ev.Conn) {
			continue
		}
		e.votes = append(e.votes, ev.Conn)
		m.do(Progress{Hash: h, Peers: len(e.votes)})
	}
}
