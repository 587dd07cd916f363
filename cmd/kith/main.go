// Command kith is the server and its tools: it serves, sends and listens as a client, asks and changes over REST, and moves history in and
// out. See kith --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"kith/configs"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // it was tried and did not work
	exitUsage  = 2 // wrong arguments or settings: nothing was tried
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process: it ends when ctx does, and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{environ: os.Environ(), stdin: stdin, stdout: stdout, stderr: stderr}
	return p.run(ctx, args)
}

// program is what the commands have of the process.
type program struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
	began          bool // the arguments were fit to begin with
}

func (p *program) run(ctx context.Context, args []string) int {
	root := newRoot(p)
	root.SetArgs(args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(p.stderr, "kith: %v\n", err) //nolint:errcheck // there is nobody else to tell
	_, settings := errors.AsType[configs.Problems](err)
	_, usage := errors.AsType[usageError](err)
	if settings || usage || !p.began {
		return exitUsage
	}
	return exitFailed
}

// usageError is a wrong argument.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// env returns a variable of the environment.
func (p *program) env(name string) string {
	value := ""
	for _, entry := range p.environ {
		if v, ok := cutVariable(entry, name); ok {
			value = v
		}
	}
	return value
}

func cutVariable(entry, name string) (string, bool) {
	if len(entry) > len(name) && entry[:len(name)] == name && entry[len(name)] == '=' {
		return entry[len(name)+1:], true
	}
	return "", false
}
