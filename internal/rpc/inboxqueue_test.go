package rpc

// Internal: how much waits for a reader that does not read cannot be told from outside.

import (
	"testing"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/inbox"
)

func TestEventQueue(t *testing.T) {
	q := &eventQueue{ready: make(chan struct{}, 1)}
	for i := range MaxEvents + 10 {
		q.add(inbox.Event{Kind: inbox.MailEvent, First: uint64(i)})
	}
	list, lost := q.take()
	if len(list) != MaxEvents || lost != 10 || list[0].First != 10 || list[MaxEvents-1].First != MaxEvents+9 {
		t.Errorf("%d events from %d to %d, %d lost", len(list), list[0].First, list[len(list)-1].First, lost)
	}
	if list, lost := q.take(); len(list) != 0 || lost != 0 {
		t.Errorf("taken twice: %v, %d", list, lost)
	}
	for i := range 10 * MaxEvents {
		q.add(inbox.Event{Kind: inbox.ProgressEvent, Progress: &catchup.Progress{New: i}})
	}
	if list, lost := q.take(); len(list) != 1 || lost != 0 || list[0].Progress.New != 10*MaxEvents-1 {
		t.Errorf("progress: %d, %d lost", len(list), lost)
	}
}
