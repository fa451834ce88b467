package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/restante-im/restante/internal/history"
)

// fetchReport is the JSON form of a report. The help of fetch describes it.
type fetchReport struct {
	End          string            `json:"end"`
	Error        string            `json:"error,omitempty"`
	Form         string            `json:"form,omitempty"`
	Server       string            `json:"server,omitempty"`
	Cursor       string            `json:"cursor,omitempty"`
	Epoch        string            `json:"epoch,omitempty"`
	FirstArrival uint64            `json:"firstArrival,omitempty"`
	LastArrival  uint64            `json:"lastArrival,omitempty"`
	From         time.Time         `json:"from"`
	To           time.Time         `json:"to,omitzero"`
	Envelopes    uint64            `json:"envelopes"`
	Opened       uint64            `json:"opened"`
	Bytes        int64             `json:"bytes"`
	Received     int64             `json:"received"`
	Duplicates   uint64            `json:"duplicates"`
	Discarded    map[string]uint64 `json:"discarded"`
	Unsent       int               `json:"unsent"`
	Restarted    bool              `json:"restarted"`
	Seconds      float64           `json:"seconds"`
}

func (s *fetched) report(r history.Report, err error) fetchReport {
	out := fetchReport{End: r.End.String(), Server: first(s.server.Name, s.server.Client), Cursor: r.Resume.String(),
		From: time.Unix(int64(r.From), 0).UTC(), Envelopes: r.Envelopes, Opened: s.opened, Bytes: r.Bytes, Received: r.Received,
		Duplicates: r.Duplicates, Discarded: map[string]uint64{}, Unsent: r.Unsent, Restarted: r.Restarted, Seconds: r.Took.Seconds()}
	if err != nil {
		out.Error = classify(err).text
	}
	if r.Form != 0 {
		out.Form = formName(r.Form)
	}
	if r.To != 0 {
		out.To = time.Unix(int64(r.To), 0).UTC()
	}
	if r.LastArrival != 0 {
		out.Epoch, out.FirstArrival, out.LastArrival = fmt.Sprintf("%x", r.Epoch), r.FirstArrival+1, r.LastArrival
	}
	for reason, n := range r.Discarded {
		if n > 0 {
			out.Discarded[history.Reason(reason).String()] = n
		}
	}
	return out
}

// formName names a form as --form does.
func formName(f history.Form) string {
	if f == history.ByArrival {
		return "mail1"
	}
	return f.String()
}

// progressBar is one line on standard error that is drawn over and over, if that is a terminal.
type progressBar struct {
	app   *App
	width int // 0: there is none
	began time.Time
	drawn bool
}

func newProgressBar(a *App) *progressBar {
	b := &progressBar{app: a, began: a.now()}
	if a.Terminal != nil {
		b.width = a.Terminal.Width()
	}
	return b
}

// clear makes room for other lines.
func (b *progressBar) clear() {
	if b.drawn {
		fmt.Fprint(b.app.Err, "\r\x1b[K")
		b.drawn = false
	}
}

const (
	barLength = 20 // of the bar itself
	barLeast  = 40 // columns below which there is none
)

func (b *progressBar) draw(p history.Progress) {
	if b.width < barLeast {
		return
	}
	line := fmt.Sprintf("%s, %s, %s", plural(int(p.Envelopes), "envelope", "envelopes"), showBytes(p.Received),
		b.app.now().Sub(b.began).Round(time.Second))
	if p.Share >= 0 {
		full := int(p.Share * barLength)
		line = fmt.Sprintf("[%s%s] %3d%%  %s", strings.Repeat("#", full), strings.Repeat(".", barLength-full), int(p.Share*100), line)
	}
	if len(line) >= b.width {
		line = line[:b.width-1]
	}
	b.clear()
	fmt.Fprint(b.app.Err, line)
	b.drawn = true
}
