package cli

import (
	"bufio"
	"io"

	"rsc.io/qr"
)

// writeQR draws a text as a QR code, two modules a character. With colours it is
// black on white whatever the terminal's colours are.
func writeQR(w io.Writer, text string, colours bool) error {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return err
	}
	const quiet = 4 // modules around it that the standard asks for
	b := bufio.NewWriter(w)
	for y := -quiet; y < code.Size+quiet; y += 2 {
		if colours {
			_, _ = b.WriteString("\x1b[38;5;16;48;5;231m")
		}
		for x := -quiet; x < code.Size+quiet; x++ {
			upper, lower := code.Black(x, y), code.Black(x, y+1)
			if !colours { // light on dark, as terminals mostly are
				upper, lower = !upper, !lower
			}
			switch {
			case upper && lower:
				_, _ = b.WriteString("█")
			case upper:
				_, _ = b.WriteString("▀")
			case lower:
				_, _ = b.WriteString("▄")
			default:
				_, _ = b.WriteString(" ")
			}
		}
		if colours {
			_, _ = b.WriteString("\x1b[0m")
		}
		_, _ = b.WriteString("\n")
	}
	return b.Flush()
}
