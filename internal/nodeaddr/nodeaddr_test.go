package nodeaddr_test

import (
	"crypto/ecdsa"
	"encoding/json"
	"math/big"
	"net/netip"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// key is the public key of the private key 1: the generator point.
const key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798" +
	"483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"

// record is the example of EIP-778: 127.0.0.1, UDP 30303, no TCP port.
const record = "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0" +
	"gmlwhH8AAAGJc2VjcDI1NmsxoQPKY0yuDUmstAHYpMa2_oxVtw0RW_QAdpzBQA8yWM0xOIN1ZHCCdl8"

func private() *ecdsa.PrivateKey {
	k, err := crypto.ToECDSA(append(make([]byte, 31), 1))
	if err != nil {
		panic(err)
	}
	return k
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, in, out, host string
		port, udp           uint16
	}{
		{"ipv4", "enode://" + key + "@192.0.2.7:30303", "", "192.0.2.7", 30303, 30303},
		{"ipv6", "enode://" + key + "@[2001:db8::7]:30304", "", "2001:db8::7", 30304, 30304},
		{"ipv6 with zone", "enode://" + key + "@[fe80::1%eth0]:30303", "", "fe80::1%eth0", 30303, 30303},
		{"mapped ipv4", "enode://" + key + "@[::ffff:192.0.2.7]:1", "enode://" + key + "@192.0.2.7:1", "192.0.2.7", 1, 1},
		{"name", "enode://" + key + "@node.example.org:30303", "", "node.example.org", 30303, 30303},
		{"upper case name, final dot", "ENODE://" + strings.ToUpper(key) + "@Node.Example.ORG.:30303", "enode://" + key + "@node.example.org:30303", "node.example.org", 30303, 30303},
		{"onion", "enode://" + key + "@" + strings.Repeat("a2", 28) + ".onion:30303", "", strings.Repeat("a2", 28) + ".onion", 30303, 30303},
		{"discovery port", "enode://" + key + "@192.0.2.7:30303?discport=30301", "", "192.0.2.7", 30303, 30301},
		{"no discovery", "enode://" + key + "@192.0.2.7:30303?discport=0", "", "192.0.2.7", 30303, 0},
		{"foreign parameter", "enode://" + key + "@192.0.2.7:30303?a=b&discport=0", "enode://" + key + "@192.0.2.7:30303?discport=0", "192.0.2.7", 30303, 0},
		{"blanks and slash", "  enode://" + key + "@192.0.2.7:30303/ \n", "enode://" + key + "@192.0.2.7:30303", "192.0.2.7", 30303, 30303},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := nodeaddr.Parse(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.out
			if want == "" {
				want = tt.in
			}
			if n.String() != want {
				t.Errorf("printed %s, want %s", n, want)
			}
			if got := (nodeaddr.Address{Host: tt.host, Port: tt.port}); n.Address() != got || n.UDP() != tt.udp {
				t.Errorf("address %+v, udp %d; want %+v, %d", n.Address(), n.UDP(), got, tt.udp)
			}
			if got, want := n.ID().String(), "c0a6c424ac7157ae408398df7e5f4552091a69125d5dfcb7b8c2659029395bdf"; got != want {
				t.Errorf("id %s, want %s", got, want)
			}
		})
	}
}

