package outbox

// agenda has letters by when something is due, and among equals by age. It is a container/heap.
type agenda []*letter

func (a agenda) Len() int { return len(a) }

func (a agenda) Less(i, j int) bool {
	if c := a[i].next.Compare(a[j].next); c != 0 {
		return c < 0
	}
	return a[i].seq < a[j].seq
}

func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}

// Push is for container/heap.
func (a *agenda) Push(x any) {
	l := x.(*letter)
	l.index = len(*a)
	*a = append(*a, l)
}

// Pop is for container/heap.
func (a *agenda) Pop() any {
	old := *a
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	l.index = -1
	return l
}

// queue has letters that wait for their turn.
type queue struct{ list []*letter }

func (q *queue) push(l *letter) { q.list = append(q.list, l) }

// pop returns the first letter that is still in the phase of the queue; nil for none.
func (q *queue) pop(want phase) *letter {
	for len(q.list) > 0 {
		l := q.list[0]
		q.list[0] = nil
		q.list = q.list[1:]
		if l.phase == want {
			return l
		}
	}
	return nil
}
