package cli

// Internal: the commands that draw a code take a whole node; the drawing is worth a test of its own.

import (
	"strings"
	"testing"

	"rsc.io/qr"

	"github.com/restante-im/restante/internal/fault"
)

// TestQRText reads the drawing back, module by module.
func TestQRText(t *testing.T) {
	for _, text := range []string{"", "a", "restante://join?server=enode%3A%2F%2F" + strings.Repeat("0a", 64) + "&token=" +
		strings.Repeat("k", 26), strings.Repeat("é", 1400)} {
		drawing, err := qrText(text)
		if err != nil {
			t.Fatalf("%d bytes: %v", len(text), err)
		}
		want, err := qr.Encode(text, qr.L)
		if err != nil {
			t.Fatal(err)
		}
		var rows [][]bool
		for line := range strings.Lines(drawing) {
			line, begins := strings.CutPrefix(line, "\x1b[38;5;16;48;5;231m")
			line, ends := strings.CutSuffix(line, "\x1b[0m\n")
			if !begins || !ends {
				t.Fatalf("%d bytes: a line is not in black on white: %q", len(text), line)
			}
			var upper, lower []bool
			for _, r := range line {
				upper = append(upper, r == '█' || r == '▀')
				lower = append(lower, r == '█' || r == '▄')
				if !strings.ContainsRune("█▀▄ ", r) {
					t.Fatalf("%d bytes: %q is in the drawing", len(text), r)
				}
			}
			rows = append(rows, upper, lower)
		}
		if n := want.Size + 2*quietZone; len(rows) < n || len(rows) > n+1 {
			t.Fatalf("%d bytes: %d rows, want %d", len(text), len(rows), n)
		}
		for y, row := range rows {
			if len(row) != want.Size+2*quietZone {
				t.Fatalf("%d bytes: row %d has %d modules", len(text), y, len(row))
			}
			for x, dark := range row {
				if dark != want.Black(x-quietZone, y-quietZone) {
					t.Fatalf("%d bytes: the module at %d, %d is wrong", len(text), x-quietZone, y-quietZone)
				}
			}
		}
	}
}

func TestQRTextTooLong(t *testing.T) {
	if _, err := qrText(strings.Repeat("é", 1500)); !fault.Is(err, fault.Limit) {
		t.Error(err)
	}
}
