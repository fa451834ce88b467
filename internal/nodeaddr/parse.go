package nodeaddr

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"

	"github.com/restante-im/restante/internal/fault"
)

const (
	scheme       = "enode://"
	recordScheme = "enr:"

	keyDigits = 128  // hex digits of a public key in an enode URL
	maxText   = 1024 // longest text that is looked at; a record has at most 300 bytes, a name 253
	maxName   = 253  // longest host name (RFC 1035)
	maxShown  = 32   // how much of a wrong text an error repeats

	form = "enode://" + "KEY@host:port with a key of 128 hex digits, or enr:..."
)

func invalid(format string, a ...any) error {
	return fault.Errorf("nodeaddr: parse", fault.Invalid, format, a...)
}

// Parse reads an enode URL or a node record that can be dialled: it must hold an address and a TCP port.
func Parse(s string) (Node, error) {
	n, err := ParseIdentity(s)
	if err != nil {
		return Node{}, err
	}
	if n.addr.IsZero() {
		if n.record != "" {
			return Node{}, invalid("the node record holds no IP address with a TCP port, so the node cannot be dialled")
		}
		return Node{}, invalid("the node address ends after the key: add @host:port")
	}
	return n, nil
}

// ParseIdentity reads what Parse reads, and also a node without address: "enode://KEY", the bare key, or a record that
// holds no address.
func ParseIdentity(s string) (Node, error) {
	s = strings.TrimSpace(s)
	switch lower := strings.ToLower(s[:min(len(s), len(scheme))]); {
	case s == "":
		return Node{}, invalid("the node address is empty: expected %s", form)
	case len(s) > maxText:
		return Node{}, invalid("the node address has %d characters, more than the %d that any can have", len(s), maxText)
	case lower == scheme:
		return parseEnode(s[len(scheme):])
	case strings.HasPrefix(lower, recordScheme):
		return parseRecord(s)
	case len(s) == keyDigits && isHex(s):
		return parseEnode(s)
	case strings.Contains(s, "@") && !strings.Contains(s, "://"):
		return Node{}, invalid("%s has no enode:// in front", shown(s))
	default:
		return Node{}, invalid("%s is not a node address: expected %s", shown(s), form)
	}
}

func parseEnode(rest string) (Node, error) {
	rest, query, _ := strings.Cut(rest, "?")
	rest = strings.TrimSuffix(rest, "/")
	key, place, located := strings.Cut(rest, "@")
	if !located && looksUnsplit(key) {
		return Node{}, invalid("the node address has no @ between the key and host:port")
	}
	n, err := parseKey(key)
	if err != nil || !located {
		return n, err
	}
	if n.addr, err = ParseAddress(place, 0); err != nil {
		return Node{}, err
	}
	n.udp = n.addr.Port
	return n, n.readQuery(query)
}

// looksUnsplit tells a key with an address glued to it from a key that is merely mistyped.
func looksUnsplit(key string) bool { return strings.ContainsAny(key, ".:[") }

// readQuery takes the discovery port and passes over parameters that others may have added.
func (n *Node) readQuery(query string) error {
	for _, part := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if name != "discport" {
			continue
		}
		port, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return invalid("discport=%s is not a port: expected 0 to 65535", shown(value))
		}
		n.udp = uint16(port)
	}
	return nil
}

func parseKey(key string) (Node, error) {
	if i := strings.IndexFunc(key, func(r rune) bool { return r > 0x7f || !isHex(string(r)) }); i >= 0 {
		if strings.Contains(key, "...") || strings.Contains(key, "…") {
			return Node{}, invalid("the node key is abbreviated: all %d hex digits are needed", keyDigits)
		}
		return Node{}, invalid("the node key holds something other than a hex digit at position %d", i+1)
	}
	switch {
	case key == "":
		return Node{}, invalid("the node address has no key: expected %s", form)
	case len(key) == 66 && (key[:2] == "02" || key[:2] == "03"):
		return Node{}, invalid("the node key is compressed (66 hex digits): an enode URL takes the uncompressed key, %d hex digits without the leading 04", keyDigits)
	case len(key) == keyDigits+2 && key[:2] == "04":
		return Node{}, invalid("the node key starts with 04: leave these two digits out, so that %d remain", keyDigits)
	case len(key) == 64:
		return Node{}, invalid("the node key has 64 hex digits: this is a node id (a hash) or a private key; an enode URL takes the public key, %d hex digits", keyDigits)
	case len(key) != keyDigits:
		return Node{}, invalid("the node key has %d hex digits instead of %d", len(key), keyDigits)
	}
	en, err := enode.ParseV4(key)
	if err != nil {
		return Node{}, invalid("the node key is not a point on the curve secp256k1: a digit is wrong")
	}
	var n Node
	n.id = ID(en.ID())
	n.key[0] = 4
	_, err = hex.Decode(n.key[1:], []byte(key))
	return n, err
}