// TestClassicMistakes: real tools crash on some of these (a peer address of three letters ended the old wnode).
func TestClassicMistakes(t *testing.T) {
	tests := []struct{ name, in, say string }{
		{"empty", " ", "is empty"},
		{"three letters", "abc", `"abc" is not a node address`},
		{"scheme only", "enode://", "no key"},
		{"other scheme", "http://example.org:30303", "is not a node address"},
		{"short key", "enode://abc", "3 hex digits instead of 128"},
		{"short key with address", "enode://abc@192.0.2.7:30303", "3 hex digits instead of 128"},
		{"one digit lost", "enode://" + key[1:] + "@192.0.2.7:30303", "127 hex digits"},
		{"missing scheme", key + "@192.0.2.7:30303", "no enode://"},
		{"missing at", "enode://" + key + "192.0.2.7:30303", "no @"},
		{"key alone", "enode://" + key, "add @host:port"},
		{"compressed", "enode://03" + key[:64] + "@192.0.2.7:30303", "compressed"},
		{"with 04", "enode://04" + key + "@192.0.2.7:30303", "leave these two digits out"},
		{"node id", "enode://" + key[:64] + "@192.0.2.7:30303", "node id"},
		{"0x", "enode://0x" + key + "@192.0.2.7:30303", "position 2"},
		{"not hex", "enode://g" + key[1:] + "@192.0.2.7:30303", "position 1"},
		{"not on the curve", "enode://" + key[:127] + "9@192.0.2.7:30303", "secp256k1"},
		{"abbreviated", "enode://79be66…d4b8@192.0.2.7:30303", "abbreviated"},
		{"no host or port", "enode://" + key + "@", "address is empty"},
		{"no host", "enode://" + key + "@:30303", "no host"},
		{"no port", "enode://" + key + "@192.0.2.7", "no port"},
		{"empty port", "enode://" + key + "@192.0.2.7:", "no port"},
		{"port 0", "enode://" + key + "@192.0.2.7:0", "not a port"},
		{"port too large", "enode://" + key + "@192.0.2.7:65536", "not a port"},
		{"port in words", "enode://" + key + "@192.0.2.7:http", "not a port"},
		{"discport", "enode://" + key + "@192.0.2.7:1?discport=x", "discport"},
		{"ipv6 without brackets", "enode://" + key + "@2001:db8::1:30303", "in brackets"},
		{"unclosed bracket", "enode://" + key + "@[2001:db8::1:30303", "does not close"},
		{"empty bracket", "enode://" + key + "@[]:30303", "no IPv6 address"},
		{"junk after bracket", "enode://" + key + "@[::1]30303", "colon"},
		{"unspecified 6", "enode://" + key + "@[::]:30303", "every address"},
		{"unspecified 4", "enode://" + key + "@0.0.0.0:30303", "every address"},
		{"multicast", "enode://" + key + "@224.0.0.1:30303", "many machines"},
		{"strange zone", "enode://" + key + "@[fe80::1%a@b]:30303", "no network interface"},
		{"half an ipv4", "enode://" + key + "@192.0.2:30303", "not an IPv4 address"},
		{"bad name", "enode://" + key + "@no de:30303", "neither an IP address nor a host name"},
		{"path", "enode://" + key + "@host:30303/x", "not a port"},
		{"too long", "enode://" + strings.Repeat("a", 2000), "characters"},
		{"record cut", record[:len(record)-2], "damaged"},
		{"record changed", strings.Replace(record, "gmlw", "gmlx", 1), "damaged"},
		{"record without tcp", record, "no IP address with a TCP port"},
		{"record of nothing", "enr:", "damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := nodeaddr.Parse(tt.in)
			if err == nil {
				t.Fatal("accepted")
			}
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Text(err), tt.say) {
				t.Errorf("kind %v, text %q; want %q in it", fault.KindOf(err), fault.Text(err), tt.say)
			}
			if len(fault.Text(err)) > 250 {
				t.Errorf("text of %d characters", len(fault.Text(err)))
			}
		})
	}
}

func TestParseIdentity(t *testing.T) {
	for _, in := range []string{key, "enode://" + key, "enode://" + key + "@192.0.2.7:30303"} {
		n, err := nodeaddr.ParseIdentity(in)
		if err != nil || n.IsZero() {
			t.Errorf("%s: %v", in, err)
		}
	}
	n, err := nodeaddr.ParseIdentity(record)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := n.ID().String(), "a448f24c6d18e575453db13171562b71999873db5b286df957af199ec94617f7"; got != want {
		t.Errorf("id %s, want %s (EIP-778)", got, want)
	}
	if n.Record() != record || !n.Address().IsZero() {
		t.Errorf("record %s, address %s", n.Record(), n.Address())
	}
}

func TestSignRecord(t *testing.T) {
	for _, in := range []string{"192.0.2.7:30303", "[2001:db8::7]:30303", "node.example.org:30303"} {
		addr, err := nodeaddr.ParseAddress(in, 0)
		if err != nil {
			t.Fatal(err)
		}
		n, err := nodeaddr.SignRecord(private(), addr, 7)
		if err != nil {
			t.Fatal(err)
		}
		back, err := nodeaddr.ParseIdentity(n.Record())
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		want := addr
		if _, ok := addr.IP(); !ok {
			want = nodeaddr.Address{} // a name has no place in a record
		}
		if back.ID() != n.ID() || back.Address() != want {
			t.Errorf("%s: came back as %s at %s", in, back.ID(), back.Address())
		}
		if n.String() != "enode://"+key+"@"+in+"?discport=0" {
			t.Errorf("enode %s", n)
		}
	}
}

