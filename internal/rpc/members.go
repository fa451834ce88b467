package rpc

import (
	"encoding/hex"
	"errors"
	"time"

	"github.com/restante-im/restante/internal/nodeaddr"
)

// Members is what the namespace members needs of a mail server that serves its
// members. Methods may be called concurrently. Who is asked for is named by
// name, whatever its case, or by id. Errors are faults.
type Members interface {
	// Invite makes a member, or invites one again, and returns the link by which
	// devices join.
	Invite(NewInvitation) (Invitation, error)
	// List returns all members, also those who were revoked, by name.
	List() []Member
	// Add makes a device one of a member's by hand. Where there is no such member
	// it makes one.
	Add(who string, device nodeaddr.ID) (Addition, error)
	// Revoke ends a membership; the member stays listed.
	Revoke(who string) (Member, error)
	// Remove forgets a member and returns what it was.
	Remove(who string) (Member, error)
	// RemoveDevice takes a device from its member, whose invitation ends.
	RemoveDevice(device nodeaddr.ID) (Member, error)
}

// NewInvitation is the argument of members_invite. What is 0 or absent has its
// default; for a member who is invited again it stays as it is.
type NewInvitation struct {
	Name        string `json:"name"`
	BytesPerDay int64  `json:"bytesPerDay,omitempty"` // quota; NoQuota: none, as by default
	Devices     int    `json:"devices,omitempty"`     // that may join
	Expires     uint32 `json:"expires,omitempty"`     // seconds from now
	Again       bool   `json:"again,omitempty"`       // for an existing member; the invitation before ends
}

// NoQuota is the BytesPerDay that lifts a quota.
const NoQuota = -1

// Invitation is the result of members_invite. Whoever has the link can use it.
type Invitation struct {
	Member Member `json:"member"`
	Link   string `json:"link"`
}

// Addition is the result of members_add.
type Addition struct {
	Member Member `json:"member"`
	Made   bool   `json:"made"` // a member was made
}

// Member is an element of members_list's result.
type Member struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Devices     []MemberDevice `json:"devices"`
	MaxDevices  int            `json:"maxDevices"`
	BytesPerDay int64          `json:"bytesPerDay"` // quota; 0: none
	UsedToday   int64          `json:"usedToday"`   // bytes, by UTC day
	Created     time.Time      `json:"created"`
	Revoked     time.Time      `json:"revoked,omitzero"`
	Invited     time.Time      `json:"invited,omitzero"` // until when the open invitation can be used
}

// MemberDevice is a program of a member, known by its node id.
type MemberDevice struct {
	ID    string    `json:"id"`
	Added time.Time `json:"added"`
}

// membersAPI is the namespace members. Without members every method says why.
type membersAPI struct{ members Members }

var errNoMembers = errors.New(`this node keeps no members: set mode = "members" under [mailserver] in its configuration and restart it`)

// Invite makes a member or invites one again.
func (a *membersAPI) Invite(req NewInvitation) (Invitation, error) {
	if a.members == nil {
		return Invitation{}, errNoMembers
	}
	in, err := a.members.Invite(req)
	return in, public(err)
}

// List lists all members.
func (a *membersAPI) List() ([]Member, error) {
	if a.members == nil {
		return nil, errNoMembers
	}
	if list := a.members.List(); list != nil {
		return list, nil
	}
	return []Member{}, nil
}

// Add makes the program with this address or public key a member's device.
func (a *membersAPI) Add(who, device string) (Addition, error) {
	if a.members == nil {
		return Addition{}, errNoMembers
	}
	n, err := nodeaddr.ParseIdentity(device)
	if err != nil {
		return Addition{}, public(err)
	}
	added, err := a.members.Add(who, n.ID())
	return added, public(err)
}

// Revoke ends a membership.
func (a *membersAPI) Revoke(who string) (Member, error) {
	if a.members == nil {
		return Member{}, errNoMembers
	}
	m, err := a.members.Revoke(who)
	return m, public(err)
}

// Remove forgets a member.
func (a *membersAPI) Remove(who string) (Member, error) {
	if a.members == nil {
		return Member{}, errNoMembers
	}
	m, err := a.members.Remove(who)
	return m, public(err)
}

// RemoveDevice takes the program with this node id, address or public key from
// its member.
func (a *membersAPI) RemoveDevice(device string) (Member, error) {
	if a.members == nil {
		return Member{}, errNoMembers
	}
	id, err := parseDevice(device)
	if err != nil {
		return Member{}, public(err)
	}
	m, err := a.members.RemoveDevice(id)
	return m, public(err)
}

// parseDevice reads a node id, as lists show it, or what stands for one.
func parseDevice(s string) (id nodeaddr.ID, err error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == len(id) {
		return nodeaddr.ID(b), nil
	}
	n, err := nodeaddr.ParseIdentity(s)
	return n.ID(), err
}
