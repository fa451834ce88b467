package directory

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/nodeaddr"
)

const (
	window  = 32  // of each kind of evidence, so many are kept: the last ones
	maxText = 200 // bytes of what others say, as far as it is kept

	maxCount = 1 << 32 // of one event: envelopes, or bytes
	maxBytes = 1 << 62

	flashy = 10 * time.Second // a connection that ends sooner, without an answer, was as good as none
)

// measured is what is known of a server from dealing with it.
type measured struct {
	connected bool
	since     time.Time // of that; zero: not known in this run
	useful    bool      // it answered on this connection
	client    string
	said      said

	lastSuccess, lastFailure time.Time
	lastError                string
	joinError                string
	cool                     cooling

	answers  []bool // whether questions were answered well, oldest first, like all of these
	first    []time.Duration
	last     []time.Duration
	compared []comparison

	day                    int64 // UTC, since 1970, that bytesToday is about
	bytesToday, bytesTotal int64
	envelopes              int64
}

// said is what a server says of itself.
type said struct {
	Name        string        `json:"name,omitempty"`
	Keep        time.Duration `json:"keep,omitempty"`
	Age         time.Duration `json:"age,omitempty"`
	Closing     time.Time     `json:"closing,omitzero"`
	MembersOnly bool          `json:"membersOnly,omitempty"`
	Member      bool          `json:"member,omitempty"`
}

// comparison is one piece of evidence about completeness.
type comparison struct {
	Lacked   int `json:"lacked,omitempty"`
	Of       int `json:"of,omitempty"`
	Withheld int `json:"withheld,omitempty"`
}

func keepLast[T any](list []T, v T) []T {
	if list = append(list, v); len(list) > window {
		list = slices.Delete(list, 0, len(list)-window)
	}
	return list
}

// quantile returns the value that a share q of the list does not exceed; 0 for an empty list.
func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(list))
	return s[max(0, min(len(s)-1, int(q*float64(len(s))+0.999)-1))]
}

// answered returns how many of how many questions were answered well.
func (m *measured) answered() (good, of int) {
	for _, ok := range m.answers {
		if ok {
			good++
		}
	}
	return good, len(m.answers)
}

// completeness returns the share of what the server should have handed over that it did, -1 when that is not known, and
// the evidence.
func (m *measured) completeness() (share float64, sum comparison) {
	for _, c := range m.compared {
		sum.Lacked += c.Lacked
		sum.Of += c.Of
		sum.Withheld += c.Withheld
	}
	if sum.Of+sum.Withheld == 0 {
		return -1, sum
	}
	return 1 - float64(sum.Lacked+sum.Withheld)/float64(sum.Of+sum.Withheld), sum
}

// Note takes in what happened with a server. Of a server that is not known it is passed over.
func (d *Directory) Note(now time.Time, id nodeaddr.ID, ev Event) {
	s := d.servers[id]
	if s == nil {
		return
	}
	now = now.UTC().Round(0)
	switch ev := ev.(type) {
	case Connected:
		if d.noneLeft(now) {
			d.Online() // it was our own network, most likely
		}
		s.noteConnected(now, ev)
	case ConnectionLost:
		s.noteLost(now, ev.Err)
	case ConnectFailed:
		s.noteNoConnection(now, ev.Err)
	case Answered:
		s.noteAnswer(now, ev)
	case Failed:
		s.noteFailure(now, ev.Err)
	case Lacked:
		if ev.Of > 0 {
			s.compared = keepLast(s.compared, comparison{Lacked: min(max(ev.Lacked, 0), ev.Of, maxCount), Of: min(ev.Of, maxCount)})
		}
	case Withheld:
		if ev.N > 0 {
			s.compared = keepLast(s.compared, comparison{Withheld: min(ev.N, maxCount)})
		}
	case Joined:
		s.noteJoin(ev.Err)
	}
	d.touch(id)
}

func (s *server) noteConnected(now time.Time, ev Connected) {
	if !s.connected {
		s.connected, s.since, s.useful = true, now, false
	}
	s.client = clean(ev.Client, MaxName)
	s.said = heard(ev.Caps)
	if s.said.Member {
		s.Token, s.joinError = "", ""
	}
	s.cool.connected()
}

// heard is what a server says of itself, as far as it makes sense.
func heard(c history.Caps) said {
	return said{
		Name: clean(c.Name, MaxName), Keep: max(c.Keep, 0), Age: max(c.Age, 0), Closing: sane(c.Closing),
		MembersOnly: c.MembersOnly, Member: c.Member,
	}
}

// sane is a time that can be written down and shown; others say nothing.
func sane(t time.Time) time.Time {
	if t = t.UTC().Round(0); t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

func (s *server) noteLost(now time.Time, err error) {
	flash := s.connected && !s.useful && now.Sub(s.since) < flashy
	if s.connected {
		s.connected, s.since = false, now
	}
	if flash && counts(err) {
		s.failed(now, err)
		s.cool.unreachable(now)
	}
}

func (s *server) noteNoConnection(now time.Time, err error) {
	if s.connected || s.since.IsZero() {
		s.connected, s.since = false, now
	}
	if counts(err) {
		s.failed(now, err)
		s.cool.unreachable(now)
	}
}

func (s *server) noteAnswer(now time.Time, ev Answered) {
	s.useful, s.lastSuccess = true, now
	s.answers = keepLast(s.answers, true)
	s.first = keepLast(s.first, max(ev.First, 0))
	s.last = keepLast(s.last, max(ev.Last, 0))
	if day := now.Unix() / (24 * 3600); day != s.day {
		s.day, s.bytesToday = day, 0
	}
	n := min(max(ev.Bytes, 0), maxCount)
	s.bytesToday = min(s.bytesToday+n, maxBytes)
	s.bytesTotal = min(s.bytesTotal+n, maxBytes)
	s.envelopes = min(s.envelopes+int64(min(max(ev.Envelopes, 0), maxCount)), maxBytes)
	s.cool.answered(now)
}

func (s *server) noteFailure(now time.Time, err error) {
	if !counts(err) {
		return
	}
	s.answers = keepLast(s.answers, false)
	s.failed(now, err)
	s.cool.failed(now, fault.KindOf(err))
}

func (s *server) failed(now time.Time, err error) {
	s.lastFailure, s.lastError = now, clean(fault.Text(err), maxText)
}

// counts reports whether an error says something about the server: what we ended ourselves does not.
func counts(err error) bool { return err != nil && !fault.Is(err, fault.Closed) }

func (s *server) noteJoin(err error) {
	switch fault.KindOf(err) {
	case fault.Busy, fault.Timeout, fault.Unavailable, fault.Closed:
		return // the token is still good
	}
	s.Token, s.joinError = "", ""
	if err != nil {
		s.joinError = clean(fault.Text(err), maxText)
		return
	}
	s.said.Member = true
	s.cool = cooling{}
}

// clean makes of what others say a text that can be shown.
func clean(text string, max int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text) // which also replaces what is not UTF-8
	if len(text) > max {
		text = strings.ToValidUTF8(text[:max], "")
	}
	return strings.TrimSpace(text)
}
