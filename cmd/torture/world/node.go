package world

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// restartAfter is how long a node that ended by itself stays down.
const restartAfter = 200 * time.Millisecond

// Node is a kith serve, and its links.
type Node struct {
	Name    string
	Clients *Link // from clients
	Redis   *Link // to Redis; nil for an embedded store, and with Sentinels, which tell the way themselves
	Data    string

	kith   string
	config string
	clock  string // the file that sets its clock
	disk   *disk  // nil: none of its own
	http   string
	log    journal

	hold   sync.Mutex // while held, the node is not started
	mu     sync.Mutex
	cmd    *exec.Cmd // nil: not running
	ends   int       // how often it ended that nobody wanted
	killed bool      // it was told to
}

// run keeps the node up until ctx ends, and returns when the process has ended.
func (n *Node) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := n.once(ctx)
		n.mu.Lock()
		wanted := n.killed || ctx.Err() != nil
		if !wanted {
			n.ends++
		}
		n.killed = false
		n.mu.Unlock()
		_, _ = fmt.Fprintf(&n.log, "-- %s ended: %v\n", n.Name, err) // a note for whoever reads the log
		select {
		case <-time.After(restartAfter):
		case <-ctx.Done():
		}
	}
}

// once starts the process and waits for its end; at the end of ctx it is asked to stop.
func (n *Node) once(ctx context.Context) error {
	n.hold.Lock()
	if ctx.Err() != nil {
		n.hold.Unlock()
		return ctx.Err()
	}
	cmd := exec.CommandContext(ctx, n.kith, "serve", "--config", n.config) //nolint:gosec // the program to torment
	cmd.Env = append(os.Environ(), clockFile+"="+n.clock)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &n.log, &n.log, filepath.Dir(n.config)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	err := cmd.Start()
	n.mu.Lock()
	n.cmd = cmd
	n.mu.Unlock()
	n.hold.Unlock()
	if err == nil {
		err = cmd.Wait()
	}
	n.mu.Lock()
	n.cmd = nil
	n.mu.Unlock()
	return err
}

// stopTimeout is how long a node may take to stop in order.
const stopTimeout = 20 * time.Second

// Kill ends the process as a crash does, and keeps it down until Revive.
func (n *Node) Kill() {
	n.hold.Lock()
	n.mu.Lock()
	n.killed = n.cmd != nil
	n.mu.Unlock()
	n.Signal(syscall.SIGKILL)
}

// Revive lets a killed node start again.
func (n *Node) Revive() { n.hold.Unlock() }

// Signal sends the process a signal, if it runs.
func (n *Node) Signal(sig syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil && n.cmd.Process != nil {
		_ = n.cmd.Process.Signal(sig) // it may just have ended
	}
}

// PID is the process's, or 0 while there is none.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil || n.cmd.Process == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// Ends is how often the process ended by itself.
func (n *Node) Ends() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ends
}

// URL is the base of its REST.
func (n *Node) URL() string { return "http://" + n.http }

// Ready reports whether it says that it is ready.
func (n *Node) Ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL()+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
