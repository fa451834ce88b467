package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// printable makes text from others harmless on a terminal: control characters, invalid UTF-8 and characters that
// reorder or hide text appear escaped, line breaks and tabs too.
func printable(s string) string {
	if strings.IndexFunc(s, isUnsafe) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case isUnsafe(r) && r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case isUnsafe(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// isUnsafe reports control characters (C0, DEL, C1), those that change direction or are invisible, and line separators.
// Joiners (U+200C, U+200D) stay: scripts and emoji need them.
func isUnsafe(r rune) bool {
	switch {
	case r == '\u200c' || r == '\u200d':
		return false
	case r == '\u2028' || r == '\u2029':
		return true
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co)
}

// isText reports whether a payload is worth showing as text. Binary data is hardly ever valid UTF-8 without a zero byte.
func isText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

// maxHex is how many bytes of a payload that is no text are shown.
const maxHex = 32

// showPayload gives a payload as lines for a terminal.
func showPayload(b []byte) []string {
	if len(b) == 0 {
		return []string{"(empty)"}
	}
	if !isText(b) {
		digits := hex.EncodeToString(b[:min(len(b), maxHex)])
		if len(b) > maxHex {
			digits += "…"
		}
		return []string{fmt.Sprintf("(%d bytes that are not text: 0x%s)", len(b), digits)}
	}
	var lines []string
	for line := range strings.SplitSeq(strings.TrimRight(string(b), "\r\n"), "\n") {
		lines = append(lines, printable(strings.TrimSuffix(line, "\r")))
	}
	return lines
}

// short abbreviates a public key or an id.
func short(s string) string {
	const head, tail = 10, 4
	if len(s) <= head+tail+1 {
		return s
	}
	return s[:head] + "…" + s[len(s)-tail:]
}

// printJSON writes one object a line. Characters that a terminal might obey are escaped, which JSON allows.
func printJSON(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range string(data) {
		switch {
		case !isUnsafe(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	_, err = fmt.Fprintln(w, b.String())
	return err
}

// showAge gives a length of time in its two largest units.
func showAge(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd %dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// showBytes gives a size with a unit.
func showBytes(n int64) string {
	const unit = 1 << 10
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	value, names := float64(n)/unit, "KMGT"
	for value >= unit && len(names) > 1 {
		value, names = value/unit, names[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, names[0])
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
