package directory_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/members"
)

// token has the form of an invitation's.
const token = "abcdefghijklmnopqrstuvwxyy"

func TestLinks(t *testing.T) {
	a := enode(t, 1, "10.0.1.1")
	invitation := members.Link{Server: node(t, 1, "10.0.1.1"), Token: token, Name: "Ann's home"}.String()
	for _, c := range []struct {
		name, link string
		want       directory.Entry // "" of name and token
		wrong      string
	}{
		{"enode", a, directory.Entry{Origin: directory.Hand}, ""},
		{"blanks", " " + a + "\n", directory.Entry{Origin: directory.Hand}, ""},
		{"invitation", invitation, directory.Entry{Origin: directory.Link, Name: "Ann's home", Token: token}, ""},
		{"server", "restante://server?node=" + a + "&name=Ann%20B", directory.Entry{Origin: directory.Link, Name: "Ann B"}, ""},
		{"capitals", "Restante://Server/?node=" + a + "&more=1", directory.Entry{Origin: directory.Link}, ""},
		{"names are cut", "restante://server?node=" + a + "&name=" + strings.Repeat("é", 40), directory.Entry{Origin: directory.Link, Name: strings.Repeat("é", 32)}, ""},
		{"names are cleaned", "restante://server?node=" + a + "&name=a%0A%1Bb", directory.Entry{Origin: directory.Link, Name: "a  b"}, ""},
		{"long", "restante://server?node=" + a + "&x=" + strings.Repeat("x", directory.MaxLink), directory.Entry{}, "a link has at most 4096 bytes"},
		{"no node", "restante://server?name=Ann", directory.Entry{}, "this link names no mail server"},
		{"no address", "restante://server?node=" + strings.Split(a, "@")[0], directory.Entry{}, "this link names no mail server"},
		{"two nodes", "restante://server?node=" + a + "&node=" + a, directory.Entry{}, "cut off or damaged"},
		{"cut", "restante://server?node=%", directory.Entry{}, "cut off or damaged"},
		{"other", "restante://chat?x=1", directory.Entry{}, "no invitation link"},
		{"nothing", "", directory.Entry{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := directory.New()
			e, err := d.AddLink(start, c.link, true)
			if c.want.Origin == 0 && !strings.HasPrefix(strings.TrimSpace(c.link), "enode") {
				if err == nil || !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Text(err), c.wrong) || d.Len() != 0 {
					t.Fatalf("%v, %+v", err, e)
				}
				return
			}
			c.want.Node, c.want.Added = node(t, 1, "10.0.1.1"), start
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, e, cmp.Comparer(sameNode)); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(e.Link(), token) {
				t.Error("the link for others holds the invitation")
			}
		})
	}
}

