package inbox

import (
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Query asks for what has come for a watch.
type Query struct {
	Watch string // id; "" for all
	After uint64 // sequence number: only later ones
	Limit int    // at most; 0 means DefaultLimit, more than MaxLimit is MaxLimit
}

// Bounds of a Query.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Message is one envelope that came for a watch.
type Message struct {
	Seq    uint64 // ascending in the order in which they were kept, whatever the sender's clock says
	Watch  string // id of the watch that it came for
	Hash   envelope.Hash
	Topic  envelope.Topic
	Sent   uint32 // Unix seconds, the sender's claim
	TTL    uint32
	Came   time.Time
	Server nodeaddr.ID // the mail server that handed it over; zero when it came live

	Envelope *envelope.Envelope
	Opened   *message.Opened // nil when the watch has no key
}

// Status is how the inbox is doing.
type Status struct {
	Protection string // where the key of the file is: "keyring", "passphrase" or "not protected"
	File       string
	FileBytes  int64
	Mail       uint64 // envelopes kept
	MailBytes  int64
	Cap        int64 // of MailBytes; 0 for none
	Watches    int
	Topics     int
	Servers    int // known and usable
	Connected  int // of those
	Gaps       int // open
	Letters    int // still followed
	Syncing    bool
	LastSync   time.Time // the last round that ended well; zero for none
	Text       string    // how it stands, as a sentence for people
}

// Explanation is what is known of an envelope.
type Explanation struct {
	Hash  envelope.Hash
	State string // "kept", "forgotten", "missing", "sent", "unknown"
	Text  string // for people

	Seq     uint64
	Watches []string // ids of those that it came for
	Came    time.Time
	Server  nodeaddr.ID
	Letter  string // id of the letter that it carries, when it is ours
}

// Budget is what was spent today, by UTC day.
type Budget struct {
	Day          string // 2006-01-02
	Fetched      int64  // bytes from mail servers
	ByServer     map[nodeaddr.ID]int64
	Relayed      int64 // bytes passed on for others
	RelayedLimit int64 // 0 for none
	PerSync      int64 // the limit of a catch-up that names none; 0 for none
}
