package directory

import (
	"time"

	"github.com/restante-im/restante/internal/nodeaddr"
)

// Role says what a server is used for now.
type Role uint8

// The roles.
const (
	Unused  Role = iota // not asked; the sentence on "use" says why
	Primary             // asked first
	Second              // asked too, to compare
	Reserve             // asked when others fail
)

// String names the role for programs.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return "unknown"
}

var roleNames = [...]string{Unused: "unused", Primary: "primary", Second: "second", Reserve: "reserve"}

// View is what is known of a server. Times are UTC, zero when unknown. Answers, latencies and comparisons are the last 32
// of each kind.
type View struct {
	Entry
	Used        Role
	Connected   bool
	Since       time.Time // of being connected or not
	Client      string    // the program that it names
	CallsItself string    // not to be believed

	LastSuccess, LastFailure time.Time
	LastError                string
	CoolUntil                time.Time // it is left alone until then; zero for not at all

	Answered, Asked             int           // well, of so many questions
	FirstP50, FirstP95, LastP50 time.Duration // from the question to the first and the last packet; 0 when unknown
	Completeness                float64       // share of what it should have handed over that it did; -1 unknown
	Compared, Lacked, Withheld  int           // envelopes: handed over by others, of those not had by it, named by it but not handed over
	Keep, Age                   time.Duration // as it says: kept for at least, deleted after; 0 when it does not say
	Closing                     time.Time
	MembersOnly, Member         bool
	BytesToday, BytesTotal      int64
	Envelopes                   int64 // handed over, in all
	Sentences                   []Sentence
}

// Sentence is what people read about one measured thing, with its evidence and, where there is one, the next step.
type Sentence struct {
	Topic string // use, connection, answers, latency, completeness, retention, closing, membership, bytes
	Text  string
}

// View returns what is known of a server; false where it is not known.
func (d *Directory) View(now time.Time, id nodeaddr.ID) (View, bool) {
	s := d.servers[id]
	if s == nil {
		return View{}, false
	}
	return d.view(now.UTC(), s, d.roles(now), d.noneLeft(now)), true
}

// Views returns what is known of all servers, in the order in which they were added.
func (d *Directory) Views(now time.Time) []View {
	roles, alone := d.roles(now), d.noneLeft(now)
	list := make([]View, 0, len(d.servers))
	for _, s := range d.sorted() {
		list = append(list, d.view(now.UTC(), s, roles, alone))
	}
	return list
}

func (d *Directory) roles(now time.Time) map[nodeaddr.ID]Role {
	roles := map[nodeaddr.ID]Role{}
	for i, s := range d.usable(now) {
		roles[s.ID()] = min(Primary+Role(min(i, int(Reserve))), Reserve)
	}
	return roles
}

func (d *Directory) view(now time.Time, s *server, roles map[nodeaddr.ID]Role, alone bool) View {
	answered, asked := s.answered()
	share, sum := s.completeness()
	v := View{
		Entry: s.Entry, Used: roles[s.ID()], Connected: s.connected, Since: s.since, Client: s.client, CallsItself: s.said.Name,
		LastSuccess: s.lastSuccess, LastFailure: s.lastFailure, LastError: s.lastError, CoolUntil: d.coolUntil(now, s, alone),
		Answered: answered, Asked: asked, FirstP50: quantile(s.first, 0.5), FirstP95: quantile(s.first, 0.95), LastP50: quantile(s.last, 0.5),
		Completeness: share, Compared: sum.Of, Lacked: sum.Lacked, Withheld: sum.Withheld,
		Keep: s.said.Keep, Age: s.said.Age, Closing: s.said.Closing, MembersOnly: s.said.MembersOnly, Member: s.said.Member,
		BytesTotal: s.bytesTotal, Envelopes: s.envelopes,
	}
	if s.day == now.Unix()/(24*3600) {
		v.BytesToday = s.bytesToday
	}
	v.Sentences = d.sentences(now, s, &v)
	return v
}
