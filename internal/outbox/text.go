package outbox

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// text says how a letter stands.
func (m *Machine) text(l *letter) string {
	switch l.State {
	case StateHeld:
		return m.heldText(l.Holders)
	case StateFailed:
		text := "failed: " + l.Err
		if l.Peers > 0 {
			text += " (it was accepted by " + count(l.Peers, "peer") + ")"
		}
		return text
	case StateAccepted:
		text := "accepted by " + count(l.Peers, "peer") + "; "
		switch {
		case l.Done:
			return text + "no mail server was known, so only who was online got it"
		case m.known == 0:
			return text + "no mail server is known, so only who is online gets it: add a mail server"
		}
		return text + "no mail server has said yet that it holds it"
	}
	switch {
	case l.Err != "" && l.phase == waiting:
		return fmt.Sprintf("not sent yet: %s; the next try is at %s", l.Err, l.next.Format("15:04:05 UTC"))
	case l.Err != "":
		return "not sent yet: " + l.Err + "; it is tried again"
	case l.posted():
		return "sent; no peer has confirmed it yet"
	case l.env != nil:
		return "waiting to be sent"
	}
	return "being sealed"
}

func (m *Machine) heldText(list []Holder) string {
	var dated, over []time.Time
	var now []Holder
	for _, h := range list {
		switch {
		case h.Until.IsZero():
			now = append(now, h)
		case h.Until.After(m.now):
			now, dated = append(now, h), append(dated, h.Until)
		default:
			over = append(over, h.Until)
		}
	}
	if len(now) == 0 {
		return "was held by " + m.named(list) + " until " + m.day(slices.MaxFunc(over, time.Time.Compare))
	}
	text := "held by " + m.named(now)
	if len(dated) == 0 {
		return text + "; until when is not known"
	}
	least, most := m.day(slices.MinFunc(dated, time.Time.Compare)), m.day(slices.MaxFunc(dated, time.Time.Compare))
	switch {
	case len(dated) < len(now):
		return text + ", by one of them until " + most
	case least != most:
		return text + " until " + least + ", by one of them until " + most
	}
	return text + " until " + least
}

// named counts holders and names them.
func (m *Machine) named(list []Holder) string {
	text := count(len(list), "mail server")
	if m.cfg.Name == nil {
		return text
	}
	var names []string
	for _, h := range list {
		names = append(names, m.cfg.Name(h.Server))
	}
	return text + " (" + strings.Join(names, ", ") + ")"
}

// day is a date for people, with the year where it is another one.
func (m *Machine) day(t time.Time) string {
	if t.Year() != m.now.Year() {
		return t.Format("2 Jan 2006")
	}
	return t.Format("2 Jan")
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
