package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// MasterName is what the Sentinels call the master.
const MasterName = "main"

// Sentinels watch a master and its replicas, and make a replica the master when it is lost.
type Sentinels struct {
	Addrs []string // host:port of each

	lines []string
	cmds  []*exec.Cmd
}

// StartSentinels starts a replica of master, and n Sentinels of which quorum must agree that it is lost. It returns, when they all
// know each other and the replica has all, the replica and the Sentinels' addresses. lines go into the Sentinels' settings.
func StartSentinels(t testing.TB, master *Server, n, quorum int, lines ...string) (replica *Server, addrs []string) {
	t.Helper()
	replica = Start(t, append([]string{"--replicaof", "127.0.0.1", master.Port()}, master.args...)...)
	s, err := LaunchSentinels(t.TempDir(), master, n, quorum, lines...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	if err := s.Settle(replica); err != nil {
		t.Fatal(err)
	}
	return replica, s.Addrs
}

// LaunchSentinels starts the Sentinels alone, with their files in dir, for who ends them.
func LaunchSentinels(dir string, master *Server, n, quorum int, lines ...string) (*Sentinels, error) {
	s := &Sentinels{lines: lines}
	for i := range n {
		if err := s.launch(filepath.Join(dir, fmt.Sprintf("sentinel%d", i+1)), master, quorum); err != nil {
			s.Kill()
			return nil, err
		}
	}
	return s, nil
}

func (s *Sentinels) launch(dir string, master *Server, quorum int) error {
	port, err := FreePort()
	if err != nil {
		return err
	}
	conf := append([]string{
		fmt.Sprintf("port %d", port), "bind 127.0.0.1", "dir " + dir, "logfile log",
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s %d", MasterName, master.Port(), quorum),
		"sentinel down-after-milliseconds " + MasterName + " 500", "sentinel failover-timeout " + MasterName + " 3000",
	}, s.lines...)
	if password := password(master.args, "--requirepass"); password != "" {
		conf = append(conf, "sentinel auth-pass "+MasterName+" "+password)
	}
	file := filepath.Join(dir, "sentinel.conf") // they write to it, too
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, []byte(strings.Join(conf, "\n")+"\n"), 0o600)); err != nil {
		return err
	}
	cmd := exec.Command("redis-server", file, "--sentinel")
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmds = append(s.cmds, cmd)
	s.Addrs = append(s.Addrs, net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
	return nil
}

// Kill ends them as a crash does.
func (s *Sentinels) Kill() {
	for _, cmd := range s.cmds {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	s.cmds = nil
}

// client is the caller's to close.
func (s *Sentinels) client(addr string) *redis.SentinelClient {
	quiet()
	return redis.NewSentinelClient(&redis.Options{Addr: addr, Password: password(s.lines, "requirepass"), Protocol: 2})
}

// Settle returns when all Sentinels know each other, and that these servers are replicas which have all.
func (s *Sentinels) Settle(replicas ...*Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, addr := range s.Addrs {
		client := s.client(addr)
		defer client.Close()
		for !s.knows(ctx, client, replicas) {
			if ctx.Err() != nil {
				return errors.New("the Sentinels do not find each other and the replicas")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func (s *Sentinels) knows(ctx context.Context, client *redis.SentinelClient, replicas []*Server) bool {
	known, _ := client.Replicas(ctx, MasterName).Result()
	others, _ := client.Sentinels(ctx, MasterName).Result()
	for _, r := range replicas {
		if !follows(known, r.Port()) {
			return false
		}
	}
	return len(others) == len(s.Addrs)-1
}

func follows(replicas []map[string]string, port string) bool {
	for _, r := range replicas {
		if r["port"] == port {
			return r["master-link-status"] == "ok"
		}
	}
	return false
}

// Master returns the port of the server that a majority of the Sentinels call the master, or "" while they do not agree.
func (s *Sentinels) Master(ctx context.Context) string {
	votes := map[string]int{}
	for _, addr := range s.Addrs {
		client := s.client(addr)
		if at, err := client.GetMasterAddrByName(ctx, MasterName).Result(); err == nil && len(at) == 2 {
			votes[at[1]]++
		}
		client.Close()
	}
	for port, n := range votes {
		if n > len(s.Addrs)/2 {
			return port
		}
	}
	return ""
}
