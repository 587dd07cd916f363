package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/api"
	"kith/broker"
	"kith/configs"
)

// server is a real Kith in this process, on free ports of the loopback.
type server struct {
	MQTT, HTTP string // host:port
	Key, Token string // of the app demo, and of an admin
	Log        *safeBuffer
	hangup     chan os.Signal
	stop       func() error
	next       func() (*configs.Config, error) // what a reload loads
}

// testConfig is a server with the app demo in a folder of the test.
func testConfig(t testing.TB) *configs.Config {
	t.Helper()
	c := configs.WithoutFile()
	c.Listen.MQTT, c.Listen.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	c.Store.Pebble.Path = t.TempDir()
	c.Node.Name = "test"
	demo := broker.DefaultAppConfig("demo")
	demo.MasterKey = "demo-master-key-0123"
	c.Apps = []broker.AppConfig{demo}
	c.API.Operators = []api.Operator{{Name: "admin", Token: "admin-token-0123", Role: api.RoleAdmin, Apps: []string{"*"}}}
	return c
}

// startServer starts a server with testConfig, changed by edit, and stops it at the end of the test.
func startServer(t testing.TB, edit ...func(*configs.Config)) *server {
	t.Helper()
	cfg := testConfig(t)
	for _, e := range edit {
		e(cfg)
	}
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Fatalf("settings: %v", problems)
	}
	s := &server{Log: new(safeBuffer), hangup: make(chan os.Signal, 1)}
	s.next = func() (*configs.Config, error) { return cfg, nil }
	s.Key, s.Token = cfg.Apps[0].MasterKey, cfg.API.Operators[0].Token
	n, err := openNode(t.Context(), cfg, slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatalf("start server: %v", err)
	}
	for _, l := range n.listeners {
		switch l.name {
		case "mqtt":
			s.MQTT = l.Addr().String()
		case "http":
			s.HTTP = l.Addr().String()
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.run(ctx, s.hangup, func() (*configs.Config, error) { return s.next() }) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("stop server: %v", err)
		}
		if t.Failed() {
			t.Logf("server's log:\n%s", s.Log)
		}
	})
	return s
}

// safeBuffer collects what several goroutines write.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

const patience = 20 * time.Second

// waitFor waits until b holds text.
func (b *safeBuffer) waitFor(t testing.TB, text string) {
	t.Helper()
	waitUntil(t, func() bool { return strings.Contains(b.String(), text) }, func() string { return "no " + text + " in:\n" + b.String() })
}

// waitUntil polls for what no event tells.
func waitUntil(t testing.TB, done func() bool, what func() string) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what())
		}
	}
}
