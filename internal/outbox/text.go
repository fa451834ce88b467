package outbox

import (
	"fmt"
	"slices"
	"time"
)

// text says how the letter stands.
func (l *letter) text(now time.Time, known int) string {
	switch l.State {
	case StateHeld:
		return heldText(l.Holders, now)
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
		case known == 0:
			return text + "no mail server is known, so only who is online gets it: add a mail server"
		}
		return text + "no mail server has said yet that it holds it"
	}
	switch {
	case l.Err != "" && l.phase == waiting:
		return fmt.Sprintf("not sent yet: %s; the next try is at %s", l.Err, l.next.Format("15:04 UTC"))
	case l.Err != "":
		return "not sent yet: " + l.Err + "; it is tried again"
	case l.posted():
		return "sent; no peer has confirmed it yet"
	case l.env != nil:
		return "waiting to be sent"
	}
	return "being sealed"
}

func heldText(list []Holder, now time.Time) string {
	var dated []time.Time
	undated := 0
	var last time.Time
	for _, h := range list {
		switch {
		case h.Until.IsZero():
			undated++
		case h.Until.After(now):
			dated = append(dated, h.Until)
		case h.Until.After(last):
			last = h.Until
		}
	}
	n := undated + len(dated)
	if n == 0 {
		return "was held by " + count(len(list), "mail server") + " until " + day(last, now)
	}
	text := "held by " + count(n, "mail server")
	if len(dated) == 0 {
		return text + "; until when is not known"
	}
	slices.SortFunc(dated, time.Time.Compare)
	least, most := day(dated[0], now), day(dated[len(dated)-1], now)
	switch {
	case undated > 0:
		return text + ", by one of them until " + most
	case least != most:
		return text + " until " + least + ", by one of them until " + most
	}
	return text + " until " + least
}

// day is a date for people, with the year where it is another one.
func day(t, now time.Time) string {
	if t.Year() != now.Year() {
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
