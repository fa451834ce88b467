package history

// Event is something that happened; one of the types below.
type Event interface{ event() }

// Answered passes on what came in answer to a question.
type Answered struct {
	Ask    int // of the Ask action
	Answer Answer
}

// Delivered answers a Deliver: the page is kept durably, or Err says why not, which ends the fetch.
type Delivered struct{ Err error }

// Stop ends the fetch.
type Stop struct{ Err error }

// Tick says that only time has passed. The first one starts the fetch.
type Tick struct{}

func (Answered) event()  {}
func (Delivered) event() {}
func (Stop) event()      {}
func (Tick) event()      {}

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

// Finish ends the fetch; no action follows it.
type Finish struct{ Report Report }

func (Ask) action()     {}
func (Cancel) action()  {}
func (Grant) action()   {}
func (Deliver) action() {}
func (Finish) action()  {}
