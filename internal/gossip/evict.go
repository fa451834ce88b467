package gossip

// Eviction: the pool is bounded by count and by bytes. When it is full the least proof of work goes first, then what
// would have left first anyway, then the older. The order is kept in a heap, but only while the pool is nearly full.

// before reports whether a is evicted before b.
func before(a, b *entry) bool {
	switch {
	case a.rank != b.rank:
		return a.rank < b.rank
	case a.leaves != b.leaves:
		return a.leaves < b.leaves
	}
	return a.seq < b.seq
}

// makeRoom evicts until e fits, calling evicted (which must remove) for each, and reports whether it does. If e itself
// would have to go first nothing is evicted.
func (p *pool) makeRoom(e *entry, maxCount int, maxBytes int64, evicted func(*entry)) bool {
	if int64(e.size) > maxBytes {
		return false
	}
	if len(p.index) < maxCount && p.bytes+int64(e.size) <= maxBytes {
		if p.pressed && len(p.index) < maxCount/4*3 && p.bytes < maxBytes/4*3 {
			p.pressed, p.heap = false, nil
		}
		return true
	}
	if !p.pressed {
		p.press()
	}
	var victims []*entry
	count, bytes := len(p.index), p.bytes
	for count >= maxCount || bytes+int64(e.size) > maxBytes {
		if len(p.heap) == 0 || !before(p.heap[0], e) {
			for _, v := range victims {
				p.push(v)
			}
			return false
		}
		v := p.heap[0]
		p.drop(v)
		victims = append(victims, v)
		count, bytes = count-1, bytes-int64(v.size)
	}
	for _, v := range victims {
		evicted(v)
	}
	return true
}

// press builds the heap, from the log and from what is hidden from it.
func (p *pool) press() {
	p.pressed = true
	p.heap = make([]*entry, 0, len(p.index)+len(p.index)/8)
	for _, head := range p.wheel {
		for e := head; e != nil; e = e.next {
			e.heap = int32(len(p.heap))
			p.heap = append(p.heap, e)
		}
	}
	for i := len(p.heap)/2 - 1; i >= 0; i-- {
		p.down(i)
	}
}

func (p *pool) push(e *entry) {
	e.heap = int32(len(p.heap))
	p.heap = append(p.heap, e)
	p.up(len(p.heap) - 1)
}

// drop takes an entry out of the heap, if it is there.
func (p *pool) drop(e *entry) {
	i := int(e.heap)
	if i >= len(p.heap) || p.heap[i] != e {
		return
	}
	last := len(p.heap) - 1
	p.swap(i, last)
	p.heap[last] = nil
	p.heap = p.heap[:last]
	if i < last {
		p.down(i)
		p.up(i)
	}
}

// raise changes by what an entry is evicted.
func (p *pool) raise(e *entry, rank float64) {
	if p.pressed {
		p.drop(e)
		defer p.push(e)
	}
	e.rank = rank
}

func (p *pool) swap(i, j int) {
	h := p.heap
	h[i], h[j] = h[j], h[i]
	h[i].heap, h[j].heap = int32(i), int32(j)
}

func (p *pool) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !before(p.heap[i], p.heap[parent]) {
			return
		}
		p.swap(i, parent)
		i = parent
	}
}

func (p *pool) down(i int) {
	for {
		first := 2*i + 1
		if first >= len(p.heap) {
			return
		}
		if right := first + 1; right < len(p.heap) && before(p.heap[right], p.heap[first]) {
			first = right
		}
		if !before(p.heap[first], p.heap[i]) {
			return
		}
		p.swap(i, first)
		i = first
	}
}
