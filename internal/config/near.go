package config

import (
	"fmt"
	"strings"
)

// unknown says that there is no such key, and which one may be meant: the same key in another section, or the nearest
// by spelling.
func unknown(section, key string, value any) string {
	what := "unknown key `" + clip(key) + "`"
	if _, isTable := value.(map[string]any); isTable {
		if section == "" {
			return unknownSection(key)
		}
		what = fmt.Sprintf("unknown section [%s.%s]", section, clip(key))
	} else if section != "" {
		what += " in [" + clip(section) + "]"
	}
	for _, k := range table() {
		if name := join(section, key); k.Name != name && lastPart(k.Name) == key {
			return fmt.Sprintf("%s; did you mean %s?", what, k.title())
		}
	}
	best, found := nearest(key, func(yield func(string) bool) {
		for _, k := range table() {
			if strings.HasPrefix(k.Name, section+".") || section == "" && !strings.Contains(k.Name, ".") {
				if !yield(lastPart(k.Name)) {
					return
				}
			}
		}
	})
	if !found {
		return what + "; `restante config explain` lists all keys"
	}
	return fmt.Sprintf("%s; did you mean `%s`?", what, best)
}

func unknownSection(name string) string {
	best, found := nearest(name, func(yield func(string) bool) {
		for _, s := range sections() {
			if s.name != "" && !yield(s.name) {
				return
			}
		}
	})
	if !found {
		return fmt.Sprintf("unknown section [%s]; `restante config explain` lists all keys", clip(name))
	}
	return fmt.Sprintf("unknown section [%s]; did you mean [%s]?", clip(name), best)
}

func lastPart(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// Near returns the key names nearest to a name that Find does not know, by full name or last part; "" if none is near.
func Near(name string) string {
	for _, k := range table() {
		if lastPart(k.Name) == name {
			return k.Name
		}
	}
	best, _ := nearest(name, func(yield func(string) bool) {
		for _, k := range table() {
			if !yield(k.Name) {
				return
			}
		}
	})
	return best
}

// nearest returns the first of the candidates with the fewest edits from s, if they are few for its length.
func nearest(s string, candidates func(yield func(string) bool)) (best string, ok bool) {
	least := max(2, len(s)/3) + 1
	if len(s) > maxShown {
		return "", false
	}
	for c := range candidates {
		if d := edits(strings.ToLower(s), c); d < least {
			best, least, ok = c, d, true
		}
	}
	return best, ok
}

// edits is the number of letters to insert, drop or replace, and of neighbours to swap, that turn a into b.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// clip bounds how much of an unknown name is repeated, and makes it printable.
func clip(s string) string {
	quoted := quote(s)
	s = quoted[1 : len(quoted)-1]
	if runes := []rune(s); len(runes) > maxShown {
		return string(runes[:maxShown]) + "…"
	}
	return s
}