// What a stranger links is not used, changes nothing that is known, and cannot crowd out anything.
func TestStrangersLinks(t *testing.T) {
	d := directory.New()
	if e, err := d.AddLink(start, enode(t, 1, "10.0.1.1"), false); err != nil || !e.Suggested {
		t.Fatal(e, err)
	}
	if list := d.Choose(start); len(list) != 0 {
		t.Fatalf("a suggestion is used: %v", list)
	}
	if e, err := d.AddLink(start, enode(t, 1, "10.0.1.2"), true); err != nil || e.Suggested || e.Node.Address().Host != "10.0.1.2" {
		t.Fatalf("the user's own link does not confirm: %+v, %v", e, err)
	}
	stranger := "restante://server?node=" + enode(t, 1, "10.6.6.6") + "&name=Eve"
	if e, err := d.AddLink(start, stranger, false); err != nil || e.Suggested || e.Node.Address().Host != "10.0.1.2" || e.Name != "" {
		t.Fatalf("a stranger changed a server: %+v, %v", e, err)
	}
	for i := range directory.MaxSuggested {
		if _, err := d.AddLink(start, enode(t, 100+i, "10.0.1.1"), false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.AddLink(start, enode(t, 99, "10.0.1.1"), false); !fault.Is(err, fault.Limit) {
		t.Fatalf("one suggestion too many: %v", err)
	}
	for i := range directory.MaxServers - d.Len() {
		if _, err := d.AddLink(start, enode(t, 1000+i, "10.0.1.1"), true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.AddLink(start, enode(t, 99, "10.0.1.1"), true); !fault.Is(err, fault.Limit) {
		t.Fatalf("one server too many: %v", err)
	}
}

func TestFleets(t *testing.T) {
	a, b := enode(t, 1, "10.0.1.1"), enode(t, 2, "10.0.2.1")
	fleets := fmt.Sprintf(`{"meta":{"hostname":"x"},"fleets":{
		"eth.prod":{"boot":{"boot-01":"enode://x"},"mail":{"mail-01":%q,"mail-02":%q},"whisper":{}},
		"eth.beta":{"mail":{"mail-03":%q}}, "empty":{}, "bad":{"mail":{"mail-04":"enode://12@10.0.0.1:1"}}}}`, a, b, a)
	for _, c := range []struct {
		name, text, fleet string
		want              []string
		wrong             string
	}{
		{"json", fleets, "eth.prod", []string{"mail-01", "mail-02"}, ""},
		{"another", fleets, "eth.beta", []string{"mail-03"}, ""},
		{"the only one", fmt.Sprintf(`{"fleets":{"x":{"mail":{"m":%q}}}}`, b), "", []string{"m"}, ""},
		{"not said which", fleets, "", nil, "say which fleet to import; the file has: bad, empty, eth.beta, eth.prod"},
		{"no such", fleets, "eth.test", nil, "the file has: bad, empty"},
		{"no mail servers", fleets, "empty", nil, "fleet empty has no mail servers"},
		{"one is wrong", fleets, "bad", nil, "mail server mail-04: "},
		{"not JSON", "{", "", nil, "this is no fleet file"},
		{"other JSON", `{"fleets":[]}`, "", nil, "this is no fleet file"},
		{"lines", "# ours\n\n" + a + "  Ann's # home\r\n" + b + "\tBob\n", "", []string{"Ann's", "Bob"}, ""},
		{"twice", a + " Ann\n" + a + " Anna", "", []string{"Anna"}, ""},
		{"a bad line", a + "\nnonsense here\n", "", nil, "line 2: "},
		{"no line", "\n# nothing\n", "", nil, "there is no mail server in it"},
		{"long", strings.Repeat("#", directory.MaxFleet+1), "", nil, "a fleet file has at most 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := directory.New()
			n, err := d.AddFleet(start, []byte(c.text), c.fleet)
			if c.wrong != "" {
				if err == nil || !strings.Contains(fault.Text(err), c.wrong) || n != 0 || d.Len() != 0 {
					t.Fatalf("%d, %v", n, err)
				}
				return
			}
			var names []string
			for _, v := range d.Views(start) {
				names = append(names, v.Name)
				if v.Origin != directory.Fleet || v.Suggested {
					t.Errorf("%+v", v.Entry)
				}
			}
			if diff := cmp.Diff(c.want, names, cmpopts.SortSlices(strings.Compare)); err != nil || n != len(c.want) || diff != "" {
				t.Errorf("%d, %v\n%s", n, err, diff)
			}
			if n, err := d.AddFleet(start, []byte(c.text), c.fleet); n != 0 || err != nil {
				t.Errorf("the second time: %d, %v", n, err)
			}
		})
	}
}

func TestFleetTooLarge(t *testing.T) {
	var text strings.Builder
	for i := range directory.MaxServers + 1 {
		fmt.Fprintln(&text, enode(t, 1+i, "10.0.1.1"))
	}
	d := directory.New()
	if n, err := d.AddFleet(start, []byte(text.String()), ""); !fault.Is(err, fault.Limit) || n != 0 || d.Len() != 0 {
		t.Fatalf("%d, %v", n, err)
	}
}

// FuzzLink: a link is refused, or names a server in a way that survives being passed on and being stored.
func FuzzLink(f *testing.F) {
	f.Add(enode(f, 1, "10.0.1.1"))
	f.Add("restante://server?node=" + enode(f, 2, "host.example") + "&name=Bob")
	f.Add(members.Link{Server: node(f, 1, "10.0.1.1"), Token: token, Name: "Ann"}.String())
	f.Fuzz(func(t *testing.T, link string) {
		d := directory.New()
		e, err := d.AddLink(start, link, true)
		if err != nil {
			if d.Len() != 0 {
				t.Fatal("an error, and yet it was added")
			}
			return
		}
		again, err := directory.New().AddLink(start, e.Link(), true)
		if err != nil || again.Node.String() != e.Node.String() || again.Name != e.Name {
			t.Fatalf("%+v became %+v, %v", e, again, err)
		}
		reloaded(t, d)
	})
}

// FuzzFleet: a fleet file is refused as a whole, or all of it is within bounds.
func FuzzFleet(f *testing.F) {
	a := enode(f, 1, "10.0.1.1")
	f.Add([]byte(a+" Ann\n"), "")
	quoted, _ := json.Marshal(a)
	f.Add([]byte(`{"fleets":{"x":{"mail":{"Ann":`+string(quoted)+`}}}}`), "x")
	f.Fuzz(func(t *testing.T, text []byte, fleet string) {
		d := directory.New()
		n, err := d.AddFleet(start, text, fleet)
		if n != d.Len() || (err != nil) != (n == 0) || n > directory.MaxServers {
			t.Fatalf("%d added, %d there, %v", n, d.Len(), err)
		}
		reloaded(t, d)
	})
}
