package members

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// state is the book's content. It is never changed, only replaced.
type state struct {
	list   []record
	byID   map[string]*record
	byName map[string]*record // by folded name
	byNode map[hex32]*record
}

// record is a member as the file has it.
type record struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Created     time.Time   `json:"created"`
	Revoked     time.Time   `json:"revoked,omitzero"`
	MaxDevices  int         `json:"maxDevices"`
	BytesPerDay int64       `json:"bytesPerDay,omitzero"`
	Devices     []device    `json:"devices,omitempty"`
	Invitation  *invitation `json:"invitation,omitempty"`
}

type device struct {
	Node  hex32     `json:"node"`
	Added time.Time `json:"added"`
}

// invitation stays when it has ended, so that a device that joined can be told so again.
type invitation struct {
	Hash    hex32     `json:"tokenHash"` // SHA-256 of the token's bytes
	Expires time.Time `json:"expires"`
}

// usage is what a member has spent on a day.
type usage struct {
	Day   int64 `json:"day"` // since 1970, UTC
	Bytes int64 `json:"bytes"`
}

// hex32 is 32 bytes, in text as 64 hex digits.
type hex32 [32]byte

// MarshalText writes hex digits.
func (h hex32) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads exactly 64 hex digits.
func (h *hex32) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("%d characters stand where %d hex digits belong", len(text), hex.EncodedLen(len(h)))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

const (
	idDigits = 8 // hex, of a member's id

	opJoin = "members: join"
)

// index checks a list and makes it findable. The list belongs to the state from then on.
func index(list []record) (*state, error) {
	if len(list) > MaxMembers {
		return nil, fmt.Errorf("it has %d members, more than %d", len(list), MaxMembers)
	}
	s := &state{list: list, byID: make(map[string]*record, len(list)), byName: make(map[string]*record, len(list)),
		byNode: make(map[hex32]*record)}
	for i := range list {
		r := &list[i]
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("member %d: %w", i+1, err)
		}
		if s.byID[r.ID] != nil || s.byName[fold(r.Name)] != nil {
			return nil, fmt.Errorf("member %d: the id or the name occurs twice", i+1)
		}
		s.byID[r.ID], s.byName[fold(r.Name)] = r, r
		for _, d := range r.Devices {
			if s.byNode[d.Node] != nil {
				return nil, fmt.Errorf("member %d: a device occurs twice", i+1)
			}
			s.byNode[d.Node] = r
		}
	}
	return s, nil
}

func (r *record) check() error {
	if len(r.ID) != idDigits || !looksLikeID(r.ID) {
		return fmt.Errorf("its id has not %d hex digits", idDigits)
	}
	if err := checkName(r.Name); err != nil {
		return fmt.Errorf("its name %w", err)
	}
	if r.MaxDevices < 1 || r.MaxDevices > MaxDevices || len(r.Devices) > r.MaxDevices {
		return fmt.Errorf("it has %d of %d devices", len(r.Devices), r.MaxDevices)
	}
	if r.BytesPerDay < 0 {
		return errors.New("its quota is negative")
	}
	times := []time.Time{r.Created}
	if !r.Revoked.IsZero() {
		times = append(times, r.Revoked)
	}
	if r.Invitation != nil {
		times = append(times, r.Invitation.Expires)
	}
	for _, d := range r.Devices {
		times = append(times, d.Added)
		if d.Node == (hex32{}) {
			return errors.New("a device has no key")
		}
	}
	for _, t := range times {
		if y := t.Year(); y < 1970 || y > 9000 { // what can be written again in any zone
			return fmt.Errorf("a time is in the year %d", y)
		}
	}
	return nil
}

// find looks a member up by id or name.
func (s *state) find(who string) (*record, error) {
	r := s.byID[who]
	if r == nil {
		r = s.byName[fold(who)]
	}
	if r == nil {
		return nil, fault.Errorf("members: find", fault.NotFound, "there is no member %s", shown(who))
	}
	return r, nil
}

