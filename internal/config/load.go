package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/restante-im/restante/internal/fault"
)

// maxFile bounds the configuration file. A full one has a few KiB; thousands of node addresses fit.
const maxFile = 4 << 20

// maxErrors bounds how many faults of one file are reported.
const maxErrors = 20

// Error is one fault of a configuration.
type Error struct {
	File string // "" = not from a file
	Line int    // counted from 1; 0 = unknown
	Key  string // full name; "" = the fault is not about one key
	Text string
	pair string // the other key, of a fault between two
}

// Error gives file:line: text, as compilers do.
func (e *Error) Error() string {
	switch {
	case e.File != "" && e.Line > 0:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
	case e.File != "":
		return fmt.Sprintf("%s: %s", e.File, e.Text)
	}
	return e.Text
}

// Errors are the faults of one configuration, in the order of their lines, at most maxErrors.
type Errors []*Error

// Error gives one fault a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads a file over the defaults. Faults of its content are Errors; a file that cannot be read gives a fault with
// a text for people, of kind NotFound if it does not exist.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, unreadable(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, unreadable(path, err)
	}
	if len(data) > maxFile {
		return Config{}, Errors{{File: path, Text: fmt.Sprintf("the file is larger than %s", showSize(maxFile))}}
	}
	return Parse(path, data)
}

func unreadable(path string, err error) error {
	const op = "config: read file"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.E(op, fault.NotFound, err, fmt.Sprintf("there is no configuration file %s", path))
	case errors.Is(err, fs.ErrPermission):
		return fault.E(op, fault.Denied, err, fmt.Sprintf("the configuration file %s may not be read by this user", path))
	}
	return fault.E(op, fault.Unavailable, err, fmt.Sprintf("the configuration file %s cannot be read", path))
}

// Parse reads a file's content over the defaults. name is what errors call the file. It does not retain data.
func Parse(name string, data []byte) (Config, error) {
	c := Default()
	doc := map[string]any{}
	if err := toml.Unmarshal(data, &doc); err != nil {
		return Config{}, Errors{syntaxError(name, err)}
	}
	r := reader{file: name, lines: keyLines(data), into: &c}
	for key, value := range doc {
		if values, ok := value.(map[string]any); ok && isSection(key) {
			for inner, v := range values {
				r.put(key, inner, v)
			}
			continue
		}
		r.put("", key, value)
	}
	if len(r.errs) == 0 {
		r.cross()
	}
	if len(r.errs) > 0 {
		slices.SortFunc(r.errs, func(a, b *Error) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return strings.Compare(a.Text, b.Text)
		})
		return Config{}, r.errs[:min(len(r.errs), maxErrors)]
	}
	return c, nil
}

// syntaxError turns go-toml's error into ours.
func syntaxError(file string, err error) *Error {
	out := &Error{File: file, Text: "not valid TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		out.Line, _ = at.Position()
	}
	return out
}

// keyLines finds the line of each key. It has go-toml's strict mode report every key of the document as unknown, by
// decoding into sections without fields: so positions come from the stable API. A key within an inline table is
// reported without its section.
func keyLines(data []byte) map[string]int {
	lines := map[string]int{}
	var empty struct {
		Network    struct{} `toml:"network"`
		Gossip     struct{} `toml:"gossip"`
		MailServer struct{} `toml:"mailserver"`
		Archive    struct{} `toml:"archive"`
		Inbox      struct{} `toml:"inbox"`
		RPC        struct{} `toml:"rpc"`
		Ops        struct{} `toml:"ops"`
		Log        struct{} `toml:"log"`
	}
	d := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	err := d.Decode(&empty)
	var missing *toml.StrictMissingError
	var other *toml.DecodeError
	if errors.As(err, &missing) {
		for i := range missing.Errors {
			line, _ := missing.Errors[i].Position()
			key := missing.Errors[i].Key()
			for n := range key {
				path := strings.Join(key[:n+1], ".")
				if lines[path] == 0 {
					lines[path] = line
				}
			}
		}
	} else if errors.As(err, &other) {
		// Something stands where a section should: the document has this one fault that we can point to.
		lines[strings.Join(other.Key(), ".")], _ = other.Position()
	}
	return lines
}

// reader puts the values of a decoded document into a configuration and collects faults.
type reader struct {
	file  string
	lines map[string]int
	into  *Config
	errs  Errors
}

func (r *reader) put(section, key string, value any) {
	name := join(section, key)
	k, known := Find(name)
	switch {
	case known:
		if err := k.set(r.into, value); err != nil {
			r.fail(name, k.sentence(err))
		}
	case section == "" && isSection(key):
		r.fail(name, fmt.Sprintf("`%s` is a section: write [%s] on a line of its own and its keys below", key, key))
	default:
		r.fail(name, unknown(section, key, value))
	}
}

