package directory

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/members"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const (
	scheme     = "restante://"
	serverLink = scheme + "server"

	linkOp  = "directory: read a link"
	fleetOp = "directory: import a fleet"
)

// AddLink takes in the server that a link names: an invitation (restante://join?server=…&token=…), Entry.Link's form
// (restante://server?node=…&name=…), an enode URL or a node record. Unless the link is trusted, because the user typed it
// or knows whom it is from, the server is only suggested; one that is known stays as it is. It returns the server's
// entry. Faults: Invalid, and Limit when the directory is full; no text repeats a token.
func (d *Directory) AddLink(now time.Time, link string, trusted bool) (Entry, error) {
	e, err := parseLink(link)
	if err != nil {
		return Entry{}, err
	}
	e.Suggested = !trusted
	if _, err := d.Add(now, e); err != nil {
		return Entry{}, err
	}
	return d.servers[e.ID()].Entry, nil
}

func parseLink(link string) (Entry, error) {
	link = strings.TrimSpace(link)
	if len(link) > MaxLink {
		return Entry{}, fault.Errorf(linkOp, fault.Invalid, "a link has at most %d bytes, this one has %d: copy only the link", MaxLink, len(link))
	}
	lower := strings.ToLower(link)
	switch {
	case strings.HasPrefix(lower, serverLink+"?"), strings.HasPrefix(lower, serverLink+"/?"):
		return parseServerLink(link)
	case strings.HasPrefix(lower, scheme):
		l, err := members.ParseLink(link)
		if err != nil {
			return Entry{}, err
		}
		return Entry{Node: l.Server, Name: clean(l.Name, MaxName), Token: l.Token, Origin: Link}, nil
	}
	node, err := nodeaddr.Parse(link)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Node: node, Origin: Hand}, nil
}

func parseServerLink(link string) (Entry, error) {
	_, query, _ := strings.Cut(link, "?")
	values, err := url.ParseQuery(query)
	if err != nil || len(values["node"]) > 1 || len(values["name"]) > 1 {
		return Entry{}, fault.E(linkOp, fault.Invalid, nil, "this link to a mail server is cut off or damaged: copy the whole link")
	}
	node, err := nodeaddr.Parse(values.Get("node"))
	if err != nil {
		return Entry{}, fault.Errorf(linkOp, fault.Invalid, "this link names no mail server: %s", fault.Text(err))
	}
	return Entry{Node: node, Name: clean(values.Get("name"), MaxName), Origin: Link}, nil
}

// AddFleet takes in all mail servers of a fleet file and returns how many are new. The text is either JSON,
// {"fleets":{"NAME":{"mail":{"SERVER":"enode://…"}}}}, of which the named fleet counts ("" will do where there is one), or one
// enode URL or node record on a line with an optional name behind it; # begins a comment. A file with an error is refused
// as a whole. Faults: Invalid with the place, NotFound for a fleet that is not in it, and Limit when the directory would
// overflow.
func (d *Directory) AddFleet(now time.Time, text []byte, fleet string) (added int, err error) {
	if len(text) > MaxFleet {
		return 0, fault.Errorf(fleetOp, fault.Limit, "a fleet file has at most %d bytes, this one has %d", MaxFleet, len(text))
	}
	parse := parseLines
	if strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		parse = func(text string) ([]Entry, error) { return parseFleets(text, fleet) }
	}
	list, err := parse(string(text))
	if err != nil {
		return 0, err
	}
	fresh := map[nodeaddr.ID]bool{}
	for _, e := range list {
		if d.servers[e.ID()] == nil {
			fresh[e.ID()] = true
		}
	}
	if err := d.room(fleetOp, len(fresh), false); err != nil {
		return 0, err
	}
	for _, e := range list {
		if _, err := d.Add(now, e); err != nil {
			return 0, err // cannot be: all were checked, and there is room
		}
	}
	return len(fresh), nil
}

func parseFleets(text, fleet string) ([]Entry, error) {
	var file struct {
		Fleets map[string]struct {
			Mail map[string]string `json:"mail"`
		} `json:"fleets"`
	}
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		return nil, fault.E(fleetOp, fault.Invalid, err, `this is no fleet file: expected {"fleets":{"NAME":{"mail":{"SERVER":"enode://…"}}}}`)
	}
	names := slices.Sorted(maps.Keys(file.Fleets))
	if fleet == "" && len(names) == 1 {
		fleet = names[0]
	}
	chosen, ok := file.Fleets[fleet]
	if !ok {
		return nil, fault.Errorf(fleetOp, fault.NotFound, "say which fleet to import; the file has: %s", clean(strings.Join(names, ", "), maxText))
	}
	var list []Entry
	for _, name := range slices.Sorted(maps.Keys(chosen.Mail)) {
		e, err := fleetEntry(chosen.Mail[name], name)
		if err != nil {
			return nil, fault.Errorf(fleetOp, fault.Invalid, "mail server %s: %s", clean(name, MaxName), fault.Text(err))
		}
		list = append(list, e)
	}
	if len(list) == 0 {
		return nil, fault.Errorf(fleetOp, fault.Invalid, "fleet %s has no mail servers", clean(fleet, MaxName))
	}
	return list, nil
}

func parseLines(text string) ([]Entry, error) {
	var list []Entry
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		address, name := line, ""
		if i := strings.IndexAny(line, " \t"); i >= 0 {
			address, name = line[:i], strings.TrimSpace(line[i:])
		}
		e, err := fleetEntry(address, name)
		if err != nil {
			return nil, fault.Errorf(fleetOp, fault.Invalid, "line %d: %s", n, fault.Text(err))
		}
		list = append(list, e)
	}
	if len(list) == 0 {
		return nil, fault.E(fleetOp, fault.Invalid, nil, "there is no mail server in it: expected one enode URL or node record on a line")
	}
	return list, nil
}

func fleetEntry(address, name string) (Entry, error) {
	node, err := nodeaddr.Parse(address)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Node: node, Name: clean(name, MaxName), Origin: Fleet}.checked(fleetOp)
}
