package redisstore_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
	"kith/broker/storetest"
)

var prefixes atomic.Int64

// newPrefix makes a store of its own on a server that many tests share.
func newPrefix() string { return fmt.Sprintf("test%d", prefixes.Add(1)) }

func open(t testing.TB, cfg redisstore.Config, opts redisstore.Options) *redisstore.Store {
	t.Helper()
	opts.SweepEvery = -1
	s, err := redisstore.Open(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openNew opens a store that the test closes.
func openNew(t testing.TB, cfg redisstore.Config, opts redisstore.Options) *redisstore.Store {
	t.Helper()
	s := open(t, cfg, opts)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestSuiteOnOneServer(t *testing.T) {
	server := redistest.Start(t)
	storetest.Run(t, func(testing.TB) storetest.Factory {
		cfg := redisstore.Config{Addrs: []string{server.Addr}, Prefix: newPrefix()}
		return storetest.Factory{
			Open:  func(t testing.TB) broker.Store { return open(t, cfg, redisstore.Options{}) },
			Crash: server.Restart,
		}
	})
}

// The steps between shards are the same on one server; its crashes leave out what the contract allows a crash to leave.
func TestSuiteOnManyShards(t *testing.T) {
	server := redistest.Start(t, "--appendfsync", "no")
	storetest.Run(t, func(testing.TB) storetest.Factory {
		cfg := redisstore.Config{Addrs: []string{server.Addr}, Prefix: newPrefix()}
		return storetest.Factory{Open: func(t testing.TB) broker.Store { return open(t, cfg, redisstore.Options{Shards: 7}) }}
	})
}
