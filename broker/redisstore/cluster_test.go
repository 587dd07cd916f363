package redisstore_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/storetest"
)

// startCluster makes a Redis Cluster of three masters and returns their addresses.
func startCluster(t testing.TB) (addrs []string, nodes []*server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	bounds := []int{0, 5461, 10923, 16384}
	for range 3 {
		node := startServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--appendfsync", "no")
		nodes, addrs = append(nodes, node), append(addrs, node.addr)
	}
	for i, node := range nodes {
		client := node.client()
		defer client.Close()
		if err := client.Do(ctx, "cluster", "addslotsrange", bounds[i], bounds[i+1]-1).Err(); err != nil {
			t.Fatal(err)
		}
		host, port, _ := net.SplitHostPort(addrs[0])
		if i > 0 {
			if err := client.ClusterMeet(ctx, host, port).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, node := range nodes {
		client := node.client()
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
	return addrs, nodes
}

func TestSuiteOnCluster(t *testing.T) {
	addrs, _ := startCluster(t)
	storetest.Run(t, func(testing.TB) storetest.Factory {
		cfg := redisstore.Config{Addrs: addrs, Prefix: newPrefix()}
		return storetest.Factory{Open: func(t testing.TB) broker.Store { return open(t, cfg, redisstore.Options{}) }}
	})
}
