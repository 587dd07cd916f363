package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// lines is where a person types and reads: a terminal that keeps the line being typed below what arrives, or any pair
// of streams.
type lines struct {
	io.Writer
	read    func() (string, error) // io.EOF at the end, or at Ctrl-C and Ctrl-D
	restore func()
}

// openLines uses stdin and stdout as a terminal where both are one.
func openLines(stdin io.Reader, stdout io.Writer, prompt string) (*lines, error) {
	in, inFile := stdin.(*os.File)
	out, outFile := stdout.(*os.File)
	if !inFile || !outFile || !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return plainLines(stdin, stdout), nil
	}
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("prepare the terminal: %w", err)
	}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, prompt)
	if width, height, err := term.GetSize(int(out.Fd())); err == nil && width > 0 {
		if err := t.SetSize(width, height); err != nil {
			return nil, fmt.Errorf("prepare the terminal: %w", err)
		}
	}
	return &lines{Writer: t, read: t.ReadLine, restore: func() {
		_ = term.Restore(int(in.Fd()), state) // the process ends
		_, _ = fmt.Fprintln(out)
	}}, nil
}

const longestLine = 64 << 10

func plainLines(stdin io.Reader, stdout io.Writer) *lines {
	scanner := bufio.NewScanner(stdin)
	scanner.Buffer(nil, longestLine)
	return &lines{Writer: stdout, restore: func() {}, read: func() (string, error) {
		if scanner.Scan() {
			return scanner.Text(), nil
		}
		if err := scanner.Err(); err != nil {
			return "", err
		}
		return "", io.EOF
	}}
}
