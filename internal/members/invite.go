package members

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// InviteOptions are the terms of an invitation. Zero values mean the defaults, and for a member who is invited again what
// holds already.
type InviteOptions struct {
	BytesPerDay int64         // the quota; by default there is none. Unlimited lifts one
	MaxDevices  int           // 1 to MaxDevices, by default DefaultDevices
	Expires     time.Duration // from now, up to MaxExpiry, by default DefaultExpiry
	// Again gives an existing member a new invitation, for further devices or because the old one was lost. The old one
	// ends.
	Again bool
}

// maxDraws bounds the search for an id that nobody has. With a full book one draw in 400,000 fails.
const maxDraws = 16

// Invite makes a member, or invites one again, and returns a token by which devices join until it expires or the member
// has as many as may be. The token exists nowhere else: who loses it is invited again.
//
// Faults: Invalid for wrong terms or a name that cannot be shown, Exists for a name that is taken, NotFound and Denied
// where who is invited again does not exist or was revoked, Limit for a full book or a member with more devices than the
// new terms allow, Unavailable for the disk or the random generator.
func (b *Book) Invite(name string, o InviteOptions) (Member, string, error) {
	if err := o.check(); err != nil {
		return Member{}, "", err
	}
	secret, token, err := newToken(b.rand)
	if err != nil {
		return Member{}, "", noRandom(err)
	}
	now := b.time()
	m, err := b.change(func(s *state) (record, error) {
		r, err := b.invited(s, name, o.Again)
		if err != nil {
			return record{}, err
		}
		if err := o.apply(&r); err != nil {
			return record{}, err
		}
		expires := o.Expires
		if expires == 0 {
			expires = DefaultExpiry
		}
		r.Invitation = &invitation{Hash: digest(secret), Expires: now.Add(expires)}
		return r, nil
	})
	if err != nil {
		return Member{}, "", err
	}
	return m, token, nil
}

func (o *InviteOptions) check() error {
	const op = "members: invite"
	switch {
	case o.BytesPerDay < 0:
		return fault.E(op, fault.Invalid, nil, "a quota cannot be less than nothing: give bytes a day, or none")
	case o.MaxDevices < 0 || o.MaxDevices > MaxDevices:
		return fault.Errorf(op, fault.Invalid, "%d devices are not possible: give 1 to %d", o.MaxDevices, MaxDevices)
	case o.Expires < 0 || o.Expires > MaxExpiry:
		return fault.Errorf(op, fault.Invalid, "an invitation cannot be open for %s: give up to %d days", o.Expires, MaxExpiry/(24*time.Hour))
	}
	return nil
}

// apply sets what is given.
func (o *InviteOptions) apply(r *record) error {
	switch o.BytesPerDay {
	case 0:
	case Unlimited:
		r.BytesPerDay = 0
	default:
		r.BytesPerDay = o.BytesPerDay
	}
	if o.MaxDevices != 0 {
		r.MaxDevices = o.MaxDevices
	}
	if n := len(r.Devices); n > r.MaxDevices {
		return fault.Errorf("members: invite", fault.Limit, "%s has %d devices already: remove some, or allow more than %d", r.Name, n, r.MaxDevices)
	}
	return nil
}

// invited returns the record that an invitation is for.
func (b *Book) invited(s *state, name string, again bool) (record, error) {
	const op = "members: invite"
	if !again {
		return b.newRecord(s, name)
	}
	r, err := s.find(name)
	if err != nil {
		return record{}, err
	}
	if !r.Revoked.IsZero() {
		return record{}, fault.Errorf(op, fault.Denied, "%s was revoked on %s: remove the member, then invite anew", r.Name, day(r.Revoked))
	}
	return *r, nil
}

// newRecord makes a member with the default terms.
func (b *Book) newRecord(s *state, name string) (record, error) {
	const op = "members: make a member"
	if err := checkName(name); err != nil {
		return record{}, fault.Errorf(op, fault.Invalid, "the name does not do: it %s", err)
	}
	if r := s.byName[fold(name)]; r != nil {
		if !r.Revoked.IsZero() {
			return record{}, fault.Errorf(op, fault.Exists, "%s was a member and was revoked on %s: remove the member first, or give another name", r.Name, day(r.Revoked))
		}
		return record{}, fault.Errorf(op, fault.Exists, "%s is a member already: invite the member again, or give another name", r.Name)
	}
	if len(s.list) >= MaxMembers {
		return record{}, fault.Errorf(op, fault.Limit, "there are %d members, the most that may be: remove some", MaxMembers)
	}
	var id [idDigits / 2]byte
	for range maxDraws {
		if _, err := io.ReadFull(b.rand, id[:]); err != nil {
			return record{}, noRandom(err)
		}
		if text := hex.EncodeToString(id[:]); s.byID[text] == nil {
			return record{ID: text, Name: name, Created: b.time(), MaxDevices: DefaultDevices}, nil
		}
	}
	return record{}, noRandom(fmt.Errorf("%d draws gave ids that are taken", maxDraws))
}

