package directory

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const (
	version    = 1 // raised when an older program must not read a record
	settingsID = "settings"
)

// Record is one thing to store.
type Record struct {
	ID   string // a server's id, or "settings"
	Data []byte // for Load; nil in what Changed returns: to be deleted
}

// stored is a server as it is written. Fields may be added; a program that does not know one passes over it.
type stored struct {
	Version   int       `json:"version"`
	Node      string    `json:"node"`
	Name      string    `json:"name,omitempty"`
	Origin    string    `json:"origin"`
	Suggested bool      `json:"suggested,omitempty"`
	Paused    bool      `json:"paused,omitempty"`
	Preferred bool      `json:"preferred,omitempty"`
	Added     time.Time `json:"added"`
	Token     string    `json:"token,omitempty"`
	Password  string    `json:"password,omitempty"`
	Note      string    `json:"note,omitempty"`

	Client      string          `json:"client,omitempty"`
	Said        said            `json:"said"`
	LastSuccess time.Time       `json:"lastSuccess,omitzero"`
	LastFailure time.Time       `json:"lastFailure,omitzero"`
	LastError   string          `json:"lastError,omitempty"`
	JoinError   string          `json:"joinError,omitempty"`
	Cool        cooling         `json:"cool"`
	Answers     []bool          `json:"answers,omitempty"`
	First       []time.Duration `json:"first,omitempty"` // nanoseconds
	Last        []time.Duration `json:"last,omitempty"`
	Compared    []comparison    `json:"compared,omitempty"`
	Day         int64           `json:"day,omitempty"`
	BytesToday  int64           `json:"bytesToday,omitempty"`
	BytesTotal  int64           `json:"bytesTotal,omitempty"`
	Envelopes   int64           `json:"envelopes,omitempty"`
}

type settings struct {
	Version int    `json:"version"`
	Only    string `json:"only,omitempty"` // a server's id
}

// Records returns everything to store, by ID.
func (d *Directory) Records() []Record {
	list := []Record{d.settings()}
	for _, s := range d.servers {
		list = append(list, s.record())
	}
	slices.SortFunc(list, byID)
	return list
}

// Changed returns what to store or delete since the last call, by ID.
func (d *Directory) Changed() []Record {
	list := make([]Record, 0, len(d.changed))
	for id := range d.changed {
		if s := d.servers[id]; s != nil {
			list = append(list, s.record())
		} else {
			list = append(list, Record{ID: id.String()})
		}
	}
	if d.useChanged {
		list = append(list, d.settings())
	}
	clear(d.changed)
	d.useChanged = false
	slices.SortFunc(list, byID)
	return list
}

func byID(a, b Record) int { return strings.Compare(a.ID, b.ID) }

func (d *Directory) settings() Record {
	s := settings{Version: version}
	if d.only != (nodeaddr.ID{}) {
		s.Only = d.only.String()
	}
	return newRecord(settingsID, s)
}

func (s *server) record() Record {
	return newRecord(s.ID().String(), stored{
		Version: version, Node: s.Node.String(), Name: s.Name, Origin: s.Origin.String(), Suggested: s.Suggested,
		Paused: s.Paused, Preferred: s.Preferred, Added: s.Added, Token: s.Token, Password: s.Password, Note: s.Note,
		Client: s.client, Said: s.said, LastSuccess: s.lastSuccess, LastFailure: s.lastFailure, LastError: s.lastError,
		JoinError: s.joinError, Cool: s.cool, Answers: s.answers, First: s.first, Last: s.last, Compared: s.compared,
		Day: s.day, BytesToday: s.bytesToday, BytesTotal: s.bytesTotal, Envelopes: s.envelopes,
	})
}

func newRecord(id string, v any) Record {
	data, _ := json.Marshal(v) // cannot fail: all times have passed sane, and there are no floating-point numbers
	return Record{ID: id, Data: data}
}

// Load takes in what was stored. A record that cannot be read is skipped and reported: Corrupt, or Invalid when a newer
// version wrote it. Records of servers that are known already replace them.
func (d *Directory) Load(list []Record) []error {
	var errs []error
	for _, r := range list {
		if err := d.load(r); err != nil {
			errs = append(errs, err)
		}
	}
	if d.only != (nodeaddr.ID{}) && d.servers[d.only] == nil {
		errs = append(errs, fault.Errorf(loadOp, fault.Corrupt,
			"the only mail server that may be asked, %s, could not be read: add it again or allow others", d.only.Short()))
	}
	return errs
}

