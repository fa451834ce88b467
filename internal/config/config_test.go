package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/restante-im/restante/internal/config"
	"github.com/restante-im/restante/internal/fault"
)

// TestBroken holds the exact message for each way to get a file wrong. Record with -rewrite.
func TestBroken(t *testing.T) {
	datadriven.RunTest(t, "testdata/broken", func(t *testing.T, d *datadriven.TestData) string {
		if _, err := config.Parse("restante.toml", []byte(d.Input+"\n")); err != nil {
			return err.Error() + "\n"
		}
		t.Errorf("%s: accepted:\n%s", d.Pos, d.Input)
		return "accepted\n"
	})
}

func TestDefaultsAreAllowed(t *testing.T) {
	if err := config.Default().Check(); err != nil {
		t.Error(err)
	}
	empty, err := config.Parse("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), empty); diff != "" {
		t.Errorf("an empty file differs from the defaults:\n%s", diff)
	}
}

// full sets every key to something other than its default.
const full = `data_dir = "/srv/restante"

[network]
listen = ["192.0.2.7:30303", "[2001:db8::7]:0"]
advertise = "[2001:db8::7]:443"
static = ["enode://1dd9d65c4552b5eb43d5ad55a2ee3f56c6cbc1c64a5c8d659f51fcd51bace24351232b8d7821617d2b29b54b81cdefb9b3e9c37d7fd5f63270bcc9e1a6f6a439@node.example:30303?discport=0"]
trusted = ["enode://1dd9d65c4552b5eb43d5ad55a2ee3f56c6cbc1c64a5c8d659f51fcd51bace24351232b8d7821617d2b29b54b81cdefb9b3e9c37d7fd5f63270bcc9e1a6f6a439"]
max_peers = 7
max_peers_per_prefix = 0
socks5 = "127.0.0.1:9050"
dialects = ["waku/1", "shh/6"]
bridge = true

[gossip]
min_pow = 0.2
max_message_size = "64KiB"
max_ttl = "1m30s"
pool_max_envelopes = 1000
pool_max_bytes = "1GiB"
interest = "filters"
post_delay_max = "0s"
relay_per_day = "500MiB"
bytes_per_second_per_peer = 100000
bytes_per_second_per_prefix = 0

[mailserver]
enabled = true
name = "The Smiths"
mode = "members"
password = ""
requests_per_minute = 0
bytes_per_day = "20GiB"
closing = "2027-03-31"
explain_sources = true

[archive]
dir = "~/archive"
cap = 0
max_age = "36h"
min_age = "1d"
min_free = 0

[inbox]
enabled = true
servers = ["restante://join?server=enode%3A%2F%2F1dd9d65c4552b5eb43d5ad55a2ee3f56c6cbc1c64a5c8d659f51fcd51bace24351232b8d7821617d2b29b54b81cdefb9b3e9c37d7fd5f63270bcc9e1a6f6a439%40node.example%3A30303&name=The%20Smiths"]
use = "only"
compare = false
since = "36h"
cap = 0
keep = "0s"
key = "passphrase"
sync_budget = "20MiB"

[rpc]
ipc = "/run/restante.ipc"
listen = "[::1]:8545"
origins = ["https://app.example", "http://localhost:3000"]

[ops]
listen = ""

[log]
level = "debug"
format = "json"
addresses = true
`

