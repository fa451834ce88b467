package members_test

import (
	"strings"
	"testing"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/members"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const (
	testKey   = "6f8a80d14311c39f35f516fa664deaaaa13e85b2f7493f37f6144d86991ec012937307647bd3b9a82abe2974e1407241d54947bbb39763a4cac9f77166ad92a0"
	testEnode = "enode://" + testKey + "@mail.example:30303"
	testLink  = "restante://join?server=enode%3A%2F%2F" + testKey + "%40mail.example%3A30303"
)

func server(t testing.TB) nodeaddr.Node {
	t.Helper()
	n, err := nodeaddr.Parse(testEnode)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLinkText(t *testing.T) {
	for want, l := range map[string]members.Link{
		testLink: {Server: server(t)},
		testLink + "&token=" + zeroToken + "&name=Anna%27s%20caf%C3%A9%20%26%20bar": {Server: server(t), Token: zeroToken, Name: "Anna's café & bar"},
		testLink + "&name=1%2B1": {Server: server(t), Name: "1+1"},
	} {
		if got := l.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if got, err := members.ParseLink(want); err != nil || got != l {
			t.Errorf("%s: %+v, %v", want, got, err)
		}
	}
}

// TestLinkForms: what mail programs, phones and later versions make of a link.
func TestLinkForms(t *testing.T) {
	want := members.Link{Server: server(t), Token: zeroToken, Name: "a b"}
	for _, text := range []string{
		testLink + "&token=" + zeroToken + "&name=a+b",
		" " + testLink + "&token=" + zeroToken + "&name=a%20b\r\n",
		"RESTANTE://Join?token=" + strings.ToUpper(zeroToken) + "&name=a%20b&server=" + testEnode,
		"restante://join/?name=a%20b&colour=blue&colour=red&token=" + zeroToken + "&server=" + testEnode,
	} {
		if got, err := members.ParseLink(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestWrongLinks(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "does not begin with restante://join",
		"https://restante.example/join":       "does not begin with restante://join",
		"restante://joint?server=" + testLink: "does not begin with restante://join",
		"restante://join":                     "cut off",
		testLink[:60] + "%":                   "cut off or damaged",
		testLink + "&a;b":                     "cut off or damaged",
		"restante://join?token=" + zeroToken:  "its server is wrong: the node address is empty",
		testLink[:120]:                        "its server is wrong: the node",
		"restante://join?server=enode%3A%2F%2F" + testKey: "its server is wrong: the node address ends after the key",
		testLink + "&server=" + testEnode:                 "names the server twice",
		testLink + "&token=" + zeroToken + "&token=":      "names the token twice",
		testLink + "&token=" + zeroToken[1:]:              "25 characters instead of 26; copy the whole link",
		testLink + "&token=" + zeroToken[1:] + "b":        "wrong character", // bits that stand for nothing
		testLink + "&name=%1b[2J":                         "U+001B",
		testLink + "&name=" + strings.Repeat("x", 65):     "more than 64",
		testLink + "&x=" + strings.Repeat("x", 2048):      "more than 2048",
	} {
		_, err := members.ParseLink(text)
		wantFault(t, text, err, fault.Invalid, want)
		if len(fault.Text(err)) > 400 || strings.Contains(err.Error(), zeroToken[1:]) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzParseLink: a link that is read is written as one that is read alike, and is not too long to be.
func FuzzParseLink(f *testing.F) {
	f.Add(testLink)
	f.Add(testLink + "&token=" + zeroToken + "&name=Anna")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := members.ParseLink(text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) || len(fault.Text(err)) > 1000 {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := members.ParseLink(l.String())
		if err != nil || again.String() != l.String() || again.Server.ID() != l.Server.ID() {
			t.Errorf("%q\nis read as   %s\nwhich becomes %s, %v", text, l, again, err)
		}
	})
}
