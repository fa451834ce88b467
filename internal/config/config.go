// Package config holds Restante's configuration: the Config struct, and one table (Keys) that gives every key its type,
// default, bounds, help and whether a reload takes it over. Parsing, printing, explaining, comparing, the example file
// and the manual page all come from that table.
//
// Start with Default or Load. Reading is strict: an unknown key, a wrong type or a value out of bounds is an error that
// names file, line and key and says what is allowed; nothing is guessed or passed over. A Config that Load or Check
// accepted has every value within its bounds. Values of type Config may be copied; their lists must not be changed.
// All functions are safe for concurrent use, as long as nobody writes to a Config that another one reads.
package config

import (
	"log/slog"
	"path/filepath"
	"time"
)

// FileName is the name of the configuration file that is looked for in the data directory.
const FileName = "restante.toml"

// Config is everything that can be configured. The table behind Keys documents each field.
type Config struct {
	DataDir string // absolute once Resolve was called; "" before means the platform's
	Network Network
	Gossip  Gossip
	Mail    MailServer
	Archive Archive
	Inbox   Inbox
	RPC     RPC
	Ops     Ops
	Log     Log
}

// Network says where the node listens, whom it meets and what it speaks.
type Network struct {
	Listen            []string // host:port each, host "" = every address of both IP families
	Advertise         string   // host or host:port, "" = found out
	Static            []string // enode URLs or ENRs
	Trusted           []string // enode URLs or ENRs
	MaxPeers          int
	MaxPeersPerPrefix int    // 0 = no limit
	SOCKS5            string // host:port, "" = dial directly
	Dialects          []string
	Bridge            bool
}

// Gossip bounds what is taken from peers, kept and passed on.
type Gossip struct {
	MinPoW                  float64
	MaxMessageSize          int64 // bytes
	MaxTTL                  time.Duration
	PoolMaxEnvelopes        int
	PoolMaxBytes            int64  // bytes
	Interest                string // InterestAuto, InterestFull or InterestFilters
	PostDelayMax            time.Duration
	RelayPerDay             int64 // bytes passed on for others in a UTC day; 0 = no limit
	BytesPerSecondPerPeer   int64 // 0 = no limit
	BytesPerSecondPerPrefix int64 // 0 = no limit
}

// The values of Gossip.Interest.
const (
	InterestAuto    = "auto"    // InterestFilters for an inbox that is no mail server, else InterestFull
	InterestFull    = "full"    // everything
	InterestFilters = "filters" // what the filters in use ask for
)

// MailServer says for whom the node keeps and serves mail.
type MailServer struct {
	Enabled           bool
	Name              string // for people who use it
	Mode              string // MailOpen or MailMembers
	Password          string // of sealed requests; "" = none is accepted
	RequestsPerMinute int    // of one connection; 0 = no limit
	BytesPerDay       int64  // of all answers; 0 = no limit
	Closing           string // RFC 3339 date on which the service ends; "" = not planned
	ExplainSources    bool
}

// The values of MailServer.Mode.
const (
	MailOpen    = "open"    // everybody is served
	MailMembers = "members" // only members are
)

// Archive says where and how long mail is kept.
type Archive struct {
	Dir     string        // "" before Resolve means archive in the data directory
	Cap     int64         // bytes on disk; 0 = no limit
	MaxAge  time.Duration // 0 = for ever
	MinAge  time.Duration // nothing younger is removed
	MinFree int64         // bytes that stay free on the disk
}

// Inbox says what is kept for the user, and which mail servers are asked for it.
type Inbox struct {
	Enabled    bool
	Servers    []string // enode URLs, ENRs, or restante:// links
	Use        string   // UsePreferred or UseOnly
	Compare    bool
	Since      time.Duration // before the moment at which a watch is made
	Cap        int64         // bytes of mail; 0 = no limit
	Keep       time.Duration // of acknowledged mail; 0 = for ever
	Key        string        // KeyAuto, KeyKeyring, KeyPassphrase or KeyFile
	SyncBudget int64         // bytes; 0 = no limit
}

// The values of Inbox.Use.
const (
	UsePreferred = "preferred" // those of Servers first, others when they fail
	UseOnly      = "only"      // the first of Servers and nobody else
)

// The values of Inbox.Key.
const (
	KeyAuto       = "auto"       // the keyring if there is one, else the file
	KeyKeyring    = "keyring"    // the system's keyring
	KeyPassphrase = "passphrase" // derived from what the user types at each start
	KeyFile       = "file"       // in a file beside the inbox
)

// RPC says where programs reach the node.
type RPC struct {
	IPC     string   // path of the socket; "" before Resolve means restante.ipc in the data directory
	Listen  string   // host:port of HTTP and WebSocket, "" = off
	Origins []string // of web pages that may connect; scheme://host or scheme://host:port each
}

// Ops serves /metrics and /healthz.
type Ops struct {
	Listen string // host:port, "" = off
}

// Log is the log's form.
type Log struct {
	Level     slog.Level
	Format    string // LogText or LogJSON
	Addresses bool   // whether peers' network addresses may appear
}

// The values of Log.Format.
const (
	LogText = "text"
	LogJSON = "json"
)

// Default returns the configuration of an empty file. It is not resolved.
func Default() Config {
	var c Config
	for _, k := range table() {
		k.reset(&c)
	}
	return c
}

// Resolve returns c with its paths made final: an empty DataDir becomes the platform's, an empty RPC.IPC becomes the
// socket in the data directory, a leading ~/ becomes the home directory. It reports a data directory that cannot be
// found out and a socket path that is longer than sockets allow.
func (c Config) Resolve(p Platform) (Config, error) {
	var err error
	if c.DataDir == "" {
		if c.DataDir, err = p.DataDir(); err != nil {
			return c, err
		}
	}
	if c.DataDir, err = p.expand(c.DataDir); err != nil {
		return c, err
	}
	if c.RPC.IPC == "" {
		c.RPC.IPC = p.socket(c.DataDir)
	}
	if c.RPC.IPC, err = p.expand(c.RPC.IPC); err != nil {
		return c, err
	}
	if c.Archive.Dir == "" {
		c.Archive.Dir = filepath.Join(c.DataDir, "archive")
	}
	if c.Archive.Dir, err = p.expand(c.Archive.Dir); err != nil {
		return c, err
	}
	return c, p.checkSocket(c.RPC.IPC)
}

// NodeKeyFile is the path of the node's key. Call it on a resolved configuration.
func (c Config) NodeKeyFile() string { return filepath.Join(c.DataDir, "node.key") }

// InboxFile is the path of the inbox's database. Call it on a resolved configuration.
func (c Config) InboxFile() string { return filepath.Join(c.DataDir, "inbox.db") }

// RPCTokenFile is the path of the token that programs put into the path of rpc.listen. Call it on a resolved
// configuration.
func (c Config) RPCTokenFile() string { return filepath.Join(c.DataDir, "rpc.token") }

// MembersFile is the path of the list of members. Call it on a resolved configuration.
func (c Config) MembersFile() string { return filepath.Join(c.DataDir, "members.json") }

// ClosingDate is when the mail server's service ends, at the end of that day in UTC; zero when that is not planned.
func (m MailServer) ClosingDate() time.Time {
	day, err := time.Parse(time.DateOnly, m.Closing)
	if err != nil {
		return time.Time{}
	}
	return day.AddDate(0, 0, 1)
}
