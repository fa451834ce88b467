// Package agenda is what a simulated world still has to do: functions by the moment at which they are due. An Agenda is
// ready for use as it is, and not safe for concurrent use.
package agenda

import (
	"container/heap"
	"time"
)

// Agenda holds what is due, by true time since the start of a run.
type Agenda struct {
	events events
	seq    uint64
}

// Put lets something happen at a moment. What is due at the same time happens in the order in which it was put.
func (a *Agenda) Put(at time.Duration, do func()) {
	a.seq++
	heap.Push(&a.events, event{at, a.seq, do})
}

// Next takes out what is due first, if that is before end.
func (a *Agenda) Next(end time.Duration) (at time.Duration, do func(), ok bool) {
	if len(a.events) == 0 || a.events[0].at >= end {
		return 0, nil, false
	}
	e := heap.Pop(&a.events).(event)
	return e.at, e.do, true
}

// Clear forgets everything.
func (a *Agenda) Clear() { a.events = nil }

type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

// events is a container/heap.
type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}
