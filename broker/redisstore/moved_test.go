package redisstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// A shard that is moved to another master under load costs nothing that was told.
func TestMovedSlotGoesOn(t *testing.T) {
	nodes := redistest.StartCluster(t)
	addrs := redistest.Addrs(nodes)
	s := openNew(t, redisstore.Config{Addrs: addrs}, redisstore.Options{Shards: 1})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	from, to := nodes[2].Client(), nodes[0].Client() // tag 0 is in slot 13907
	defer from.Close()
	defer to.Close()
	slot := from.ClusterKeySlot(ctx, "kith{0}:clock").Val()
	name := func(addr string) string {
		for line := range strings.Lines(from.ClusterNodes(ctx).Val()) {
			if strings.Contains(line, addr+"@") {
				return strings.Fields(line)[0]
			}
		}
		t.Fatalf("no node %s", addr)
		return ""
	}
	source, target := name(addrs[2]), name(addrs[0])
	l := &ledger{}
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			b := &broker.Batch{Appends: []broker.Append{direct("tom", text("%d", i), "bob"), toGroup("tom", text("%d", i), "team")}}
			if err := <-begin(s, b); err != nil {
				t.Errorf("commit %d: %v", i, err)
				return
			}
			l.add(b)
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	time.Sleep(20 * time.Millisecond)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(to.Do(ctx, "cluster", "setslot", slot, "importing", source).Err())
	do(from.Do(ctx, "cluster", "setslot", slot, "migrating", target).Err())
	host, port, _ := strings.Cut(addrs[0], ":")
	for {
		keys, err := from.ClusterGetKeysInSlot(ctx, int(slot), 2).Result()
		do(err)
		if len(keys) == 0 {
			break
		}
		args := []any{"migrate", host, port, "", 0, 5000, "keys"}
		for _, k := range keys {
			args = append(args, k)
		}
		do(from.Do(ctx, args...).Err())
	}
	do(to.Do(ctx, "cluster", "setslot", slot, "node", target).Err())
	do(from.Do(ctx, "cluster", "setslot", slot, "node", target).Err())
	time.Sleep(50 * time.Millisecond)
	close(stop)
	<-ended
	l.check(t, s)
	dense(t, "inbox", read(t, s, broker.LogInbox, "bob"))
	dense(t, "group", read(t, s, broker.LogConversation, "team"))
	if to.Exists(ctx, "kith{0}:clock").Val() != 1 {
		t.Errorf("slot %d was not moved", slot)
	}
}
