package nodeaddr

import (
	"crypto/ecdsa"
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"

	"github.com/restante-im/restante/internal/fault"
)

// ID identifies a node: the Keccak-256 of its public key without the leading 0x04.
type ID [32]byte

// String returns the id as 64 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 8 hex digits, enough to tell peers apart in a log.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// Key is an uncompressed secp256k1 public key: 0x04, X, Y.
type Key [65]byte

// ECDSA returns the key in the standard library's form, or nil for the zero Key.
func (k Key) ECDSA() *ecdsa.PublicKey {
	n, err := enode.ParseV4(hex.EncodeToString(k[1:]))
	if err != nil {
		return nil
	}
	return n.Pubkey()
}

// KeyOf converts a public key. The key must be on secp256k1. (ecdsa.PublicKey.Bytes knows NIST curves only.)
func KeyOf(pub *ecdsa.PublicKey) Key {
	var k Key
	k[0] = 4
	pub.X.FillBytes(k[1:33])
	pub.Y.FillBytes(k[33:])
	return k
}

// Node is a node's key and, where known, its address. The zero Node is no node.
type Node struct {
	key    Key
	id     ID
	addr   Address
	udp    uint16
	record string
}

// New returns the node with this key at addr. A zero addr makes a node that is known by its key alone. The discovery port
// is 0: nothing of ours listens on UDP.
func New(pub *ecdsa.PublicKey, addr Address) Node {
	return Node{key: KeyOf(pub), id: ID(enode.PubkeyToIDV4(pub)), addr: addr}
}

// ID returns the node's id.
func (n Node) ID() ID { return n.id }

// Key returns the node's public key.
func (n Node) Key() Key { return n.key }

// Address returns where the node is reached over TCP; the zero Address where that is unknown.
func (n Node) Address() Address { return n.addr }

// UDP returns the discovery port, 0 for none.
func (n Node) UDP() uint16 { return n.udp }

// Record returns the signed record in its text form ("enr:..."), or "" for a node that has none.
func (n Node) Record() string { return n.record }

// IsZero reports whether n is no node at all.
func (n Node) IsZero() bool { return n.key == Key{} }

// String returns the enode URL. A node without an address gives "enode://KEY".
func (n Node) String() string {
	if n.IsZero() {
		return ""
	}
	s := scheme + hex.EncodeToString(n.key[1:])
	if n.addr.IsZero() {
		return s
	}
	s += "@" + n.addr.String()
	if n.udp != n.addr.Port {
		s += "?discport=" + strconv.Itoa(int(n.udp))
	}
	return s
}

// MarshalText returns String's form.
func (n Node) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText is Parse; an empty text gives the zero Node.
func (n *Node) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*n = Node{}
		return nil
	}
	*n, err = Parse(string(text))
	return err
}

// SignRecord returns the node of this key with a record (EIP-778, identity scheme "v4") signed by it. A host name cannot
// stand in a record: then the record carries the key and the port only. seq must grow whenever the content changes.
func SignRecord(key *ecdsa.PrivateKey, addr Address, seq uint64) (Node, error) {
	const op = "nodeaddr: sign record"
	var r enr.Record
	if ip, ok := addr.IP(); ok {
		ip = ip.WithZone("")
		if ip.Is4() {
			r.Set(enr.IPv4Addr(ip))
		} else {
			r.Set(enr.IPv6Addr(ip))
		}
	}
	if addr.Port != 0 {
		r.Set(enr.TCP(addr.Port))
	}
	r.SetSeq(seq)
	if err := enode.SignV4(&r, key); err != nil {
		return Node{}, fault.E(op, fault.Internal, err, "the node record could not be signed")
	}
	en, err := enode.New(enode.ValidSchemes, &r)
	if err != nil {
		return Node{}, fault.E(op, fault.Internal, err, "the node record could not be signed")
	}
	n := New(&key.PublicKey, addr)
	n.record = en.String()
	return n, nil
}

// Address is a TCP address: an IP address or host name, and a port.
type Address struct {
	Host string // without brackets; lower case where it is a name
	Port uint16
}

// IsZero reports whether a is no address.
func (a Address) IsZero() bool { return a == Address{} }

// IP returns the host as an IP address, and false where it is a name.
func (a Address) IP() (netip.Addr, bool) {
	ip, err := netip.ParseAddr(a.Host)
	return ip.Unmap(), err == nil
}

// String returns host:port, an IPv6 host in brackets; "" for the zero Address.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}
