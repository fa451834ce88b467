package members

import (
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Book is the list of members. Use Open.
type Book struct {
	path string
	rand io.Reader
	now  func() time.Time

	writing sync.Mutex // held over a change, its disk write included

	mu    sync.Mutex // never held over a disk write
	state *state
	usage map[string]usage // by member's id
	dirty bool             // usage has changed since it was written
}

// Member is somebody who may ask, or might once. Times are UTC.
type Member struct {
	ID          string // 8 hex digits, never given twice at a time
	Name        string // as the operator wrote it; no two are equal but for case
	Devices     []Device
	MaxDevices  int
	BytesPerDay int64 // 0: no quota
	UsedToday   int64 // bytes, by UTC day
	Created     time.Time
	Revoked     time.Time // zero: not revoked
	Invited     time.Time // until when the open invitation lets devices join; zero: there is none
}

// Device is a program that connects with a key of its own.
type Device struct {
	Node  nodeaddr.ID
	Added time.Time
}

// Open reads the book at path. Where there is no file the book is empty, and the first change makes one, mode 0600, in a
// folder that must exist. A nil rand means the system's generator, a nil now the system's clock.
//
// Faults: Corrupt for a file that is damaged, Invalid for one that a newer version wrote, Denied where others may read
// it, Unavailable where the disk refuses. Their texts say what to do. The file is not changed by Open.
func Open(path string, rand io.Reader, now func() time.Time) (*Book, error) {
	if rand == nil {
		rand = cryptorand.Reader
	}
	if now == nil {
		now = time.Now
	}
	b := &Book{path: path, rand: rand, now: now, state: &state{}, usage: make(map[string]usage)}
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	if b.state, b.usage, err = decode(data); err != nil {
		return nil, damaged(path, err)
	}
	return b, nil
}

// List returns all members, revoked ones too, by name.
func (b *Book) List() []Member {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Member, 0, len(b.state.list))
	for i := range b.state.list {
		out = append(out, b.describe(&b.state.list[i]))
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(fold(a.Name), fold(b.Name)) })
	return out
}

// Find returns the member whose device node is, revoked or not.
func (b *Book) Find(node nodeaddr.ID) (Member, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.state.byNode[hex32(node)]
	if r == nil {
		return Member{}, false
	}
	return b.describe(r), true
}

// Allowed tells whether node may ask now. Its error is Denied for who is no member or no longer, and Limit for a member
// who has used up the day's quota.
func (b *Book) Allowed(node nodeaddr.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.admit(node)
	return err
}

// Spend charges node for bytes that are about to be sent to it, and returns how many are left of today's quota: 0 once
// it is reached, Unlimited where there is none. Who has anything left is served, so that no quota is too small for a
// large envelope: a member may exceed it by what is charged last. Errors are Allowed's, and then nothing is charged.
func (b *Book) Spend(node nodeaddr.ID, bytes int64) (left int64, err error) {
	if bytes < 0 {
		return 0, fault.E("members: spend", fault.Internal, nil, "")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.admit(node)
	if err != nil {
		return 0, err
	}
	used := b.usedToday(r.ID)
	used += min(bytes, Unlimited-used)
	if bytes > 0 {
		b.usage[r.ID] = usage{Day: b.today(), Bytes: used}
		b.dirty = true
	}
	if r.BytesPerDay == 0 {
		return Unlimited, nil
	}
	return max(0, r.BytesPerDay-used), nil
}

// SaveUsage writes what was spent, if anything was since it was last written. What is not written is forgiven after a
// restart. The error is Unavailable.
func (b *Book) SaveUsage() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	dirty, s := b.dirty, b.state
	b.mu.Unlock()
	if !dirty {
		return nil
	}
	return b.store(s)
}

// admit is Allowed with b.mu held; it returns the member, too.
func (b *Book) admit(node nodeaddr.ID) (*record, error) {
	const op = "members: admit"
	r := b.state.byNode[hex32(node)]
	switch {
	case r == nil:
		return nil, fault.E(op, fault.Denied, nil, "this mail server serves its members only: ask its operator for an invitation")
	case !r.Revoked.IsZero():
		return nil, fault.E(op, fault.Denied, nil, "the membership of this device was revoked: ask the mail server's operator")
	case r.BytesPerDay > 0 && b.usedToday(r.ID) >= r.BytesPerDay:
		return nil, fault.Errorf(op, fault.Limit, "the quota of %d bytes a day is used up: ask again after midnight UTC", r.BytesPerDay)
	}
	return r, nil
}

// today counts days, so that a quota starts anew at midnight UTC. A clock that is set back starts it anew, too: the other
// choice would lock members out after a clock that was once far ahead.
func (b *Book) today() int64 { return b.now().Unix() / (24 * 60 * 60) }

func (b *Book) usedToday(id string) int64 {
	if u := b.usage[id]; u.Day == b.today() {
		return u.Bytes
	}
	return 0
}

// describe is called with b.mu held.
func (b *Book) describe(r *record) Member {
	m := Member{ID: r.ID, Name: r.Name, MaxDevices: r.MaxDevices, BytesPerDay: r.BytesPerDay, UsedToday: b.usedToday(r.ID),
		Created: r.Created.UTC(), Revoked: r.Revoked.UTC()}
	for _, d := range r.Devices {
		m.Devices = append(m.Devices, Device{Node: nodeaddr.ID(d.Node), Added: d.Added.UTC()})
	}
	if r.invites(b.now()) == nil {
		m.Invited = r.Invitation.Expires.UTC()
	}
	return m
}

// snapshot returns the content as it is now.
func (b *Book) snapshot() *state {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// commit makes list the book's content: on disk first. b.writing is held.
func (b *Book) commit(list []record) error {
	next, err := index(list)
	if err != nil { // the methods have checked before what this checks
		return fault.E("members: change", fault.Internal, err, "")
	}
	return b.store(next)
}

// store writes s and then publishes it. b.writing is held.
func (b *Book) store(s *state) error {
	b.mu.Lock()
	spent := maps.Clone(b.usage)
	b.dirty = false // what is spent from here on will be written next time
	b.mu.Unlock()
	today := b.today()
	maps.DeleteFunc(spent, func(id string, u usage) bool { return s.byID[id] == nil || u.Day != today })
	data, err := encode(s, spent)
	if err == nil {
		err = writeFile(b.path, data)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.dirty = true
		return fault.E("members: write", fault.Unavailable, err, fmt.Sprintf("the members could not be written to %s; "+
			"check that the folder may be written to and that the disk has room", b.path))
	}
	b.state = s
	maps.DeleteFunc(b.usage, func(id string, _ usage) bool { return s.byID[id] == nil })
	return nil
}
