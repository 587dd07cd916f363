package redisstore_test

import (
	"context"
	"testing"
	"time"

	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// The shards of a cluster are spread evenly over masters with equal shares.
func TestShardsAreSpreadEvenly(t *testing.T) {
	nodes := redistest.StartCluster(t)
	addrs := redistest.Addrs(nodes)
	s := openNew(t, redisstore.Config{Addrs: addrs[1:2]}, redisstore.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, node := range nodes {
		client := node.Client()
		defer client.Close()
		keys, err := client.Keys(ctx, "kith{*}:ping").Result()
		if err != nil || len(keys) < 20 || len(keys) > 23 {
			t.Errorf("a master has %d shards: %v", len(keys), err)
		}
		total += int64(len(keys))
	}
	if total != 64 {
		t.Errorf("%d shards", total)
	}
}
