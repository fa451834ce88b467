package segment

import "sync"

// buffers keeps read buffers for reuse.
type buffers struct{ pool sync.Pool }

func (p *buffers) get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, readSpan)
}

func (p *buffers) put(b []byte) { p.pool.Put(&b) }
