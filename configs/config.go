package configs

import (
	"strings"
	"time"

	"kith/api"
	"kith/broker"
	"kith/broker/edge"
	"kith/broker/pebblestore"
	"kith/broker/redisstore"
	"kith/hooks"
)

// Config is all settings of one node, with the keys of spec 12.
type Config struct {
	Listen ListenConfig
	Limits edge.Limits
	Node   NodeConfig
	Store  StoreConfig
	API    api.Config // operators and metrics
	Apps   []broker.AppConfig

	// Demo tells that there was no file and no app: the app demo was added, with the keys in DemoFile.
	Demo bool

	// ExposedFile is the settings file, where secrets stand in it and more than its owner may read it; else "".
	ExposedFile string
}

// ListenConfig says where the node listens. An empty address switches a listener off.
type ListenConfig struct {
	hooks.Config
	HTTP  string // REST, metrics, health, MQTT over WebSocket; HTTPS and wss where TLS is set
	Proxy edge.ProxyConfig
}

// NodeConfig names the node, and says how it stands among others.
type NodeConfig struct {
	Name  string        // empty: the host name
	Lease time.Duration // how long a node that is not heard of counts as alive
	Drain DrainConfig
}

// DrainConfig says how a node's clients are moved to other nodes.
type DrainConfig struct {
	PerSecond int           // sessions
	Timeout   time.Duration // how long a stop waits for it; 0: a stop moves nobody
	Reference string        // told to MQTT 5 clients as Server Reference; "": they know where to connect
}

// StoreConfig chooses and sets the store.
type StoreConfig struct {
	Engine string // EnginePebble or EngineRedis
	Pebble pebblestore.Config
	Redis  redisstore.Config
}

// The values of StoreConfig.Engine.
const (
	EnginePebble = "pebble"
	EngineRedis  = "redis"
)

// Default returns the defaults of spec 12, without operators and apps.
func Default() *Config {
	return &Config{
		Listen: ListenConfig{Config: hooks.DefaultConfig(), HTTP: ":8080"},
		Limits: edge.DefaultLimits(),
		Node:   NodeConfig{Lease: broker.DefaultLease, Drain: DrainConfig{PerSecond: broker.DefaultDrainPerSecond, Timeout: time.Minute}},
		API:    api.DefaultConfig(),
		Store: StoreConfig{
			Engine: EnginePebble,
			Pebble: pebblestore.Config{Path: "data", Sync: true},
			Redis:  redisstore.Config{Addrs: []string{"127.0.0.1:6379"}, Prefix: "kith"},
		},
	}
}

// WithoutFile returns the defaults for a node that is started without a file: they listen on loopback alone.
func WithoutFile() *Config {
	c := Default()
	c.Listen.MQTT = "127.0.0.1:1883"
	c.Listen.HTTP = "127.0.0.1:8080"
	return c
}

func defaultOperator() api.Operator {
	return api.Operator{Role: api.RoleViewer, Apps: []string{api.AllApps}, Requests: broker.DefaultRequests()}
}

// ReloadDiff returns the keys that differ between c and next and take effect only at a restart: all but those of limits, apps
// and operators.
func (c *Config) ReloadDiff(next *Config) []string {
	var keys []string
	for _, o := range options {
		if o.list() == "" && !strings.HasPrefix(o.key, "limits.") && format(o.at(c, 0)) != format(o.at(next, 0)) {
			keys = append(keys, o.key)
		}
	}
	return keys
}

const day = 24 * time.Hour
