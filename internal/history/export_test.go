package history

// Held is how many bytes wait for the consumer.
func (t *talk) Held() int64 { return t.queue.held() }

// Open is how much a fetch keeps account of: nothing.
func (f *Fetch) Open() int { return 0 }

// Open is how much a check keeps account of: envelopes, or marks between them.
func (c *Check) Open() int { return max(c.ledger.open(), len(c.ledger.marks)) }

// Window bounds Held, but for one packet.
const Window = window

// MaxOpen bounds Open.
const MaxOpen = maxLacking*entryBytes/leastEntry + 2000
