package nodeaddr

import "net/netip"

// Bits of an address that stand for one source. A provider gives a household one IPv4 address or an IPv6 /56.
const (
	prefixBits4 = 24
	prefixBits6 = 56
)

// Prefix names the source an address belongs to, for limits: its /24 (IPv4) or /56 (IPv6), such as "192.0.2.0/24". An IPv4
// address carried in IPv6 (mapped, 6to4, NAT64) counts as that IPv4 address. Loopback gives "", which means exempt;
// PrefixStrict limits it too. An invalid address gives "unknown".
func Prefix(addr netip.Addr) string {
	if addr.Unmap().IsLoopback() {
		return ""
	}
	return PrefixStrict(addr)
}

// PrefixStrict is Prefix without the exemption for loopback. It is for nodes whose visitors all come through a proxy on the
// same machine.
func PrefixStrict(addr netip.Addr) string {
	addr = embedded4(addr.Unmap().WithZone(""))
	bits := prefixBits6
	if addr.Is4() {
		bits = prefixBits4
	}
	p, err := addr.Prefix(bits)
	if err != nil || !p.IsValid() {
		return "unknown"
	}
	return p.String()
}

// embedded4 undoes 6to4 (2002::/16, RFC 3056) and NAT64 (64:ff9b::/96, RFC 6052): their holders get far more than one /56
// for a single IPv4 address.
func embedded4(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	b := addr.As16()
	switch {
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6]))
	case [12]byte(b[:12]) == [12]byte{0x00, 0x64, 0xff, 0x9b}:
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}
