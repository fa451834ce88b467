package inbox

import (
	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/outbox"
)

// EventKind says what an Event tells of. The texts are those that programs see.
type EventKind string

// The kinds of events.
const (
	MailEvent     EventKind = "mail"     // something was kept: First to Last
	ProgressEvent EventKind = "progress" // of a catch-up
	ReportEvent   EventKind = "report"   // a catch-up ended
	LetterEvent   EventKind = "letter"   // a letter's state changed
	ServerEvent   EventKind = "server"   // something was learnt of a mail server, or it was changed
	WatchEvent    EventKind = "watch"    // a watch was made or ended
)

// EventKinds returns all kinds.
func EventKinds() []EventKind {
	return []EventKind{MailEvent, ProgressEvent, ReportEvent, LetterEvent, ServerEvent, WatchEvent}
}

// Event is something that happened; the fields of its Kind are set.
type Event struct {
	Kind EventKind

	First, Last uint64 // MailEvent: sequence numbers
	New         int    // MailEvent: how many
	Live        bool   // MailEvent: it came by itself

	Progress *catchup.Progress
	Report   *catchup.Report
	Letter   *outbox.Entry
	Server   nodeaddr.ID
	Watch    string // id
}

// Subscribe has f called with each event from now on, in order, until cancel. f is called on the inbox's own goroutine: it
// must return at once and not call the Inbox.
func (in *Inbox) Subscribe(f func(Event)) (cancel func()) {
	in.hear.Lock()
	defer in.hear.Unlock()
	in.lastHearer++
	id := in.lastHearer
	in.hearers[id] = f
	return func() {
		in.hear.Lock()
		defer in.hear.Unlock()
		delete(in.hearers, id)
	}
}

// tell tells those who listen.
func (in *Inbox) tell(ev Event) {
	in.hear.Lock()
	defer in.hear.Unlock()
	for _, f := range in.hearers {
		f(ev)
	}
}
