package coverage

import (
	"fmt"
	"strings"
	"time"

	"github.com/restante-im/restante/internal/nodeaddr"
)

// sentence says what a gap is, and what happens next.
func (g *Gap) sentence(name func(nodeaddr.ID) string) string {
	if g.Envelopes > 0 {
		return g.named(name)
	}
	span := fmt.Sprintf("between %s and %s", clock(g.From), clock(g.To))
	switch g.Cause {
	case Failed:
		return fmt.Sprintf("mail sent %s may be missing: the last mail server failed before its answer was whole; the next catch-up goes on where it stopped", span)
	case OverBudget:
		return fmt.Sprintf("mail sent %s is not fetched yet: the last catch-up had spent its bytes; start another one for the rest", span)
	case Expired:
		return fmt.Sprintf("mail sent %s may be lost: no mail server that was asked keeps mail that long; one that does may still have it", span)
	case Reset:
		return fmt.Sprintf("mail sent %s may be lost: the mail server's archive began anew before it was asked; another server may still have it", span)
	}
	return fmt.Sprintf("mail sent %s is not asked for yet: it comes with the next catch-up that reaches a mail server", span)
}

func (g *Gap) named(name func(nodeaddr.ID) string) string {
	who := names(g.Holders, name)
	if g.Closed {
		return fmt.Sprintf("%s expired before anyone handed %s over; named by %s", messages(g.Envelopes), them(g.Envelopes), who)
	}
	if g.Cause == Expired {
		return fmt.Sprintf("%s named by %s cannot be had there any more; others are asked with each catch-up", messages(g.Envelopes), who)
	}
	return fmt.Sprintf("%s named by %s but not handed over; every server is asked again with each catch-up", messages(g.Envelopes), who)
}

// sentence says how far a topic is known.
func (l *Line) sentence(name func(nodeaddr.ID) string) string {
	var s string
	switch {
	case l.Complete > 0:
		s = fmt.Sprintf("complete until %s, says %s", clock(l.Complete), names(l.By, name))
		if l.Agreed > 0 {
			s += fmt.Sprintf("; until %s two servers agree", clock(l.Agreed))
		}
	case l.Answered > 0:
		s = fmt.Sprintf("answered until %s by %s, which cannot say whether that is all", clock(l.Answered), names(l.AnsweredBy, name))
	default:
		s = "no mail server has answered yet"
	}
	switch n := len(l.Gaps); {
	case n == 1:
		s += "; there is a gap"
	case n > 1:
		s += fmt.Sprintf("; there are %d gaps", n)
	}
	return s
}

func clock(second uint32) string {
	return time.Unix(int64(second), 0).UTC().Format("2006-01-02 15:04:05 UTC")
}

func messages(n int) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

func them(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

func names(list []nodeaddr.ID, name func(nodeaddr.ID) string) string {
	if name == nil {
		name = nodeaddr.ID.Short
	}
	words := make([]string, len(list))
	for i, id := range list {
		words[i] = name(id)
	}
	if len(words) == 0 {
		return "nobody"
	}
	return strings.Join(words, ", ")
}
