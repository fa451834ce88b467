package members

import (
	"net/url"
	"strings"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Link is what an operator hands to people: where the mail server is, and what lets them in. In text it is
// restante://join?server=ENODE&token=TOKEN&name=NAME. Whoever sees a link with a token can use it.
type Link struct {
	Server nodeaddr.Node // with an address
	Token  string        // "": the link only suggests the server
	Name   string        // what the server calls itself, up to MaxName characters; may be ""
}

const linkStart = "restante://join"

// ParseLink reads a link. Parameters that it does not know are passed over. Errors are of kind Invalid and never repeat
// the token.
func ParseLink(text string) (Link, error) {
	text = strings.TrimSpace(text)
	if len(text) > MaxLink {
		return Link{}, noLink("it has %d characters, more than %d", len(text), MaxLink)
	}
	start, query, found := strings.Cut(text, "?")
	if start = strings.ToLower(strings.TrimSuffix(start, "/")); start != linkStart {
		return Link{}, noLink("it does not begin with %s", linkStart)
	}
	values, err := url.ParseQuery(query)
	if err != nil || !found {
		return Link{}, noLink("it is cut off or damaged")
	}
	for _, name := range []string{"server", "token", "name"} {
		if len(values[name]) > 1 {
			return Link{}, noLink("it names the %s twice", name)
		}
	}
	l := Link{Name: values.Get("name")}
	if l.Server, err = nodeaddr.Parse(values.Get("server")); err != nil {
		return Link{}, noLink("its server is wrong: %s", fault.Text(err))
	}
	if err := checkShown(l.Name); err != nil {
		return Link{}, noLink("the server's name %s", err)
	}
	if token := values.Get("token"); token != "" {
		if _, err := parseToken(token); err != nil {
			return Link{}, err
		}
		l.Token = strings.ToLower(token)
	}
	return l, nil
}

// String returns the text that ParseLink reads.
func (l Link) String() string {
	text := linkStart + "?server=" + escape(l.Server.String())
	if l.Token != "" {
		text += "&token=" + escape(l.Token)
	}
	if l.Name != "" {
		text += "&name=" + escape(l.Name)
	}
	return text
}

// escape writes a blank as %20, which everybody reads back as one.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func noLink(format string, args ...any) error {
	return fault.Errorf("members: read a link", fault.Invalid, "this is no invitation link: "+format, args...)
}
