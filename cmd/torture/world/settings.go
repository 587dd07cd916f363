package world

import (
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Token is that of the operator whom every node knows.
const Token = "admin-token-of-the-torture"

// connected is queue.connected: more than a run can send.
const connected = 1_000_000

// write writes a node's settings.
func (w *World) write(n *Node, mqtt string) error {
	store := map[string]any{"engine": w.o.Engine.store(), "path": n.Data}
	if w.o.Engine != Pebble {
		redis := map[string]any{"prefix": "torture"}
		if w.o.Engine == Sentinel {
			redis["addrs"], redis["master_name"], redis["wait_replicas"] = w.redis.sentinels.Addrs, masterName, 1
		} else {
			redis["addrs"] = []string{n.Redis.Addr}
		}
		store["redis"] = redis
	}
	var apps []any
	for _, a := range w.o.Apps {
		queue := map[string]any{"messages": a.Queue, "connected": connected}
		if a.History > 0 {
			queue["age"] = a.History.String() // what may still wait is not removed
		}
		apps = append(apps, map[string]any{
			"id": a.ID, "master_key": w.o.Key, "signature": map[string]any{"required": true},
			"rate": map[string]any{"messages_per_second": 0}, "requests": map[string]any{"per_second": 0},
			"history": map[string]any{"age": a.History.String()},
			"queue":   queue,
		})
	}
	text, err := yaml.Marshal(map[string]any{
		"listen":    map[string]any{"mqtt": mqtt, "http": n.http},
		"node":      map[string]any{"name": n.Name, "lease": w.o.Lease.String()},
		"store":     store,
		"operators": []any{map[string]any{"name": "torture", "token": Token, "role": "admin", "apps": []string{"*"}}},
		"apps":      apps,
	})
	if err != nil {
		return fmt.Errorf("settings of %s: %w", n.Name, err)
	}
	return os.WriteFile(n.config, text, 0o600)
}

// Engine is what a world stores in.
type Engine string

// Engines.
const (
	Pebble   Engine = "pebble"   // embedded: one node
	Redis    Engine = "redis"    // one Redis
	Sentinel Engine = "sentinel" // a master, two replicas, three Sentinels
)

func (e Engine) store() string { return strings.Replace(string(e), string(Sentinel), string(Redis), 1) }