const loadOp = "directory: load"

func (d *Directory) load(r Record) error {
	if r.ID == settingsID {
		var s settings
		if err := decode(r, &s, &s.Version); err != nil {
			return err
		}
		id, err := parseID(s.Only)
		if err != nil {
			return unreadable(r, err)
		}
		d.only = id
		return nil
	}
	var t stored
	if err := decode(r, &t, &t.Version); err != nil {
		return err
	}
	s, err := t.server()
	switch {
	case err != nil:
		return unreadable(r, err)
	case s.ID().String() != r.ID:
		return unreadable(r, nil)
	case d.servers[s.ID()] == nil && len(d.servers) == MaxServers:
		return fault.Errorf(loadOp, fault.Limit, "the list has room for %d mail servers: %s is left out", MaxServers, s.label())
	}
	d.servers[s.ID()] = s
	return nil
}

func decode(r Record, v any, ver *int) error {
	if err := json.Unmarshal(r.Data, v); err != nil {
		return unreadable(r, err)
	}
	if *ver > version {
		return fault.Errorf(loadOp, fault.Invalid,
			"the record of mail server %s was written by a newer version: it is left out until you update", short(r.ID))
	}
	if *ver < 1 {
		return unreadable(r, nil)
	}
	return nil
}

func unreadable(r Record, cause error) error {
	return fault.E(loadOp, fault.Corrupt, cause, "the record of mail server "+short(r.ID)+" is damaged and was left out: add the server again")
}

func short(id string) string { return clean(id[:min(len(id), 8)], 8) }

func parseID(text string) (id nodeaddr.ID, err error) {
	if text == "" {
		return id, nil
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(id) {
		return id, fault.Errorf(loadOp, fault.Corrupt, "a server's id has %d hex digits", 2*len(id))
	}
	return nodeaddr.ID(b), nil
}

// server is the stored server, with everything within bounds whatever the record says.
func (t *stored) server() (*server, error) {
	node, err := nodeaddr.Parse(t.Node)
	if err != nil {
		return nil, err
	}
	origin := slices.Index(originNames[:], t.Origin)
	e := Entry{
		Node: node, Name: t.Name, Origin: Origin(max(origin, 0)), Suggested: t.Suggested, Paused: t.Paused, Preferred: t.Preferred,
		Added: sane(t.Added), Token: t.Token, Password: t.Password, Note: t.Note,
	}
	if e, err = e.checked(loadOp); err != nil {
		return nil, err
	}
	m := measured{
		client: clean(t.Client, MaxName), said: t.Said, lastSuccess: sane(t.LastSuccess), lastFailure: sane(t.LastFailure),
		lastError: clean(t.LastError, maxText), joinError: clean(t.JoinError, maxText),
		cool: t.Cool, answers: lastOf(t.Answers), first: lastOf(t.First), last: lastOf(t.Last), compared: lastOf(t.Compared),
		day: t.Day, bytesToday: within(t.BytesToday, maxBytes), bytesTotal: within(t.BytesTotal, maxBytes),
		envelopes: within(t.Envelopes, maxBytes),
	}
	m.said.Name, m.said.Closing = clean(m.said.Name, MaxName), sane(m.said.Closing)
	m.said.Keep, m.said.Age = max(m.said.Keep, 0), max(m.said.Age, 0)
	m.cool.Until = sane(m.cool.Until)
	m.cool.Dials, m.cool.Failures = within(m.cool.Dials, maxTries), within(m.cool.Failures, maxTries)
	for i := range m.first {
		m.first[i] = max(m.first[i], 0)
	}
	for i := range m.last {
		m.last[i] = max(m.last[i], 0)
	}
	for i, c := range m.compared {
		of := within(c.Of, maxCount)
		m.compared[i] = comparison{Of: of, Lacked: within(c.Lacked, of), Withheld: within(c.Withheld, maxCount)}
	}
	return &server{Entry: e, measured: m}, nil
}

func lastOf[T any](list []T) []T { return slices.Clone(list[max(0, len(list)-window):]) }

func within[T int | int64](n, most T) T { return min(max(n, 0), most) }
