package directory

import (
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Bounds of a directory.
const (
	MaxServers   = 200
	MaxSuggested = 50      // of those, not confirmed yet
	MaxName      = 64      // bytes
	MaxNote      = 256     // bytes
	MaxSecret    = 256     // bytes of a token or a password
	MaxLink      = 4 << 10 // bytes
	MaxFleet     = 1 << 20 // bytes of a fleet file
)

// Origin says how a server came into the directory.
type Origin uint8

// The origins.
const (
	Hand   Origin = iota // added by the user
	Config               // named in the configuration
	Fleet                // imported from a fleet file
	Link                 // named by a link
	Own                  // the user's own
)

// String names the origin for programs.
func (o Origin) String() string {
	if int(o) < len(originNames) {
		return originNames[o]
	}
	return "unknown"
}

var originNames = [...]string{Hand: "hand", Config: "config", Fleet: "fleet", Link: "link", Own: "own"}

// Entry is a server as the user knows it.
type Entry struct {
	Node      nodeaddr.Node // with an address
	Name      string        // for people: printable, up to MaxName bytes; may be ""
	Origin    Origin
	Suggested bool // named by a stranger's link: not used before Confirm
	Paused    bool // not used for now
	Preferred bool // used before others that are not
	Added     time.Time
	Token     string // invitation to redeem at the first contact; "" once that is done
	Password  string // of an older server; "" for the common one
	Note      string // the user's own words, up to MaxNote bytes
}

// ID identifies the server.
func (e Entry) ID() nodeaddr.ID { return e.Node.ID() }

// Link returns a link by which others can add the server; AddLink reads it. It holds no secret.
func (e Entry) Link() string {
	text := serverLink + "?node=" + escape(e.Node.String())
	if e.Name != "" {
		text += "&name=" + escape(e.Name)
	}
	return text
}

// escape writes a blank as %20, which everybody reads back as one.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// label is what sentences call the server.
func (e *Entry) label() string {
	if e.Name != "" {
		return e.Name
	}
	return e.Node.Address().String()
}

// checked returns the entry as it is kept, or what is wrong with it.
func (e Entry) checked(op string) (Entry, error) {
	node, err := dialable(op, e.Node)
	if err != nil {
		return e, err
	}
	e.Node = node
	switch {
	case !shown(e.Name, MaxName):
		return e, fault.Errorf(op, fault.Invalid, "a server's name is printable text of at most %d bytes", MaxName)
	case !shown(e.Note, MaxNote):
		return e, fault.Errorf(op, fault.Invalid, "a note is printable text of at most %d bytes", MaxNote)
	case len(e.Token) > MaxSecret || len(e.Password) > MaxSecret:
		return e, fault.Errorf(op, fault.Invalid, "a token or password has at most %d bytes", MaxSecret)
	case int(e.Origin) >= len(originNames):
		return e, fault.Errorf(op, fault.Invalid, "there is no origin %d", e.Origin)
	}
	return e, nil
}

// dialable is the node with what a connection needs and no more, so that it is the same after it was stored.
func dialable(op string, n nodeaddr.Node) (nodeaddr.Node, error) {
	if n.IsZero() || n.Address().IsZero() {
		return n, fault.E(op, fault.Invalid, nil, "a mail server needs an address: enode://KEY@HOST:PORT")
	}
	node, err := nodeaddr.Parse(n.String())
	if err != nil {
		return n, fault.E(op, fault.Invalid, err, fault.Text(err))
	}
	return node, nil
}

// shown reports whether people can be shown the text.
func shown(text string, max int) bool {
	return len(text) <= max && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}
