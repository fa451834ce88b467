package cli

import (
	"strings"

	"rsc.io/qr"

	"github.com/restante-im/restante/internal/fault"
)

const (
	quietZone = 4 // light modules around the code, as its standard wants
	// Black on white from the part of the palette that themes do not touch: the code looks alike on dark and light
	// terminals, and no reader has to cope with an inverted one.
	qrColours = "\x1b[38;5;16;48;5;231m"
	qrReset   = "\x1b[0m"
)

// qrText draws text as a QR code for a terminal, two modules in the height of a character. It takes about 2900 bytes of
// text; more is a Limit fault.
func qrText(text string) (string, error) {
	code, err := qr.Encode(text, qr.L) // nothing smudges a screen, and fewer modules fit more screens
	if err != nil {
		return "", fault.E("cli: draw a QR code", fault.Limit, err, "the link is too long for a QR code; hand it over as text")
	}
	var b strings.Builder
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		b.WriteString(qrColours)
		for x := -quietZone; x < code.Size+quietZone; x++ {
			switch upper, lower := code.Black(x, y), code.Black(x, y+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteString(qrReset + "\n")
	}
	return b.String(), nil
}