func (r *reader) fail(name, text string) {
	line, ok := r.lines[name]
	if !ok {
		line = r.lines[name[strings.LastIndexByte(name, '.')+1:]]
	}
	r.errs = append(r.errs, &Error{File: r.file, Line: line, Key: name, Text: text})
}

// cross reports values that are allowed one by one but not together.
func (r *reader) cross() {
	for _, e := range crossCheck(*r.into) {
		// The pair's other key may be the one that the file sets.
		if _, ok := r.lines[e.Key]; !ok && e.pair != "" {
			e.Key = e.pair
		}
		r.fail(e.Key, e.Text)
	}
}

// Check reports whether each value is within its bounds and the values fit together, as Errors.
func (c Config) Check() error {
	if errs := crossCheck(c); len(errs) > 0 {
		return errs
	}
	// What c holds is read back as if from a file: one implementation of the bounds.
	_, err := Parse("", []byte(Print(c)))
	return err
}

func crossCheck(c Config) (errs Errors) {
	add := func(key, pair, text string) { errs = append(errs, &Error{Key: key, pair: pair, Text: text}) }
	g := c.Gossip
	if g.PoolMaxBytes < g.MaxMessageSize {
		add("gossip.pool_max_bytes", "gossip.max_message_size", fmt.Sprintf("in [gossip], `pool_max_bytes` (%s) is "+
			"less than `max_message_size` (%s): the pool could not hold one large message",
			showSize(g.PoolMaxBytes), showSize(g.MaxMessageSize)))
	}
	if peer, prefix := g.BytesPerSecondPerPeer, g.BytesPerSecondPerPrefix; prefix > 0 && (prefix < peer || peer == 0) {
		add("gossip.bytes_per_second_per_prefix", "gossip.bytes_per_second_per_peer", fmt.Sprintf("in [gossip], "+
			"`bytes_per_second_per_prefix` (%s) is less than `bytes_per_second_per_peer` (%s), though it counts all "+
			"peers of a prefix together", showRate(prefix), showRate(peer)))
	}
	if c.Network.Bridge && len(c.Network.Dialects) < 2 {
		add("network.bridge", "network.dialects", "`bridge` in [network] is true, but `dialects` has only one entry; "+
			"add the other dialect or turn the bridge off")
	}
	if a := c.Archive; a.MaxAge > 0 && a.MaxAge < a.MinAge {
		add("archive.max_age", "archive.min_age", fmt.Sprintf("in [archive], `max_age` (%s) is less than `min_age` (%s), "+
			"for which mail is promised to be kept", showPeriod(a.MaxAge), showPeriod(a.MinAge)))
	}
	if c.Inbox.Use == UseOnly && len(c.Inbox.Servers) == 0 {
		add("inbox.use", "inbox.servers", "`use` in [inbox] is \"only\", but `servers` names no mail server; "+
			"add the one to ask, or set `use` to \"preferred\"")
	}
	return errs
}

func showRate(n int64) string {
	if n == 0 {
		return "no limit"
	}
	return showSize(n)
}

// sentence says which key has which fault and what is allowed.
func (k Key) sentence(err error) string {
	allowed := k.Allowed
	if r := (*refused)(nil); errors.As(err, &r) {
		switch {
		case r.reason != "":
			return k.title() + err.Error()
		case r.entry > 0:
			allowed = r.allowed
		}
	}
	return fmt.Sprintf("%s %v; allowed: %s", k.title(), err, allowed)
}

// title names the key as people see it in the file.
func (k Key) title() string { return title(k.Name) }

func title(name string) string {
	if section, key, dotted := strings.Cut(name, "."); dotted {
		return fmt.Sprintf("`%s` in [%s]", key, section)
	}
	return fmt.Sprintf("`%s`", name)
}

func join(section, key string) string {
	if section == "" {
		return key
	}
	return section + "." + key
}

func isSection(name string) bool {
	return name != "" && slices.ContainsFunc(sections(), func(s section) bool { return s.name == name })
}

// Set puts a value given on the command line into c: bare text, a number, or a list with commas.
func (c *Config) Set(name, value string) error {
	k, ok := Find(name)
	if !ok {
		section, key, dotted := strings.Cut(name, ".")
		if !dotted {
			section, key = "", name
		}
		return Errors{{Key: name, Text: unknown(section, key, value)}}
	}
	var v any = value
	if k.bare != nil {
		if read, ok := k.bare(value); ok {
			v = read
		}
	}
	if err := k.set(c, v); err != nil {
		return Errors{{Key: name, Text: k.sentence(err)}}
	}
	return nil
}
