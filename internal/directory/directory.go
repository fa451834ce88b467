package directory

import (
	"bytes"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Use says which servers may be asked.
type Use uint8

// The uses.
const (
	Preferred Use = iota // those preferred, then the others
	Only                 // one, whatever its state
)

// String names the use for programs.
func (u Use) String() string {
	if u == Only {
		return "only"
	}
	return "preferred"
}

// Directory is the list of mail servers. Make it with New.
type Directory struct {
	servers    map[nodeaddr.ID]*server
	only       nodeaddr.ID // zero: Preferred
	changed    map[nodeaddr.ID]bool
	useChanged bool
}

// server is an entry and what is known of it.
type server struct {
	Entry
	measured
}

// Change is what a user changes about a server. What is nil stays.
type Change struct {
	Paused    *bool
	Preferred *bool
	Only      *bool   // true: only this one is asked, which also ends its pause; false: others too
	Name      *string // printable, up to MaxName bytes
	Password  *string // of an older server
	Note      *string
}

// New makes an empty directory.
func New() *Directory {
	return &Directory{servers: map[nodeaddr.ID]*server{}, changed: map[nodeaddr.ID]bool{}}
}

// Add takes a server in, confirmed unless the entry says that it is suggested; Added is now. Of a server that is known already a
// confirmed entry brings the address, confirms it, and adds or replaces the name, token, password and note that it has;
// a suggested entry changes nothing, since links of strangers must not. added tells whether the server is new. Faults: Invalid, and
// Limit when the directory is full.
func (d *Directory) Add(now time.Time, e Entry) (added bool, err error) {
	const op = "directory: add"
	if e, err = e.checked(op); err != nil {
		return false, err
	}
	if s := d.servers[e.ID()]; s != nil {
		if !e.Suggested {
			s.renew(e)
			d.touch(e.ID())
		}
		return false, nil
	}
	if err := d.room(op, 1, e.Suggested); err != nil {
		return false, err
	}
	e.Added = now.UTC().Truncate(time.Second)
	d.servers[e.ID()] = &server{Entry: e}
	d.touch(e.ID())
	return true, nil
}

// renew takes over what the user, or somebody whom the user trusts, says anew.
func (s *server) renew(e Entry) {
	s.Node = e.Node
	if s.Suggested {
		s.Suggested, s.Origin = false, e.Origin
	}
	s.Preferred = s.Preferred || e.Preferred
	replace := func(old *string, new string) {
		if new != "" {
			*old = new
		}
	}
	replace(&s.Name, e.Name)
	replace(&s.Token, e.Token)
	replace(&s.Password, e.Password)
	replace(&s.Note, e.Note)
}

func (d *Directory) room(op string, n int, suggested bool) error {
	if len(d.servers)+n > MaxServers {
		return fault.Errorf(op, fault.Limit, "the list has room for %d mail servers and %d are in it: remove some first", MaxServers, len(d.servers))
	}
	if !suggested {
		return nil
	}
	open := 0
	for _, s := range d.servers {
		if s.Suggested {
			open++
		}
	}
	if open+n > MaxSuggested {
		return fault.Errorf(op, fault.Limit, "%d suggested mail servers wait for a decision: confirm or remove some first", open)
	}
	return nil
}

// Remove forgets a server and all that was measured of it. Faults: NotFound; Invalid for the only one that may be asked.
func (d *Directory) Remove(id nodeaddr.ID) error {
	const op = "directory: remove"
	if _, err := d.find(op, id); err != nil {
		return err
	}
	if d.only == id {
		return fault.E(op, fault.Invalid, nil, "this is the only mail server that may be asked: allow others first")
	}
	delete(d.servers, id)
	d.touch(id)
	return nil
}

// Confirm says that the user wants a server that was suggested. Faults: NotFound.
func (d *Directory) Confirm(id nodeaddr.ID) error {
	s, err := d.find("directory: confirm", id)
	if err != nil || !s.Suggested {
		return err
	}
	s.Suggested = false
	d.touch(id)
	return nil
}

// Change changes what the user decides about a server, all of it or, with an error, nothing. Faults: NotFound, Invalid.
func (d *Directory) Change(id nodeaddr.ID, c Change) error {
	const op = "directory: change"
	s, err := d.find(op, id)
	if err != nil {
		return err
	}
	e := s.Entry
	set(&e.Name, c.Name)
	set(&e.Password, c.Password)
	set(&e.Note, c.Note)
	set(&e.Preferred, c.Preferred)
	only := c.Only != nil && *c.Only
	if only {
		e.Paused = false
	}
	set(&e.Paused, c.Paused)
	if e, err = e.checked(op); err != nil {
		return err
	}
	if only && e.Suggested {
		return fault.E(op, fault.Invalid, nil, "this mail server was only suggested: confirm it before it becomes the only one")
	}
	s.Entry = e
	d.touch(id)
	switch {
	case only:
		d.setOnly(id)
	case c.Only != nil && d.only == id:
		d.setOnly(nodeaddr.ID{})
	}
	return nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// SetUse says which servers may be asked: those preferred and then the others, or Only the one with this id. Faults: those
// of Change.
func (d *Directory) SetUse(u Use, id nodeaddr.ID) error {
	if u == Only {
		yes := true
		return d.Change(id, Change{Only: &yes})
	}
	d.setOnly(nodeaddr.ID{})
	return nil
}

func (d *Directory) setOnly(id nodeaddr.ID) {
	if d.only != id {
		d.only, d.useChanged = id, true
	}
}

// Use returns which servers may be asked; the id is zero unless it is Only.
func (d *Directory) Use() (Use, nodeaddr.ID) {
	if d.only == (nodeaddr.ID{}) {
		return Preferred, d.only
	}
	return Only, d.only
}

// Entry returns a server's entry; false where it is not known.
func (d *Directory) Entry(id nodeaddr.ID) (Entry, bool) {
	s := d.servers[id]
	if s == nil {
		return Entry{}, false
	}
	return s.Entry, true
}

// Len returns how many servers are in the directory, suggested ones included.
func (d *Directory) Len() int { return len(d.servers) }

func (d *Directory) find(op string, id nodeaddr.ID) (*server, error) {
	if s := d.servers[id]; s != nil {
		return s, nil
	}
	return nil, fault.Errorf(op, fault.NotFound, "no mail server %s is known: list them to see their ids", id.Short())
}

func (d *Directory) touch(id nodeaddr.ID) { d.changed[id] = true }

// sorted returns the servers in the order in which they were added.
func (d *Directory) sorted() []*server {
	list := make([]*server, 0, len(d.servers))
	for _, s := range d.servers {
		list = append(list, s)
	}
	slices.SortFunc(list, byAdded)
	return list
}

func byAdded(a, b *server) int {
	if c := a.Added.Compare(b.Added); c != 0 {
		return c
	}
	x, y := a.ID(), b.ID()
	return bytes.Compare(x[:], y[:])
}
