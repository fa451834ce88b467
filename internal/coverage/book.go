package coverage

import (
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Book holds all claims.
type Book struct {
	claims map[envelope.Topic]map[nodeaddr.ID][]Claim
}

// NewBook makes a book of what was stored.
func NewBook(claims []Claim) *Book {
	return &Book{claims: map[envelope.Topic]map[nodeaddr.ID][]Claim{}}
}

// With returns what the lists of claims become with these added. The book is as before until Put.
func (b *Book) With(add []Claim) []Replace { return nil }

// Put takes lists over, once they are stored.
func (b *Book) Put(list []Replace) {}

// Gaps lists what nobody has handed over, the oldest first.
func (b *Book) Gaps(s Sight) []Gap { return nil }

// Summary says how it stands with each want, in their order.
func (b *Book) Summary(s Sight) []Line { return nil }
