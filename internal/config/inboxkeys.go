package config

import (
	"net/url"
	"strings"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Bounds of the inbox's keys.
const (
	maxServers = 100
	maxOrigins = 100
	maxLink    = 2048 // characters of a link to a mail server

	opLink = "config: read a link"
)

func inboxKeys() []Key {
	server := parsed("mail server", `"enode://KEY@host:port", "enr:...", or a link that begins with restante://`, checkServer)
	return []Key{
		row("inbox.enabled", boolean(), false,
			func(c *Config) *bool { return &c.Inbox.Enabled }, restart,
			"Keep the user's mail: wait for what is watched, and ask mail servers for what was missed. `restante up` turns "+
				"it on, `restante serve` leaves it as it is here."),
		row("inbox.servers", list(server, 0, maxServers), nil,
			func(c *Config) *[]string { return &c.Inbox.Servers }, reload,
			"Mail servers to ask, besides those that you add with `restante inbox`: addresses, or links as operators hand "+
				"them out. A link with a token lets whoever reads this file in: keep it to yourself.").
			example(`["enode://` + exampleKey + `@192.0.2.9:30303"]`),
		row("inbox.use", choice(UsePreferred, UseOnly), UsePreferred,
			func(c *Config) *string { return &c.Inbox.Use }, reload,
			"Which mail servers are asked: \"preferred\" asks those of `servers` first and other known ones when they fail, "+
				"\"only\" asks the first of `servers` and nobody else, whatever happens to it."),
		row("inbox.compare", boolean(), true,
			func(c *Config) *bool { return &c.Inbox.Compare }, reload,
			"Compare with a second mail server what the first one has. It finds what one of them withheld or lost, and it "+
				"tells the second one your topics and address too."),
		row("inbox.since", period(time.Hour, 3650*day, false), 30*day,
			func(c *Config) *time.Duration { return &c.Inbox.Since }, reload,
			"How far back a new watch asks for mail, if it does not say so itself."),
		row("inbox.cap", size(mib, 1024*tib, true), 2*gib,
			func(c *Config) *int64 { return &c.Inbox.Cap }, restart,
			"Bytes of mail that the inbox keeps. When it is full, nothing is thrown away: catching up stops until mail was "+
				"acknowledged and deleted, or this is raised."),
		row("inbox.keep", period(time.Hour, 3650*day, true), 30*day,
			func(c *Config) *time.Duration { return &c.Inbox.Keep }, reload,
			"Time after which mail is deleted that was acknowledged, counted from when it came."),
		row("inbox.key", choice(KeyAuto, KeyKeyring, KeyPassphrase, KeyFile), KeyAuto,
			func(c *Config) *string { return &c.Inbox.Key }, restart,
			"Where the key is that the inbox is encrypted with: \"keyring\" is the system's keyring, \"passphrase\" asks you "+
				"for one at each start, \"file\" is a file beside the inbox, which protects from nobody who can read it. "+
				"\"auto\" takes the keyring if there is one, and else the file."),
		row("inbox.sync_budget", size(64*kib, 1024*tib, true), 0,
			func(c *Config) *int64 { return &c.Inbox.SyncBudget }, reload,
			"Bytes that one catch-up may receive from mail servers, if who asks for it does not say so. What is left is "+
				"reported as a gap.").
			example(`"20MiB"`),
	}
}

// checkServer accepts what a mail server can be named by. The directory of mail servers reads a link's other parts.
func checkServer(s string) error {
	if !isLink(s) {
		_, err := nodeaddr.Parse(s)
		return err
	}
	if len(s) > maxLink {
		return fault.Errorf(opLink, fault.Invalid, "the link names no mail server: it has %d characters, more than %d", len(s), maxLink)
	}
	u, err := url.Parse(s)
	if err != nil {
		return fault.Errorf(opLink, fault.Invalid, "the link names no mail server: it is cut off or damaged")
	}
	param, known := map[string]string{"join": "server", "server": "node"}[strings.ToLower(u.Host)]
	if !known {
		return fault.Errorf(opLink, fault.Invalid, "the link names no mail server: it begins with neither restante://join nor restante://server")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fault.Errorf(opLink, fault.Invalid, "the link names no mail server: it is cut off or damaged")
	}
	if _, err := nodeaddr.Parse(query.Get(param)); err != nil {
		return fault.Errorf(opLink, fault.Invalid, "the link names no mail server: its %s is wrong: %s", param, fault.Text(err))
	}
	return nil
}

func isLink(s string) bool {
	const scheme = "restante://"
	return len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme)
}

// isOrigin accepts what browsers send as Origin: scheme://host, or scheme://host:port.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && printable(s, 255) && u.Scheme != "" && u.Host != "" && s == u.Scheme+"://"+u.Host
}
