package config

import "time"

const tib = gib << 10

func mailServerKeys() []Key {
	day := text("date", `a date in quotes such as "2027-03-31", or "" for none`, isDate)
	return []Key{
		row("mailserver.enabled", boolean(), false,
			func(c *Config) *bool { return &c.Mail.Enabled }, restart,
			"Be a mail server: keep every envelope that passes by and hand it over to those who ask for their history. "+
				"It asks peers for everything, whatever `interest` in [gossip] says."),
		row("mailserver.name", text("text", "at most 64 characters", isName), "",
			func(c *Config) *string { return &c.Mail.Name }, restart,
			"What the mail server calls itself in invitations and to its clients.").
			example(`"The Smiths"`),
		row("mailserver.mode", choice(MailOpen, MailMembers), MailOpen,
			func(c *Config) *string { return &c.Mail.Mode }, restart,
			"Who is served: \"open\" serves everybody, \"members\" those whom you invited with `restante members invite`, "+
				"known by the key of their node. Mail is taken from everybody in both modes."),
		row("mailserver.password", text("text", "at most 128 characters", isPassword), "status-offline-inbox",
			func(c *Config) *string { return &c.Mail.Password }, restart,
			"Password with which older clients seal their requests. The default is the one that they all use and everybody "+
				"knows: it is there for compatibility and keeps nobody out. Requests sealed for the node's key are always "+
				"read. Empty refuses those sealed with a password.").
			example(`""`),
		row("mailserver.requests_per_minute", integer(0, 100_000), 240,
			func(c *Config) *int { return &c.Mail.RequestsPerMinute }, reload,
			"Requests that one connection may make a minute; five times as many may come from one address prefix. Trusted "+
				"nodes are exempt. 0 means no limit."),
		row("mailserver.bytes_per_day", size(mib, 1024*tib, true), 0,
			func(c *Config) *int64 { return &c.Mail.BytesPerDay }, reload,
			"Bytes of mail handed out in a day (UTC), to all clients together. What is asked for beyond is refused until "+
				"midnight; taking mail in is not affected. The count starts anew with the program.").
			example(`"20GiB"`),
		row("mailserver.closing", day, "",
			func(c *Config) *string { return &c.Mail.Closing }, reload,
			"Last day on which the mail server will be there. Clients that understand it are told, so that they can look "+
				"for another one in time.").
			example(`"2027-03-31"`),
		row("mailserver.explain_sources", boolean(), false,
			func(c *Config) *bool { return &c.Mail.ExplainSources }, restart,
			"Let `restante explain` tell which envelopes came from the same address, by numbers that change every day and are "+
				"kept in memory for 24 hours. Leave it off unless you are looking for a fault."),
	}
}

func archiveKeys() []Key {
	path := text("path", "an absolute path, or one that starts with ~/", isPath)
	return []Key{
		row("archive.dir", path, "",
			func(c *Config) *string { return &c.Archive.Dir }, restart,
			"Directory of the archive. Empty means archive in the data directory.").
			example(`"/srv/mail/archive"`),
		row("archive.cap", size(16*mib, 1024*tib, true), 10*gib,
			func(c *Config) *int64 { return &c.Archive.Cap }, reload,
			"Bytes that the archive may take on disk, its indexes included. It never takes more: the oldest mail goes first, "+
				"and when all of it is younger than `min_age`, new mail is refused."),
		row("archive.max_age", period(time.Hour, 3650*24*time.Hour, true), 30*24*time.Hour,
			func(c *Config) *time.Duration { return &c.Archive.MaxAge }, reload,
			"Time after which mail is removed, counted from when it came."),
		row("archive.min_age", period(0, 3650*24*time.Hour, false), 3*24*time.Hour,
			func(c *Config) *time.Duration { return &c.Archive.MinAge }, reload,
			"Time for which mail is kept whatever happens. It is what clients are promised."),
		row("archive.min_free", size(0, 1024*tib, false), gib,
			func(c *Config) *int64 { return &c.Archive.MinFree }, reload,
			"Bytes that stay free on the archive's disk. With less, new mail is refused until there is room again; what is "+
				"there is served."),
	}
}

func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return s == "" || err == nil
}

func isName(s string) bool     { return printable(s, 64) }
func isPassword(s string) bool { return printable(s, 128) }
