// Package fault is Restante's error type: a kind from a short closed list, the operation that failed, its cause, and a
// text that may be shown to people or sent to a peer. Create errors with E or Errorf, ask with KindOf and Text.
// Error() is for logs and may hold details of the cause; Text never does. All functions are safe for concurrent use.
package fault

import (
	"errors"
	"fmt"
)

// Kind classifies an error. Kinds may cross the wire by number: append, never renumber.
type Kind uint8

// The kinds. The comment says what the reader of such an error can do.
const (
	Internal    Kind = iota // a defect of ours: report it
	Invalid                 // the input is wrong: correct it
	NotFound                // the named thing does not exist
	Exists                  // it exists already, and would be overwritten or run twice
	Denied                  // not allowed for this caller
	Busy                    // too much to do now: try again later
	Limit                   // a stated bound is exceeded: ask for less
	Unavailable             // something needed is not there now: a peer, a disk, a network
	Timeout                 // no answer in time
	Closed                  // stopped while the operation ran
	Corrupt                 // stored or received data does not check out
	kinds
)

var kindNames = [kinds]string{
	"internal error", "invalid input", "not found", "already exists", "not allowed", "busy", "over the limit",
	"not available", "timed out", "closed", "corrupt data",
}

// String gives the kind's name in words.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

type fault struct {
	op    string
	kind  Kind
	cause error
	text  string
}

// E makes an error of a kind. op names what was attempted ("keyring: load node key"), cause may be nil, and text is a
// sentence for people: what happened, to what, what to do. An empty text stands for the kind's name.
func E(op string, kind Kind, cause error, text string) error {
	return &fault{op: op, kind: kind, cause: cause, text: text}
}

// Errorf is E without a cause, its text formatted. A %w verb keeps its operand as the cause.
func Errorf(op string, kind Kind, format string, a ...any) error {
	err := fmt.Errorf(format, a...)
	return &fault{op: op, kind: kind, cause: errors.Unwrap(err), text: err.Error()}
}

// Error gives operation, text and cause, for logs.
func (f *fault) Error() string {
	s := f.safeText()
	if f.op != "" {
		s = f.op + ": " + s
	}
	if f.cause != nil && f.text != f.cause.Error() {
		s += ": " + f.cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (f *fault) Unwrap() error { return f.cause }

func (f *fault) safeText() string {
	if f.text != "" {
		return f.text
	}
	return f.kind.String()
}

// KindOf returns the kind of the outermost fault in err's chain, or Internal where there is none.
func KindOf(err error) Kind {
	var f *fault
	if errors.As(err, &f) {
		return f.kind
	}
	return Internal
}

// Is reports whether err's chain holds a fault and the outermost one is of this kind.
func Is(err error, kind Kind) bool {
	var f *fault
	return errors.As(err, &f) && f.kind == kind
}

// Text returns what people may read of err: the outermost fault's text, or "internal error" where there is none.
func Text(err error) string {
	var f *fault
	if errors.As(err, &f) {
		return f.safeText()
	}
	return Internal.String()
}
