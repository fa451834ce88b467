package catchup

import (
	"time"

	"github.com/restante-im/restante/internal/coverage"
)

// Machine catches up. Make it with New.
type Machine struct {
	book *coverage.Book
}

// New makes a machine of what is stored. It begins with the first Step, and with a round as soon as there are candidates.
func New(c Config) *Machine { return &Machine{book: coverage.NewBook(c.Claims)} }

// Step takes what happened and returns what to do about it. The slice is valid until the next Step.
func (m *Machine) Step(now time.Time, ev Event) []Action { return nil }

// Deadline returns when a Tick is due, if nothing else happens before; false for not at all.
func (m *Machine) Deadline() (time.Time, bool) { return time.Time{}, false }

// Gaps lists what nobody has handed over, the oldest first.
func (m *Machine) Gaps(now time.Time) []coverage.Gap { return nil }

// Summary says of each want how far it is complete, and who says so.
func (m *Machine) Summary(now time.Time) []coverage.Line { return nil }

// State says how it stands.
func (m *Machine) State() Snapshot { return Snapshot{} }
