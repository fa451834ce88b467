package catchup

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
)

// openVersion is the form of stored open fetches.
const openVersion = 1

// storedOpen is an OpenFetch as it is written.
type storedOpen struct {
	Version  int    `json:"v"`
	ID       uint64 `json:"id"`
	Server   string `json:"server"`
	Topics   string `json:"topics"` // hex of all
	From     uint32 `json:"from"`
	To       uint32 `json:"to"`
	After    uint64 `json:"after"`
	Position string `json:"position"`
	Began    int64  `json:"began"` // Unix seconds
}

// Marshal gives the fetch in the form that ParseOpenFetch reads.
func (f *OpenFetch) Marshal() []byte {
	var topics []byte
	for _, t := range f.Topics {
		topics = append(topics, t[:]...)
	}
	b, _ := json.Marshal(storedOpen{ // cannot fail: strings and numbers only
		Version: openVersion, ID: f.ID, Server: hex.EncodeToString(f.Server[:]), Topics: hex.EncodeToString(topics),
		From: f.From, To: f.To, After: f.After, Position: f.Position, Began: f.Began.Unix(),
	})
	return b
}

// ParseOpenFetch reads what Marshal wrote. The error is a Corrupt fault; a fetch that is not read starts over, and nothing is
// lost by that.
func ParseOpenFetch(b []byte) (f OpenFetch, err error) {
	var s storedOpen
	bad := func(err error) (OpenFetch, error) {
		return OpenFetch{}, fault.E("catchup: parse", fault.Corrupt, err, "a stored fetch cannot be read")
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return bad(err)
	}
	server, err := hex.DecodeString(s.Server)
	if err != nil || len(server) != len(f.Server) || s.Version != openVersion || s.ID == 0 {
		return bad(err)
	}
	topics, err := hex.DecodeString(s.Topics)
	const size = len(envelope.Topic{})
	if err != nil || len(topics) == 0 || len(topics)%size != 0 || len(topics) > size*history.MaxTopics {
		return bad(err)
	}
	if _, err := history.ParsePosition(s.Position); err != nil {
		return bad(err)
	}
	f = OpenFetch{ID: s.ID, From: s.From, To: s.To, After: s.After, Position: s.Position, Began: time.Unix(s.Began, 0).UTC()}
	copy(f.Server[:], server)
	for t := range slices.Chunk(topics, size) {
		f.Topics = append(f.Topics, envelope.Topic(t))
	}
	return f, nil
}
