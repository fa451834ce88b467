package gossip

import (
	"math"
	"math/bits"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// hidden is the place of an entry that is not in the log yet: an own post that waits for its delay.
const hidden = -1

// entry is one pooled envelope.
type entry struct {
	env    *envelope.Envelope // nil once removed
	pow    float64            // as it counts: discounted for the near future
	rank   float64            // what eviction goes by
	leaves int64              // the last network second in the pool
	seq    uint64             // order of arrival
	at     int                // place in the log, or hidden
	heap   int32              // place in the eviction heap, while there is one
	size   int32              // encoded bytes
	nets   Networks
	topic  envelope.Topic
	sink   sinkState
	own    bool
	tries  uint8         // Retry outcomes so far
	failed time.Duration // when the last one came
	known  [2]uint64     // connection slots that have it, the first 128
	more   []uint64      // and the rest
	prev   *entry        // in its wheel slot
	next   *entry
	wait   []*ticket // acknowledgements that wait for the sink
	votes  []Conn    // peers that confirmed an own post
}

func (e *entry) knows(slot int) bool {
	if slot < 128 {
		return e.known[slot>>6]>>(slot&63)&1 != 0
	}
	word := slot>>6 - 2
	return word < len(e.more) && e.more[word]>>(slot&63)&1 != 0
}

func (e *entry) mark(slot int) {
	if slot < 128 {
		e.known[slot>>6] |= 1 << (slot & 63)
		return
	}
	word := slot>>6 - 2
	for len(e.more) <= word {
		e.more = append(e.more, 0)
	}
	e.more[word] |= 1 << (slot & 63)
}

func (e *entry) unmark(slot int) {
	if slot < 128 {
		e.known[slot>>6] &^= 1 << (slot & 63)
	} else if word := slot>>6 - 2; word < len(e.more) {
		e.more[word] &^= 1 << (slot & 63)
	}
}

// wheelSize is the number of second slots, more than MaxTTL has seconds; entries beyond merely stay for another turn.
const wheelSize = 8192

// pool holds the live envelopes: by hash, in order of arrival (the log), and by the second in which they leave (the
// wheel). While it is nearly full it also keeps them in a heap, the first to be evicted on top.
type pool struct {
	index map[envelope.Hash]*entry
	log   []*entry // removed entries leave nil
	holes int
	bytes int64

	wheel    [wheelSize]*entry
	occupied [wheelSize / 64]uint64
	swept    int64 // no entry leaves before this second

	heap    []*entry
	pressed bool // the heap is kept

	moved func(places []int32) // told when the log is compacted: places[old] is the new place
	shift []int32
}

func newPool(moved func([]int32)) *pool {
	return &pool{index: make(map[envelope.Hash]*entry), swept: math.MinInt64, moved: moved}
}

// add takes an entry in; unless hidden it comes last in the log.
func (p *pool) add(e *entry, hide bool) {
	p.index[e.env.Hash()] = e
	p.bytes += int64(e.size)
	p.enterWheel(e)
	if p.pressed {
		p.push(e)
	}
	e.at = hidden
	if !hide {
		p.append(e)
	}
}

// append puts an entry at the end of the log, from wherever it was.
func (p *pool) append(e *entry) {
	p.leaveLog(e)
	if p.holes > 1024 && p.holes > len(p.log)/2 {
		p.compact()
	}
	e.at = len(p.log)
	p.log = append(p.log, e)
}

func (p *pool) leaveLog(e *entry) {
	if e.at != hidden {
		p.log[e.at] = nil
		p.holes++
		e.at = hidden
	}
}

// remove forgets an entry.
func (p *pool) remove(e *entry) {
	delete(p.index, e.env.Hash())
	p.bytes -= int64(e.size)
	p.leaveLog(e)
	p.leaveWheel(e)
	if p.pressed {
		p.drop(e)
	}
	e.env, e.wait = nil, nil
}

// compact closes the holes of the log.
func (p *pool) compact() {
	if cap(p.shift) < len(p.log)+1 {
		p.shift = make([]int32, 0, len(p.log)+1)
	}
	shift, kept := p.shift[:len(p.log)+1], 0
	for i, e := range p.log {
		shift[i] = int32(kept)
		if e != nil {
			e.at = kept
			p.log[kept] = e
			kept++
		}
	}
	shift[len(p.log)] = int32(kept)
	clear(p.log[kept:])
	p.log = p.log[:kept]
	p.holes = 0
	p.moved(shift)
	if cap(p.log) > 4096 && kept < cap(p.log)/8 {
		p.log = append(make([]*entry, 0, 2*kept), p.log...) // the flood is over: give its memory back
		p.shift = nil
	}
}

func (p *pool) enterWheel(e *entry) {
	slot := e.leaves & (wheelSize - 1)
	head := p.wheel[slot]
	e.prev, e.next = nil, head
	if head != nil {
		head.prev = e
	}
	p.wheel[slot] = e
	p.occupied[slot>>6] |= 1 << (slot & 63)
}

func (p *pool) leaveWheel(e *entry) {
	slot := e.leaves & (wheelSize - 1)
	if e.next != nil {
		e.next.prev = e.prev
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else if p.wheel[slot] = e.next; e.next == nil {
		p.occupied[slot>>6] &^= 1 << (slot & 63)
	}
	e.prev, e.next = nil, nil
}

// sweep calls gone for each entry whose last second lies before now. gone must remove it.
func (p *pool) sweep(now int64, gone func(*entry)) {
	if p.swept >= now {
		p.swept = now // the network's time may have been set back
		return
	}
	from := max(p.swept, now-wheelSize)
	for second := from; second < now; second++ {
		slot := second & (wheelSize - 1)
		for e := p.wheel[slot]; e != nil; {
			next := e.next
			if e.leaves < now {
				gone(e)
			}
			e = next
		}
	}
	p.swept = now
}

// nextSweep returns the second from which sweep may find something, and whether there is one.
func (p *pool) nextSweep() (int64, bool) {
	if len(p.index) == 0 || p.swept == math.MinInt64 {
		return 0, false
	}
	start := p.swept & (wheelSize - 1)
	word := p.occupied[start>>6] >> (start & 63)
	if word != 0 {
		return p.swept + int64(bits.TrailingZeros64(word)) + 1, true
	}
	base := p.swept - start&63
	for i := int64(1); i <= wheelSize/64; i++ {
		if word := p.occupied[(start>>6+i)&(wheelSize/64-1)]; word != 0 {
			return base + 64*i + int64(bits.TrailingZeros64(word)) + 1, true
		}
	}
	return 0, false
}

// forget clears the marks of connection slots in all entries.
func (p *pool) forget(slots []int) {
	for _, head := range p.wheel {
		for e := head; e != nil; e = e.next {
			for _, slot := range slots {
				e.unmark(slot)
			}
		}
	}
}
