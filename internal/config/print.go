package config

import (
	"fmt"
	"strings"
)

// Print writes c as a file with every key, such as Parse reads.
func Print(c Config) string {
	var b strings.Builder
	Walk(func(section, _ string) { fmt.Fprintf(&b, "\n[%s]\n", section) },
		func(k Key) { fmt.Fprintf(&b, "%s = %s\n", k.Short(), k.show(c)) })
	return b.String()
}

// Example writes a commented file: each key explained, and set to its default in a comment.
func Example() string {
	var b strings.Builder
	b.WriteString(exampleHead)
	Walk(func(section, help string) { fmt.Fprintf(&b, "\n\n# %s\n[%s]\n", help, section) }, func(k Key) {
		b.WriteString("\n")
		for _, line := range Wrap(k.Help, 100) {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		for _, line := range Wrap("Allowed: "+k.Allowed+". "+k.ReloadText(), 100) {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		if k.Example != "" {
			fmt.Fprintf(&b, "# For example: %s = %s\n", k.Short(), k.Example)
		}
		fmt.Fprintf(&b, "#%s = %s\n", k.Short(), k.Default)
	})
	return b.String()
}

const exampleHead = `# Restante's configuration: every key, with its default in a comment. Remove the # to change one.
# "restante config check" checks the file; an unknown key or a value out of bounds is an error.
# This file is printed by "restante config print --example".
`

// Explain describes a key for a terminal.
func (k Key) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", k.Name)
	for _, line := range Wrap(k.Help, 76) {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	b.WriteString("\n")
	field := func(name, value string) {
		for i, line := range Wrap(value, 66) {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "  %-9s %s\n", name, line)
		}
	}
	field("type", k.TypeText())
	field("allowed", k.Allowed)
	field("default", k.Default)
	if k.Example != "" {
		field("example", k.Example)
	}
	field("change", k.ReloadText())
	return b.String()
}

// Short is the key's name within its section.
func (k Key) Short() string { return lastPart(k.Name) }

// TypeText names the type with its unit.
func (k Key) TypeText() string {
	if k.Unit != "" {
		return k.Type + " in " + k.Unit
	}
	return k.Type
}

// ReloadText says whether a change needs a restart.
func (k Key) ReloadText() string {
	if k.Reload {
		return "Taken over on reload (SIGHUP)."
	}
	return "Needs a restart."
}

// Walk visits the table in order: the keys at the top of the file, then each section's head and keys.
func Walk(head func(section, help string), visit func(Key)) {
	keys := table()
	for _, s := range sections() {
		if s.name != "" {
			head(s.name, s.help)
		}
		for _, k := range keys {
			if strings.HasPrefix(k.Name, s.name+".") || s.name == "" && !strings.Contains(k.Name, ".") {
				visit(k)
			}
		}
	}
}

// Wrap breaks text into lines of at most width runes where its words allow.
func Wrap(s string, width int) []string {
	var lines []string
	var line strings.Builder
	length := 0
	for _, word := range strings.Fields(s) {
		n := len([]rune(word))
		if length > 0 && length+1+n > width {
			lines = append(lines, line.String())
			line.Reset()
			length = 0
		}
		if length > 0 {
			line.WriteByte(' ')
			length++
		}
		line.WriteString(word)
		length += n
	}
	if length > 0 {
		lines = append(lines, line.String())
	}
	return lines
}
