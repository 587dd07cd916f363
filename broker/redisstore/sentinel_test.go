package redisstore_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"kith/broker"
	"kith/broker/redisstore"
)

// startSentinel watches over a master and decides alone.
func startSentinel(t testing.TB, master *server) (addr string) {
	t.Helper()
	addr = net.JoinHostPort("127.0.0.1", text("%d", freePort(t)))
	_, port, _ := net.SplitHostPort(addr)
	_, masterPort, _ := net.SplitHostPort(master.addr)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	conf := strings.Join([]string{
		"port " + port, "bind 127.0.0.1", "dir " + filepath.Dir(file), "logfile log",
		"sentinel monitor main 127.0.0.1 " + masterPort + " 1",
		"sentinel down-after-milliseconds main 300", "sentinel failover-timeout main 2000",
	}, "\n")
	if err := os.WriteFile(file, []byte(conf+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", file, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return addr
}

// The master is lost; a Sentinel makes its replica the master. The store goes on with it by itself.
func TestSentinelFailsOver(t *testing.T) {
	master := startServer(t)
	_, masterPort, _ := net.SplitHostPort(master.addr)
	startServer(t, "--replicaof", "127.0.0.1", masterPort)
	addr := startSentinel(t, master)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: addr, Protocol: 2})
	defer sentinel.Close()
	for { // until the Sentinel knows the replica, and that has all
		known, _ := sentinel.Replicas(ctx, "main").Result()
		if len(known) == 1 && known[0]["master-link-status"] == "ok" {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the replica does not follow")
		}
		time.Sleep(20 * time.Millisecond)
	}
	s := openNew(t, redisstore.Config{Addrs: []string{addr}, MasterName: "main"}, redisstore.Options{})
	for range 100 {
		commit(t, s, &broker.Batch{Appends: []broker.Append{direct("tom", "x", "bob")}})
	}
	client := master.client()
	if n := client.Wait(ctx, 1, 5*time.Second).Val(); n != 1 {
		t.Fatalf("%d replicas have it", n)
	}
	client.Close()
	master.kill()
	lost := time.Now()
	for {
		err := within(t, begin(s, &broker.Batch{Appends: []broker.Append{direct("tom", "y", "bob")}}))
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("not back yet: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("back after %v", time.Since(lost).Round(time.Millisecond))
	entries := read(t, s, broker.LogInbox, "bob")
	dense(t, "inbox", entries)
	if len(entries) < 101 {
		t.Errorf("%d entries", len(entries))
	}
}
