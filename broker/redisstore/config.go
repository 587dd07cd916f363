package redisstore

import (
	"log/slog"
	"time"
)

// Config is the store's part of the settings (spec 12).
type Config struct {
	// Addrs are host:port of the server, of some nodes of a Redis Cluster, or, with MasterName, of Sentinels.
	Addrs    []string `yaml:"addrs"`
	Username string   `yaml:"username"`
	Password string   `yaml:"password"`
	// DB is the number of the database; a Redis Cluster has 0 alone.
	DB int `yaml:"db"`
	// MasterName is what the Sentinels call the master; "" is without Sentinel.
	MasterName string `yaml:"master_name"`
	// SentinelUsername and SentinelPassword are for the Sentinels, which know other users than the servers.
	SentinelUsername string `yaml:"sentinel_username"`
	SentinelPassword string `yaml:"sentinel_password"`
	TLS              bool   `yaml:"tls"`
	// CA is a PEM file with the authorities that may have signed the servers' certificates; "" is the system's.
	CA string `yaml:"ca"`
	// WaitReplicas is how many replicas must have a batch before its Done; 0 is none. Not for a Redis Cluster.
	WaitReplicas int `yaml:"wait_replicas"`
	// WaitDisk has a batch's Done come only when it is synced to the disk of the server and of WaitReplicas replicas, whatever their
	// appendfsync. Redis 7.2 or later; not for a Redis Cluster.
	WaitDisk bool `yaml:"wait_disk"`
	// Prefix begins the name of every key, so that several programs can share a Redis.
	Prefix string `yaml:"prefix"`
}

// Options are what the program gives the store, none of it a setting of the operator. The zero value is useful.
type Options struct {
	// Logger gets lifecycle and trouble; nil discards.
	Logger *slog.Logger
	// Now is the wall clock of ids; nil is time.Now. Redis counts how long records live.
	Now func() time.Time
	// Timeout bounds every call, from its first attempt to its answer; 0 is 5 s.
	Timeout time.Duration
	// Shards is how many parts the keys of a new store are spread over, at most 1024. Each is the unit of what is atomic and of
	// what a Redis Cluster can move. 0 is 64 for a Redis Cluster and 1 else. An existing store keeps what it was made with.
	Shards int
	// InboxKeep is how many of its newest entries an inbox keeps; 0 is all.
	InboxKeep uint64
	// SweepEvery is the time between two removals of what is left of expired records; 0 is 30 s, negative never.
	SweepEvery time.Duration
	// Connections bounds the connections to each server; 0 is 16.
	Connections int
}

const (
	defaultPrefix = "kith"
	clusterShards = 64
	maxShards     = 1024
)

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = 30 * time.Second
	}
	if o.Connections == 0 {
		o.Connections = 16
	}
	return o
}
