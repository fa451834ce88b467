package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"

	"github.com/restante-im/restante/internal/fault"
)

// kind is how values of one sort are read, bounded and shown.
type kind[T any] struct {
	name    string                     // what it is: "whole number"
	unit    string                     // "" = none
	allowed string                     // what may be written, a phrase that can follow "allowed: "
	read    func(v any) (T, error)     // v as go-toml decodes it; an error that completes "<key> ..." otherwise
	show    func(T) string             // as TOML
	bare    func(s string) (any, bool) // reads a value as the command line gives it, unquoted; nil = it is text
}

// refused reports a value outside of what a kind allows.
type refused struct {
	entry   int // in a list, counted from 1; 0 = the value itself
	value   any
	allowed string // of the entry
	reason  string // "" = what was found is said instead
}

func (r *refused) Error() string {
	switch {
	case r.reason != "" && r.entry > 0:
		return fmt.Sprintf(", entry %d: %s", r.entry, r.reason)
	case r.reason != "":
		return ": " + r.reason
	case r.entry > 0:
		return fmt.Sprintf("has as entry %d %s", r.entry, describe(r.value))
	}
	return "is " + describe(r.value)
}

// maxShown bounds how much of a wrong value an error repeats.
const maxShown = 48

func describe(v any) string {
	switch v := v.(type) {
	case string:
		if runes := []rune(v); len(runes) > maxShown {
			v = string(runes[:maxShown]) + "…"
		}
		return "the text " + strconv.Quote(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return "a list"
	case map[string]any:
		return "a section"
	default:
		return "a date or time"
	}
}

func integer(lo, hi int) kind[int] {
	return kind[int]{
		name:    "whole number",
		allowed: fmt.Sprintf("a whole number from %d to %d", lo, hi),
		read: func(v any) (int, error) {
			n, ok := v.(int64)
			if !ok || n < int64(lo) || n > int64(hi) {
				return 0, &refused{value: v}
			}
			return int(n), nil
		},
		show: strconv.Itoa,
		bare: func(s string) (any, bool) { n, err := strconv.ParseInt(s, 10, 64); return n, err == nil },
	}
}

func number(lo, hi float64) kind[float64] {
	return kind[float64]{
		name:    "number",
		allowed: fmt.Sprintf("a number from %g to %g", lo, hi),
		read: func(v any) (float64, error) {
			f, ok := v.(float64)
			if n, whole := v.(int64); whole {
				f, ok = float64(n), true
			}
			if !ok || math.IsNaN(f) || f < lo || f > hi {
				return 0, &refused{value: v}
			}
			return f, nil
		},
		show: func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) },
		bare: func(s string) (any, bool) { f, err := strconv.ParseFloat(s, 64); return f, err == nil },
	}
}

func boolean() kind[bool] {
	return kind[bool]{
		name:    "boolean",
		allowed: "true or false",
		read: func(v any) (bool, error) {
			b, ok := v.(bool)
			if !ok {
				return false, &refused{value: v}
			}
			return b, nil
		},
		show: strconv.FormatBool,
		bare: func(s string) (any, bool) { return s == "true", s == "true" || s == "false" },
	}
}

func duration(lo, hi time.Duration) kind[time.Duration] {
	return kind[time.Duration]{
		name: "duration",
		allowed: fmt.Sprintf(`a duration in quotes such as "90s" or "2h", from %s to %s`,
			showDuration(lo), showDuration(hi)),
		read: func(v any) (time.Duration, error) {
			s, ok := v.(string)
			d, err := time.ParseDuration(s)
			if !ok || err != nil || d < lo || d > hi {
				return 0, &refused{value: v}
			}
			return d, nil
		},
		show: func(d time.Duration) string { return strconv.Quote(showDuration(d)) },
	}
}

// period reads a long time, which may be given in days. With orNone, 0 is allowed besides lo to hi.
func period(lo, hi time.Duration, orNone bool) kind[time.Duration] {
	allowed := fmt.Sprintf(`a time in quotes such as "36h" or "30d", from %s to %s`, showPeriod(lo), showPeriod(hi))
	if orNone {
		allowed += `, or "0s" for no limit`
	}
	return kind[time.Duration]{
		name: "time", allowed: allowed,
		read: func(v any) (time.Duration, error) {
			s, ok := v.(string)
			d, err := parsePeriod(s)
			if !ok || err != nil || (d < lo || d > hi) && !(orNone && d == 0) {
				return 0, &refused{value: v}
			}
			return d, nil
		},
		show: func(d time.Duration) string { return strconv.Quote(showPeriod(d)) },
	}
}

const day = 24 * time.Hour

func parsePeriod(s string) (time.Duration, error) {
	if digits, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(digits, 10, 16)
		return time.Duration(n) * day, err
	}
	return time.ParseDuration(s)
}

func showPeriod(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return showDuration(d)
}

