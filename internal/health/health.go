// Package health keeps the conditions of a running program that its people should know of: a code for programs, a
// severity, a sentence for people, and since when. Parts call Set and Clear on a Registry; screens, /healthz and the
// command line call List. A Registry is safe for concurrent use.
package health

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Severity says how much a condition matters.
type Severity uint8

// Severities, least first. Critical means that the promise of the program does not hold until somebody acts.
const (
	Info Severity = iota
	Warning
	Critical
)

// String gives the severity in lower case.
func (s Severity) String() string {
	switch s {
	case Info:
		return "info"
	case Warning:
		return "warning"
	default:
		return "critical"
	}
}

// Condition is something that holds now.
type Condition struct {
	Code     string    // stable, lower case with dashes: "clock-skew"
	Severity Severity  //
	Text     string    // what holds, and what to do about it
	Since    time.Time // when the code was first set after being clear
}

// Registry holds the present conditions, one for each code.
type Registry struct {
	now func() time.Time

	mu         sync.Mutex
	conditions map[string]Condition
}

// NewRegistry makes an empty registry that reads the time from now.
func NewRegistry(now func() time.Time) *Registry {
	return &Registry{now: now, conditions: map[string]Condition{}}
}

// Set says that a condition holds. Setting a code again renews its severity and text and keeps Since.
func (r *Registry) Set(code string, severity Severity, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.conditions[code]
	if !ok {
		c = Condition{Code: code, Since: r.now()}
	}
	c.Severity, c.Text = severity, text
	r.conditions[code] = c
}

// Clear says that a condition holds no longer. Clearing what is not set does nothing.
func (r *Registry) Clear(code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conditions, code)
}

// List returns the present conditions, the worst first, then by code.
func (r *Registry) List() []Condition {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Condition, 0, len(r.conditions))
	for _, c := range r.conditions {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Condition) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Code, b.Code))
	})
	return list
}
