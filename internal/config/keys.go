package config

import (
	"log/slog"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/nodeaddr"
)

// Key is one row of the table: a configuration key and all there is to know about it.
type Key struct {
	Name    string // "network.listen"; without a dot at the top of the file
	Type    string // what its value is: "whole number"
	Unit    string // "" = none
	Default string // as it would stand in the file
	Allowed string // what may be written
	Reload  bool   // whether a running node takes a change over on SIGHUP; otherwise it needs a restart
	Help    string // sentences without line breaks
	Example string // a value other than the default worth showing, as it would stand in the file; "" = none

	reset func(*Config)
	set   func(*Config, any) error
	show  func(Config) string
	copy  func(to *Config, from Config)
	bare  func(string) (any, bool)
}

// Keys returns the table in the order in which keys are printed. The slice is the caller's.
func Keys() []Key { return table() }

// Find returns the row of a key by its full name.
func Find(name string) (Key, bool) {
	for _, k := range table() {
		if k.Name == name {
			return k, true
		}
	}
	return Key{}, false
}

// Value returns the key's value in c as it would stand in the file.
func (k Key) Value(c Config) string { return k.show(c) }

// sections are the tables of the file, in the order in which they are printed, with a comment each.
func sections() []section {
	return []section{
		{"", ""},
		{"network", "Where the node listens, whom it meets and what it speaks."},
		{"gossip", "What is taken from peers, kept and passed on."},
		{"mailserver", "For whom the node keeps and serves mail."},
		{"archive", "Where mail is kept, and for how long."},
		{"inbox", "What the user waits for, and which mail servers are asked."},
		{"rpc", "Where programs reach the node."},
		{"ops", "For those who watch over the node."},
		{"log", "The log, on standard error."},
	}
}

type section struct{ name, help string }

