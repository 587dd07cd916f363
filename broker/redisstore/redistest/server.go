// Package redistest runs real Redis servers for tests: single ones, a Redis Cluster, Sentinels. All are on free ports of the
// loopback and end with the test.
package redistest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long a server may take to start, and servers to find each other.
const patience = 30 * time.Second

// Server is a redis-server of a test's own.
type Server struct {
	Addr string // host:port
	Dir  string // its files

	args []string
	cmd  *exec.Cmd
}

// Start starts a server that syncs each write before it answers, unless args, which redis-server is given too, say otherwise.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := Launch(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// Launch is Start with its files in dir, for who ends the server.
func Launch(dir string, args ...string) (*Server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, fmt.Errorf("redis-server is not installed, .ci/tools installs it: %w", err)
	}
	s := &Server{Dir: dir, args: args}
	var failed error
	for range 5 { // another test may be given the same free port
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		s.Addr = fmt.Sprintf("127.0.0.1:%d", port)
		if failed = s.start(); failed == nil {
			return s, nil
		}
		s.Kill()
	}
	return nil, failed
}

// FreePort returns a port that is free, and so is that 10000 above, which a node of a cluster takes too.
func FreePort() (int, error) {
	for range 100 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if isFree(port) && isFree(port+10000) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port")
}

// The ports of servers are below those that the system gives to connections: one of those would be taken while its server is down.
const lowestPort, highestPort = 12000, 22000

func isFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// start starts the server on its port, with what its folder holds, and waits until it answers.
func (s *Server) start() error {
	args := append([]string{
		"--port", s.Port(), "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always",
		"--loglevel", "warning", "--logfile", filepath.Join(s.Dir, "log"),
	}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a child that it forked to write a file ends with it
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	client := s.Client()
	defer client.Close()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		// While it loads, a server tells about itself but does not answer a ping.
		info, err := client.Info(context.Background(), "server").Result()
		if err != nil || client.Ping(context.Background()).Err() != nil {
			continue
		}
		if !strings.Contains(info, "process_id:"+strconv.Itoa(s.cmd.Process.Pid)+"\r") {
			return fmt.Errorf("another server has port %s", s.Port())
		}
		return nil
	}
	return fmt.Errorf("redis-server does not start")
}

// Port is its port.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return port
}

// Client returns a client that tries nothing twice. The caller closes it.
func (s *Server) Client() *redis.Client {
	quiet()
	return redis.NewClient(&redis.Options{Addr: s.Addr, Password: password(s.args, "--requirepass"), Protocol: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true})
}

// password is what follows key in arguments or lines of settings.
func password(args []string, key string) string {
	_, after, _ := strings.Cut(" "+strings.Join(args, " "), " "+key+" ")
	word, _, _ := strings.Cut(after, " ")
	return word
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// quiet drops what the client prints while a server is not there yet.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

// Kill ends the server as a crash does.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Signal sends it a signal that does not end it, such as SIGSTOP.
func (s *Server) Signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

// Relaunch starts a server that was killed, with what its folder holds.
func (s *Server) Relaunch() error { return s.start() }

// Again is Relaunch for tests.
func (s *Server) Again(t testing.TB) {
	t.Helper()
	if err := s.Relaunch(); err != nil {
		t.Fatal(err)
	}
}

// Restart crashes the server and starts it again.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	s.Again(t)
}