func TestPrintParse(t *testing.T) {
	c, err := config.Parse("full", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full, config.Print(c)); diff != "" {
		t.Errorf("printed otherwise than read:\n%s", diff)
	}
	if c.Gossip.MaxTTL != 90*time.Second || c.Gossip.PoolMaxBytes != 1<<30 || c.Network.MaxPeersPerPrefix != 0 {
		t.Errorf("wrong values: %+v", c.Gossip)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	changed := map[string]bool{}
	for _, ch := range config.Diff(config.Default(), c) {
		changed[ch.Key] = true
	}
	for _, k := range config.Keys() {
		if !changed[k.Name] {
			t.Errorf("the full file leaves %s at its default: change the test", k.Name)
		}
	}
}

func TestExampleIsDefaults(t *testing.T) {
	example := config.Example()
	c, err := config.Parse("example", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if diff := config.Diff(config.Default(), c); len(diff) > 0 {
		t.Errorf("the example changes %v", diff)
	}
	// With its comments taken off it is a full file of defaults.
	var active []string
	for line := range strings.Lines(example) {
		line, _ = strings.CutPrefix(line, "#")
		if !strings.HasPrefix(line, " ") {
			active = append(active, line)
		}
	}
	if c, err = config.Parse("example", []byte(strings.Join(active, ""))); err != nil {
		t.Fatal(err)
	}
	if diff := config.Diff(config.Default(), c); len(diff) > 0 {
		t.Errorf("the example's defaults are not the defaults: %v", diff)
	}
}

func TestTableIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range config.Keys() {
		if seen[k.Name] {
			t.Errorf("%s appears twice", k.Name)
		}
		seen[k.Name] = true
		if k.Help == "" || k.Allowed == "" || k.Type == "" || !strings.HasSuffix(k.Help, ".") {
			t.Errorf("%s lacks help, bounds or type", k.Name)
		}
		if strings.Count(config.Example(), "#"+k.Name[strings.LastIndexByte(k.Name, '.')+1:]+" = ") == 0 {
			t.Errorf("%s is not in the example", k.Name)
		}
		if k.Example == "" {
			continue
		}
		section, key, dotted := strings.Cut(k.Name, ".")
		file := k.Name + " = " + k.Example
		if dotted {
			file = "[" + section + "]\n" + key + " = " + k.Example
		}
		if _, err := config.Parse("", []byte(file)); err != nil {
			t.Errorf("the example of %s is refused: %v", k.Name, err)
		}
	}
}

func TestSet(t *testing.T) {
	for _, tc := range []struct{ key, value, want string }{
		{"network.listen", "127.0.0.1:0, [::1]:0", ""},
		{"network.listen", "", ""},
		{"network.max_peers", "12", ""},
		{"gossip.min_pow", "0.5", ""},
		{"gossip.max_message_size", "65536", ""},
		{"gossip.max_message_size", "64KiB", ""},
		{"gossip.max_ttl", "90m", ""},
		{"network.bridge", "true", ""},
		{"log.level", "warn", ""},
		{"network.max_peers", "twelve", "`max_peers` in [network] is the text \"twelve\"; allowed: a whole number from 1 to 5000"},
		{"network.bridge", "maybe", "`bridge` in [network] is the text \"maybe\"; allowed: true or false"},
		{"max_peers", "1", "unknown key `max_peers`; did you mean `max_peers` in [network]?"},
		{"network.max_pers", "1", "unknown key `max_pers` in [network]; did you mean `max_peers`?"},
	} {
		c := config.Default()
		err := c.Set(tc.key, tc.value)
		if got := errText(err); got != tc.want {
			t.Errorf("%s = %s: got %q, want %q", tc.key, tc.value, got, tc.want)
		}
		if err == nil && len(config.Diff(config.Default(), c)) != 1 {
			t.Errorf("%s = %s changed nothing", tc.key, tc.value)
		}
	}
}

func TestCheckFindsWhatCodeSet(t *testing.T) {
	c := config.Default()
	c.Network.MaxPeers = -1
	want := "`max_peers` in [network] is -1; allowed: a whole number from 1 to 5000"
	if err := c.Check(); errText(err) == "" || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDiffAndReload(t *testing.T) {
	old, changed := config.Default(), config.Default()
	changed.Gossip.MinPoW = 9
	changed.Network.Bridge = true
	got := config.Diff(old, changed)
	want := []config.Change{
		{Key: "network.bridge", Old: "false", New: "true", Reload: false},
		{Key: "gossip.min_pow", Old: "0.000002", New: "9", Reload: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	merged := config.Reload(old, changed)
	if merged.Gossip.MinPoW != 9 || merged.Network.Bridge {
		t.Errorf("reload gives %+v", merged)
	}
}

func TestPlatform(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	for _, tc := range []struct {
		name string
		p    config.Platform
		want string
	}{
		{"linux", config.Platform{OS: "linux", Home: "/home/a", Getenv: env(nil)}, "/home/a/.local/share/restante"},
		{"xdg", config.Platform{OS: "linux", Home: "/home/a", Getenv: env(map[string]string{"XDG_DATA_HOME": "/d"})}, "/d/restante"},
		{"relative xdg", config.Platform{OS: "freebsd", Home: "/home/a", Getenv: env(map[string]string{"XDG_DATA_HOME": "d"})}, "/home/a/.local/share/restante"},
		{"mac", config.Platform{OS: "darwin", Home: "/Users/a", Getenv: env(nil)}, "/Users/a/Library/Application Support/Restante"},
		{"windows", config.Platform{OS: "windows", Getenv: env(map[string]string{"AppData": "/appdata"})}, "/appdata/Restante"},
		{"nothing known", config.Platform{OS: "linux", Getenv: env(nil)}, ""},
	} {
		got, err := tc.p.DataDir()
		if got != filepath.FromSlash(tc.want) || (err == nil) != (tc.want != "") {
			t.Errorf("%s: got %q, %v", tc.name, got, err)
		}
	}
}

func TestResolve(t *testing.T) {
	p := config.Platform{OS: "linux", Home: "/home/a", Getenv: func(string) string { return "" }}
	c, err := config.Default().Resolve(p)
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/home/a/.local/share/restante" || c.RPC.IPC != c.DataDir+"/restante.ipc" ||
		c.NodeKeyFile() != c.DataDir+"/node.key" {
		t.Errorf("got %q, %q, %q", c.DataDir, c.RPC.IPC, c.NodeKeyFile())
	}
	long := config.Default()
	long.DataDir = "~/" + strings.Repeat("x", 100)
	if _, err := long.Resolve(p); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Text(err), "has 121 bytes") {
		t.Errorf("a socket path beyond the system's bound: got %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := config.Load(filepath.Join(dir, "none.toml")); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
	path := filepath.Join(dir, "restante.toml")
	if err := os.WriteFile(path, []byte("[network]\nmax_peers = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := config.Load(path); err != nil || c.Network.MaxPeers != 3 {
		t.Errorf("got %v, %v", c.Network.MaxPeers, err)
	}
	if err := os.WriteFile(path, make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path); errText(err) != path+": the file is larger than 4MiB" {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(config.Example()))
	f.Add([]byte("network = { listen = 3, max_peer = 2 }\n[[a.b]]\n\"x y\".z = 1979-05-27T07:32:00Z"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f", data)
		if err != nil {
			return
		}
		if again, err := config.Parse("f", []byte(config.Print(c))); err != nil || len(config.Diff(c, again)) > 0 {
			t.Errorf("accepted, but its printed form is not the same: %v", err)
		}
	})
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
