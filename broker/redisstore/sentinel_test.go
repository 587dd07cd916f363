package redisstore_test

import (
	"context"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// The master is lost; the Sentinels make its replica the master. The store goes on with it by itself.
func TestSentinelFailsOver(t *testing.T) {
	master := redistest.Start(t)
	_, sentinels := redistest.StartSentinels(t, master, 3, 2)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := openNew(t, redisstore.Config{Addrs: sentinels, MasterName: redistest.MasterName}, redisstore.Options{})
	for range 100 {
		commit(t, s, &broker.Batch{Appends: []broker.Append{direct("tom", "x", "bob")}})
	}
	client := master.Client()
	if n := client.Wait(ctx, 1, 5*time.Second).Val(); n != 1 {
		t.Fatalf("%d replicas have it", n)
	}
	client.Close()
	master.Kill()
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
