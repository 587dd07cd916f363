package configs

import (
	"math"
	"strings"
	"time"

	"kith/api"
	"kith/broker"
	"kith/hooks"
)

// option is one setting.
type option struct {
	key    string                       // its path, such as "apps[].queue.age"
	at     func(c *Config, i int) any   // a pointer to its value, of item i where the key has a list
	check  func(value any) (bad string) // nil: any value of the type will do
	doc    string
	secret bool // never printed, never in argv
}

// list is the list that the option belongs to, "apps" or "operators", or "".
func (o *option) list() string {
	list, _, in := strings.Cut(o.key, "[].")
	if !in {
		return ""
	}
	return list
}

// options is the one list of settings, in the order of spec 12.
var options = []option{
	{key: "listen.mqtt", check: address, doc: "MQTT over TCP",
		at: func(c *Config, _ int) any { return &c.Listen.MQTT }},
	{key: "listen.mqtts", check: address, doc: "MQTT over TLS, with listen.tls",
		at: func(c *Config, _ int) any { return &c.Listen.MQTTS }},
	{key: "listen.http", check: address, doc: "REST, metrics, health, and MQTT over WebSocket at /mqtt",
		at: func(c *Config, _ int) any { return &c.Listen.HTTP }},
	{key: "listen.tls.cert", doc: "PEM file with the certificate chain; with cert and key, http serves HTTPS and wss",
		at: func(c *Config, _ int) any { return &c.Listen.TLS.Cert }},
	{key: "listen.tls.key", doc: "PEM file with the certificate's private key",
		at: func(c *Config, _ int) any { return &c.Listen.TLS.Key }},
	{key: "listen.tls.client_ca", doc: "PEM file; MQTT clients over TLS then need a certificate that it signed",
		at: func(c *Config, _ int) any { return &c.Listen.TLS.ClientCA }},
	{key: "listen.tls.client_peer", check: oneOf("", hooks.ClientPeerCN, hooks.ClientPeerURI),
		doc: "binds a client's certificate to its peer: cn (common name = peer id), uri (SAN URI = kith:{app}/{peer}); empty: not",
		at:  func(c *Config, _ int) any { return &c.Listen.TLS.ClientPeer }},
	{key: "listen.origins", check: origins, doc: "whose pages may connect over WebSocket, such as https://chat.example.org; * for any; its own host's always may",
		at: func(c *Config, _ int) any { return &c.Listen.Origins }},
	{key: "listen.proxy.trusted", check: addresses, doc: "addresses and ranges of proxies in front, which must send a PROXY protocol header of version 2",
		at: func(c *Config, _ int) any { return &c.Listen.Proxy.Trusted }},

	{key: "limits.connections", check: between(0, 10_000_000), doc: "connections of all listeners; 0: as many as the process may have descriptors",
		at: func(c *Config, _ int) any { return &c.Limits.Connections }},
	{key: "limits.memory_bytes", check: between(0, 1<<50), doc: "new work is refused before this is used up; 0: GOMEMLIMIT, or else the container's memory",
		at: func(c *Config, _ int) any { return &c.Limits.MemoryBytes }},
	{key: "limits.exempt", check: addresses, doc: "addresses and ranges that the limits by address are not for, such as a proxy that sends no header",
		at: func(c *Config, _ int) any { return &c.Limits.Exempt }},
	{key: "limits.address.connections", check: between(0, 10_000_000), doc: "connections from one address (IPv6: one /64); 0: no bound",
		at: func(c *Config, _ int) any { return &c.Limits.Address.Connections }},
	{key: "limits.address.connects_per_second", check: rates(1_000_000), doc: "CONNECTs from one address; 0: no bound",
		at: func(c *Config, _ int) any { return &c.Limits.Address.ConnectsPerSecond }},
	{key: "limits.address.burst", check: between(1, 1_000_000), doc: "how many of them at once",
		at: func(c *Config, _ int) any { return &c.Limits.Address.Burst }},
	{key: "limits.address.failures", check: between(0, 1_000_000), doc: "wrong signatures within a minute that ban an address for a while; 0: never",
		at: func(c *Config, _ int) any { return &c.Limits.Address.Failures }},
	{key: "limits.address.ban", check: lasting(time.Second), doc: "how long at first; each further ban is twice as long, up to an hour",
		at: func(c *Config, _ int) any { return &c.Limits.Address.Ban }},

	{key: "node.name", check: nodeName, doc: "the node's name; empty: the host name",
		at: func(c *Config, _ int) any { return &c.Node.Name }},
	{key: "node.lease", check: lasting(time.Second), doc: "how long a node that is not heard of counts as alive, where nodes share a store",
		at: func(c *Config, _ int) any { return &c.Node.Lease }},
	{key: "node.drain.per_second", check: between(1, 1_000_000), doc: "how many clients a second a node that is drained sends to other nodes",
		at: func(c *Config, _ int) any { return &c.Node.Drain.PerSecond }},
	{key: "node.drain.timeout", check: lasting(0), doc: "how long a stop waits for that; then the rest are closed at once; 0s: a stop drains nothing",
		at: func(c *Config, _ int) any { return &c.Node.Drain.Timeout }},
	{key: "node.drain.reference", check: reference, doc: "where clients of MQTT 5 are told to go (Server Reference), such as the load balancer; empty: where they came from",
		at: func(c *Config, _ int) any { return &c.Node.Drain.Reference }},

	{key: "store.engine", check: oneOf(EnginePebble, EngineRedis), doc: "pebble (embedded) or redis",
		at: func(c *Config, _ int) any { return &c.Store.Engine }},
	{key: "store.path", check: filled, doc: "the data folder of pebble, and of the demo app's keys",
		at: func(c *Config, _ int) any { return &c.Store.Pebble.Path }},
	{key: "store.sync", doc: "acknowledge only what is on disk; false can lose acknowledged messages in a power cut",
		at: func(c *Config, _ int) any { return &c.Store.Pebble.Sync }},
	{key: "store.redis.addrs", doc: "host:port of Redis, of its Sentinels or of its Cluster's nodes",
		at: func(c *Config, _ int) any { return &c.Store.Redis.Addrs }},
	{key: "store.redis.username", doc: "the user to authenticate as",
		at: func(c *Config, _ int) any { return &c.Store.Redis.Username }},
	{key: "store.redis.password", secret: true, doc: "that user's password",
		at: func(c *Config, _ int) any { return &c.Store.Redis.Password }},
	{key: "store.redis.db", check: between(0, 1<<20), doc: "the database's number",
		at: func(c *Config, _ int) any { return &c.Store.Redis.DB }},
	{key: "store.redis.master_name", doc: "the master's name; addrs are then Sentinels",
		at: func(c *Config, _ int) any { return &c.Store.Redis.MasterName }},
	{key: "store.redis.sentinel_username", doc: "the user to authenticate to the Sentinels as",
		at: func(c *Config, _ int) any { return &c.Store.Redis.SentinelUsername }},
	{key: "store.redis.sentinel_password", secret: true, doc: "that user's password",
		at: func(c *Config, _ int) any { return &c.Store.Redis.SentinelPassword }},
	{key: "store.redis.tls", doc: "connect with TLS",
		at: func(c *Config, _ int) any { return &c.Store.Redis.TLS }},
	{key: "store.redis.ca", doc: "PEM file; with tls, who may have signed the servers' certificates; empty: the system's authorities",
		at: func(c *Config, _ int) any { return &c.Store.Redis.CA }},
	{key: "store.redis.wait_replicas", check: between(0, 100), doc: "acknowledge only what that many replicas have too",
		at: func(c *Config, _ int) any { return &c.Store.Redis.WaitReplicas }},
	{key: "store.redis.wait_disk", doc: "acknowledge only what Redis, and those replicas, have synced to their disks (Redis 7.2)",
		at: func(c *Config, _ int) any { return &c.Store.Redis.WaitDisk }},
	{key: "store.redis.prefix", check: redisPrefix, doc: "what every key in Redis starts with",
		at: func(c *Config, _ int) any { return &c.Store.Redis.Prefix }},

	{key: "metrics.public", doc: "/metrics without an operator token",
		at: func(c *Config, _ int) any { return &c.API.Metrics.Public }},

	{key: "audit.age", check: lasting(time.Hour), doc: "how long the audit log of changes over REST is kept",
		at: func(c *Config, _ int) any { return &c.API.Audit.Age }},

	{key: "operators[].name", check: filled, doc: "who it is, for logs",
		at: operator(func(o *api.Operator) any { return &o.Name })},
	{key: "operators[].token", check: token, secret: true, doc: "Authorization: Bearer <token>",
		at: operator(func(o *api.Operator) any { return &o.Token })},
	{key: "operators[].token_hash", check: tokenHash, secret: true, doc: "in place of token, what kith token tells: sha256: and 64 hex digits",
		at: operator(func(o *api.Operator) any { return &o.TokenHash })},
	{key: "operators[].role", check: oneOf(string(api.RoleViewer), string(api.RoleOperator), string(api.RoleAdmin)), doc: "viewer, operator or admin",
		at: operator(func(o *api.Operator) any { return (*string)(&o.Role) })},
	{key: "operators[].apps", doc: `ids of apps, or "*" for all`,
		at: operator(func(o *api.Operator) any { return &o.Apps })},
	{key: "operators[].requests.per_second", check: rates(1_000_000), doc: "REST calls with this token; 0: no bound",
		at: operator(func(o *api.Operator) any { return &o.Requests.PerSecond })},
	{key: "operators[].requests.burst", check: between(0, 1_000_000), doc: "how many at once; 0: one",
		at: operator(func(o *api.Operator) any { return &o.Requests.Burst })},

	{key: "apps[].id", check: appID, doc: "the app's id, the user name of its MQTT clients",
		at: app(func(a *broker.AppConfig) any { return (*string)(&a.ID) })},
	{key: "apps[].master_key", check: secret, secret: true, doc: "signs sessions, opens /v1 for this app",
		at: app(func(a *broker.AppConfig) any { return &a.MasterKey })},
	{key: "apps[].previous_master_key", secret: true, doc: "still accepted, for rotation",
		at: app(func(a *broker.AppConfig) any { return &a.PreviousMasterKey })},
	{key: "apps[].app_key", secret: true, doc: "for /1.1 only; opens nothing that needs the master key",
		at: app(func(a *broker.AppConfig) any { return &a.AppKey })},
	{key: "apps[].signature.required", doc: "refuse sessions without a valid signature",
		at: app(func(a *broker.AppConfig) any { return &a.Signature.Required })},
	{key: "apps[].signature.window", check: lasting(1), doc: "how far a timestamp may be from the server's clock, both ways",
		at: app(func(a *broker.AppConfig) any { return &a.Signature.Window })},
	{key: "apps[].signature.replay", check: oneOf(broker.ReplayWindow, broker.ReplayReject),
		doc: "window: a client may present its signed CONNECT again; reject: nonces are strictly single-use",
		at:  app(func(a *broker.AppConfig) any { return &a.Signature.Replay })},
	{key: "apps[].signature.reuse", check: lasting(0), doc: "until how long after its timestamp; 0s: only within the window",
		at: app(func(a *broker.AppConfig) any { return &a.Signature.Reuse })},
	{key: "apps[].require_watch", doc: "a peer sends only to those it watches",
		at: app(func(a *broker.AppConfig) any { return &a.RequireWatch })},
	{key: "apps[].topics", check: filters, doc: `filters under {app}/topic/ that peers may use, such as "#"`,
		at: app(func(a *broker.AppConfig) any { return &a.Topics })},
	{key: "apps[].message_bytes", check: between(1, 128<<10), doc: "the longest message",
		at: app(func(a *broker.AppConfig) any { return &a.MessageBytes })},
	{key: "apps[].queue.messages", check: between(1, 100_000), doc: "how many wait for an absent device",
		at: app(func(a *broker.AppConfig) any { return &a.Queue.Messages })},
	{key: "apps[].queue.age", check: lasting(1), doc: "how long they wait, and how long a device is remembered",
		at: app(func(a *broker.AppConfig) any { return &a.Queue.Age })},
	{key: "apps[].queue.connected", check: between(1, 1_000_000), doc: "how many stay that were due when its connection ended",
		at: app(func(a *broker.AppConfig) any { return &a.Queue.Connected })},
	{key: "apps[].watch.per_call", check: between(1, 10_000), doc: "peers in one watch",
		at: app(func(a *broker.AppConfig) any { return &a.Watch.PerCall })},
	{key: "apps[].watch.per_session", check: between(1, 1_000_000), doc: "peers watched by one session",
		at: app(func(a *broker.AppConfig) any { return &a.Watch.PerSession })},
	{key: "apps[].devices", check: between(1, 1000), doc: "devices of one peer; the longest absent is forgotten",
		at: app(func(a *broker.AppConfig) any { return &a.Devices })},
	{key: "apps[].group_members", check: between(1, 1_000_000), doc: "members of one group",
		at: app(func(a *broker.AppConfig) any { return &a.GroupMembers })},
	{key: "apps[].rate.messages_per_second", check: rates(1_000_000),
		doc: "per session, a message to several counts once per receiver; 0: no bound",
		at:  app(func(a *broker.AppConfig) any { return &a.Rate.MessagesPerSecond })},
	{key: "apps[].rate.burst", check: between(1, 1_000_000), doc: "how many at once",
		at: app(func(a *broker.AppConfig) any { return &a.Rate.Burst })},
	{key: "apps[].rate.bytes_per_second", check: rates(1e12), doc: "payload of one session; 0: no bound",
		at: app(func(a *broker.AppConfig) any { return &a.Rate.BytesPerSecond })},
	{key: "apps[].app_rate.messages_per_second", check: rates(1e9), doc: "of all sessions of the app on a node together; 0: no bound",
		at: app(func(a *broker.AppConfig) any { return &a.AppRate.MessagesPerSecond })},
	{key: "apps[].app_rate.burst", check: between(1, 1_000_000), doc: "how many at once",
		at: app(func(a *broker.AppConfig) any { return &a.AppRate.Burst })},
	{key: "apps[].app_rate.bytes_per_second", check: rates(1e12), doc: "payload of all sessions of the app on a node together; 0: no bound",
		at: app(func(a *broker.AppConfig) any { return &a.AppRate.BytesPerSecond })},
	{key: "apps[].connections", check: between(0, 10_000_000), doc: "of the app to one node; 0: no bound",
		at: app(func(a *broker.AppConfig) any { return &a.Connections })},
	{key: "apps[].connects_per_second", check: rates(1_000_000), doc: "CONNECTs of the app to one node; 0: no bound",
		at: app(func(a *broker.AppConfig) any { return &a.ConnectsPerSecond })},
	{key: "apps[].presence.grace", check: lasting(0), doc: "how long offline is held back after a lost connection",
		at: app(func(a *broker.AppConfig) any { return &a.Presence.Grace })},
	{key: "apps[].history.age", check: lasting(0), doc: "how long messages are kept; 0s: for ever",
		at: app(func(a *broker.AppConfig) any { return &a.History.Age })},
	{key: "apps[].trace", doc: "keep when each delivery was sent and acknowledged, for queue.age",
		at: app(func(a *broker.AppConfig) any { return &a.Trace })},
	{key: "apps[].requests.per_second", check: rates(1_000_000), doc: "REST calls with the app's keys; 0: no bound",
		at: app(func(a *broker.AppConfig) any { return &a.Requests.PerSecond })},
	{key: "apps[].requests.burst", check: between(0, 1_000_000), doc: "how many at once; 0: one",
		at: app(func(a *broker.AppConfig) any { return &a.Requests.Burst })},
	{key: "apps[].history.bytes", check: between(0, math.MaxInt), doc: "how many bytes of messages are kept, about; 0: no bound",
		at: app(func(a *broker.AppConfig) any { return &a.History.Bytes })},
	{key: "apps[].webhooks", doc: "none in this version",
		at: func(*Config, int) any { return reserved("webhooks") }},
	{key: "apps[].push", doc: "none in this version",
		at: func(*Config, int) any { return reserved("push") }},
}

func app(at func(*broker.AppConfig) any) func(*Config, int) any {
	return func(c *Config, i int) any { return at(&c.Apps[i]) }
}

func operator(at func(*api.Operator) any) func(*Config, int) any {
	return func(c *Config, i int) any { return at(&c.API.Operators[i]) }
}

// reserved is a key that spec 12 names and this version only accepts empty.
type reserved string

// lists are the keys that hold several items.
var lists = map[string]struct {
	length func(*Config) int
	grow   func(*Config) // adds an item with its defaults
}{
	"apps": {
		length: func(c *Config) int { return len(c.Apps) },
		grow:   func(c *Config) { c.Apps = append(c.Apps, broker.DefaultAppConfig("")) },
	},
	"operators": {
		length: func(c *Config) int { return len(c.API.Operators) },
		grow:   func(c *Config) { c.API.Operators = append(c.API.Operators, defaultOperator()) },
	},
}
