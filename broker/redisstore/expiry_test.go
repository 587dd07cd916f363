package redisstore_test

import (
	"context"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// What is left of expired records goes with the sweep; records that were written again stay listed.
func TestSweepLeavesNothing(t *testing.T) {
	server := redistest.Start(t, "--appendfsync", "no")
	s := openNew(t, redisstore.Config{Addrs: []string{server.Addr}}, redisstore.Options{})
	ctx := context.Background()
	key := func(i int) broker.Key {
		return broker.Key{Space: broker.SpaceNonce, App: "demo", Owner: text("n%03d", i)}
	}
	b := &broker.Batch{}
	soon := time.Now().Add(100 * time.Millisecond).UnixMilli()
	for i := range 600 {
		b.Writes = append(b.Writes, broker.Write{Key: key(i), Value: []byte("x"), Expires: soon})
	}
	b.Writes = append(b.Writes,
		broker.Write{Key: key(0), Value: []byte("y")},
		broker.Write{Key: key(1), Value: []byte("y"), Expires: time.Now().Add(time.Hour).UnixMilli()})
	commit(t, s, b)
	for time.Now().UnixMilli() <= soon {
		time.Sleep(time.Millisecond)
	}
	removed, err := s.Sweep(ctx)
	if err != nil || removed < 598 {
		t.Errorf("%d removed: %v", removed, err)
	}
	left, err := s.List(ctx, broker.ListQuery{Space: broker.SpaceNonce, App: "demo", Limit: 10})
	if err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
	client := server.Client()
	defer client.Close()
	for key, want := range map[string]int64{"kith{0}:l:n:demo": 2, "kith{0}:x": 1} {
		if n := client.ZCard(ctx, key).Val(); n != want {
			t.Errorf("%s has %d members, not %d", key, n, want)
		}
	}
}

// An inbox with a bound keeps the newest; its numbers go on.
func TestInboxKeepsNewest(t *testing.T) {
	server := redistest.Start(t, "--appendfsync", "no")
	for name, shards := range map[string]int{"one shard": 1, "many shards": 7} {
		t.Run(name, func(t *testing.T) {
			cfg := redisstore.Config{Addrs: []string{server.Addr}, Prefix: newPrefix()}
			s := openNew(t, cfg, redisstore.Options{Shards: shards, InboxKeep: 10})
			for range 50 {
				commit(t, s, &broker.Batch{Appends: []broker.Append{direct("tom", "x", "bob", "eve", "ann")}})
			}
			for _, owner := range []string{"bob", "eve", "ann"} {
				entries := read(t, s, broker.LogInbox, owner)
				if len(entries) < 10 || len(entries) > 20 {
					t.Errorf("inbox of %s keeps %d", owner, len(entries))
				}
				for i, e := range entries {
					if want := uint64(50 - len(entries) + 1 + i); e.N != want {
						t.Errorf("entry %d has number %d, not %d", i, e.N, want)
					}
				}
			}
		})
	}
}
