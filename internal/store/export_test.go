package store

// WithLater returns the options of a version that knows further formats.
func WithLater(o Options, steps ...string) Options {
	o.later = steps
	return o
}

// Schema is the SQL of all formats.
func Schema() []string { return formats() }

// WithShortLog returns the options of a store that reads its log back often.
func WithShortLog(o Options, pages int) Options {
	o.logPages = pages
	return o
}