// invitee returns the member whose invitation has this token. All invitations are compared, each in constant time.
func (s *state) invitee(t secret) (*record, error) {
	var found *record
	hash := digest(t)
	for i := range s.list {
		r := &s.list[i]
		if r.Invitation != nil && subtle.ConstantTimeCompare(hash[:], r.Invitation.Hash[:]) == 1 {
			found = r
		}
	}
	if found == nil || !found.Revoked.IsZero() {
		return nil, fault.E(opJoin, fault.NotFound, nil,
			"this invitation is not valid here, or not any more: ask the mail server's operator for a new one")
	}
	return found, nil
}

// invites tells whether further devices may join by the invitation.
func (r *record) invites(now time.Time) error {
	switch {
	case r.Invitation == nil:
		return fault.E(opJoin, fault.NotFound, nil, "there is no invitation")
	case !now.Before(r.Invitation.Expires):
		return fault.Errorf(opJoin, fault.Denied, "this invitation ended on %s: ask the mail server's operator for a new one", day(r.Invitation.Expires))
	case len(r.Devices) >= r.MaxDevices:
		return fault.E(opJoin, fault.Limit, nil, "this invitation is used up: ask the mail server's operator for a new one")
	}
	return nil
}

// bind returns r with one more device.
func (s *state) bind(r *record, node nodeaddr.ID, now time.Time) (record, error) {
	if !r.Revoked.IsZero() {
		return record{}, fault.Errorf(opJoin, fault.Denied, "%s was revoked on %s: remove the member, then invite anew", r.Name, day(r.Revoked))
	}
	if other := s.byNode[hex32(node)]; other != nil && other.Revoked.IsZero() {
		return record{}, fault.E(opJoin, fault.Exists, nil, "this device belongs to another member already: the mail server's operator can remove it there")
	}
	if n := len(r.Devices); n >= r.MaxDevices {
		return record{}, fault.Errorf(opJoin, fault.Limit, "%s has %d devices, as many as may be: remove one, or invite the member again and allow more", r.Name, n)
	}
	out := *r
	out.Devices = append(slices.Clone(r.Devices), device{Node: hex32(node), Added: now})
	return out, nil
}

// replace returns the list with r in the place of the record that has its id, or at the end. Devices of r that another
// record has are taken from there.
func (s *state) replace(r record) []record {
	list := slices.Clone(s.list)
	for _, d := range r.Devices {
		if other := s.byNode[d.Node]; other != nil && other.ID != r.ID {
			i := slices.IndexFunc(list, func(o record) bool { return o.ID == other.ID })
			list[i].Devices = without(list[i].Devices, nodeaddr.ID(d.Node))
		}
	}
	if i := slices.IndexFunc(list, func(o record) bool { return o.ID == r.ID }); i >= 0 {
		list[i] = r
		return list
	}
	return append(list, r)
}

func has(list []device, node nodeaddr.ID) bool {
	return slices.ContainsFunc(list, func(d device) bool { return d.Node == hex32(node) })
}

// without returns a list of its own.
func without(list []device, node nodeaddr.ID) []device {
	return slices.DeleteFunc(slices.Clone(list), func(d device) bool { return d.Node == hex32(node) })
}

// fold makes names comparable.
func fold(name string) string { return strings.ToLower(name) }

// checkName wants a name that is safe to show and cannot be taken for an id. Its error continues "the name".
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case strings.TrimSpace(name) != name:
		return errors.New("begins or ends with a blank")
	case len(name) == idDigits && looksLikeID(name):
		return fmt.Errorf("could be taken for an id: %d hex digits", idDigits)
	}
	return checkShown(name)
}

// checkShown wants text that is safe to show.
func checkShown(name string) error {
	if !utf8.ValidString(name) {
		return errors.New("is not UTF-8")
	}
	if n := utf8.RuneCountInString(name); n > MaxName {
		return fmt.Errorf("has %d characters, more than %d", n, MaxName)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("holds a character that cannot be shown (%U)", r)
		}
	}
	return nil
}

func looksLikeID(s string) bool { return strings.Trim(fold(s), "0123456789abcdef") == "" }

// shown quotes the beginning of what somebody wrote.
func shown(s string) string {
	if len(s) > MaxName {
		s = s[:MaxName] + "…"
	}
	return fmt.Sprintf("%q", s)
}