// Join makes node, which must have proved who it is, a device of the member that token invites. Joining again with a
// token that still belongs to the same member changes nothing and succeeds, also when the invitation has ended: an answer
// may have been lost.
//
// Faults, whose texts may be sent to the device: Invalid for what is no token, NotFound for a token that invites nobody
// (any more), Denied for an invitation that expired, Limit when all devices have joined, Exists for a device of another
// member, Unavailable for the disk. A device of a revoked member may join by an invitation for somebody else.
func (b *Book) Join(token string, node nodeaddr.ID) (Member, error) {
	given, err := parseToken(token)
	if err != nil {
		return Member{}, err
	}
	if err := checkNode(node); err != nil {
		return Member{}, err
	}
	r, err := b.snapshot().invitee(given) // a wrong token costs no wait for the disk
	if err != nil {
		return Member{}, err
	}
	if m, ok := b.Find(node); ok && m.ID == r.ID {
		return m, nil
	}
	m, err := b.change(func(s *state) (record, error) {
		r, err := s.invitee(given)
		if err != nil {
			return record{}, err
		}
		if has(r.Devices, node) { // came in meanwhile
			return *r, nil
		}
		if err := r.invites(b.now()); err != nil {
			return record{}, err
		}
		return s.bind(r, node, b.time())
	})
	if fault.Is(err, fault.Unavailable) { // its text names a path
		err = fault.E(opJoin, fault.Unavailable, err, "the mail server cannot write this down now: try again later")
	}
	return m, err
}

// AddDevice makes node a device of a member by hand, for programs that know no invitations. Where there is no member of
// this name or id one is made, with the default terms and without an invitation; made tells. Adding a device again
// changes nothing. Faults are Invite's, Denied for a revoked member, Limit and Exists as for Join.
func (b *Book) AddDevice(who string, node nodeaddr.ID) (m Member, made bool, err error) {
	if err := checkNode(node); err != nil {
		return Member{}, false, err
	}
	m, err = b.change(func(s *state) (record, error) {
		var r record
		known, err := s.find(who)
		if made = err != nil; made {
			r, err = b.newRecord(s, who)
		} else {
			r = *known
		}
		if err != nil {
			return record{}, err
		}
		if has(r.Devices, node) && r.Revoked.IsZero() {
			return r, nil
		}
		return s.bind(&r, node, b.time())
	})
	return m, made && err == nil, err
}

// Revoke ends a membership: the devices may not ask any more and the invitation is void. The member stays listed, so that
// the name says what happened. A second call changes nothing. Faults: NotFound, Unavailable.
func (b *Book) Revoke(who string) (Member, error) {
	return b.change(func(s *state) (record, error) {
		r, err := s.find(who)
		if err != nil {
			return record{}, err
		}
		revoked := *r
		revoked.Invitation = nil
		if revoked.Revoked.IsZero() {
			revoked.Revoked = b.time()
		}
		return revoked, nil
	})
}

// RemoveDevice takes a device from its member, such as a phone that was lost. The member's invitation ends, since the
// device may hold it. Faults: NotFound, Unavailable.
func (b *Book) RemoveDevice(node nodeaddr.ID) (Member, error) {
	return b.change(func(s *state) (record, error) {
		r := s.byNode[hex32(node)]
		if r == nil {
			return record{}, fault.E("members: remove a device", fault.NotFound, nil, "no member has this device")
		}
		left := *r
		left.Invitation = nil
		left.Devices = without(r.Devices, node)
		return left, nil
	})
}

// Remove forgets a member with all devices; the name is free again. It returns what the member was. Faults: NotFound,
// Unavailable.
func (b *Book) Remove(who string) (Member, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	s := b.snapshot()
	r, err := s.find(who)
	if err != nil {
		return Member{}, err
	}
	b.mu.Lock()
	was := b.describe(r)
	b.mu.Unlock()
	if err := b.commit(slices.DeleteFunc(slices.Clone(s.list), func(o record) bool { return o.ID == r.ID })); err != nil {
		return Member{}, err
	}
	return was, nil
}

// change replaces one record, or adds it, by what edit returns. edit must not write to what it finds in the state. A
// device of the new record leaves the revoked member who had it.
func (b *Book) change(edit func(*state) (record, error)) (Member, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	s := b.snapshot()
	r, err := edit(s)
	if err != nil {
		return Member{}, err
	}
	if err := b.commit(s.replace(r)); err != nil {
		return Member{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.describe(b.state.byID[r.ID]), nil
}

// time is the clock's, as it is written.
func (b *Book) time() time.Time { return b.now().UTC().Truncate(time.Second) }

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func checkNode(node nodeaddr.ID) error {
	if node == (nodeaddr.ID{}) {
		return fault.E(opJoin, fault.Invalid, nil, "the device has no key")
	}
	return nil
}

func noRandom(err error) error {
	return fault.E("members: invite", fault.Unavailable, err, "the system gave no random numbers: try again")
}
