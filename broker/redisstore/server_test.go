package redisstore_test

import (
	"context"
	"fmt"
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

// server is a redis-server of a test's own, on a free port of the loopback.
type server struct {
	addr string
	dir  string
	args []string
	cmd  *exec.Cmd
}

// startServer starts one that syncs each write before it answers, and ends it with the test.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is not installed: .ci/tools installs it")
	}
	s := &server{dir: t.TempDir(), args: args}
	t.Cleanup(s.kill)
	for range 5 { // another test may be given the same free port
		s.addr = fmt.Sprintf("127.0.0.1:%d", freePort(t))
		if s.start() {
			return s
		}
		s.kill()
	}
	t.Fatal("redis-server does not start")
	return nil
}

// freePort returns a port that is free, and so is that 10000 above, which a node of a cluster takes too.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port > 55000 {
			continue
		}
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+10000)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// start starts the server on its port, with what its folder holds, and waits until it answers.
func (s *server) start() bool {
	_, port, _ := net.SplitHostPort(s.addr)
	args := append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always",
		"--loglevel", "warning", "--logfile", filepath.Join(s.dir, "log"),
	}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	if err := s.cmd.Start(); err != nil {
		return false
	}
	client := s.client()
	defer client.Close()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		// While it loads, a server tells about itself but does not answer a ping.
		if info, err := client.Info(context.Background(), "server").Result(); err == nil && client.Ping(context.Background()).Err() == nil {
			return strings.Contains(info, "process_id:"+strconv.Itoa(s.cmd.Process.Pid)+"\r")
		}
	}
	return false
}

func (s *server) client() *redis.Client {
	quiet()
	return redis.NewClient(&redis.Options{Addr: s.addr, Protocol: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true})
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// quiet drops what the client prints while a server is not there yet.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

// kill ends the server as a crash does.
func (s *server) kill() { s.signal(syscall.SIGKILL) }

func (s *server) signal(sig syscall.Signal) {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM {
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// restart crashes the server and starts it again.
func (s *server) restart(t testing.TB) {
	t.Helper()
	s.kill()
	if !s.start() {
		t.Fatal("redis-server does not start again")
	}
}
