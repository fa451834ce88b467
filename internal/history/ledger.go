package history

import "sort"

// ledger keeps account of what a server has named: every envelope has a number, in the order of the list, and is open until
// it is had, kept, or given up for good. A position is reached when nothing before it is open.
type ledger struct {
	count uint64  // envelopes named so far
	fresh []Entry // the last of them, which nobody has looked up; all are open
	items []item  // those before that are lacked, ascending
	early int     // of these, those that have to be looked up again
	marks []mark  // ascending
	at    Position
}

// item is an envelope that we lacked when we looked.
type item struct {
	Entry
	number uint64
	state  state
	early  bool // looked up before bodies could be fetched: somebody may have brought it
	tries  int  // questions for it that ended without it
}

// state is what has become of an item.
type state uint8

const (
	lacking state = iota
	asked         // in the open question
	passing       // on its way to the consumer
	settled
)

// name adds an envelope.
func (l *ledger) name(e Entry) {
	l.fresh = append(l.fresh, e)
	l.count++
}

// mark says that p is reached when all that was named so far is settled.
func (l *ledger) mark(p Position) {
	if n := len(l.marks); n > 0 && l.marks[n-1].at == l.count {
		l.marks[n-1].pos = p
		return
	}
	l.marks = append(l.marks, mark{l.count, p})
}

// known is the number of the first envelope that nobody has looked up.
func (l *ledger) known() uint64 { return l.count - uint64(len(l.fresh)) }

// open is how many envelopes are kept account of.
func (l *ledger) open() int { return len(l.items) + len(l.fresh) }

// looked strikes off those of the first fresh ones that are had.
func (l *ledger) looked(have []bool, early bool) {
	first := l.known()
	for i, had := range have {
		if !had {
			if l.items = append(l.items, item{Entry: l.fresh[i], number: first + uint64(i), early: early}); early {
				l.early++
			}
		}
	}
	if l.fresh = l.fresh[len(have):]; len(l.fresh) == 0 {
		l.fresh = nil
	}
	l.thin()
}

// lookedAgain notes whether an early item is still lacking.
func (l *ledger) lookedAgain(number uint64, had bool) {
	it := l.item(number)
	if it.early = false; had {
		it.state = settled
	}
	l.early--
}

// earliest lists early items, at most so many.
func (l *ledger) earliest(most int) (numbers []uint64, list []Entry) {
	for i := range l.items {
		if len(list) == min(most, l.early) {
			break
		}
		if it := &l.items[i]; it.early {
			numbers, list = append(numbers, it.number), append(list, it.Entry)
		}
	}
	return numbers, list
}

// ready is how many items can be asked for.
func (l *ledger) ready() (n int) {
	for i := range l.items {
		if l.items[i].ready() {
			n++
		}
	}
	return n
}

func (it *item) ready() bool { return it.state == lacking && !it.early }

// thin drops marks that are reached together with the next one, so that there are not many more than items.
func (l *ledger) thin() {
	kept, next := l.marks[:0], 0
	for i, m := range l.marks {
		for next < len(l.items) && l.items[next].number < m.at {
			next++
		}
		if i+1 < len(l.marks) && !l.openBetween(m.at, l.marks[i+1].at, next) {
			continue
		}
		kept = append(kept, m)
	}
	l.marks = kept
}

// openBetween reports whether anything from one number up to another may be open. next is the first item from there on.
func (l *ledger) openBetween(from, to uint64, next int) bool {
	return next < len(l.items) && l.items[next].number < to || max(from, l.known()) < to
}

// item finds an item that is not settled.
func (l *ledger) item(number uint64) *item {
	i := sort.Search(len(l.items), func(i int) bool { return l.items[i].number >= number })
	return &l.items[i]
}

// settle closes the account of an item.
func (l *ledger) settle(number uint64) { l.item(number).state = settled }

// reached moves on over what is settled, and returns the position there.
func (l *ledger) reached() Position {
	n := 0
	for n < len(l.items) && l.items[n].state == settled {
		n++
	}
	if l.items = l.items[n:]; len(l.items) == 0 {
		l.items = nil
	}
	low := l.low()
	for len(l.marks) > 0 && l.marks[0].at <= low {
		l.at, l.marks = l.marks[0].pos, l.marks[1:]
	}
	return l.at
}

// low is the number of the first open envelope.
func (l *ledger) low() uint64 {
	if len(l.items) > 0 {
		return l.items[0].number
	}
	return l.known()
}

// left is what is lacked and was not fetched.
func (l *ledger) left() (n int, bytes int64) {
	for i := range l.items {
		if l.items[i].state < passing {
			n++
			bytes += int64(l.items[i].Size)
		}
	}
	return n, bytes
}
