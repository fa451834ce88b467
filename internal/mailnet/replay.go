package mailnet

import (
	"sync"

	"github.com/restante-im/restante/internal/envelope"
)

// maxReplay is how many sealed requests are remembered; the oldest go first.
const maxReplay = 1 << 14

// replay remembers who sent which sealed request first.
type replay struct {
	mu    sync.Mutex
	from  map[envelope.Hash][32]byte
	order []envelope.Hash // a ring
	next  int
}

func newReplay() *replay { return &replay{from: map[envelope.Hash][32]byte{}} }

// first reports whether nobody but this node has sent the request before.
func (r *replay) first(request envelope.Hash, node [32]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if who, ok := r.from[request]; ok {
		return who == node
	}
	if len(r.order) < maxReplay {
		r.order = append(r.order, request)
	} else {
		delete(r.from, r.order[r.next])
		r.order[r.next] = request
		r.next = (r.next + 1) % maxReplay
	}
	r.from[request] = node
	return true
}
