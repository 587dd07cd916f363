package redistest

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// MasterName is what the Sentinels call the master.
const MasterName = "main"

// StartSentinels starts a replica of master, and n Sentinels of which quorum must agree that it is lost. It returns, when they all
// know each other and the replica has all, the replica and the Sentinels' addresses. lines go into the Sentinels' settings.
func StartSentinels(t testing.TB, master *Server, n, quorum int, lines ...string) (replica *Server, addrs []string) {
	t.Helper()
	replica = Start(t, append([]string{"--replicaof", "127.0.0.1", master.Port()}, master.args...)...)
	for range n {
		addrs = append(addrs, startSentinel(t, master, quorum, lines))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, addr := range addrs {
		client := redis.NewSentinelClient(&redis.Options{Addr: addr, Password: password(lines, "requirepass"), Protocol: 2})
		defer client.Close()
		for {
			replicas, _ := client.Replicas(ctx, MasterName).Result()
			others, _ := client.Sentinels(ctx, MasterName).Result()
			if len(others) == n-1 && follows(replicas, replica.Port()) {
				break
			}
			if ctx.Err() != nil {
				t.Fatal("the Sentinels do not find each other and the replica")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return replica, addrs
}

func startSentinel(t testing.TB, master *Server, quorum int, lines []string) (addr string) {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr = net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	conf := append([]string{
		fmt.Sprintf("port %d", port), "bind 127.0.0.1", "dir " + filepath.Dir(file), "logfile log",
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s %d", MasterName, master.Port(), quorum),
		"sentinel down-after-milliseconds " + MasterName + " 500", "sentinel failover-timeout " + MasterName + " 3000",
	}, lines...)
	if password := password(master.args, "--requirepass"); password != "" {
		conf = append(conf, "sentinel auth-pass "+MasterName+" "+password)
	}
	writeFile(t, file, strings.Join(conf, "\n")+"\n")
	cmd := exec.Command("redis-server", file, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return addr
}

func follows(replicas []map[string]string, port string) bool {
	for _, r := range replicas {
		if r["port"] == port {
			return r["master-link-status"] == "ok"
		}
	}
	return false
}
