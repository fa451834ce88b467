package history

import "time"

// Event is something that happened; one of the types below.
type Event interface{ event() }

// Answered passes on what came in answer to a question.
type Answered struct {
	Ask    int // of the Ask action
	Answer Answer
}

// Delivered answers a Deliver: the page is kept durably, or Err says why not, which ends the job.
type Delivered struct{ Err error }

// Stop ends the job.
type Stop struct{ Err error }

// Tick says that only time has passed. The first event, of whichever kind, starts the job.
type Tick struct{}

// Looked answers a Lookup: which of its entries are had, durably. A wrong number of answers has no effect.
type Looked struct {
	Lookup int // of the Lookup action
	Have   []bool
}

// Proceed lets a Check fetch bodies from now on. A Fetch needs no leave.
type Proceed struct{}

func (Answered) event()  {}
func (Delivered) event() {}
func (Stop) event()      {}
func (Tick) event()      {}
func (Looked) event()    {}
func (Proceed) event()   {}

// Action is something that the caller has to do; one of the types below. Actions are performed in order.
type Action interface{ action() }

// Ask asks the server. What it answers comes back with the same number.
type Ask struct {
	Ask      int // 1, 2, …
	Form     Form
	Question Question
}

// Cancel gives up the open question.
type Cancel struct{ Ask int }

// Grant lets the server send more of the open answer.
type Grant struct{ Bytes int64 }

// Deliver hands a page to the consumer. The next one comes after its Delivered.
type Deliver struct{ Page Page }

// Lookup asks which of these envelopes are had. One is open at a time, of MaxLookup entries at most, which must not be
// changed.
type Lookup struct {
	Lookup  int // 1, 2, …
	Entries []Entry
}

// Finish ends the job; no action follows it.
type Finish struct{ Report Report }

func (Ask) action()     {}
func (Cancel) action()  {}
func (Grant) action()   {}
func (Deliver) action() {}
func (Lookup) action()  {}
func (Finish) action()  {}

// Job is what Fetch and Check have in common: a state machine that talks with one server. It is not safe for concurrent
// use.
type Job interface {
	// Step takes what happened and returns what to do about it, in this order. The slice is valid until the next Step.
	// After Finish nothing more is done.
	Step(now time.Time, ev Event) []Action

	// Deadline returns when a Tick is due, if nothing else happens before; false for not at all.
	Deadline() (time.Time, bool)
}
