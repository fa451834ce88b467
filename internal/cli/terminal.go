package cli

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/term"
)

// SystemTerminal asks on the process's controlling terminal, so that standard input stays free for the message.
func SystemTerminal() Terminal { return tty{} }

type tty struct{}

// open gives the terminal's two directions.
func (tty) open() (in, out *os.File, err error) {
	if runtime.GOOS != "windows" {
		f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		return f, f, err
	}
	if in, err = os.OpenFile("CONIN$", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	if out, err = os.OpenFile("CONOUT$", os.O_RDWR, 0); err != nil {
		in.Close()
	}
	return in, out, err
}

// Interactive reports whether there is a terminal.
func (t tty) Interactive() bool {
	in, out, err := t.open()
	if err != nil {
		return false
	}
	defer in.Close()
	defer out.Close()
	return term.IsTerminal(int(in.Fd()))
}

// Secret reads a line without echo.
func (t tty) Secret(prompt string) (string, error) {
	in, out, err := t.open()
	if err != nil {
		return "", err
	}
	defer in.Close()
	defer out.Close()
	fmt.Fprint(out, prompt)
	line, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(out)
	return string(line), err
}

// Width measures standard error.
func (tty) Width() int {
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil {
		return 0
	}
	return width
}
