package redisstore_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// What keeps a store from being opened says what to do about it.
func TestOpenSaysWhatToDo(t *testing.T) {
	t.Parallel()
	plain := redistest.Start(t)
	locked := redistest.Start(t, "--requirepass", "s3cret")
	evicting := redistest.Start(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	replica := redistest.Start(t, "--replicaof", "127.0.0.1", plain.Port())
	_, sentinels := redistest.StartSentinels(t, plain, 1, 1)
	for _, tt := range []struct {
		name string
		cfg  redisstore.Config
		want string
	}{
		{"nothing there", redisstore.Config{Addrs: []string{"127.0.0.1:1"}}, "Redis cannot be reached: start it, or correct store.redis.addrs"},
		{"no such host", redisstore.Config{Addrs: []string{"none.invalid:6379"}}, "Redis cannot be reached: start it, or correct store.redis.addrs"},
		{"no password", redisstore.Config{Addrs: []string{locked.Addr}}, "the password is refused: check store.redis.username and store.redis.password"},
		{"wrong password", redisstore.Config{Addrs: []string{locked.Addr}, Password: "other"}, "the password is refused"},
		{"needless password", redisstore.Config{Addrs: []string{plain.Addr}, Username: "tom", Password: "other"}, "the password is refused"},
		{"TLS to a plain port", redisstore.Config{Addrs: []string{plain.Addr}, TLS: true}, "does that port speak TLS (store.redis.tls)?"},
		{"messages would be evicted", redisstore.Config{Addrs: []string{evicting.Addr}}, "maxmemory-policy allkeys-lru removes acknowledged messages when memory is short: CONFIG SET maxmemory-policy noeviction"},
		{"a replica", redisstore.Config{Addrs: []string{replica.Addr}}, "it is a replica: give its master's address"},
		{"no Sentinel there", redisstore.Config{Addrs: []string{"127.0.0.1:1"}, MasterName: redistest.MasterName}, "the Sentinels cannot be reached"},
		{"another master's name", redisstore.Config{Addrs: sentinels, MasterName: "other"}, `the Sentinels know no master "other"`},
		{"several servers", redisstore.Config{Addrs: []string{plain.Addr, locked.Addr}}, "several addresses without a master_name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Second // of what is tried until then
			if tt.cfg.MasterName == "other" {
				timeout = 5 * time.Second // the Sentinels have to answer, and the machine may be busy
			}
			s, err := redisstore.Open(tt.cfg, redisstore.Options{Timeout: timeout})
			if err == nil {
				s.Close()
				t.Fatal("it opens")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant: %s", err, tt.want)
			}
			if tt.cfg.Password != "" && strings.Contains(err.Error(), tt.cfg.Password) {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

// Settings of Redis under which something acknowledged can be lost are told at the start.
func TestOpenWarnsOfWhatCanBeLost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"synced", nil, ""},
		{"no persistence", []string{"--appendonly", "no"}, "appendonly is no"},
		{"no sync", []string{"--appendfsync", "no"}, "appendfsync is no"},
		{"eviction once there is a bound", []string{"--maxmemory-policy", "volatile-ttl"}, "volatile-ttl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, tt.args...)
			var log bytes.Buffer
			openNew(t, redisstore.Config{Addrs: []string{server.Addr}}, redisstore.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if got := log.String(); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("log: %s\nwant: %s", got, tt.want)
			}
		})
	}
}

// A server that is started a moment later is waited for.
func TestOpenWaitsForServerThatStarts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	opened := make(chan error, 1)
	go func() {
		s, err := redisstore.Open(redisstore.Config{Addrs: []string{server.Addr}}, redisstore.Options{Timeout: patience})
		if err == nil {
			err = s.Ping(context.Background())
			s.Close()
		}
		opened <- err
	}()
	server.Again(t)
	if err := within(t, opened); err != nil {
		t.Error(err)
	}
}
