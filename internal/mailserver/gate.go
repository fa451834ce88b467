package mailserver

import (
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Open is the gate of a mail server for everybody. Only trusted peers may sync: it is a whole archive at once.
type Open struct{}

// Allow lets everybody ask, and trusted peers sync.
func (Open) Allow(who Asker, k Kind) error {
	if k == Sync && !who.Trusted {
		return fault.E("", fault.Denied, nil, "this mail server syncs only with mail servers that its operator trusts")
	}
	return nil
}

// Spend grants everything.
func (Open) Spend(Asker, int) error { return nil }

// MembersOnly is false.
func (Open) MembersOnly() bool { return false }

// Book is who the members are and what they used. *members.Book is one.
type Book interface {
	// Allowed returns nil for a member that may ask now, or a fault: Denied, or Limit when its quota is used up.
	Allowed(node nodeaddr.ID) error
	// Spend counts bytes towards the quota of a member and returns what is left of it. With an error, a Limit or Denied
	// fault, they may not be sent.
	Spend(node nodeaddr.ID, bytes int64) (left int64, err error)
}

// Members is the gate of a mail server for its members and for trusted peers, whatever the kind of the request.
type Members struct{ Book Book }

// Allow lets members and trusted peers ask.
func (m Members) Allow(who Asker, _ Kind) error {
	if who.Trusted {
		return nil
	}
	return m.Book.Allowed(who.Node)
}

// Spend counts towards the quota of a member.
func (m Members) Spend(who Asker, bytes int) error {
	if who.Trusted {
		return nil
	}
	_, err := m.Book.Spend(who.Node, int64(bytes))
	return err
}

// MembersOnly is true.
func (m Members) MembersOnly() bool { return true }