func TestKey(t *testing.T) {
	pub := private().PublicKey
	k := nodeaddr.KeyOf(&pub)
	if got := k.ECDSA(); got == nil || got.X.Cmp(pub.X) != 0 || got.Y.Cmp(pub.Y) != 0 {
		t.Errorf("came back as %v", got)
	}
	if (nodeaddr.Key{}).ECDSA() != nil {
		t.Error("the zero key gave a point")
	}
	small := &ecdsa.PublicKey{X: big.NewInt(1), Y: big.NewInt(2)}
	if k := nodeaddr.KeyOf(small); k[32] != 1 || k[64] != 2 {
		t.Errorf("short coordinates are not padded: %x", k)
	}
}

func TestParseAddress(t *testing.T) {
	tests := []struct {
		in   string
		def  uint16
		want nodeaddr.Address
	}{
		{"192.0.2.7", 30303, nodeaddr.Address{Host: "192.0.2.7", Port: 30303}},
		{"[2001:db8::7]", 30303, nodeaddr.Address{Host: "2001:db8::7", Port: 30303}},
		{"example.org:99", 30303, nodeaddr.Address{Host: "example.org", Port: 99}},
		{"my_host", 1, nodeaddr.Address{Host: "my_host", Port: 1}},
	}
	for _, tt := range tests {
		got, err := nodeaddr.ParseAddress(tt.in, tt.def)
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "example.org", "example.org:", "2001:db8::7", "-x:1"} {
		if _, err := nodeaddr.ParseAddress(in, 0); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestText(t *testing.T) {
	type config struct{ Peer, None nodeaddr.Node }
	n, err := nodeaddr.Parse("enode://" + key + "@192.0.2.7:30303")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(config{Peer: n})
	if err != nil {
		t.Fatal(err)
	}
	var back config
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(n.String(), back.Peer.String()); diff != "" || !back.None.IsZero() {
		t.Error(diff, back.None)
	}
}

func TestPrefix(t *testing.T) {
	tests := []struct{ addr, want, strict string }{
		{"203.0.113.99", "203.0.113.0/24", "203.0.113.0/24"},
		{"::ffff:203.0.113.99", "203.0.113.0/24", "203.0.113.0/24"},
		{"2001:db8:1:22ff::1", "2001:db8:1:2200::/56", "2001:db8:1:2200::/56"},
		{"fe80::1%eth0", "fe80::/56", "fe80::/56"},
		{"2002:cb00:7163:ff::1", "203.0.113.0/24", "203.0.113.0/24"},
		{"64:ff9b::203.0.113.99", "203.0.113.0/24", "203.0.113.0/24"},
		{"127.0.0.1", "", "127.0.0.0/24"},
		{"::ffff:127.0.0.1", "", "127.0.0.0/24"},
		{"::1", "", "::/56"},
	}
	for _, tt := range tests {
		addr := netip.MustParseAddr(tt.addr)
		if got := nodeaddr.Prefix(addr); got != tt.want {
			t.Errorf("Prefix(%s) = %q, want %q", tt.addr, got, tt.want)
		}
		if got := nodeaddr.PrefixStrict(addr); got != tt.strict {
			t.Errorf("PrefixStrict(%s) = %q, want %q", tt.addr, got, tt.strict)
		}
	}
	if got := nodeaddr.Prefix(netip.Addr{}); got != "unknown" {
		t.Errorf("Prefix of nothing = %q", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"abc", record, key, "enode://" + key, "enode://" + key + "@192.0.2.7:30303?discport=0",
		"enode://" + key + "@[2001:db8::7]:1", "enode://" + key + "@a.b:65535/", "enode://" + key + "@[fe80::1%25x]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := nodeaddr.ParseIdentity(s)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("kind %v: %v", fault.KindOf(err), err)
			}
			return
		}
		back, err := nodeaddr.ParseIdentity(n.String())
		if err != nil {
			t.Fatalf("%q printed as %q: %v", s, n, err)
		}
		if back.String() != n.String() || back.ID() != n.ID() || back.Address() != n.Address() {
			t.Fatalf("%q came back as %q", n, back)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"", "a", "a:1", "[::1]", "[::1]:2", "1.2.3.4:5", "::1", "[fe80::1%a]:1"} {
		f.Add(s, uint16(0))
	}
	f.Fuzz(func(t *testing.T, s string, def uint16) {
		a, err := nodeaddr.ParseAddress(s, def)
		if err != nil {
			return
		}
		back, err := nodeaddr.ParseAddress(a.String(), 0)
		if err != nil || back != a {
			t.Fatalf("%q printed as %q came back as %+v: %v", s, a, back, err)
		}
	})
}
