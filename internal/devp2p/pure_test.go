// Tests of the parts that decide without sockets. They are internal: the parts are not exported.
package devp2p

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBackoff(t *testing.T) {
	now := time.Unix(1000, 0)
	late := now.Add(quickFor)
	for _, tt := range []struct {
		name string
		why  trouble
		now  time.Time
		want []time.Duration
	}{
		{"not kept", unkept, now, []time.Duration{200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000}},
		{"an interruption", noAnswer, now, []time.Duration{200, 400, 500, 500, 500}},
		{"a longer one", noAnswer, late, []time.Duration{200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000}},
		{"no network", noNetwork, late, []time.Duration{200, 400, 500, 500, 500}},
	} {
		b := backoff{}
		if tt.now == late {
			b = backoff{attempts: 1, since: now}
		}
		for i, w := range tt.want {
			if got := b.next(tt.now, tt.why, 0); got != w*time.Millisecond {
				t.Errorf("%s: wait %d is %s, want %s", tt.name, i, got, w*time.Millisecond)
			}
		}
	}
	b := backoff{attempts: 1 << 40, since: now, step: 9}
	if got := b.next(late, noAnswer, 0.5); got != 45*time.Second {
		t.Errorf("with jitter %s", got)
	}
	b.lived(30 * time.Second)
	if got := b.next(late, noAnswer, 0); got != 60*time.Second {
		t.Errorf("after a short life %s", got)
	}
	b.lived(31 * time.Second)
	if got := b.next(late, unkept, 0.999); got < 100*time.Millisecond || got > 101*time.Millisecond {
		t.Errorf("after a long life %s", got)
	}
}

func newGate() *gate {
	return &gate{rate: 1, burst: 3, maxPending: 4, maxPerPrefix: 2, sources: make(map[string]*source)}
}

func TestGate(t *testing.T) {
	g, now := newGate(), time.Unix(1000, 0)
	enter := func(prefix string, want verdict) {
		t.Helper()
		if got := g.enter(now, prefix); got != want {
			t.Fatalf("%q: verdict %d, want %d", prefix, got, want)
		}
	}
	enter("a", welcome)
	enter("a", welcome)
	enter("a", crowded) // costs no token
	enter("b", welcome)
	enter("", welcome)
	enter("", full)
	g.leave("a")
	g.leave("a")
	enter("a", welcome)
	g.leave("a")
	enter("a", tooFast)
	now = now.Add(time.Second)
	enter("a", welcome)
	g.leave("a")
	enter("a", tooFast)
	now = now.Add(time.Hour) // recovers up to the burst, no further
	for range 3 {
		enter("a", welcome)
		g.leave("a")
	}
	enter("a", tooFast)
	now = now.Add(-time.Minute) // a clock that goes back gives nothing and takes nothing
	enter("a", tooFast)
	g.leave("b")
	g.leave("")
	for range 100 { // exempt from what is counted by prefix
		enter("", welcome)
		g.leave("")
	}
	if g.pending != 0 {
		t.Errorf("%d handshakes open", g.pending)
	}
}

func TestGateWithoutLimits(t *testing.T) {
	g := &gate{rate: -1, burst: -1, maxPending: -1, maxPerPrefix: -1, sources: make(map[string]*source)}
	for range 1000 {
		if got := g.enter(time.Unix(0, 0), "a"); got != welcome {
			t.Fatalf("verdict %d", got)
		}
	}
}