// showDuration drops the zero parts that time.Duration prints: 2h, not 2h0m0s.
func showDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// sizeUnits are the units a size may carry, largest first.
var sizeUnits = [...]struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// size reads a number of bytes, or text with a unit. With orNone, 0 is allowed besides lo to hi.
func size(lo, hi int64, orNone bool) kind[int64] {
	allowed := fmt.Sprintf(`bytes, as a whole number or as text such as "64KiB" or "16MiB", from %s to %s`,
		showSize(lo), showSize(hi))
	if orNone {
		allowed += ", or 0 for no limit"
	}
	return kind[int64]{
		name:    "size",
		unit:    "bytes",
		allowed: allowed,
		read: func(v any) (int64, error) {
			n, ok := readSize(v)
			if !ok || (n < lo || n > hi) && !(orNone && n == 0) {
				return 0, &refused{value: v}
			}
			return n, nil
		},
		show: func(n int64) string {
			if s := showSize(n); n >= kib && !strings.HasSuffix(s, " B") {
				return strconv.Quote(s)
			}
			return strconv.FormatInt(n, 10)
		},
		bare: func(s string) (any, bool) {
			if n, err := strconv.ParseInt(s, 10, 64); err == nil {
				return n, true
			}
			return s, true
		},
	}
}

// printable reports whether s has at most so many characters, all of which can be seen.
func printable(s string, most int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func readSize(v any) (int64, bool) {
	if n, ok := v.(int64); ok {
		return n, true
	}
	s, ok := v.(string)
	if !ok {
		return 0, false
	}
	for _, u := range sizeUnits {
		digits, found := strings.CutSuffix(s, u.name)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n > math.MaxInt64/u.bytes {
			return 0, false
		}
		return n * u.bytes, true
	}
	return 0, false
}

func showSize(n int64) string {
	for _, u := range sizeUnits[:4] {
		if n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprintf("%d%s", n/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// text reads a string that ok accepts.
func text(name, allowed string, ok func(string) bool) kind[string] {
	return kind[string]{
		name:    name,
		allowed: allowed,
		read: func(v any) (string, error) {
			s, isText := v.(string)
			if !isText || !ok(s) {
				return "", &refused{value: v}
			}
			return s, nil
		},
		show: quote,
	}
}

// parsed reads a string that another package's parser accepts; its error says what is wrong.
func parsed(name, allowed string, check func(string) error) kind[string] {
	k := text(name, allowed, func(string) bool { return true })
	read := k.read
	k.read = func(v any) (string, error) {
		s, err := read(v)
		if err != nil {
			return "", err
		}
		if err := check(s); err != nil {
			return "", &refused{value: s, reason: fault.Text(err)}
		}
		return s, nil
	}
	return k
}

// optional lets the empty text pass.
func optional(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
}

func choice(values ...string) kind[string] {
	return text("word", "one of "+quoteAll(values), func(s string) bool { return slices.Contains(values, s) })
}

func logLevel() kind[slog.Level] {
	words := choice("debug", "info", "warn", "error")
	return kind[slog.Level]{
		name:    words.name,
		allowed: words.allowed,
		read: func(v any) (slog.Level, error) {
			s, err := words.read(v)
			if err != nil {
				return 0, err
			}
			var l slog.Level
			return l, l.UnmarshalText([]byte(s))
		},
		show: func(l slog.Level) string { return quote(strings.ToLower(l.String())) },
	}
}

// list reads between lo and hi entries of one kind of text, none twice.
func list(of kind[string], lo, hi int) kind[[]string] {
	count := fmt.Sprintf("at most %d entries", hi)
	if lo > 0 {
		count = fmt.Sprintf("%d to %d entries", lo, hi)
	}
	return kind[[]string]{
		name:    "list of " + plural(of.name),
		allowed: fmt.Sprintf("a list in square brackets, %s, none twice, each %s", count, of.allowed),
		read: func(v any) ([]string, error) {
			entries, ok := v.([]any)
			if !ok {
				return nil, &refused{value: v}
			}
			if len(entries) < lo || len(entries) > hi {
				return nil, fmt.Errorf("has %d entries", len(entries))
			}
			out := make([]string, 0, len(entries))
			for i, e := range entries {
				s, err := of.read(e)
				if r := (*refused)(nil); errors.As(err, &r) {
					return nil, &refused{entry: i + 1, value: e, allowed: of.allowed, reason: r.reason}
				}
				if j := slices.Index(out, s); j >= 0 {
					return nil, fmt.Errorf("has entry %d again as entry %d", j+1, i+1)
				}
				out = append(out, s)
			}
			return out, nil
		},
		show: func(l []string) string { return "[" + quoteAll(l) + "]" },
		bare: func(s string) (any, bool) {
			if s == "" {
				return []any{}, true
			}
			var file struct{ V []any }
			if toml.Unmarshal([]byte("V = "+s), &file) == nil { // as the file writes it; "[::1]:30303" is none
				return file.V, true
			}
			var entries []any
			for e := range strings.SplitSeq(s, ",") {
				entries = append(entries, strings.TrimSpace(e))
			}
			return entries, true
		},
	}
}

func plural(name string) string {
	if strings.HasSuffix(name, "s") {
		return name + "es"
	}
	return name + "s"
}

func quoteAll(l []string) string {
	quoted := make([]string, len(l))
	for i, s := range l {
		quoted[i] = quote(s)
	}
	return strings.Join(quoted, ", ")
}

// quote writes a TOML basic string; control characters must be escaped there as in Go's \u form.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
