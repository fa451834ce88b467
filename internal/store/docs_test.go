package store_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/restante-im/restante/internal/store"
)

// TestDocs: docs/inbox-format.md names every table and column.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/inbox-format.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(text), "\n**`")
	name := regexp.MustCompile(`(?m)^\t+(?:CREATE TABLE (\w+)|(\w+) +(?:INTEGER|BLOB|TEXT) )`)
	section, found := "", 0
	for _, m := range name.FindAllStringSubmatch(strings.Join(store.Schema(), "\n"), -1) {
		if m[1] != "" {
			section = ""
			for _, s := range sections {
				if strings.HasPrefix(s, m[1]+"`**") {
					section = s
				}
			}
		}
		if found++; section == "" || m[2] != "" && !strings.Contains(section, "`"+m[2]+"`") {
			t.Errorf("docs/inbox-format.md does not explain %s%s", m[1], m[2])
		}
	}
	if found < 35 {
		t.Errorf("only %d names found: look at this test", found)
	}
}
