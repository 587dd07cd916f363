package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a Kith in a child process: what can be killed, and what has a data folder of its own.
type process struct {
	MQTT, HTTP     string // host:port, as the first line of its output tells
	Stdout, Stderr safeBuffer
	cmd            *exec.Cmd
	ended          chan struct{} // closed when it has
	err            error         // how, after ended
}

// startProcess runs kith serve in folder dir on free ports, and kills it at the end of the test.
func startProcess(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	p, err := launch(dir, os.Environ(), args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("kith's output:\n%s%s", &p.Stdout, &p.Stderr)
		}
	})
	return p
}

// launch starts kith serve and returns when it listens.
func launch(dir string, environ, args []string) (*process, error) {
	args = append([]string{"serve", "--listen-mqtt", "127.0.0.1:0", "--listen-http", "127.0.0.1:0"}, args...)
	p := &process{cmd: exec.Command("kith", args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = dir, environ, &p.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	listens := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			fmt.Fprintln(&p.Stdout, lines.Text())
			if _, at, ok := strings.Cut(lines.Text(), " listens:"); ok {
				listens <- at
			}
		}
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	select {
	case at := <-listens:
		for field := range strings.FieldsSeq(at) {
			switch name, addr, _ := strings.Cut(field, "="); name {
			case "mqtt":
				p.MQTT = addr
			case "http":
				p.HTTP = addr
			}
		}
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("kith serve ended (%w):\n%s", errors.Join(p.err), &p.Stderr)
	case <-time.After(patience):
		p.kill()
		return nil, fmt.Errorf("kith serve does not listen:\n%s", &p.Stderr)
	}
}

// kill ends it without a warning, as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// signal sends a signal.
func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// wait waits for its end and returns the exit code, -1 for one that a signal ended.
func (p *process) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatal("kith does not end")
		return 0
	}
}
