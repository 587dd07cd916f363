package redistest

import (
	"context"
	"strings"
	"testing"
	"time"
)

// StartCluster makes a Redis Cluster of three masters.
func StartCluster(t testing.TB) []*Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	bounds := []int{0, 5461, 10923, 16384}
	var nodes []*Server
	for range 3 {
		nodes = append(nodes, Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--appendfsync", "no"))
	}
	for i, node := range nodes {
		client := node.Client()
		defer client.Close()
		if err := client.Do(ctx, "cluster", "addslotsrange", bounds[i], bounds[i+1]-1).Err(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := client.ClusterMeet(ctx, "127.0.0.1", nodes[0].Port()).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, node := range nodes {
		client := node.Client()
		defer client.Close()
		for {
			info, err := client.ClusterInfo(ctx).Result()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3") {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nodes
}

// Addrs are the servers' addresses.
func Addrs(servers []*Server) []string {
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}
