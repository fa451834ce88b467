package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/config"
)

// TestSetListsInBothForms: bare with commas, and as the file writes them.
func TestSetListsInBothForms(t *testing.T) {
	for text, want := range map[string][]string{
		"":                           {},
		":1":                         {":1"},
		"127.0.0.1:1, [::1]:2":       {"127.0.0.1:1", "[::1]:2"},
		"[::1]:2":                    {"[::1]:2"},
		`["127.0.0.1:1", "[::1]:2"]`: {"127.0.0.1:1", "[::1]:2"},
		"[]":                         {},
	} {
		c := config.Default()
		if err := c.Set("network.listen", text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, append([]string{}, c.Network.Listen...)); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	c := config.Default()
	if err := c.Set("network.listen", "[1]"); err == nil {
		t.Error("a number was taken for an address")
	}
}
