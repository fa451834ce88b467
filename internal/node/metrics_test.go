package node

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestMetricsAreDocumented holds the table of metrics against docs/metrics.md, both ways.
func TestMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(restante_[a-z_]+)(?:\\{[a-z]+\\})?` \\| [a-z]+ \\| (.+) \\|$").FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = m[2]
	}
	for _, r := range slices.Concat(gossipRows(), otherRows(), mailRows(), inboxRows()) {
		if documented[r.name] != r.help && documented[r.name] != "" {
			t.Errorf("%s is documented as %q, the program says %q", r.name, documented[r.name], r.help)
		}
		if _, ok := documented[r.name]; !ok {
			t.Errorf("%s is not in docs/metrics.md", r.name)
		}
	}
	for name := range documented {
		found := false
		for _, r := range slices.Concat(gossipRows(), otherRows(), mailRows(), inboxRows()) {
			found = found || r.name == name
		}
		if !found {
			t.Errorf("docs/metrics.md lists %s, which does not exist", name)
		}
	}
}
