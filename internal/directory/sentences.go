package directory

import (
	"fmt"
	"time"

	"github.com/restante-im/restante/internal/nodeaddr"
)

func (d *Directory) sentences(now time.Time, s *server, v *View) []Sentence {
	list := []Sentence{
		{"use", d.useText(now, s, v)},
		{"connection", connectionText(now, v)},
		{"answers", answersText(now, v)},
	}
	add := func(topic, text string) {
		if text != "" {
			list = append(list, Sentence{topic, text})
		}
	}
	add("latency", latencyText(len(s.first), v))
	add("completeness", completenessText(v))
	add("retention", retentionText(v))
	if !v.Closing.IsZero() && now.Before(v.Closing) {
		add("closing", "closes for good on "+day(now, v.Closing)+": add another mail server before")
	}
	add("membership", membershipText(s, v))
	if v.BytesTotal > 0 {
		add("bytes", "sent "+count(int(v.Envelopes), "envelope")+" and "+size(v.BytesTotal)+" in all, "+size(v.BytesToday)+" today")
	}
	return list
}

func (d *Directory) useText(now time.Time, s *server, v *View) string {
	switch {
	case s.Suggested:
		return "suggested by a link, and not asked before you confirm it"
	case s.Paused:
		return "not asked: you paused it"
	case d.only != (nodeaddr.ID{}) && d.only != s.ID():
		name := d.only.Short()
		if only := d.servers[d.only]; only != nil {
			name = only.label()
		}
		return "not asked: you chose to ask only " + name
	case !v.CoolUntil.IsZero():
		return "not asked " + wait(now, v.CoolUntil) + ": " + s.cool.why(s.lastError)
	case d.only == s.ID():
		return "asked, and no other: you chose so"
	case s.closed(now):
		return "not asked: it said that it would close on " + day(now, v.Closing) + "; remove it if it does not come back"
	case v.Used == Primary && s.Preferred:
		return "asked first, as you prefer it"
	case v.Used == Primary:
		return "asked first"
	case v.Used == Second:
		return "asked second, to compare, and in place of the first when that fails"
	}
	return "in reserve: asked when others fail"
}

// wait is for how long, or until when.
func wait(now, until time.Time) string {
	if left := until.Sub(now); left < 2*time.Minute {
		return "for another " + count(int(left.Round(time.Second)/time.Second), "second")
	}
	return "until " + clock(now, until)
}

// why says what a cool-down is for.
func (c *cooling) why(lastError string) string {
	switch c.Cause {
	case lied:
		return "it sent what does not check out (" + lastError + ")"
	case refused:
		return "it refused (" + lastError + ")"
	case unreachable:
		return "it could not be reached (" + lastError + ")"
	}
	return "it failed (" + lastError + ")"
}

func connectionText(now time.Time, v *View) string {
	switch {
	case v.Connected:
		return "connected since " + clock(now, v.Since)
	case !v.Since.IsZero():
		return "not connected since " + clock(now, v.Since)
	}
	return "not connected yet"
}

func answersText(now time.Time, v *View) string {
	failure := ""
	if !v.LastFailure.IsZero() {
		failure = "; last failure " + clock(now, v.LastFailure) + ": " + v.LastError
	}
	if v.Asked == 0 {
		return "not asked anything yet" + failure
	}
	text := fmt.Sprintf("answered %d of %s", v.Answered, lastCount(v.Asked, "question"))
	if !v.LastSuccess.IsZero() {
		text += ", last " + clock(now, v.LastSuccess)
	}
	return text + failure
}

func latencyText(n int, v *View) string {
	switch {
	case n == 0:
		return ""
	case n == 1:
		return "one answer so far: it began after " + latency(v.FirstP50) + " and was complete after " + latency(v.LastP50)
	}
	most := "all"
	if n >= 20 {
		most = "95 %" // of fewer the slowest one is that
	}
	return fmt.Sprintf("of %s, half began within %s and half were complete within %s; %s began within %s",
		lastCount(n, "answer"), latency(v.FirstP50), latency(v.LastP50), most, latency(v.FirstP95))
}

// lastCount says how much evidence there is, and when that is not all there was.
func lastCount(n int, what string) string {
	if n == window {
		return "the last " + count(n, what)
	}
	return count(n, what)
}

func completenessText(v *View) string {
	text := "not compared with another mail server yet"
	if v.Compared > 0 {
		text = fmt.Sprintf("had %d of %s that others handed over", v.Compared-v.Lacked, count(v.Compared, "envelope"))
	}
	if v.Withheld > 0 {
		text += fmt.Sprintf("; named %s that it did not hand over", count(v.Withheld, "envelope"))
	}
	return text
}

func retentionText(v *View) string {
	switch {
	case v.Keep > 0 && v.Age > 0:
		return "says that it keeps mail for at least " + span(v.Keep) + " and deletes it after " + span(v.Age)
	case v.Keep > 0:
		return "says that it keeps mail for at least " + span(v.Keep)
	case v.Age > 0:
		return "says that it deletes mail after " + span(v.Age) + ", or earlier"
	}
	return "does not say for how long it keeps mail"
}

func membershipText(s *server, v *View) string {
	switch {
	case v.MembersOnly && v.Member:
		return "serves members only; you are one"
	case s.Token != "":
		return "your invitation is redeemed at the next contact"
	case s.joinError != "":
		return "your invitation did not work (" + s.joinError + "): ask the operator for a new one"
	case v.MembersOnly:
		return "serves members only, and you are none: ask the operator for an invitation"
	}
	return ""
}

// clock is a time for people; day is its date.
func clock(now, t time.Time) string {
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04 UTC")
	}
	return day(now, t) + t.Format(" 15:04 UTC")
}

func day(now, t time.Time) string {
	if t.Year() != now.Year() {
		return t.Format("2 Jan 2006")
	}
	return t.Format("2 Jan")
}

func latency(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// span is a long time, rounded down.
func span(d time.Duration) string {
	const aDay = 24 * time.Hour
	switch {
	case d >= 2*aDay:
		return count(int(d/aDay), "day")
	case d >= 2*time.Hour:
		return count(int(d/time.Hour), "hour")
	case d >= 2*time.Minute:
		return count(int(d/time.Minute), "minute")
	}
	return count(int(d/time.Second), "second")
}

func size(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return count(int(n), "byte")
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