func parseRecord(s string) (Node, error) {
	en, err := enode.Parse(enode.ValidSchemes, recordScheme+s[len(recordScheme):])
	if err != nil {
		return Node{}, fault.E("nodeaddr: parse", fault.Invalid, err,
			"the node record is damaged: it does not decode, or its signature does not fit")
	}
	pub := en.Pubkey()
	if pub == nil {
		return Node{}, invalid("the node record holds no secp256k1 key")
	}
	n := New(pub, Address{})
	n.record = en.String()
	if ip, port, ok := recordEndpoint(en); ok {
		n.addr = Address{Host: ip.String(), Port: port}
		n.udp = uint16(en.UDP())
	}
	return n, nil
}

// recordEndpoint takes geth's choice between IPv4 and IPv6, and the other one where that lacks a TCP port.
func recordEndpoint(en *enode.Node) (netip.Addr, uint16, bool) {
	if ap, ok := en.TCPEndpoint(); ok {
		return ap.Addr().Unmap(), ap.Port(), usable(ap.Addr()) == nil
	}
	var (
		ip4  enr.IPv4Addr
		port enr.TCP
	)
	if en.Load(&ip4) == nil && en.Load(&port) == nil && port != 0 && usable(netip.Addr(ip4)) == nil {
		return netip.Addr(ip4), uint16(port), true
	}
	return netip.Addr{}, 0, false
}

// ParseAddress reads host:port, where host is an IPv4 address, an IPv6 address in brackets, or a name. Where the port is
// missing defaultPort is taken; with a defaultPort of 0 it must be there.
func ParseAddress(s string, defaultPort uint16) (Address, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Address{}, invalid("the address is empty: expected host:port")
	}
	host, port, hasPort, err := splitPort(s)
	if err != nil {
		return Address{}, err
	}
	a := Address{Port: defaultPort}
	if hasPort || defaultPort == 0 {
		if a.Port, err = parsePort(port, hasPort); err != nil {
			return Address{}, err
		}
	}
	a.Host, err = parseHost(host)
	if err != nil {
		return Address{}, err
	}
	return a, nil
}

func splitPort(s string) (host, port string, hasPort bool, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", false, invalid("the address %s opens a bracket and does not close it", shown(s))
		}
		host, rest := s[1:end], s[end+1:]
		if _, err := netip.ParseAddr(host); err != nil || !strings.Contains(host, ":") {
			return "", "", false, invalid("the address %s holds no IPv6 address in its brackets", shown(s))
		}
		if rest == "" {
			return host, "", false, nil
		}
		if rest[0] != ':' {
			return "", "", false, invalid("the address %s needs a colon between ] and the port", shown(s))
		}
		return host, rest[1:], true, nil
	}
	if strings.Count(s, ":") > 1 {
		return "", "", false, invalid("%s looks like IPv6: put the address in brackets, as in [2001:db8::1]:30303", shown(s))
	}
	host, port, hasPort = strings.Cut(s, ":")
	return host, port, hasPort, nil
}

func parsePort(s string, present bool) (uint16, error) {
	if s == "" || !present {
		return 0, invalid("the address has no port: write host:port, for example host:30303")
	}
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, invalid("%s is not a port: expected 1 to 65535", shown(s))
	}
	return uint16(port), nil
}

func parseHost(host string) (string, error) {
	if host == "" {
		return "", invalid("the address has no host in front of the port")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		if zone := ip.Zone(); zone != "" && !isLabel(strings.ToLower(strings.ReplaceAll(zone, ".", ""))) {
			return "", invalid("%s names no network interface after the %%", shown(host))
		}
		return ip.String(), usable(ip)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if len(name) > maxName {
		return "", invalid("the host name has %d characters, more than %d", len(name), maxName)
	}
	numeric := true
	for _, label := range strings.Split(name, ".") {
		if !isLabel(label) {
			return "", invalid("%s is neither an IP address nor a host name", shown(host))
		}
		numeric = numeric && strings.Trim(label, "0123456789") == ""
	}
	if numeric {
		return "", invalid("%s is not an IPv4 address: expected four numbers from 0 to 255", shown(host))
	}
	return name, nil
}

// usable refuses addresses that name no single machine; [::] and 0.0.0.0 are often copied from a log.
func usable(ip netip.Addr) error {
	switch {
	case ip.IsUnspecified():
		return invalid("%s stands for every address of a machine: write the one by which the node is reached", ip)
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return invalid("%s is an address of many machines: write the one by which the node is reached", ip)
	}
	return nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}

// shown quotes the beginning of a wrong text.
func shown(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}
	return strconv.Quote(s)
}
