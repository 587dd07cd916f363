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
	for removed, end := 0, time.Now().Add(patience); removed < 598; {
		n, err := s.Sweep(ctx)
		if err != nil || time.Now().After(end) {
			t.Fatalf("%d removed: %v", removed, err)
		}
		removed += n
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

// A record lives as long as its writer meant it to, however wrong the writer's clock is; so does a sender's own id.
func TestAWrongClockCutsNoRecordShort(t *testing.T) {
	server := redistest.Start(t, "--appendfsync", "no")
	for name, shards := range map[string]int{"one shard": 1, "many shards": 7} {
		for _, wrong := range []time.Duration{-time.Hour, time.Hour} {
			t.Run(name+" "+wrong.String(), func(t *testing.T) {
				now := func() time.Time { return time.Now().Add(wrong) }
				cfg := redisstore.Config{Addrs: []string{server.Addr}, Prefix: newPrefix()}
				s := openNew(t, cfg, redisstore.Options{Shards: shards, Now: now})
				nonce := broker.Key{Space: broker.SpaceNonce, App: "demo", Owner: "nonce"}
				lock := broker.Key{Space: broker.SpaceServer, App: "demo", Owner: "group", Name: "lock"}
				expires := now().Add(time.Minute).UnixMilli()
				commit(t, s, &broker.Batch{Writes: []broker.Write{
					{Key: nonce, Value: []byte("x"), Expires: expires}, {Key: lock, Value: []byte("x"), Expires: expires},
				}})
				for range 2 {
					a := withOnce(direct("tom", "x", "bob", "eve"), "1")
					a.OnceExpires = expires
					commit(t, s, &broker.Batch{Appends: []broker.Append{a}})
				}
				if n := len(read(t, s, broker.LogInbox, "bob")); n != 1 {
					t.Errorf("%d messages of one id", n)
				}
				client := server.Client()
				defer client.Close()
				keys := client.Keys(t.Context(), cfg.Prefix+"*").Val()
				expiring := 0
				for _, k := range keys {
					if left := client.PTTL(t.Context(), k).Val(); left > 0 {
						expiring++
						if left > time.Minute {
							t.Errorf("%s lives for another %v", k, left)
						}
					}
				}
				if expiring != 3 {
					t.Errorf("%d of the keys expire, not 3", expiring)
				}
				if removed, err := s.Sweep(t.Context()); removed != 0 || err != nil {
					t.Errorf("the sweep removed %d: %v", removed, err)
				}
			})
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