// Bounds of lists and numbers. Lists are bounded so that a broken generator of files is noticed here.
const (
	maxListen   = 16
	maxNodes    = 500
	maxPeersCap = 5000
	maxPool     = 10_000_000
	anyPort     = 1 // stands for the port of the first listen address
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// reload and restart name the column of the table.
const (
	reload  = true
	restart = false
)

func table() []Key {
	return slices.Concat(placeKeys(), networkKeys(), gossipKeys(), mailServerKeys(), archiveKeys(), inboxKeys(),
		serviceKeys())
}

func placeKeys() []Key {
	path := text("path", "an absolute path, or one that starts with ~/", isPath)
	return []Key{
		row("data_dir", path, "", func(c *Config) *string { return &c.DataDir }, restart,
			"Directory of everything the node keeps: its key, its socket, its lock. Empty means the platform's: "+
				"$XDG_DATA_HOME/restante or ~/.local/share/restante; ~/Library/Application Support/Restante on "+
				"macOS; %AppData%\\Restante on Windows. It is created, readable by its owner only.").
			example(`"/var/lib/restante"`),
	}
}

func networkKeys() []Key {
	node := parsed("node address", `"enode://KEY@host:port" with a key of 128 hex digits, or "enr:..."`,
		func(s string) error { _, err := nodeaddr.Parse(s); return err })
	identity := parsed("node address", `"enode://KEY" or "enode://KEY@host:port" with a key of 128 hex digits, or "enr:..."`,
		func(s string) error { _, err := nodeaddr.ParseIdentity(s); return err })
	bind := text("address", `"host:port" with an IP address or nothing as host`,
		func(s string) bool { return isEndpoint(s, true) })
	public := parsed("address", `"host" or "host:port" with an IP address or a DNS name as host, or "" for none`,
		optional(func(s string) error { _, err := nodeaddr.ParseAddress(s, anyPort); return err }))
	proxy := parsed("address", `"host:port", or "" for none`,
		optional(func(s string) error { _, err := nodeaddr.ParseAddress(s, 0); return err }))
	dialect := choice(dialects()...)
	return []Key{
		row("network.listen", list(bind, 0, maxListen), []string{":30303"},
			func(c *Config) *[]string { return &c.Network.Listen }, restart,
			"Addresses to accept peers on. \":30303\" means port 30303 on every address, IPv4 and IPv6. Port 0 "+
				"lets the system choose. An empty list accepts nobody: the node only dials.").
			example(`["192.0.2.7:30303", "[2001:db8::7]:30303"]`),
		row("network.advertise", public, "",
			func(c *Config) *string { return &c.Network.Advertise }, restart,
			"Address that others are told to reach this node at, for a machine behind a router or proxy. Without a "+
				"port, that of the first listen address. Empty means what the node can find out by itself.").
			example(`"mail.example.org:30303"`),
		row("network.static", list(node, 0, maxNodes), nil,
			func(c *Config) *[]string { return &c.Network.Static }, reload,
			"Nodes to stay connected with. They are dialled at once and again after each loss.").
			example(`["enode://` + exampleKey + `@192.0.2.9:30303"]`),
		row("network.trusted", list(identity, 0, maxNodes), nil,
			func(c *Config) *[]string { return &c.Network.Trusted }, reload,
			"Nodes that are let in beyond max_peers and max_peers_per_prefix, and from which envelopes are taken "+
				"that are too old or too cheap for everybody else, such as a mail server's answers.").
			example(`["enode://` + exampleKey + `@192.0.2.9:30303"]`),
		row("network.max_peers", integer(1, maxPeersCap), 50,
			func(c *Config) *int { return &c.Network.MaxPeers }, restart,
			"Number of peers at the same time, static and trusted ones not counted."),
		row("network.max_peers_per_prefix", integer(0, maxPeersCap), 8,
			func(c *Config) *int { return &c.Network.MaxPeersPerPrefix }, restart,
			"Number of peers at the same time that come from one address prefix (IPv4 /24, IPv6 /56). 0 means "+
				"no limit. Loopback is exempt."),
		row("network.socks5", proxy, "",
			func(c *Config) *string { return &c.Network.SOCKS5 }, restart,
			"SOCKS5 proxy through which peers are dialled, host names included. Listening is not affected: set "+
				"listen = [] as well to be unreachable except through the proxy.").
			example(`"127.0.0.1:9050"`),
		row("network.dialects", list(dialect, 1, len(dialects())), dialects(),
			func(c *Config) *[]string { return &c.Network.Dialects }, restart,
			"Wire protocols that are spoken with peers, in order of preference."),
		row("network.bridge", boolean(), false,
			func(c *Config) *bool { return &c.Network.Bridge }, restart,
			"Pass envelopes on from one dialect to the other, within the receiving side's rules for proof of work "+
				"and interest. It needs two dialects."),
	}
}

func gossipKeys() []Key {
	limit := size(16*kib, 10*gib, true)
	return []Key{
		row("gossip.min_pow", number(0, 1000), 0.000002,
			func(c *Config) *float64 { return &c.Gossip.MinPoW }, reload,
			"Proof of work below which an envelope is refused. Peers are told. 0.2, which some networks use, "+
				"refuses what most messengers send."),
		row("gossip.max_message_size", size(kib, 10*mib, false), mib,
			func(c *Config) *int64 { return &c.Gossip.MaxMessageSize }, reload,
			"Size above which an envelope is refused."),
		row("gossip.max_ttl", duration(10*time.Second, 168*time.Hour), 2*time.Hour,
			func(c *Config) *time.Duration { return &c.Gossip.MaxTTL }, reload,
			"Time for which an envelope is kept and passed on at most, whatever time to live its sender gave it. "+
				"An envelope with a longer one is not refused for it."),
		row("gossip.pool_max_envelopes", integer(1000, maxPool), 200_000,
			func(c *Config) *int { return &c.Gossip.PoolMaxEnvelopes }, reload,
			"Number of live envelopes kept in memory. When the pool is full, those with the least work for their "+
				"size and time make room."),
		row("gossip.pool_max_bytes", size(mib, 64*gib, false), 256*mib,
			func(c *Config) *int64 { return &c.Gossip.PoolMaxBytes }, reload,
			"Bytes of live envelopes kept in memory."),
		row("gossip.interest", choice(InterestAuto, InterestFull, InterestFilters), InterestAuto,
			func(c *Config) *string { return &c.Gossip.Interest }, restart,
			"Which envelopes peers are asked to send: \"full\" asks for all and relays all, \"filters\" asks for "+
				"those that the filters and watches in use here may match, which saves traffic and tells peers something "+
				"about you. \"auto\" is \"filters\" for an inbox that is no mail server, and \"full\" otherwise."),
		row("gossip.post_delay_max", duration(0, time.Minute), 200*time.Millisecond,
			func(c *Config) *time.Duration { return &c.Gossip.PostDelayMax }, reload,
			"Own messages leave after a random delay of up to this, so that peers cannot tell them by their "+
				"timing from those that are relayed. \"0s\" sends them at once."),
		row("gossip.relay_per_day", size(mib, 1024*tib, true), 0,
			func(c *Config) *int64 { return &c.Gossip.RelayPerDay }, reload,
			"Bytes that are passed on for others in a day (UTC). Beyond it, what comes is still taken for the filters "+
				"and the mail server here, and own messages leave as always; nothing else is passed on until midnight, "+
				"so that peers can tell which messages are yours. The count survives a restart where there is an inbox. 0 is no "+
				"limit, but 500MiB for an inbox that is no mail server; write a large number to lift that.").
			example(`"500MiB"`),
		row("gossip.bytes_per_second_per_peer", limit, 16*mib,
			func(c *Config) *int64 { return &c.Gossip.BytesPerSecondPerPeer }, reload,
			"Bytes a second that are taken from one peer, averaged over some seconds. A peer that sends more is "+
				"slowed down, and sent away if it goes on."),
		row("gossip.bytes_per_second_per_prefix", limit, 32*mib,
			func(c *Config) *int64 { return &c.Gossip.BytesPerSecondPerPrefix }, reload,
			"The same for all peers of one address prefix together. Loopback is exempt."),
	}
}

func serviceKeys() []Key {
	path := text("path", `an absolute path, or one that starts with ~/, or on Windows \\.\pipe\NAME`, isPath)
	bind := text("address", `"host:port" with an IP address as host, or "" for off`,
		func(s string) bool { return s == "" || isEndpoint(s, false) })
	origin := text("origin", `"scheme://host" or "scheme://host:port", without a path`, isOrigin)
	return []Key{
		row("rpc.ipc", path, "",
			func(c *Config) *string { return &c.RPC.IPC }, restart,
			"Socket on which the node answers JSON-RPC, for its owner only. Empty means restante.ipc in the data "+
				"directory. Unix sockets allow paths of 103 bytes.").
			example(`"/run/restante/restante.ipc"`),
		row("rpc.listen", bind, "",
			func(c *Config) *string { return &c.RPC.Listen }, restart,
			"Address on which the node answers JSON-RPC over HTTP and WebSocket, for programs that cannot use the socket. "+
				"They need the token in the file rpc.token of the data directory, as the path of the URL. Nothing is "+
				"encrypted: keep it on loopback, or behind a proxy that does.").
			example(`"127.0.0.1:8545"`),
		row("rpc.origins", list(origin, 0, maxOrigins), nil,
			func(c *Config) *[]string { return &c.RPC.Origins }, restart,
			"Web pages that may connect to `listen` from a browser, by the origin that the browser names. Programs that "+
				"name none need not be listed.").
			example(`["http://localhost:3000"]`),
		row("ops.listen", bind, "127.0.0.1:9630",
			func(c *Config) *string { return &c.Ops.Listen }, restart,
			"Address of the HTTP server with /metrics (Prometheus) and /healthz. It asks for no password: keep "+
				"it on loopback or in a network of your own. Empty means off.").
			example(`""`),
		row("log.level", logLevel(), 0,
			func(c *Config) *slog.Level { return &c.Log.Level }, reload,
			"What is logged: errors only, or also warnings, the course of events, or every detail."),
		row("log.format", choice(LogText, LogJSON), LogText,
			func(c *Config) *string { return &c.Log.Format }, restart,
			"Form of a log line: key=value, or one JSON object."),
		row("log.addresses", boolean(), false,
			func(c *Config) *bool { return &c.Log.Addresses }, reload,
			"Whether peers' network addresses are logged. They say who uses this node: leave it off unless you "+
				"are looking for a fault."),
	}
}

// exampleKey is the public key of no node.
const exampleKey = "1dd9d65c4552b5eb43d5ad55a2ee3f56c6cbc1c64a5c8d659f51fcd51bace24351232b8d7821617d2b29b54b81cdefb9b3e9c37d7fd5f63270bcc9e1a6f6a439"