// TestGateIsBounded: visitors from ever new prefixes do not fill the memory.
func TestGateIsBounded(t *testing.T) {
	g, now := newGate(), time.Unix(1000, 0)
	g.enter(now, "stays")
	for i := range 3 * maxSources {
		prefix := fmt.Sprint(i)
		if got := g.enter(now, prefix); got != welcome {
			t.Fatalf("visitor %d: verdict %d", i, got)
		}
		g.leave(prefix)
		if len(g.sources) > maxSources {
			t.Fatalf("%d sources", len(g.sources))
		}
	}
	if s := g.sources["stays"]; s == nil || s.pending != 1 {
		t.Error("a source with an open handshake was forgotten")
	}
	for i := 0; len(g.sources) < maxSources; i++ {
		prefix := fmt.Sprint("more ", i)
		g.enter(now, prefix)
		g.leave(prefix)
	}
	now = now.Add(time.Minute)
	g.enter(now, "new")
	if len(g.sources) != 2 {
		t.Errorf("%d sources after all recovered", len(g.sources))
	}
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestCompare(t *testing.T) {
	const s = time.Second
	tests := []struct {
		name string
		a, b Snapshot
		want Change
		back bool
	}{
		{"nothing", Snapshot{Mono: 1 * s, Wall: 100 * s}, Snapshot{Mono: 4 * s, Wall: 103 * s}, Change{}, false},
		{"sleep by the wall clock", Snapshot{Mono: 1 * s, Wall: 100 * s}, Snapshot{Mono: 4 * s, Wall: 3703 * s}, Change{Slept: 3600 * s}, true},
		{"sleep by the boot clock", Snapshot{Mono: 1 * s, Wall: 100 * s, Boot: 50 * s}, Snapshot{Mono: 4 * s, Wall: 103 * s, Boot: 93 * s}, Change{Slept: 40 * s}, true},
		{"the clock was set", Snapshot{Mono: 1 * s, Wall: 100 * s, Boot: 50 * s}, Snapshot{Mono: 4 * s, Wall: 9999 * s, Boot: 53 * s}, Change{}, false},
		{"the clock was set back", Snapshot{Mono: 1 * s, Wall: 9999 * s}, Snapshot{Mono: 4 * s, Wall: 100 * s}, Change{}, false},
		{"a slow machine", Snapshot{Mono: 1 * s, Wall: 100 * s}, Snapshot{Mono: 4 * s, Wall: 107 * s}, Change{}, false},
		{"network came", Snapshot{Addrs: addrs("127.0.0.1")}, Snapshot{Addrs: addrs("127.0.0.1", "192.168.1.5")}, Change{New: addrs("192.168.1.5")}, true},
		{"network left", Snapshot{Addrs: addrs("127.0.0.1", "192.168.1.5")}, Snapshot{Addrs: addrs("127.0.0.1")}, Change{Gone: addrs("192.168.1.5")}, false},
		{"roamed", Snapshot{Addrs: addrs("192.168.1.5")}, Snapshot{Addrs: addrs("10.0.0.9")}, Change{New: addrs("10.0.0.9"), Gone: addrs("192.168.1.5")}, true},
		{"containers come", Snapshot{}, Snapshot{Addrs: addrs("fe80::1", "169.254.1.1", "::1")}, Change{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Compare(tt.a, tt.b)
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			if got.Back() != tt.back {
				t.Errorf("back = %v", got.Back())
			}
			if got.String() == "" {
				t.Error("no words")
			}
		})
	}
}

func TestBestAddr(t *testing.T) {
	const port = 30303
	any4, any6 := netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::")
	tests := []struct {
		name   string
		listen []netip.Addr
		ifs    []netip.Addr
		want   string
	}{
		{"public IPv4 first", []netip.Addr{any6}, addrs("127.0.0.1", "192.168.1.5", "2001:db8::1", "203.0.113.1"), "203.0.113.1:30303"},
		{"public IPv6 before private IPv4", []netip.Addr{any6}, addrs("127.0.0.1", "192.168.1.5", "2001:db8::1", "fe80::1%eth0"), "[2001:db8::1]:30303"},
		{"private before link-local", []netip.Addr{any4}, addrs("127.0.0.1", "169.254.1.1", "10.0.0.1"), "10.0.0.1:30303"},
		{"an IPv4 listener has no IPv6 address", []netip.Addr{any4}, addrs("127.0.0.1", "2001:db8::1"), "127.0.0.1:30303"},
		{"given", addrs("192.0.2.1"), addrs("203.0.113.1"), "192.0.2.1:30303"},
		{"no interface", []netip.Addr{any6}, nil, "127.0.0.1:30303"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var listening []netip.AddrPort
			for _, a := range tt.listen {
				listening = append(listening, netip.AddrPortFrom(a, port))
			}
			if got, from := bestAddr(listening, tt.ifs); got.String() != tt.want || from == "" {
				t.Errorf("got %s (%s), want %s", got, from, tt.want)
			}
		})
	}
}

func TestCleanName(t *testing.T) {
	tests := []struct{ in, want string }{
		{"Geth/v1.9.20-stable/linux-amd64/go1.13", "Geth/v1.9.20-stable/linux-amd64/go1.13"},
		{"a\nb\x1b[0m\u202e\xff", "a?b?[0m??"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := cleanName(tt.in); got != tt.want {
			t.Errorf("%q became %q, want %q", tt.in, got, tt.want)
		}
	}
}
